#!/usr/bin/env bash
# Puts the peers of `make bench-adapter` beside this Python, if they are not there: Debian's mtail and exporters,
# unpacked and not installed, for their packages would start them; and the reference StatsD daemon from npm.
set -euo pipefail
bin=$(realpath "${1:?usage: peers.sh BIN-DIRECTORY}")
folder=$(dirname "$bin")/peers
mkdir -p "$folder"
missing=()
for package in mtail prometheus-nginx-exporter prometheus-redis-exporter; do
  [ -x "$folder/usr/bin/$package" ] || command -v "$package" > /dev/null || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  (cd "$unpacked" && { apt-get update -qq || true; } && apt-get -o APT::Sandbox::User=root download -qq "${missing[@]}")
  for package in "$unpacked"/*.deb; do dpkg-deb --extract "$package" "$folder"; done
fi
if [ ! -d "$folder/node_modules/statsd" ]; then
  npm install --silent --no-fund --no-audit --no-save --ignore-scripts --prefix "$folder" statsd@0.9.0
fi
