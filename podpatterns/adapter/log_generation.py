"""One file that has, or had, a log's name: how much there is of it, how much has been taken, and which file it is."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import msgspec

from podpatterns.formats.rotation import PREFIX, hashed

RELEASE = 60.0
"""Seconds without growth before nothing more is expected of a file that has lost its name: its writer may not have
noticed yet."""

Key = tuple[int, int]
"""Device and inode."""


class Position(msgspec.Struct):
    """How far a file has been taken: which one, by device, inode and its first bytes, and up to which byte."""

    dev: int
    ino: int
    offset: int
    head: tuple[int, str]
    """Length and hash of the first bytes."""


class Generation:
    """An open file. All before `offset` has been taken. Closes the descriptor in `close`, and only there."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        """The name that it is followed by, whatever it is called by now."""
        self.descriptor = descriptor
        status = os.fstat(descriptor)
        self.key: Key = (status.st_dev, status.st_ino)
        self.offset = self.size = 0
        self.seen = 0
        """The last byte that has been offered."""
        self.skipping = False
        """In the middle of a line of which nothing more is wanted."""
        self.away = False
        """Its name is another one's by now, or nobody's."""
        self.changed = time.monotonic()
        """When it has last grown, or lost its name."""
        self.head = b""
        self._written = 0
        self._anew = False
        self.look()

    def __repr__(self) -> str:
        return f"<Generation of {self.path}: {self.offset} of {self.size}{', away' if self.away else ''}>"

    def look(self) -> bool:
        """How large it is by now; False if it no longer holds what it held: it was truncated, and perhaps refilled."""
        status = os.fstat(self.descriptor)
        size = status.st_size
        if size == self.size and status.st_mtime_ns == self._written:
            return True
        head = os.pread(self.descriptor, PREFIX, 0)
        if size < self.size or not head.startswith(self.head):
            return False
        self._written = status.st_mtime_ns
        if size != self.size:
            self.size, self.head, self.changed = size, head, time.monotonic()
        return True

    def read(self, size: int) -> bytes:
        """What has not been taken, up to so many bytes."""
        data = os.pread(self.descriptor, size, self.offset)
        if self._anew and not self.offset and data.startswith(b"\0"):
            # A writer that does not append goes on at its old position in a truncated file: before that is a hole.
            with suppress(OSError):  # nothing but a hole, or a file system that knows of none
                self.offset = os.lseek(self.descriptor, 0, os.SEEK_DATA)
                data = os.pread(self.descriptor, size, self.offset)
            text = data.lstrip(b"\0")
            self.offset += len(data) - len(text)
            data = text
        if self.skipping:
            begin = data.find(b"\n") + 1
            self.skipping = not begin
            self.offset += begin or len(data)
            data = data[begin:] if begin else b""
        return data

    def pass_over(self) -> None:
        """Begin at its end; a line that is being written began before, and is not half taken."""
        self.offset = self.seen = self.size
        self.skipping = self.size > 0 and os.pread(self.descriptor, 1, self.size - 1) != b"\n"

    def begin_anew(self) -> None:
        """Read it from its beginning: it was truncated."""
        self.offset = self.size = self.seen = 0
        self.head, self.skipping, self._anew = b"", False, True
        self.look()

    def go_on(self, other: Generation) -> None:
        """Take it from where the other one is, of which it is a copy."""
        self.offset, self.skipping = other.offset, other.skipping

    @property
    def quiet(self) -> bool:
        """Whether nobody is expected to write to it any more."""
        return self.away and time.monotonic() - self.changed > RELEASE

    @property
    def position(self) -> Position:
        """For a restart."""
        head = self.head[: self.offset]
        return Position(*self.key, self.offset, (len(head), hashed(head)))

    def is_at(self, position: Position) -> bool:
        """Whether this is the file that had been taken up to there."""
        length, digest = position.head
        where = position.dev, position.ino
        return self.key == where and self.size >= position.offset and hashed(self.head[:length]) == digest

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)
        self.descriptor = -1


class Piece:
    """Whole lines of a file, each with its newline; or a line without one, because it has none or is too long."""

    __slots__ = ("_file", "data", "grown")

    def __init__(self, file: Generation, data: bytes, *, grown: bool) -> None:
        self._file, self.data = file, data
        self.grown = grown
        """Whether there is more than the last time that this was offered."""

    def take(self, size: int) -> None:
        """So many bytes of it, whole lines, are not offered again."""
        self._file.offset += size
