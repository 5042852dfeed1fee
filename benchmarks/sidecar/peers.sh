#!/usr/bin/env bash
# Unpacks rsyslog and syslog-ng from Debian's packages beside this Python, if they are not there: `make bench-sidecar`
# calls it. They cannot be installed together, and neither is started here.
set -euo pipefail
bin=$(realpath "${1:?usage: peers.sh BIN-DIRECTORY}")
folder=$(dirname "$bin")/shippers
if [ ! -x "$folder/usr/sbin/rsyslogd" ] || [ ! -x "$folder/usr/sbin/syslog-ng" ]; then
  "$(dirname "$0")/../../tests/e2e/unpack.sh" "$folder" rsyslog libestr0 libfastjson4 liblognorm5 \
    syslog-ng-core syslog-ng-mod-http libivykis0 libnet1 libjson-c5 libglib2.0-0 libwrap0 libpcre3 libcurl4
fi
