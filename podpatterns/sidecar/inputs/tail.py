"""Log files: found by pattern, followed through every kind of rotation, read from where the checkpoint stands."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from podpatterns.errors import StartError
from podpatterns.formats.lines import newline_is_plain
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.service import Check
from podpatterns.runtime.units import Duration, Size
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.files.discovery import Discovery, Found, neighbours
from podpatterns.sidecar.files.follower import BEFORE, Entry, Follower, Mark, Truncated, fresh, hashed
from podpatterns.sidecar.files.unpacked import SUFFIX, unpacked
from podpatterns.sidecar.inputs import Emit, Input, InputConfig, InputContext
from podpatterns.sidecar.ledger import Account

_ROTATED = re.compile(r"([.-]\d+)+$")
LOOK = 1.0
"""Seconds between two looks for new files while nothing else calls for one."""
LOOKS = 20
"""Looks at a directory before a file of the checkpoint counts as gone."""

Path = Annotated[str, msgspec.Meta(min_length=1)]


class TailConfig(InputConfig, frozen=True, kw_only=True):
    """Follows log files. What rotation leaves is read to its end; a restart goes on where the checkpoint stands."""

    READS: ClassVar[frozenset[str]] = frozenset({"paths"})
    EXAMPLE: ClassVar[str] = "{type: tail, paths: [/var/log/app/*.log], exclude: ['*debug*']}"

    paths: Annotated[tuple[Path, ...], msgspec.Meta(min_length=1)]
    """Files to follow, as patterns with `*`, `?` and `[…]`; `**` in the directory part stands for any depth. A file
    that appears later is followed from its beginning."""

    exclude: tuple[Path, ...] = ()
    """Patterns of paths or names that are not read although `paths` matches them."""

    rotated: bool = True
    """Whether what rotation has left of a file (`name.1`, `name-20261123`) is read as well, as far as it has not been.
    On by default, because a file may be rotated away while the sidecar is not running. If it was compressed (`.gz`) in
    that time, what had not been read of it is; other compressed files are not read."""

    start: Annotated[str, msgspec.Meta(pattern="^(beginning|end)$")] = "beginning"
    """Where to begin with files that are there when the sidecar starts for the first time: `beginning`, because the
    application may have started before it, or `end`, to skip what is old. Files that appear later are read whole."""

    max_line: Size = Size("256KiB")
    """Bytes of a line that are kept; a longer line is cut, marked with `...[truncated]`, and counted. The default is
    far
    above what people write and keeps memory bounded."""

    encoding: str = "utf-8"
    """How the files are encoded, by a name that Python knows. Bytes that make no sense are replaced by U+FFFD, and
    counted. Encodings in which a newline is not the byte 0x0A, such as UTF-16, are refused."""

    file_field: str | None = "file"
    """The field that holds the file's path in each record; None for none."""

    poll: Duration = Duration("100ms")
    """How often the open files are looked at (one `fstat` each). Half of it is what polling adds to a line's way."""

    release: Duration = Duration("1m")
    """How long a file that was deleted or moved out of reach is held after its last line has been read and
    acknowledged:
    its writer may not have noticed yet."""

    hold: Duration = Duration("1s")
    """How long lines are kept back of which more may come, such as a stack trace that is being written, or a line that
    the container runtime has cut: since the file has last grown. Only with `multiline`, `format: cri` or `docker`."""

    def __post_init__(self) -> None:
        """Check what a pattern cannot say."""
        try:
            plain = newline_is_plain(self.encoding)
        except LookupError:
            raise InvalidField("encoding", f'Python knows no encoding "{self.encoding}"; write "utf-8"') from None
        if not plain:
            raise InvalidField("encoding", f"{self.encoding} is not supported: its newline is not the byte 0x0A")
        if not self.max_line:
            raise InvalidField("max_line", "a line needs at least one byte")
        if not self.poll:
            raise InvalidField("poll", "must be longer than 0s: the files are looked at in between")

    def build(self, context: InputContext) -> Tail:
        """The input."""
        return Tail(self, context)


