"""The checkpoint on disk: whole, in order, one writer at a time, whenever it is cancelled."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podpatterns import StartError
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.sidecar import checkpoint as module
from podpatterns.sidecar.checkpoint import Checkpoint, Document
from podpatterns.sidecar.durable import mend, replace_file
from podpatterns.sidecar.events import SidecarEvents
from podpatterns.sidecar.ledger import Account
from podpatterns.sidecar.recent import Recent


class Disk:
    """`replace_file`, which waits for leave before it begins; it remembers how many writes ran at once."""

    def __init__(self) -> None:
        self.begun, self.leave = threading.Event(), threading.Event()
        self.running = self.most = 0

    def replace(self, path: Path, data: bytes) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.begun.set()
        assert self.leave.wait(10)
        try:
            replace_file(path, data)
        finally:
            self.running -= 1


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def count() -> list[int]:
    """What the next snapshot says."""
    return [0]


@pytest.fixture
def kept(tmp_path: Path, telemetry: Telemetry, count: list[int]) -> Iterator[Checkpoint]:
    events = SidecarEvents(telemetry, Account, lambda: 0)
    checkpoint = Checkpoint(str(tmp_path / "state" / "checkpoint"), lambda: Document(inputs={"n": count[0]}), events)
    checkpoint.open()
    yield checkpoint
    checkpoint.close()


def on_disk(checkpoint: Checkpoint) -> Any:
    return json.loads(checkpoint.path.read_bytes())["inputs"]["n"]


def failures(telemetry: Telemetry) -> float:
    return telemetry.registry.get_sample_value("podpatterns_sidecar_checkpoints_total", {"outcome": "failed"}) or 0


async def test_a_cancelled_save_does_not_run_beside_the_next(
    kept: Checkpoint, telemetry: Telemetry, count: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread cannot be cancelled: the save at the end waits for the one that was cancelled, and its state stays.

    Otherwise both write one temporary file: one rename finds it gone, or the older state replaces the newer.
    """
    disk = Disk()
    monkeypatch.setattr(module, "replace_file", disk.replace)
    count[0] = 1
    first = asyncio.create_task(kept.save())
    await asyncio.to_thread(disk.begun.wait, 10)
    first.cancel()
    await asyncio.wait([first], timeout=0.01)
    count[0] = 2
    last = asyncio.create_task(kept.try_save())
    await asyncio.wait([last], timeout=0.05)  # long enough for a second thread, if there were one
    disk.leave.set()
    assert await last
    assert disk.most == 1
    assert on_disk(kept) == 2
    assert failures(telemetry) == 0
    assert [path.name for path in kept.path.parent.iterdir() if path.suffix == ".tmp"] == []


@pytest.mark.parametrize("steps", range(0, 30, 3))
async def test_cancelled_at_any_step_the_file_is_whole(kept: Checkpoint, count: list[int], steps: int) -> None:
    """Wherever `run` is cancelled, the next save succeeds and is the state that a restart finds."""
    saver = asyncio.create_task(kept.run())
    for _ in range(steps):
        count[0] += 1
        kept.touch()
        await asyncio.sleep(0)
    saver.cancel()
    await asyncio.wait([saver])
    count[0] += 1
    assert await kept.try_save()
    assert on_disk(kept) == count[0]
    assert kept.trouble is None


