"""A log file that the application writes, followed through its rotation.

This follows one file, whose lines are written anew at once. A sidecar's `tail` does more: many files, deliveries that
are acknowledged later, copies that were compressed in the meantime.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from podpatterns.adapter.log_stream import CHUNK, LogStream
from podpatterns.adapter.logs import LogConfig, LogContext
from podpatterns.errors import StartError
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration

HEAD = 1024
"""Bytes at the start of a file that tell it from another one with its inode, and show what is a copy of it."""
KEEP = 1.0
"""Seconds between two times that the position is written down."""
RELEASE = 60.0
"""Seconds without growth before a file that was rotated away is let go of: its writer may not have noticed yet."""
_ROTATED = (".", "-", "_")
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4")


class FileConfig(LogConfig, frozen=True, kw_only=True):
    """A log file on a volume that the application and the adapter share.

    Rotation by renaming and by copying and truncating are both followed; a file that is not there yet is waited for.
    """

    READS: ClassVar[frozenset[str]] = frozenset({"path"})
    WRITES: ClassVar[frozenset[str]] = frozenset({"position"})
    PRIVATE: ClassVar[frozenset[str]] = WRITES
    EXAMPLE: ClassVar[str] = "{type: file, path: /var/log/shop/shop.log, format: python, unparsed: join}"

    path: Annotated[str, msgspec.Meta(min_length=1)]
    """The file that the application writes to."""

    position: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """A file that remembers how far has been written, on a volume that outlives the container (an emptyDir does). It is
    kept up every second; after a kill at most that much is written twice. None: a restart begins at the beginning."""

    poll: Duration = Duration("100ms")
    """How often the file is looked at while nothing comes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.poll:
            raise InvalidField("poll", 'must be longer than "0s"')
        if self.output.path == self.path:
            raise InvalidField("output.path", "is the file that is read; write to another one")

    def build(self, context: LogContext) -> File:
        """The log."""
        return File(self, context)

    @property
    def where(self) -> str:
        """Where it comes from."""
        return self.path


class Position(msgspec.Struct):
    """How far a file has been written anew: which one, by device, inode and its first bytes, and up to which byte."""

    dev: int
    ino: int
    offset: int
    head: tuple[int, str]


class Generation:
    """One file that has, or had, the name. All before `offset` has been written anew."""

    def __init__(self, descriptor: int, offset: int = 0) -> None:
        self.descriptor, self.offset = descriptor, offset
        status = os.fstat(descriptor)
        self.key = status.st_dev, status.st_ino
        self.size = status.st_size
        self.seen = 0
        """The last byte that has been looked at."""
        self.skipping = False
        """In the middle of a line that was too long."""
        self.rotated = False
        self.still_since = time.monotonic()
        self.head = b""

    def look(self) -> None:
        """How large it is by now, and how it begins."""
        self.size = os.fstat(self.descriptor).st_size
        if len(self.head) < HEAD:
            self.head = os.pread(self.descriptor, HEAD, 0)

    def position(self) -> Position:
        """For a restart."""
        head = self.head[: self.offset]
        return Position(*self.key, self.offset, (len(head), _hash(head)))

    def is_at(self, position: Position) -> bool:
        """Whether this is the file that had been read up to there."""
        length, digest = position.head
        return (
            self.key == (position.dev, position.ino)
            and self.size >= position.offset
            and _hash(os.pread(self.descriptor, length, 0)) == digest
        )