class Tail(Input):
    """Follows files."""

    def __init__(self, config: TailConfig, context: InputContext) -> None:
        self.config = config
        self._events = context.events
        self._context = context
        self._read_bytes = context.events.read_bytes(context.name)
        self._discovery = Discovery(config.paths, config.exclude, config.rotated)
        self._files: dict[tuple[int, int], Follower] = {}
        self._ended: list[Follower] = []
        """Generations whose file was truncated: their last batches are still on their way, or a copy is being read."""
        self._complained: dict[str, str] = {}
        self._looked = float("-inf")
        self._draining = asyncio.Event()
        self._drained = asyncio.Event()

    # --- start ----------------------------------------------------------------------------------------------------

    async def start(self, entries: Any) -> None:
        """Find what the checkpoint knows, and what is new."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a descriptor per file
        known = msgspec.convert(entries or [], list[Entry])
        found = self._discovery.look()
        if not found:
            self._events.nothing_to_read(self.config.paths)
        self._resume(known, found)
        first_time = entries is None
        self._follow(found, at_end=first_time and self.config.start == "end")
        self._complain()

    def _resume(self, entries: list[Entry], found: list[Found]) -> None:
        """Match entries of the checkpoint with files, by what is in them. Raises StartError."""
        at = {(file.dev, file.ino): file.path for file in found}
        rest: list[Entry] = []
        for entry in sorted(entries, key=lambda entry: -entry.generation):
            key = entry.dev, entry.ino
            path = None if key in self._files else self._locate(entry, at.get(key))
            if path is None or not self._reopen(entry, path):
                rest.append(entry)
        for entry in rest:
            old = self._follower(entry, None)
            copy = self._adopt_copy(old) or self._adopt_compressed(old, entry)
            lost = old.unread if copy is None else 0
            if lost:
                old.account.lose("gone while not running", lost)
            if copy is None:
                self._context.retire(old.account)
            self._events.file_gone(entry.path, lost)

    def _locate(self, entry: Entry, path: str | None) -> int | None:
        """Open the file with the entry's inode, whatever its name is by now; None if there is none. Raises StartError.

        Rotation may be going on: a name that was seen may lead to another file by the time that it is opened, and a
        file that is renamed may be missing from one look at the directory. Hence several looks.
        """
        for _ in range(LOOKS):
            names = [name for name, *where in neighbours(entry.path) if where == [entry.dev, entry.ino]]
            for name in [path, *names] if path else names:
                descriptor = self._descriptor(name)
                if descriptor is None and name in self._discovery.unreadable:
                    raise StartError(
                        f"{name} cannot be read any more: {self._discovery.unreadable[name]}; "
                        f"the checkpoint knows unread lines in it, so give uid {os.getuid()} access to it"
                    )
                if descriptor is None:
                    continue
                status = os.fstat(descriptor)
                if (status.st_dev, status.st_ino) == (entry.dev, entry.ino):
                    return descriptor
                os.close(descriptor)
        return None

    def _reopen(self, entry: Entry, descriptor: int) -> bool:
        """Go on with a file; False if its contents are others, and a new generation of it has begun."""
        same = entry.describes(descriptor)
        key = entry.dev, entry.ino
        # The same inode with other contents: truncated, or used for another file. Either way a new generation.
        now = entry if same else fresh(entry.id, entry.generation + 1, entry.path, *key)
        self._files[key] = self._follower(now, descriptor)
        self._events.file_found(entry.path, now.offset)
        return same

    def _follower(self, entry: Entry, descriptor: int | None) -> Follower:
        field = self.config.file_field
        return Follower(
            entry,
            descriptor,
            limit=self.config.max_line,
            encoding=self.config.encoding,
            fields={field: entry.path} if field else {},
            held=self._context.held,
            hold=self.config.hold,
        )

    def _descriptor(self, path: str) -> int | None:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._discovery.unreadable[path] = error.strerror or str(error)
            return None

    # --- finding files --------------------------------------------------------------------------------------------

    def _follow(self, found: Iterable[Found], *, at_end: bool = False) -> bool:
        """Open what is new; True if there was something."""
        opened = False
        for file in found:
            if not file.size or (file.dev, file.ino) in self._files or self._is_copy(file):
                continue
            opened = self._open(file.path, at_end=at_end) or opened
        return opened

    def _open(self, path: str, *, at_end: bool) -> bool:
        descriptor = self._descriptor(path)
        if descriptor is None:
            return False
        status = os.fstat(descriptor)
        key = status.st_dev, status.st_ino
        if key in self._files:
            os.close(descriptor)  # renamed between the look and the opening
            return False
        # Unique for ever, as inodes are not: and on disk before the first line is delivered, so that it stays the same.
        entry = fresh(f"{key[0]:x}-{key[1]:x}-{time.time_ns():x}", 0, path, *key)
        entry.size = status.st_size
        if at_end:
            entry.offset = _last_line_end(descriptor, status.st_size)
            length = min(BEFORE, entry.offset)
            entry.before = length, hashed(os.pread(descriptor, length, entry.offset - length))
        self._files[key] = self._follower(entry, descriptor)
        self._events.file_found(path, entry.offset)
        return True

    def _is_copy(self, file: Found) -> bool:
        """Whether copytruncate is making, or has made, this file of one that is followed: its lines are read there."""
        for other in (*self._files.values(), *self._ended):
            if not (other.prefix and file.path != other.path and file.path.startswith(other.path)):
                continue
            descriptor = self._descriptor(file.path)
            if descriptor is None:
                return True
            try:
                if os.pread(descriptor, len(other.prefix), 0) == other.prefix:
                    return True
            finally:
                os.close(descriptor)
        return False

    def _adopt_copy(self, old: Follower) -> Follower | None:
        """After a truncation: read on in the copy that rotation has made, if there is one that holds what is unread."""
        entry = old.entry()
        for path, dev, ino in neighbours(old.path):
            if (dev, ino) in self._files or path == old.path or not path.startswith(old.path):
                continue
            descriptor = self._descriptor(path)
            if descriptor is None:
                continue
            size = os.fstat(descriptor).st_size
            if not size or not entry.describes(descriptor) or not old.move(descriptor, dev, ino, size):
                os.close(descriptor)
                continue
            self._files[dev, ino] = old
            return old
        return None

    def _adopt_compressed(self, old: Follower, entry: Entry) -> Follower | None:
        """The same for a copy that was compressed while the sidecar was not running. Raises StartError."""
        for path, _, _ in neighbours(old.path):
            if not (path.endswith(SUFFIX) and path.startswith(_stem(old.path))):
                continue
            descriptor = unpacked(path, entry, self._context.directory)
            if descriptor is None:
                continue
            status = os.fstat(descriptor)
            if old.move(descriptor, status.st_dev, status.st_ino, status.st_size):
                self._files[status.st_dev, status.st_ino] = old
                return old
            os.close(descriptor)
        return None

    def _truncated(self, old: Follower) -> None:
        key = old.dev, old.ino
        descriptor, old.descriptor = old.descriptor, None
        assert descriptor is not None
        size = old.size
        del self._files[key]
        entry = fresh(old.id, old.generation + 1, old.path, *key)
        self._files[key] = self._follower(entry, descriptor)
        copy = self._adopt_copy(old)
        lost = max(0, size - (copy.size if copy else old.offset))
        if lost:
            old.account.lose("truncated before it was read", lost)
        if copy is None:
            self._ended.append(old)
        self._events.file_truncated(old.path, lost, copy.path if copy else None)

    def _look(self, now: float) -> bool:
        """Look for files; True if a new one is followed."""
        self._looked = now
        found = self._discovery.look()
        here = {(file.dev, file.ino) for file in found}
        for key, file in self._files.items():
            if key in here:
                file.missing_since = None
            elif file.missing_since is None:
                file.missing_since = now
                self._events.file_rotated(file.path, file.unread)
        for old in [old for old in self._ended if old.acknowledged]:
            self._ended.remove(old)
            self._context.retire(old.account)
        new = self._follow(found)
        self._complain()
        return new

    def _complain(self) -> None:
        for path, reason in self._discovery.unreadable.items():
            if self._complained.get(path) != reason:
                self._events.file_unreadable(path, reason)
        self._complained = dict(self._discovery.unreadable)

    # --- reading --------------------------------------------------------------------------------------------------

    async def run(self, emit: Emit) -> None:
        """Read for ever; after `drain` was called, to the end of every file."""
        await self._context.persist()
        while not self._draining.is_set():
            now = time.monotonic()
            if now - self._looked >= LOOK and self._look(now):
                await self._context.persist()
            if not await self._pass(emit):
                await self._release(emit, now)
                await self._pause(self.config.poll)
        await self._finish(emit)
        self._drained.set()
        await asyncio.Event().wait()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._draining.wait()
        except TimeoutError:
            return

    async def _pass(self, emit: Emit, limits: Mapping[Follower, int] | None = None) -> bool:
        """One chunk of every file that has something; False if none had."""
        busy = False
        for file in list(self._files.values()):
            if limits is not None and file.offset >= limits.get(file, 0):
                continue
            try:
                got = file.read(time.monotonic())
            except Truncated:
                self._truncated(file)
                await self._context.persist()
                busy = True
                continue
            if got is not None:
                busy = True
                await self._hand_on(emit, got)
        return busy

    async def _hand_on(self, emit: Emit, got: tuple[Batch, Any]) -> None:
        batch, lines = got
        self._read_bytes.value += batch.end - batch.start
        if lines.truncated:
            self._events.lines_altered(batch.source.name, "truncated", lines.truncated)
        if lines.replaced:
            self._events.lines_altered(batch.source.name, "not_text", lines.replaced)
        await emit(batch)
        await asyncio.sleep(0)  # reading never waits for the disk; the others need their turn

    async def _finish(self, emit: Emit) -> None:
        """To the end of every file as it is now, then the lines that have no end."""
        for _ in range(2):  # the second time for what was written, or rotated, during the first
            if self._look(time.monotonic()):
                await self._context.persist()
            limits = {
                file: os.fstat(file.descriptor).st_size for file in self._files.values() if file.descriptor is not None
            }
            while await self._pass(emit, limits):
                # A truncated file has a new follower; it is read to its end as well.
                limits.update((file, file.offset + 1) for file in self._files.values() if file not in limits)
        for file in self._files.values():
            if not file.unread:
                continue
            got = file.read(time.monotonic(), final=True)
            while got is not None:
                await self._hand_on(emit, got)
                got = file.read(time.monotonic(), final=True)

    async def _release(self, emit: Emit, now: float) -> None:
        """Let go of files that are gone, once all that was in them is safe."""
        for key, file in list(self._files.items()):
            if file.missing_since is None or not file.at_end or not file.acknowledged:
                continue
            if now - max(file.grown_at, file.missing_since) < self.config.release:
                continue
            got = file.read(now, final=True)
            if got is not None:
                await self._hand_on(emit, got)  # the writer is gone, and has left a line without its end
                continue
            file.close()
            del self._files[key]
            self._context.retire(file.account)
            self._context.touch()
            self._events.file_closed(file.path)

    async def drain(self) -> None:
        """Read to the end; return when everything has been emitted."""
        self._draining.set()
        await self._drained.wait()

    def commit(self, batch: Batch, dead: int) -> None:
        """A batch is settled."""
        mark: Mark = batch.mark
        mark.follower.commit(batch, dead)

    # --- what it says ---------------------------------------------------------------------------------------------

    def _all(self) -> Iterator[Follower]:
        yield from self._files.values()
        yield from self._ended

    def snapshot(self) -> list[Entry]:
        """An entry per file."""
        return [file.entry() for file in self._all()]

    def accounts(self) -> Iterable[tuple[str, Account, Mapping[str, Any]]]:
        """One per file and generation."""
        for file in self._all():
            more = {
                "generation": file.generation,
                "committed": file.committed,
                "read_to": file.offset,
                "size": file.size,
            }
            yield file.path, file.account, more

    def checks(self) -> Iterable[Check]:
        """Every file has been read to its end."""
        behind = [file for file in self._files.values() if file.descriptor is not None and _behind(file)]
        detail = ", ".join(f"{file.path}: {_behind(file)} bytes unread" for file in behind[:3])
        yield Check("every file read to its end", not behind, detail)

    async def stop(self) -> None:
        """Close every file; what they held stays in the checkpoint."""
        for file in self._files.values():
            file.close()


def _stem(path: str) -> str:
    """What all names begin with that rotation may give to a file: `app.log` of `app.log.1` and `app.log-20261123`."""
    return _ROTATED.sub("", path)


def _behind(file: Follower) -> int:
    if file.descriptor is None:
        return 0
    return max(0, os.fstat(file.descriptor).st_size - file.offset)


def _last_line_end(descriptor: int, size: int) -> int:
    """Where to begin at the end of a file: after its last newline, so that a line is never torn."""
    begin = max(0, size - (1 << 20))
    return begin + os.pread(descriptor, size - begin, begin).rfind(b"\n") + 1
