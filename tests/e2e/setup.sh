#!/usr/bin/env bash
# Installs what the end-to-end tests need from Debian's packages, if it is not there: `make e2e` calls it. Root only.
#
# promtool and prometheus are taken out of their package without installing that, because the package would start a
# Prometheus server.
set -euo pipefail
bin=${1:?usage: setup.sh BIN-DIRECTORY}
bin=$(realpath "$bin")

missing=()
command -v podman > /dev/null || missing+=(podman)
command -v ip > /dev/null || missing+=(iproute2)
command -v curl > /dev/null || missing+=(curl)
extracted=()
for program in promtool prometheus; do
  [ -x "$bin/$program" ] || command -v "$program" > /dev/null || extracted+=("$program")
done
if [ ${#missing[@]} -gt 0 ] || [ ${#extracted[@]} -gt 0 ]; then
  apt-get update -qq
fi
if [ ${#missing[@]} -gt 0 ]; then
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi
if [ ${#extracted[@]} -gt 0 ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  (cd "$folder" && apt-get -o APT::Sandbox::User=root download -qq prometheus && dpkg-deb --extract prometheus_*.deb .)
  for program in "${extracted[@]}"; do
    install -m 755 "$folder/usr/bin/$program" "$bin/$program"
  done
fi
