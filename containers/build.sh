#!/usr/bin/env bash
# Builds the images, and says how much each adds to its base image.
#
#   containers/build.sh [docker|podman] [PATTERN...]      default: docker if it is there, else podman; every pattern
#
# PYTHON_IMAGE  the base image; pin it by digest for builds that can be repeated
# TAG           dev
# BUILD_FLAGS   further flags for the build, such as "--build-arg HTTP_PROXY=..."
set -euo pipefail
cd "$(dirname "$0")/.."

largest=$((60 * 1000 * 1000)) # bytes that an image may add to its base
image=${PYTHON_IMAGE:-docker.io/library/python:3.11-slim-bookworm}
tag=${TAG:-dev}

engine=
case ${1:-} in docker | podman) engine=$1; shift ;; esac
if [ -z "$engine" ]; then
  if docker info > /dev/null 2>&1; then engine=docker  # the client alone is not enough
  elif command -v podman > /dev/null; then engine=podman
  else echo "containers/build.sh: neither docker nor podman is installed" >&2; exit 1
  fi
fi
patterns=("$@")
[ ${#patterns[@]} -gt 0 ] || patterns=(sidecar ambassador adapter init)
for pattern in "${patterns[@]}"; do
  [ -f "containers/$pattern/Dockerfile" ] || { echo "containers/build.sh: there is no containers/$pattern/Dockerfile" >&2; exit 2; }
done

flags=()
if [ "$engine" = podman ]; then
  # The build uses this machine's network, and trusts what this machine trusts; nothing of it stays in the image.
  flags+=(--network host --pull=missing)
  [ ! -d /etc/ssl/certs ] || flags+=(-v /etc/ssl/certs:/etc/ssl/certs:ro)
  [ ! -f /etc/pip.conf ] || flags+=(-v /etc/pip.conf:/etc/pip.conf:ro)
fi
# shellcheck disable=SC2206 # a list of words
flags+=(${BUILD_FLAGS:-})
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2> /dev/null || echo unknown)

size() { "$engine" image inspect --format '{{.Size}}' "$1"; }

failed=0
for pattern in "${patterns[@]}"; do
  name=podpatterns/$pattern:$tag
  "$engine" build --quiet "${flags[@]}" --build-arg "PYTHON_IMAGE=$image" --build-arg "VERSION=$version" \
    --build-arg "REVISION=$revision" -t "$name" -f "containers/$pattern/Dockerfile" . > /dev/null
  added=$(($(size "$name") - $(size "$image")))
  verdict=ok
  [ "$added" -le "$largest" ] || { verdict="more than the $((largest / 1000000)) MB that are allowed"; failed=1; }
  printf '%-28s base + %5.1f MB  %s\n' "$name" "$((added / 100000))e-1" "$verdict"
done
exit "$failed"
