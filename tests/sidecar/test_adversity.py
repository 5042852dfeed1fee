"""When things go wrong around it: each has an event that says so, and a defined end; no line is lost."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podpatterns.errors import StartError
from podpatterns.runtime.units import Duration
from podpatterns.sidecar import checkpoint as checkpoint_module
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.durable import replace_file
from podpatterns.sidecar.inputs import tail as tail_module
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs.file import FileConfig
from podpatterns.sidecar.runtime import Sidecar
from tests.sidecar.counting import Receiver, Shipper, until


def config(tmp_path: Path, **more: Any) -> SidecarConfig:
    return SidecarConfig(
        inputs=(TailConfig(paths=(f"{tmp_path}/logs/*.log",), poll=Duration("5ms")),),
        outputs=(FileConfig(path=f"{tmp_path}/out"),),
        checkpoint=f"{tmp_path}/state/checkpoint",
        linger=Duration("2ms"),
        **more,
    )


def write(tmp_path: Path, text: str | bytes, name: str = "app.log") -> None:
    (tmp_path / "logs").mkdir(exist_ok=True)
    with (tmp_path / "logs" / name).open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def shipped(tmp_path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in (tmp_path / "out").read_text().split("\n")[:-1]]


def value(sidecar: Sidecar, name: str, **labels: str) -> float:
    return sidecar.context.telemetry.registry.get_sample_value(f"podpatterns_sidecar_{name}", labels) or 0


# --- the checkpoint's disk --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
async def test_a_checkpoint_that_cannot_be_written(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is followed already is read on; a new file waits until its identity is safe."""
    write(tmp_path, "one\n")
    full = [False]

    def disk(path: Path, data: bytes) -> None:
        if full[0]:
            raise OSError(number, os.strerror(number))
        replace_file(path, data)

    monkeypatch.setattr(checkpoint_module, "replace_file", disk)
    async with Sidecar(config(tmp_path)) as sidecar:
        await sidecar.acknowledged(1)
        full[0] = True
        write(tmp_path, "two\n")
        await sidecar.acknowledged(2)
        write(tmp_path, "three\n", "new.log")
        while "waiting" not in sidecar.status().facts:  # noqa: ASYNC110 - what the operator sees has no event
            await asyncio.sleep(0.005)
        assert sidecar.status().facts["waiting"].startswith(f"checkpoint: {os.strerror(number)}")  # type: ignore[union-attr]
        assert value(sidecar, "checkpoints_total", outcome="failed") > 0
        assert shipped(tmp_path) == ["one", "two"]
        full[0] = False
        await sidecar.acknowledged(3)
    assert shipped(tmp_path) == ["one", "two", "three"]
    assert all(check.ok for check in sidecar.status().checks)


async def test_a_checkpoint_that_is_a_directory_is_a_clear_error(tmp_path: Path) -> None:
    """It does not start, and names the path."""
    (tmp_path / "state" / "checkpoint").mkdir(parents=True)
    with pytest.raises(StartError, match="state/checkpoint cannot be read: Is a directory"):
        async with Sidecar(config(tmp_path)):
            pytest.fail("it has started")


async def test_a_read_only_disk_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start there is nothing to lose yet: it says what to do."""
    real = os.open

    def read_only(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY) and "state" in str(path):
            raise OSError(errno.EROFS, "Read-only file system")
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(StartError, match="Read-only file system; mount a volume there that"):
        async with Sidecar(config(tmp_path)):
            pytest.fail("it has started")


async def test_a_corrupt_checkpoint_repeats_and_loses_nothing(tmp_path: Path) -> None:
    """It is set aside, with an event; everything is read anew."""
    write(tmp_path, "one\ntwo\n")
    async with Sidecar(config(tmp_path)) as sidecar:
        await sidecar.acknowledged(2)
    (tmp_path / "state" / "checkpoint").write_bytes(random.randbytes(300))
    write(tmp_path, "three\n")
    async with Sidecar(config(tmp_path)) as sidecar:
        await sidecar.acknowledged(3)
        assert value(sidecar, "checkpoints_total", outcome="unreadable") == 1
    assert (tmp_path / "state" / "checkpoint.corrupt").exists()
    assert shipped(tmp_path) == ["one", "two", "one", "two", "three"]


# --- the logs' directory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["directory", "file"])
async def test_what_may_not_be_read_is_said_and_read_later(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory or a file that may not be read at the start is named in an event, and read as soon as it may."""
    write(tmp_path, "one\n")
    denied = str(tmp_path / "logs") if what == "directory" else str(tmp_path / "logs" / "app.log")
    allowed = [False]

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *more: Any, **named: Any) -> Any:
            if str(path) == denied and not allowed[0]:
                raise PermissionError(errno.EACCES, "Permission denied")
            return real(path, *more, **named)

        return call

    monkeypatch.setattr(os, "open", guarded(os.open))
    monkeypatch.setattr(os, "scandir", guarded(os.scandir))
    monkeypatch.setattr(tail_module, "RELOOK", 3600.0 if what == "file" else 0.05)
    async with Sidecar(config(tmp_path)) as sidecar:
        assert value(sidecar, "file_events_total", what="unreadable") == 1
        await asyncio.sleep(0.05)
        allowed[0] = True
        os.chmod(denied, 0o755)  # noqa: PTH101 - which is what the kernel tells
        await sidecar.acknowledged(1)
    assert shipped(tmp_path) == ["one"]


