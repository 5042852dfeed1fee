"""Rotation every 50 ms with five writers: what is renamed, copied, deleted or swapped away is read to its end."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.sidecar.counting import Receiver, Shipper, until

WRITERS = 5
EVERY = 0.05
ROTATIONS = 20
LINE = b"writer %d line %08d ..........\n"
LENGTH = len(LINE % (0, 0))

pytestmark = pytest.mark.timeout(90)


class Writer(threading.Thread):
    """Writes numbered lines of one length, and rotates its file."""

    def __init__(self, number: int, directory: Path, shipper: Shipper, rotate: Callable[[Writer], None]) -> None:
        super().__init__()
        self.number, self.shipper = number, shipper
        self.path = directory / f"{number}.log"
        self.count = self.rotations = 0
        self.error: BaseException | None = None
        self._rotate = rotate
        self.file = self.open(self.path)

    def open(self, path: Path) -> Any:
        return path.open("ab", buffering=0)

    def run(self) -> None:
        try:
            for _ in range(ROTATIONS):
                end = time.monotonic() + EVERY
                while time.monotonic() < end:
                    self.write(7)
                    time.sleep(0.003)
                self._rotate(self)
                self.rotations += 1
            self.write(1)
            self.file.close()
        except BaseException as error:  # for the test to raise
            self.error = error
            raise

    def write(self, lines: int) -> None:
        self.file.write(b"".join(LINE % (self.number, self.count + i) for i in range(lines)))
        self.count += lines

    def has_been_opened(self) -> None:
        """Wait until the sidecar has opened the file that is written now: what it never saw, nobody can read."""
        status = os.fstat(self.file.fileno())
        assert self.shipper.process is not None
        open_files = Path(f"/proc/{self.shipper.process.pid}/fd")

        def found() -> bool:
            for each in open_files.iterdir():
                try:
                    if os.path.samestat(each.stat(), status):
                        return True
                except FileNotFoundError:
                    continue
            return False

        until(found, 20, lambda: f"{self.path} has not been opened")


def move_up(writer: Writer) -> None:
    """As logrotate does: every name moves up by one."""
    for number in range(writer.rotations, 0, -1):
        old = writer.path.with_name(f"{writer.path.name}.{number}")
        old.rename(writer.path.with_name(f"{writer.path.name}.{number + 1}"))


def rename(writer: Writer) -> None:
    move_up(writer)
    writer.path.rename(writer.path.with_name(f"{writer.path.name}.1"))
    writer.write(3)  # who writes does not know yet
    writer.file.close()
    writer.file = writer.open(writer.path)


def delete(writer: Writer) -> None:
    writer.has_been_opened()
    writer.path.unlink()
    writer.write(3)
    writer.file.close()
    writer.file = writer.open(writer.path)


def swap(writer: Writer) -> None:
    """The name is a symlink, and leads to another file from now on; the old one goes."""
    writer.has_been_opened()
    data = writer.path.parent.parent / "data"
    data.mkdir(exist_ok=True)
    old = writer.path.resolve()
    new = data / f"{writer.number}-{writer.rotations}"
    file = writer.open(new)
    link = data / f"link-{writer.number}"
    link.symlink_to(new)
    link.rename(writer.path)
    if old != writer.path:
        old.unlink()
    writer.write(3)
    writer.file.close()
    writer.file = file


def copytruncate(writer: Writer) -> None:
    move_up(writer)
    shutil.copyfile(writer.path, writer.path.with_name(f"{writer.path.name}.1"))
    os.truncate(writer.path, 0)


def storm(tmp_path: Path, rotate: Callable[[Writer], None]) -> tuple[Receiver, int, dict[str, Any]]:
    """Returns the receiver, the number of lines that were written, and the sidecar's ledger at the end."""
    logs = tmp_path / "logs"
    logs.mkdir()
    tail = f'{{type: tail, paths: ["{logs}/*.log"], release: 300ms}}'
    with Receiver() as receiver, Shipper(tmp_path, f'{{type: http, url: "{receiver.url}"}}', tail=tail) as shipper:
        shipper.start()
        writers = [Writer(number, logs, shipper, rotate) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
            assert writer.error is None
        written = sum(writer.count for writer in writers)

        def done() -> bool:
            total = shipper.ask("/ledger")["total"]
            lost = sum(total["lost_bytes"].values()) // LENGTH
            return total["in_flight"] == 0 and total["acknowledged"] + lost >= written

        with suppress(AssertionError):  # the test says what is missing
            until(done, 30)
        total = shipper.ask("/ledger")["total"]
        shipper.end()
    return receiver, written, total


@pytest.mark.parametrize("rotate", [rename, delete, swap, copytruncate])
def test_no_line_is_lost_and_none_repeated(tmp_path: Path, rotate: Callable[[Writer], None]) -> None:
    """Files are read to their ends, also what is written to them afterwards; what was copied is read in the copy."""
    receiver, written, total = storm(tmp_path, rotate)
    assert len(receiver.messages) == written
    assert set(receiver.messages.values()) == {1}
    assert (total["acknowledged"], total["lost_bytes"]) == (written, {})


def test_what_is_truncated_away_is_counted(tmp_path: Path) -> None:
    """While the store is down, reading waits; lines written = lines that arrive, once, + lines counted as lost."""
    logs = tmp_path / "logs"
    logs.mkdir()
    log = logs / "a.log"
    log.touch()
    written = 0

    def write(lines: int) -> None:
        nonlocal written
        with log.open("ab") as file:
            file.write(b"".join(LINE % (0, written + number) for number in range(lines)))
        written += lines

    more = "memory: 128KiB\n  batch: 32KiB"
    with Receiver() as receiver, Shipper(tmp_path, f'{{type: http, url: "{receiver.url}"}}', more=more) as shipper:
        receiver.up.clear()
        shipper.start()

        def seen() -> bool:
            return any(source["size"] == log.stat().st_size for source in shipper.ask("/ledger")["sources"])

        for lines in (20_000, 1_000, 500):
            write(lines)
            until(seen, 20)
            os.truncate(log, 0)
        write(10)
        receiver.up.set()

        def lost() -> int:
            return int(sum(shipper.ask("/ledger")["total"]["lost_bytes"].values()))

        until(lambda: shipper.ask("/ledger")["total"]["acknowledged"] + lost() / LENGTH == written, 20)
        assert lost() > 0
        assert len(receiver.messages) + lost() / LENGTH == written
        assert set(receiver.messages.values()) == {1}
        assert len(shipper.events("sidecar.file.truncated")) == 3
        assert shipper.end() == 0


def test_files_that_come_and_go_while_the_store_is_down(tmp_path: Path) -> None:
    """Reading waits, but what is new is opened: it is there when reading goes on, although its name is not."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.log").write_bytes(b"".join(LINE % (0, number) for number in range(20_000)))
    more = "memory: 128KiB\n  batch: 32KiB"
    with Receiver() as receiver, Shipper(tmp_path, f'{{type: http, url: "{receiver.url}"}}', more=more) as shipper:
        receiver.up.clear()
        shipper.start()
        assert receiver.refused.wait(20)
        for number in range(1, 6):
            log = logs / f"{number}.log"
            log.write_bytes(LINE % (number, 0))
            until(lambda log=log: any(each["source"] == str(log) for each in shipper.ask("/ledger")["sources"]), 20)
            log.unlink()
        receiver.up.set()
        receiver.wait_for(20_005)
        assert shipper.end() == 0
    assert set(receiver.messages.values()) == {1}
