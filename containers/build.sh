#!/usr/bin/env bash
# Builds the images, and says how much each adds to its base image.
#
#   containers/build.sh [docker|podman] [PATTERN...]      default: docker if it runs, else podman; every pattern
#
# PYTHON_IMAGE  the base image; default: the one that the Dockerfiles pin by digest
# TAG           dev
# BUILD_FLAGS   further flags for the build, such as "--build-arg HTTP_PROXY=..."
set -euo pipefail
cd "$(dirname "$0")/.."

largest=$((60 * 1000 * 1000)) # bytes that an image may add to its base
tag=${TAG:-dev}

engine=
case ${1:-} in docker | podman) engine=$1; shift ;; esac
if [ -z "$engine" ]; then
  if docker info > /dev/null 2>&1; then engine=docker  # the client alone is not enough
  elif command -v podman > /dev/null; then engine=podman
  else echo "containers/build.sh: no docker runs here, and podman is not installed" >&2; exit 1
  fi
fi
patterns=("$@")
[ ${#patterns[@]} -gt 0 ] || patterns=(sidecar ambassador adapter init)
for pattern in "${patterns[@]}"; do
  [ -f "containers/$pattern/Dockerfile" ] || { echo "containers/build.sh: there is no containers/$pattern/Dockerfile" >&2; exit 2; }
done

here() { "$engine" image inspect "$1" > /dev/null 2>&1; }
size() { "$engine" image inspect --format '{{.Size}}' "$1"; }

pinned=$(sed -n 's/^ARG PYTHON_IMAGE=//p' containers/sidecar/Dockerfile)
image=${PYTHON_IMAGE:-$pinned}
if ! here "$image" && ! reason=$("$engine" pull --quiet "$image" 2>&1); then
  # A machine without a registry may hold an image of that name that was made on it.
  stand_in=${image%@*}
  if ! here "$stand_in"; then
    echo "containers/build.sh: the base image $image cannot be pulled; PYTHON_IMAGE names another one" >&2
    echo "${reason##*$'\n'}" >&2
    exit 1
  fi
  echo "the base image cannot be pulled by its digest; building on the $stand_in that is here" >&2
  image=$stand_in
fi

flags=()
if [ "$engine" = podman ]; then
  # The build uses this machine's network, and trusts what this machine trusts; nothing of it stays in the image.
  flags+=(--network host --pull=never)
  [ ! -d /etc/ssl/certs ] || flags+=(-v /etc/ssl/certs:/etc/ssl/certs:ro)
  [ ! -f /etc/pip.conf ] || flags+=(-v /etc/pip.conf:/etc/pip.conf:ro)
fi
# shellcheck disable=SC2206 # a list of words
flags+=(${BUILD_FLAGS:-})
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2> /dev/null || echo unknown)

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
