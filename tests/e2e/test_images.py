"""The images as they run in a pod: read-only root, a user without rights, ready soon, gone on SIGTERM."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.engines import PINNED, ROOT, Engine, docker, podman

LARGEST = 60_000_000

CONFIGS = {
    "sidecar": """
sidecar:
  checkpoint: /state/checkpoint
  inputs: [{type: tail, paths: ["/logs/*.log"]}]
  outputs: [{type: sqlite, path: /state/logs.sqlite}]
""",
    "ambassador": """
ambassador:
  listeners: [{type: http, listen: "127.0.0.1:8080", routes: [{to: api}]}]
  upstreams: {api: {addresses: ["127.0.0.1:9"]}}
""",
    "adapter": """
adapter:
  inputs: [{type: statsd, listen: "127.0.0.1:8125"}]
  outputs: [{type: prometheus, listen: ":9102"}]
""",
}
"""The least that each can run with."""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module", params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "podman":
        yield podman()
    else:
        with docker(podman()) as engine:
            yield engine


@pytest.fixture(scope="module", params=["sidecar", "ambassador", "adapter", "init"])
def pattern(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def image(engine: Engine, pattern: str) -> str:
    return engine.build(pattern)


def inspect(engine: Engine, image: str) -> Any:
    return json.loads(engine("image", "inspect", image).stdout)[0]


def test_the_base_is_pinned() -> None:
    """All images stand on the same base image, named by its digest."""
    bases = [
        line.partition("=")[2]
        for path in sorted((ROOT / "containers").glob("*/Dockerfile"))
        for line in path.read_text().splitlines()
        if line.startswith("ARG PYTHON_IMAGE=")
    ]
    assert bases == [PINNED] * 4
    assert "@sha256:" in PINNED


def test_metadata(engine: Engine, image: str, pattern: str) -> None:
    """An image states its user, its stop signal, its entrypoint and what it is."""
    found = inspect(engine, image)
    config = found["Config"]
    assert config["User"] == "65532:65532"
    assert config.get("StopSignal") in ("SIGTERM", "15")
    assert config["Entrypoint"] == ["podpatterns"]
    assert config["Cmd"] == ["run", f"/etc/podpatterns/{pattern}.yaml"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == f"podpatterns/{pattern}"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_size(engine: Engine, image: str) -> None:
    """An image adds at most 60 MB to its base."""
    assert inspect(engine, image)["Size"] - inspect(engine, engine.base)["Size"] <= LARGEST


def test_nothing_to_build_with(engine: Engine, image: str) -> None:
    """The environment holds neither pip nor rich, and the user can write nowhere."""
    script = (
        "import importlib.util as u, os;"
        "print([name for name in ('rich', 'pip', 'setuptools', 'pytest') if u.find_spec(name)],"
        " os.getuid(), [path for path in ('/', '/opt/podpatterns', '/etc') if os.access(path, os.W_OK)])"
    )
    done = engine("run", "--rm", "--network", "none", "--entrypoint", "python3", image, "-c", script)
    assert done.stdout.strip() == "[] 65532 []"


@pytest.fixture
def container(engine: Engine, image: str, pattern: str, tmp_path: Path) -> Iterator[str]:
    """A running container with a read-only root and no capabilities."""
    (tmp_path / f"{pattern}.yaml").write_text(CONFIGS[pattern])
    (tmp_path / f"{pattern}.yaml").chmod(0o644)
    tmp_path.chmod(0o755)
    run = engine(
        "run", "--detach", "--network", "none", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges",
        "--tmpfs", "/state:mode=1777", "--tmpfs", "/logs:mode=1777", "-v", f"{tmp_path}:/etc/podpatterns:ro", image,
    )  # fmt: skip
    name = run.stdout.strip()
    yield name
    engine("rm", "--force", name, check=False)


@pytest.mark.parametrize("pattern", ["sidecar", "ambassador", "adapter"], indirect=True)
def test_lifecycle(engine: Engine, container: str) -> None:
    """Ready within seconds by its own probe; SIGTERM ends it with exit code 0 within the grace."""
    deadline = time.monotonic() + 30
    while (probe := engine("exec", container, "podpatterns", "probe", "ready", check=False)).returncode:
        log = engine("logs", container)
        assert time.monotonic() < deadline, (probe.stderr, log.stderr)
        assert engine("inspect", "--format", "{{.State.Running}}", container).stdout.strip() == "true", log.stderr
    engine("stop", "--time", "28", container)
    assert engine("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip() == "0"


@pytest.mark.parametrize("pattern", ["init"], indirect=True)
def test_init(engine: Engine, image: str, tmp_path: Path) -> None:
    """The init image publishes a repository that belongs to another user, and ends with exit code 0."""
    source, config = tmp_path / "source", tmp_path / "config"
    source.mkdir()
    config.mkdir()
    (source / "index").write_text("hello\n")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), (*identity, "commit", "-q", "-m", "one")):
        subprocess.run(["git", "-C", source, *command], check=True)
    (config / "init.yaml").write_text(
        "init:\n  deadline: 30s\n  steps:\n"
        "  - {type: git, repository: /source, ref: main, root: /work/site}\n"
        "  - {type: run, command: [cmp, /source/index, /work/site/current/index]}\n"
    )
    tmp_path.chmod(0o755)
    run = engine(
        "run", "--rm", "--network", "none", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges",
        "--tmpfs", "/work:mode=1777", "-v", f"{source}:/source:ro", "-v", f"{config}:/etc/podpatterns:ro", image,
    )  # fmt: skip
    assert '"did":"published' in run.stderr
    for program in ("git --version", "ssh -V"):
        engine("run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", program)