async def test_a_disk_that_fails_is_asked_again(
    kept: Checkpoint, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`save` returns only once the state is on disk; each failure is counted, and shown while it lasts."""
    troubles: list[str | None] = []

    def fail_twice(path: Path, data: bytes) -> None:
        troubles.append(kept.trouble)
        if len(troubles) < 3:
            raise OSError(28, "No space left on device")
        replace_file(path, data)

    monkeypatch.setattr(module, "replace_file", fail_twice)
    await kept.save()
    assert failures(telemetry) == 2
    assert troubles[0] is None
    assert all(each is not None and each.startswith("No space left on device (since ") for each in troubles[1:])
    assert kept.trouble is None
    assert on_disk(kept) == 0


def test_only_one_sidecar_has_it(kept: Checkpoint) -> None:
    """A second one does not start, and is told what to do."""
    events = SidecarEvents(Telemetry(), Account, lambda: 0)
    with pytest.raises(StartError, match=r"another sidecar uses the checkpoint .* sidecar\.checkpoint"):
        Checkpoint(str(kept.path), Document, events).open()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"version": "x"}', b"\xff\xfe"])
def test_one_that_makes_no_sense_is_set_aside(kept: Checkpoint, telemetry: Telemetry, data: bytes) -> None:
    """It is kept under another name, and reading begins anew: lines are repeated rather than lost."""
    kept.close()
    kept.path.write_bytes(data)
    assert kept.open() == Document()
    assert kept.path.with_name("checkpoint.corrupt").read_bytes() == data
    labels = {"outcome": "unreadable"}
    assert telemetry.registry.get_sample_value("podpatterns_sidecar_checkpoints_total", labels) == 1


def test_one_of_another_release_is_refused(kept: Checkpoint) -> None:
    """What a newer release has written is not thrown away."""
    kept.close()
    kept.path.write_text('{"version": 2}')
    with pytest.raises(StartError, match=r"version 2, this release reads 1"):
        kept.open()
    assert kept.path.read_text() == '{"version": 2}'


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b""), (b"a\nb\n", b"a\nb\n"), (b"a\nb", b"a\n"), (b"b", b""), (b"x\n" + b"y" * 70_000, b"x\n")],
)
def test_a_torn_line_is_cut_off(tmp_path: Path, before: bytes, after: bytes) -> None:
    """After a crash a file ends with its last whole line, however long the torn one is."""
    path = tmp_path / "file"
    path.write_bytes(before)
    with path.open("r+b", buffering=0) as file:
        assert mend(file.fileno()) == len(before) - len(after)
    assert path.read_bytes() == after


async def test_what_was_acknowledged_last_is_known_after_a_kill(kept: Checkpoint, count: list[int]) -> None:
    """`touch` is enough for that: nobody has waited for the disk, and the process is gone at once."""
    count[0] = 1
    await kept.save()
    count[0] = 2
    kept.touch()
    kept.close()  # what a kill leaves: no save has come after it
    assert on_disk(kept) == 1
    assert kept.open().inputs == {"n": 2}
    count[0] = 3
    await kept.save()
    kept.close()
    assert kept.open().inputs == {"n": 3}, "the newer one counts, whichever it is"


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, b"torn"])
async def test_a_torn_write_of_the_last_moments_is_not_believed(
    kept: Checkpoint, count: list[int], damage: bytes
) -> None:
    """Then the checkpoint itself counts: something is repeated, and nothing is lost."""
    count[0] = 1
    await kept.save()
    count[0] = 2
    kept.touch()
    kept.close()
    recent = kept.path.with_name("checkpoint.recent")
    recent.write_bytes(recent.read_bytes()[:-3] + damage if damage == b"torn" else damage)
    assert kept.open().inputs == {"n": 1}


async def test_whoever_removes_the_checkpoint_begins_anew(kept: Checkpoint, count: list[int]) -> None:
    """What was acknowledged last goes with it."""
    count[0] = 1
    await kept.save()
    kept.touch()
    kept.close()
    kept.path.unlink()
    assert kept.open() == Document()
    kept.close()
    assert kept.open() == Document()


def test_writing_it_takes_no_more_than_its_share(tmp_path: Path) -> None:
    """A document that takes long to make is written more seldom."""
    now = [0.0]
    recent = Recent(tmp_path / "recent", lambda: now[0])
    recent.open()
    made: list[float] = []

    def slow() -> bytes:
        made.append(now[0])
        end = time.thread_time() + 0.01
        while time.thread_time() < end:
            pass
        return b"x"

    for _ in range(100):
        recent.write(slow)
        now[0] += 0.01
    recent.close()
    assert 4 <= len(made) <= 6
