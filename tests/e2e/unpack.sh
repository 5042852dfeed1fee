#!/usr/bin/env bash
# Takes packages of Debian apart without installing them: for servers that would take the place of one that runs, or of
# each other.
set -euo pipefail
folder=${1:?usage: unpack.sh DIRECTORY PACKAGE...}
shift
apt-get update -qq
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
(cd "$unpacked" && apt-get -o APT::Sandbox::User=root download -qq "$@")
mkdir -p "$folder"
for package in "$unpacked"/*.deb; do dpkg-deb --extract "$package" "$folder"; done
