"""A sidecar in a control group with a memory limit, as a container has one: it finds the limit, and is not killed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sidecar.counting import Receiver, Shipper, until

pytestmark = pytest.mark.e2e

TOP = Path("/sys/fs/cgroup")
LIMIT = 64 << 20
LINES = 300_000


@pytest.fixture
def group() -> Iterator[Path]:
    """A group with a limit, in version 1 or 2 of control groups."""
    name = f"podpatterns-test-{os.getpid()}"
    if (TOP / "memory").is_dir():
        directory, limit = TOP / "memory" / name, "memory.limit_in_bytes"
    else:
        (TOP / "cgroup.subtree_control").write_text("+memory")
        directory, limit = TOP / name, "memory.max"
    directory.mkdir()
    (directory / limit).write_text(str(LIMIT))
    yield directory
    until(lambda: not (directory / "cgroup.procs").read_text(), 10)
    directory.rmdir()


def killed(group: Path) -> int:
    """How often the kernel has killed in it because its memory was full."""
    file = next(group / name for name in ("memory.events", "memory.oom_control") if (group / name).exists())
    found = dict(line.split() for line in file.read_text().splitlines())
    return int(found["oom_kill"])


def test_the_limit_is_found_and_kept(tmp_path: Path, group: Path) -> None:
    """The store is down for as long as it takes to fill every stage; then every line arrives, once."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "app.log").write_text("".join(f'{{"n": {n}, "message": "line {n}", "b": 1}}\n' for n in range(LINES)))
    output = "{{type: http, url: '{}'}}"
    with (
        Receiver() as receiver,
        Shipper(tmp_path, output.format(receiver.url), transforms="{type: parse, format: json}") as shipper,
    ):
        receiver.up.clear()
        shipper.start(before=f"open('{group}/cgroup.procs', 'w').write('0')")
        (divided,) = shipper.events("sidecar.memory.divided")
        assert divided["limit_bytes"] == LIMIT
        assert receiver.refused.wait(20)
        time.sleep(10)  # "for minutes", shortened: after two seconds nothing changes any more
        receiver.up.set()
        receiver.wait_for(LINES, 90)
        assert shipper.end() == 0
        assert killed(group) == 0
    assert set(receiver.messages.values()) == {1}
    assert set(receiver.messages) == {f"line {n}" for n in range(LINES)}
