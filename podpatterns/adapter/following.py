"""Following files that are written to: whole lines of what is new, through rotation by rename and by truncation.

Files are known by device and inode, so that a file which rotation has renamed is read to its end and not a second time.
There is no checkpoint: what is counted here lives in memory, and ends with the process.
"""

from __future__ import annotations

import asyncio
import glob
import os
import stat
from collections.abc import Callable, Iterator, Sequence

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.framing import Lines
from podpatterns.adapter.inputs import Input
from podpatterns.runtime.service import Deadline

PIECE = 64 * 1024
"""Bytes read at a time: what is made of them stays in the processor's cache. Other tasks get their turn between two
pieces, and a longer line is cut."""

EVERY = 0.25
"""Seconds between two looks at the files, for there is no portable way to be told."""

LINGER = 5.0
"""Seconds for which a file that is no longer there, or has another name, is read on: who writes may still have it."""


class Followed:
    """One file, open; `gone` is when it was found to have left, None while it is there."""

    def __init__(self, path: str, descriptor: int, *, at_end: bool) -> None:
        self.path, self._descriptor = path, descriptor
        self.gone: float | None = None
        self._at = 0
        self._rest = b""
        self._skipping = False
        size = os.fstat(descriptor).st_size
        if at_end and size:
            self._at = size
            # What is being written now began before; it is not half counted.
            self._skipping = os.pread(descriptor, 1, size - 1) != b"\n"

    def read(self, truncated: Callable[[str], None]) -> bytes:
        """Whole lines, up to some size; nothing at the end of the file."""
        if os.fstat(self._descriptor).st_size < self._at:
            truncated(self.path)
            self._at, self._rest, self._skipping = 0, b"", False
        data = os.pread(self._descriptor, PIECE, self._at)
        self._at += len(data)
        if self._skipping:
            _, newline, data = data.partition(b"\n")
            self._skipping = not newline
        if not data:
            return b""
        data = self._rest + data
        whole, newline, self._rest = data.rpartition(b"\n")
        if len(self._rest) > PIECE:
            whole, self._rest = data, b""
        return whole + newline

    def close(self) -> bytes:
        """Close it; returns a last line that has no end."""
        os.close(self._descriptor)
        return self._rest


class Following(Input):
    """Feeds what is appended to files; `paths` may hold wildcards. Files that come later are read as a whole."""

    def __init__(self, noun: str, paths: Sequence[str], at_end: bool, lines: Lines, events: AdapterEvents) -> None:
        self.name = f"{noun} input from {', '.join(paths)}"
        self._noun, self._paths, self._at_end = noun, paths, at_end
        self._lines, self._events = lines, events
        self._files: dict[tuple[int, int], Followed] = {}

    async def start(self) -> None:
        """Open what is there; files may also come later."""
        self._look(at_end=self._at_end)

    async def run(self) -> None:
        """Look, read, and wait, until cancelled."""
        while True:
            self._look(at_end=False)
            await self._read()
            await asyncio.sleep(EVERY)

    async def drain(self, deadline: Deadline) -> None:
        """Read to the end of every file, lines without an end included."""
        self._look(at_end=False)
        if deadline.remaining:
            await self._read()

    async def stop(self) -> None:
        """Close every file."""
        for key in list(self._files):
            self._close(key)

    def _close(self, key: tuple[int, int]) -> None:
        if rest := self._files.pop(key).close():
            self._lines.feed(rest)

    async def _read(self) -> None:
        for key, file in list(self._files.items()):
            while data := file.read(lambda path: self._events.file_truncated(self._noun, path)):
                self._lines.feed(data)
                await asyncio.sleep(0)
            if file.gone is not None and asyncio.get_running_loop().time() - file.gone > LINGER:
                self._close(key)

    def _look(self, *, at_end: bool) -> None:
        """Open files that are new, and note which have gone."""
        there = set()
        for path in self._found():
            try:
                key = self._open(path, at_end=at_end)
            except FileNotFoundError:
                continue  # it may come later, or has just gone
            except OSError as error:
                self._events.collect_failed(self._noun, f"{path}: {error.strerror or error}")
                continue
            there.add(key)
        now = asyncio.get_running_loop().time()
        for key, file in self._files.items():
            file.gone = None if key in there else file.gone or now

    def _open(self, path: str, *, at_end: bool) -> tuple[int, int]:
        """Open a file that is not open yet; returns what it is known by. Raises OSError."""
        about = os.stat(path)  # noqa: PTH116 - what is looked at four times a second needs no object
        key = about.st_dev, about.st_ino
        if key in self._files:
            self._files[key].path = path
            return key
        if not stat.S_ISREG(about.st_mode):
            return key
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        about = os.fstat(descriptor)  # a rotation may have come in between
        key = about.st_dev, about.st_ino
        if key in self._files or not stat.S_ISREG(about.st_mode):
            os.close(descriptor)
            return key
        self._files[key] = Followed(path, descriptor, at_end=at_end)
        self._events.file_opened(self._noun, path)
        return key

    def _found(self) -> Iterator[str]:
        for path in self._paths:
            if glob.has_magic(path):
                yield from sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
            else:
                yield path