# --- what is in the logs ----------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
def test_a_line_of_a_gigabyte(tmp_path: Path) -> None:
    """It is cut, marked and counted; memory stays bounded, and the lines behind it arrive."""
    (tmp_path / "logs").mkdir()
    with (tmp_path / "logs" / "a.log").open("wb") as file:
        file.write(b"first\nlong")
        file.truncate(1 << 30)  # a hole: NULs for who reads it
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    with Receiver() as receiver, Shipper(tmp_path, f'{{type: http, url: "{receiver.url}"}}') as shipper:
        shipper.start()
        receiver.wait_for(3, 40)
        assert shipper.peak() < 96 << 20
        (altered,) = shipper.events("sidecar.line.altered")
        assert (altered["reason"], altered["lines"]) == ("truncated", 1)
        assert shipper.end() == 0
    long = next(message for message in receiver.messages if message.startswith("long"))
    assert len(long) == 262_144 + len("...[truncated]")
    assert long.endswith("\0...[truncated]")
    assert set(receiver.messages) == {"first", long, "last"}


async def test_a_log_in_another_encoding_is_said_once_in_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line is counted; the sidecar has one log line about all of them, and a later one with the sum."""
    async with Sidecar(config(tmp_path)) as sidecar:
        said: list[int] = []
        monkeypatch.setattr(sidecar.events._log, "warning", lambda _event, **facts: said.append(facts["lines"]))
        for number in range(1, 6):
            write(tmp_path, b"caf\xe9\n")
            await sidecar.acknowledged(number)
        assert said == [1]
        monkeypatch.setattr("podpatterns.sidecar.events.ANNOUNCE", 0.0)
        write(tmp_path, b"caf\xe9\n")
        await sidecar.acknowledged(6)
        assert said == [1, 5]
        assert value(sidecar, "altered_lines_total", reason="not_text") == 6


async def test_bytes_of_every_kind(tmp_path: Path) -> None:
    """NULs are kept; what is not UTF-8 becomes U+FFFD, and is counted; the neighbours are untouched."""
    write(tmp_path, b"a\0b\n" + bytes(range(256)).replace(b"\n", b"") + b"\n\xff\xfe\nlast\n")
    async with Sidecar(config(tmp_path)) as sidecar:
        await sidecar.acknowledged(4)
        assert value(sidecar, "altered_lines_total", reason="not_text") == 2
    nul, every, broken, last = shipped(tmp_path)
    assert (nul, broken, last) == ("a\0b", "\ufffd\ufffd", "last")
    assert every == bytes(range(256)).replace(b"\n", b"").decode("utf-8", "replace")


async def test_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By years, back and forth, at every look at it: what waits is measured by another clock, and ids stay unique."""
    jumps = itertools.cycle([0, -(10**9), 10**9, -1, 3600])
    real, real_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: max(0.0, real() + next(jumps)))
    monkeypatch.setattr(time, "time_ns", lambda: max(0, real_ns() + next(jumps) * 10**9))
    count = 0
    for life in range(3):
        async with Sidecar(config(tmp_path)) as sidecar:
            for number in range(5):
                write(tmp_path, f"{life} {number}\n")
                count += 1
                await sidecar.acknowledged(count)
            (tmp_path / "logs" / "app.log").rename(tmp_path / "logs" / f"app.log.{3 - life}")
    assert shipped(tmp_path) == [f"{life} {number}" for life in range(3) for number in range(5)]
    assert all(check.ok for check in sidecar.status().checks)


# --- the end of the grace ---------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
def test_the_end_of_the_grace_with_a_full_backlog(tmp_path: Path) -> None:
    """The store takes a little and then nothing: SIGTERM ends in time, and the next process goes on exactly there."""
    lines, grace = 60_000, 5.0
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_text("".join(f"line {number:06d} {'x' * 80}\n" for number in range(lines)))
    more = "memory: 512KiB\n  batch: 64KiB"
    output = "{{type: http, url: '{}'}}"
    with (
        Receiver() as receiver,
        Shipper(tmp_path, output.format(receiver.url), more=more, grace=f"{grace:g}s") as shipper,
    ):
        receiver.quota = 10
        shipper.start()
        assert receiver.refused.wait(20)
        before = dict(receiver.messages)
        began = time.monotonic()
        assert shipper.end() == 1, "it says that it could not finish"
        assert time.monotonic() - began < grace + 3
        assert len(shipper.events("runtime.service.drain_cut_short")) == 1
        assert receiver.messages == before
        receiver.quota = None
        shipper.start()
        receiver.wait_for(lines)
        until(lambda: shipper.ask("/ledger")["total"]["acknowledged"] == lines, 10)
        assert shipper.end() == 0
    assert 0 < len(before) < lines
    assert set(receiver.messages.values()) == {1}, "nothing is sent twice"
