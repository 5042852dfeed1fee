#!/usr/bin/env bash
# Installs what the end-to-end tests need from Debian's packages, if it is not there: `make e2e` calls it. Root only.
#
# promtool is taken out of its package without installing that, because the package would start a Prometheus server.
set -euo pipefail
bin=${1:?usage: setup.sh BIN-DIRECTORY}
bin=$(realpath "$bin")

missing=()
command -v podman > /dev/null || missing+=(podman)
command -v ip > /dev/null || missing+=(iproute2)
command -v curl > /dev/null || missing+=(curl)
if [ ${#missing[@]} -gt 0 ] || { [ ! -x "$bin/promtool" ] && ! command -v promtool > /dev/null; }; then
  apt-get update -qq
fi
if [ ${#missing[@]} -gt 0 ]; then
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi
if [ ! -x "$bin/promtool" ] && ! command -v promtool > /dev/null; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  (cd "$folder" && apt-get -o APT::Sandbox::User=root download -qq prometheus && dpkg-deb --extract prometheus_*.deb .)
  install -m 755 "$folder/usr/bin/promtool" "$bin/promtool"
fi