class File(LogStream):
    """Reads every generation of the file to its end, the oldest first."""

    config: FileConfig

    def __init__(self, config: FileConfig, context: LogContext) -> None:
        super().__init__(config, context)
        self._files: list[Generation] = []
        self._others: set[tuple[int, int]] = set()
        """What lies beside the file, and is nothing that the file has been while we were here."""
        self._missing = False
        self._saved: tuple[float, Position | None] = float("-inf"), None

    async def start(self) -> None:
        """Open what is written to, and find the place to go on from. Raises StartError."""
        await super().start()
        position = self._position()
        names = list(self._beside())
        if position is None:
            self._others = set(filter(None, map(_key, names)))
            return
        for name in [self.config.path, *names]:
            file = self._opened(name)
            if file is not None and file.is_at(position):
                file.offset = position.offset
                # What is older is no generation that comes after it.
                older = names[: names.index(name)] if name in names else names
                self._others = set(filter(None, map(_key, older)))
                self._follow(file, name)
                return
            if file is not None:
                os.close(file.descriptor)
        self._events.gone(self._context.name, self.config.path)

    def _position(self) -> Position | None:
        if self.config.position is None:
            return None
        path = Path(self.config.position)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return msgspec.json.decode(path.read_bytes(), type=Position)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StartError(
                f"the position {path} cannot be read: {error.strerror}; "
                f"it must be readable and writable for uid {os.getuid()}"
            ) from None
        except msgspec.DecodeError:
            raise StartError(f"{path} holds no position; remove it, and the log is read from its beginning") from None

    # --- which files ----------------------------------------------------------------------------------------------

    def _opened(self, name: str) -> Generation | None:
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return None
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return Generation(descriptor)
        os.close(descriptor)
        return None

    def _beside(self) -> Iterator[str]:
        """The names that rotation has given to what the file was, the file that was written to longest ago first."""
        folder, name = os.path.split(self.config.path)
        found: list[tuple[int, str]] = []
        try:
            entries = list(os.scandir(folder or "."))
        except OSError:
            return
        for entry in entries:
            if entry.name.startswith(tuple(name + sign for sign in _ROTATED)) and not entry.name.endswith(_PACKED):
                try:
                    found.append((entry.stat().st_mtime_ns, entry.path))
                except OSError:
                    continue  # renamed once more since
        yield from (path for _, path in sorted(found))

    def _look(self) -> bool:
        """Find what the file is by now, and what it has been since the last look; True if there is something new."""
        followed = {file.key for file in self._files}
        key = _key(self.config.path)
        if key is None and not self._files and not self._missing:
            self._missing = True
            self._events.missing(self._context.name, self.config.path)
        if key is None or key in followed:
            return False  # before the new one is there, nothing has taken the place of the old one
        for name in self._beside() if self._files else ():
            between = _key(name)
            if between is None or between in followed or between in self._others:
                continue
            file = self._opened(name)
            if file is not None and self._is_copy(file):
                os.close(file.descriptor)
                self._others.add(between)
            elif file is not None:
                self._follow(file, name)
        file = self._opened(self.config.path)
        if file is None:
            return False
        self._others.discard(file.key)
        self._follow(file, self.config.path)
        return True

    def _follow(self, file: Generation, name: str) -> None:
        for old in self._files:
            if not old.rotated:
                old.rotated, old.still_since = True, time.monotonic()
                self._events.rotated_away(self._context.name, self.config.path)
        file.look()
        self._files.append(file)
        self._events.opened(self._context.name, name, file.offset)

    def _is_copy(self, file: Generation) -> bool:
        """Whether copytruncate has made it of a file that is followed."""
        file.look()
        return any(other.head and file.head.startswith(other.head) for other in self._files)

    def _truncated(self, file: Generation) -> None:
        """What had not been read is in the copy, if there is one; the file begins anew."""
        lost = file.size - file.offset  # as far as is known
        old, file.head = file.head, b""
        for name in self._beside() if old else ():
            copy = self._opened(name)
            if copy is None:
                continue
            copy.look()
            if copy.head.startswith(old) and copy.size >= file.offset and copy.key not in self._others:
                copy.offset, copy.rotated = file.offset, True
                self._files.insert(self._files.index(file), copy)
                lost = 0
                break
            os.close(copy.descriptor)
        self._others.update(filter(None, map(_key, self._beside())))
        self._events.truncated(self._context.name, self.config.path, max(0, lost))
        file.offset = file.seen = 0
        file.skipping = False
        file.look()

    # --- reading --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the file until there is a drain, then to its end."""
        while True:
            draining = self._draining.is_set()
            if await self._pass(final=False):
                continue
            if self._look():
                continue
            if draining:
                break
            self._keep()
            self._release()
            await self.wait(self.config.poll)
        while await self._pass(final=True):
            pass
        self._keep(now=True)
        self._drained.set()
        await asyncio.Event().wait()

    async def _pass(self, *, final: bool) -> bool:
        """Take in a piece of the first file that has one; False if none has."""
        for file in list(self._files):
            before = file.size
            status = os.fstat(file.descriptor)
            if status.st_size < max(file.offset, before):
                self._truncated(file)
                return True
            file.look()
            if file.size != before:
                file.still_since = time.monotonic()
            if await self._read(file, final=final):
                return True
        return False

    async def _read(self, file: Generation, *, final: bool) -> bool:
        data = os.pread(file.descriptor, 2 * CHUNK, file.offset)
        if file.offset + len(data) != file.seen:
            file.seen = file.offset + len(data)
            self.grown()
        elif not final and not self.too_long_held():
            return False
        if not data:
            return False
        end = data.rfind(b"\n") + 1
        if file.skipping:
            begin = data.find(b"\n") + 1
            file.skipping = not begin
            file.offset += begin or len(data)
            return True
        if end:
            written = await self.pass_on(data[:end], final=final or self.too_long_held())
            file.offset += written
            return written > 0
        if len(data) == 2 * CHUNK or final:
            # A line that goes on and on is cut, and its rest passed over; one that was not ended is the last one.
            await self.pass_on(data + b"\n", final=True)
            file.offset += len(data)
            file.skipping = not final
            return True
        return False

    def _release(self) -> None:
        for file in self._files[:-1]:
            if file.rotated and file.offset == file.size and time.monotonic() - file.still_since > RELEASE:
                os.close(file.descriptor)
                self._files.remove(file)

    def _keep(self, *, now: bool = False) -> None:
        """Write down how far has been written, if that has changed."""
        if self.config.position is None or not self._files:
            return
        saved, last = self._saved
        if not now and time.monotonic() - saved < KEEP:
            return
        behind = next((file for file in self._files if file.offset < file.size), self._files[-1])
        position = behind.position()
        if position == last:
            return
        path = Path(self.config.position)
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            temporary.write_bytes(msgspec.json.encode(position))
            temporary.replace(path)
        except OSError as error:
            self._events.position_failed(self._context.name, str(path), error)
        self._saved = time.monotonic(), position

    async def stop(self) -> None:
        """Close everything; how far has been written is kept."""
        self._keep(now=True)
        for file in self._files:
            os.close(file.descriptor)
        self._files.clear()
        await super().stop()


def _key(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - a plain path, as it is configured
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()
