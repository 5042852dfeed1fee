#!/bin/sh
# Collects git and ssh, with the shared libraries that the base image does not hold, into a folder that is copied over
# the root of the final image.
#
#   collect.sh FOLDER
set -eu
out=$1

ldconfig -p | awk '/=>/ { print $NF }' | sort > /tmp/libraries-of-the-base
missing=
command -v git > /dev/null || missing="$missing git"
command -v ssh > /dev/null || missing="$missing openssh-client"
if [ -n "$missing" ]; then
  apt-get update -qq
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
fi

# git finds most of its commands inside of itself; what is listed here are programs of their own.
core=$(git --exec-path)
mkdir -p "$out/usr/bin" "$out$core"
cp "$(command -v git)" "$(command -v ssh)" "$out/usr/bin/"
for program in git-daemon git-remote-http git-submodule git-sh-setup git-sh-i18n git-sh-i18n--envsubst; do
  cp "$core/$program" "$out$core/"
done
ln -s git-remote-http "$out$core/git-remote-https"
ln -s /usr/bin/git "$out$core/git"
ln -s /usr/bin/git "$out$core/git-upload-pack"
ln -s git "$out/usr/bin/git-upload-pack"

for program in /usr/bin/git /usr/bin/ssh "$core/git-daemon" "$core/git-remote-http" "$core/git-sh-i18n--envsubst"; do
  ldd "$program" | awk '$2 == "=>" { print $3 }'
done | sort -u | comm -23 - /tmp/libraries-of-the-base | while read -r library; do
  folder=$(dirname "$(realpath "$library")")
  mkdir -p "$out$folder"
  cp -L "$library" "$out$folder/$(basename "$library")"
done
