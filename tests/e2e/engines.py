"""Container engines that the images are built with and run in: podman as it is, and a Docker engine for the tests.

A machine for tests has no Docker engine that runs, so one is started out of Debian's packages (tests/e2e/setup.sh),
with a socket and a folder of its own and without a network. It cannot be told in a build what the machine trusts and
where it installs packages from, as podman can: a base image of the tests' own carries that.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = Path(sys.prefix) / "docker"
PINNED = next(
    line.partition("=")[2]
    for line in (ROOT / "containers/sidecar/Dockerfile").read_text().splitlines()
    if line.startswith("ARG PYTHON_IMAGE=")
)
TRUSTED = "podpatterns-e2e/base:dev"


class Engine(NamedTuple):
    """A container engine: its command, what that needs in its environment, and the images' base."""

    name: str
    environment: dict[str, str]
    base: str
    build_flags: str = ""

    def __call__(self, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of its commands."""
        words = [self.name, *map(str, arguments)]
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=300, env=os.environ | self.environment
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def build(self, pattern: str) -> str:
        """Build an image as `make images` does; its name."""
        environment = os.environ | self.environment
        if self.base != PINNED:
            environment |= {"PYTHON_IMAGE": self.base, "BUILD_FLAGS": self.build_flags}
        done = subprocess.run(
            [ROOT / "containers/build.sh", self.name, pattern],
            capture_output=True, text=True, check=False, timeout=500, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return f"podpatterns/{pattern}:dev"


def podman() -> Engine:
    """The machine's podman."""
    assert shutil.which("podman"), "podman is not installed"
    pinned = Engine("podman", {}, PINNED)
    if pinned("image", "exists", PINNED, check=False).returncode == 0:
        return pinned
    return Engine("podman", {}, PINNED.partition("@")[0])


@contextlib.contextmanager
def docker(source: Engine) -> Iterator[Engine]:
    """A Docker engine, with the base image that `source` has."""
    assert PACKAGES.is_dir(), "the Docker engine is missing: tests/e2e/setup.sh unpacks it"
    # Not where pytest keeps folders: the path of a socket may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="docker-") as name:
        folder = Path(name)
        path = f"{PACKAGES}/usr/bin:{PACKAGES}/usr/sbin:{os.environ['PATH']}"
        environment = {"PATH": path, "DOCKER_HOST": f"unix://{folder}/socket", "DOCKER_BUILDKIT": "1"}
        command = [
            shutil.which("dockerd", path=path) or "dockerd", "--host", environment["DOCKER_HOST"],
            "--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid",
            "--bridge=none", "--iptables=false", "--ip6tables=false",
        ]  # fmt: skip
        with (folder / "log").open("wb") as log:
            daemon = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment)
        try:
            engine = Engine("docker", environment, TRUSTED, "--network host")
            deadline = time.monotonic() + 60
            while engine("info", check=False).returncode:
                alive = daemon.poll() is None
                assert alive, (folder / "log").read_text()[-4000:]
                assert time.monotonic() < deadline
                time.sleep(0.2)  # it tells nobody that it is ready
            _base(engine, source, folder)
            yield engine
        finally:
            daemon.terminate()
            try:
                daemon.wait(60)
            finally:
                daemon.kill()
                daemon.wait()


def _base(engine: Engine, source: Engine, folder: Path) -> None:
    source("image", "save", "--output", folder / "base.tar", source.base)
    engine("image", "load", "--quiet", "--input", folder / "base.tar")
    context = folder / "context"
    certificates = Path("/etc/ssl/certs")
    shutil.copytree(certificates, context / "certs", ignore_dangling_symlinks=True)
    lines = [f"FROM {source.base}", f"COPY certs {certificates}"]
    if (pip := Path("/etc/pip.conf")).exists():
        shutil.copy(pip, context)
        lines.append(f"COPY pip.conf {pip}")
    (context / "Dockerfile").write_text("\n".join(lines))
    engine("build", "--quiet", "--tag", TRUSTED, context)
