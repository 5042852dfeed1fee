"""The git step against Debian's sshd: keys, unknown hosts, and kills in the middle of a sync."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from podpatterns.init.steps import Fatal
from podpatterns.init.steps.git import Git, GitConfig
from podpatterns.runtime.units import SecretFile
from tests.init.conftest import Repository, log, step, telemetry  # noqa: F401 - fixtures
from tests.init.test_git import killing, tree

SSHD = "/usr/sbin/sshd"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def keygen(path: Path) -> str:
    """A key pair; the public one."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """sshd on a port of loopback, which lets one key in."""
    assert Path(SSHD).exists(), "sshd is missing: tests/e2e/setup.sh installs it"
    folder = tmp_path_factory.mktemp("ssh")
    host, client = keygen(folder / "host"), keygen(folder / "client")
    (folder / "authorized").write_text(client + "\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host}\n")
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized'}\n"
        f"PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as errors:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stderr=errors)
    try:
        deadline = time.monotonic() + 20
        while b"listening" not in (folder / "log").read_bytes():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)  # it tells its log alone
        yield {"port": port, "ssh_key": str(folder / "client"), "known_hosts": str(folder / "known_hosts")}
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "origin")


def values(server: dict[str, Any], repository: Repository, tmp_path: Path) -> dict[str, Any]:
    return {
        "repository": f"ssh://root@127.0.0.1:{server['port']}{repository.path}",
        "ref": "main",
        "root": str(tmp_path / "root"),
        "ssh_key": server["ssh_key"],
        "known_hosts": server["known_hosts"],
    }


async def test_key(server: Any, repository: Repository, tmp_path: Path, step: Callable[..., Git]) -> None:  # noqa: F811
    """With the key and the host's own key, the repository is published; with another key that is fatal, and said."""
    repository.commit(index="one")
    config = values(server, repository, tmp_path)
    await step(GitConfig(**config)).apply()
    assert tree(tmp_path / "root") == {"index": "one"}
    keygen(tmp_path / "other")
    with pytest.raises(Fatal, match="Permission denied") as caught:
        await step(GitConfig(**config | {"ssh_key": SecretFile(str(tmp_path / "other"))})).apply()
    assert "ssh_key" in caught.value.remedy


async def test_unknown_host(
    server: Any,
    repository: Repository,
    tmp_path: Path,
    step: Callable[..., Git],  # noqa: F811
) -> None:
    """A host whose key is not known is refused: nobody is asked, and nothing is remembered."""
    repository.commit(index="one")
    known = tmp_path / "known_hosts"
    known.touch()
    with pytest.raises(Fatal, match="Host key verification failed") as caught:
        await step(GitConfig(**values(server, repository, tmp_path) | {"known_hosts": str(known)})).apply()
    assert "known_hosts" in caught.value.remedy
    assert not known.read_bytes()


def test_killed_in_mid_sync(server: Any, repository: Repository, tmp_path: Path) -> None:
    """Kill -9 at random: the link leads to a complete tree or is not there yet, and the next run gets there."""
    killing(repository, tmp_path, {"type": "git", **values(server, repository, tmp_path)}, rounds=20)
