"""Writer-closed detection across containers: separate process and mount namespaces, nothing shared but a directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from podpatterns.sidecar.files.writers import written

pytestmark = pytest.mark.e2e

UID = 65532
WRITER = "import sys; file = open(sys.argv[1], 'a'); print('open', flush=True); sys.stdin.read()"
ASKER = """
import os, sys
from podpatterns.sidecar.files.writers import written
print(written(os.open(sys.argv[1], os.O_RDONLY)))
"""


@pytest.fixture
def volume() -> Iterator[Path]:
    """Like an emptyDir: anybody may write to it."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


def container(uid: int, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A process as the first one of its own namespaces, without any capability."""
    python = shutil.which("python3", path="/usr/bin:/bin") if program == WRITER else sys.executable
    command = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "setpriv"]
    command += [f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    return subprocess.Popen(
        [*command, str(python), "-c", program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def asked(uid: int, file: Path) -> str:
    out, _ = container(uid, ASKER, str(file)).communicate(timeout=60)
    return out.decode().strip()


def test_a_writer_in_another_container_is_seen(volume: Path) -> None:
    """As the same uid, whatever each can see of the other's processes; as another uid the reason is said."""
    file = volume / "app.log"
    writer = container(UID, WRITER, str(file))
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"open\n"
    assert asked(UID, file) == "True"
    assert asked(UID + 1, file) == (
        f"it belongs to uid {UID}, this is uid {UID + 1} without CAP_LEASE, "
        "and the pod does not share its process namespace"
    )
    writer.communicate(timeout=10)
    assert asked(UID, file) == "False"
    descriptor = os.open(file, os.O_RDONLY)
    assert written(descriptor) is False, "root has CAP_LEASE"
    os.close(descriptor)
