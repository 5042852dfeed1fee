"""Log files: found by pattern, followed through every kind of rotation, read from where the checkpoint stands.

What there is to know of files stands in `sidecar/files`: where they may be (`discovery`), what the kernel tells of them
(`watches`), which of them are followed (`followed`), and how one is read (`follower`). Here is when and in which order.
It is one piece because all of it is one loop, which has a single owner of what is ready.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec

from podpatterns.formats.encodings import Encoding
from podpatterns.formats.lines import Lines
from podpatterns.runtime.schema import InvalidField, Items
from podpatterns.runtime.service import Check
from podpatterns.runtime.units import Duration, Size
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.files.discovery import Discovery
from podpatterns.sidecar.files.followed import Followed
from podpatterns.sidecar.files.follower import Follower, Mark, Truncated
from podpatterns.sidecar.files.identity import Entry
from podpatterns.sidecar.files.watches import Watches
from podpatterns.sidecar.inputs import Emit, Gone, Input, InputConfig, InputContext
from podpatterns.sidecar.ledger import Account

SETTLE = 0.05
"""Seconds between two looks at what has been written, or `linger` if that is shorter: what many writes have added in
between is one batch, not many."""
LOOK = 1.0
"""Seconds between two looks for new files in directories that cannot be watched."""
RELOOK = 10.0
"""Seconds between two looks at everything for which nothing calls: what is written through a memory map is not told."""
BLOCKED = 0.25
"""Seconds after which, and between which, the files are looked at while reading has to wait."""
ASK = 1.0
"""Seconds between two questions whether the files are still written to, at most."""

Path = Annotated[str, msgspec.Meta(min_length=1)]


class TailConfig(InputConfig, frozen=True, kw_only=True):
    """Follows log files. What rotation leaves is read to its end; a restart goes on where the checkpoint stands."""

    READS: ClassVar[frozenset[str]] = frozenset({"paths"})
    EXAMPLE: ClassVar[str] = "{type: tail, paths: [/var/log/app/*.log], exclude: ['*debug*']}"

    paths: Annotated[Items[Path], msgspec.Meta(min_length=1)]
    """Files to follow, as patterns with `*`, `?` and `[…]`; `**` in the directory part stands for any depth. A file
    that appears later is followed from its beginning. One whose name is not UTF-8 is not read, which is said."""

    exclude: Items[Path] = ()
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
    far above what people write and keeps memory bounded."""

    encoding: str = "utf-8"
    """How the files are encoded, by a name that Python knows, UTF-16 and UTF-32 included. Records are UTF-8. Bytes that
    make no sense are replaced by U+FFFD, and counted. A byte order mark is left out; with `utf-16` and `utf-32` it
    tells the byte order, and a file without one is little-endian."""

    file_field: str | None = "file"
    """The field that holds the file's path in each record; None for none."""

    poll: Duration = Duration("100ms")
    """How often files are looked at (one `fstat` each) of which the kernel does not say that they have grown: on
    network file systems, or when it has no watch left to give. All others are read as soon as they grow, and cost
    nothing while they do not."""

    release: Duration = Duration("1m")
    """How long a file that was deleted or moved out of reach is held after its last line has been read and
    acknowledged: its writer may not have noticed yet."""

    hold: Duration = Duration("1s")
    """How long lines are kept back of which more may come, such as a stack trace that is being written, or a line that
    the container runtime has cut: since the file has last grown. Only with `multiline`, `format: cri` or `docker`."""

    end_when_closed: Duration | None = None
    """How long nobody may have had any of the files open for writing until this input has ended: for a Job whose
    sidecar is an ordinary container, and whose application cannot make a `done_file`. It needs the same uid as the
    application; a pause between two runs of the application must be shorter. None: it does not end by itself."""

    def __post_init__(self) -> None:
        """Check what a pattern cannot say."""
        try:
            Encoding.of(self.encoding)
        except LookupError:
            raise InvalidField("encoding", f'Python knows no encoding "{self.encoding}"; write "utf-8"') from None
        except ValueError as error:
            raise InvalidField("encoding", str(error)) from None
        if not self.max_line:
            raise InvalidField("max_line", "a line needs at least one byte")
        if self.end_when_closed is not None and not self.end_when_closed:
            raise InvalidField(
                "end_when_closed", "must be longer than 0s: between two writers nobody has the file open"
            )
        if not self.poll:
            raise InvalidField("poll", "must be longer than 0s: the files are looked at in between")

    def reads(self, path: str) -> bool:
        """Whether a pattern matches it."""
        return self.discovery().would_find(path)

    def discovery(self) -> Discovery:
        """What looks for the files."""
        return Discovery(self.paths, self.exclude, self.rotated)

    def build(self, context: InputContext) -> Tail:
        """The input."""
        return Tail(self, context)


class Tail(Input):
    """Follows files: when to look, and in which order to read."""

    def __init__(self, config: TailConfig, context: InputContext) -> None:
        self.config = config
        self._events = context.events
        self._context = context
        self._encoding = Encoding.of(config.encoding)
        self._read_bytes = context.events.read_bytes(context.name)
        self._watches = Watches(context.events.directory_polled)
        self._followed = Followed(
            config.discovery(),
            self._watches,
            self._follower,
            encoding=self._encoding,
            events=context.events,
            retire=context.retire,
            directory=context.directory,
        )
        self._ready: dict[Follower, None] = {}
        """Files that have something to read, or may have; in the order in which they are."""
        self._waiting: dict[Follower, float] = {}
        """Files with lines that are kept back, and until when."""
        self._settled = self._polled = float("-inf")
        self._next_look = float("-inf")
        self._draining = False
        self._drained = asyncio.Event()
        self._blocked = asyncio.Event()
        """Set while reading has to wait for the outputs, for a while already."""
        self._begun = True
        """There may be generations of which the checkpoint knows nothing yet."""
        self.ends = config.end_when_closed is not None
        self._unwritten_since: float | None = None
        self._next_asked = float("-inf")

    def _follower(self, entry: Entry, descriptor: int | None) -> Follower:
        field = self.config.file_field
        return Follower(
            entry,
            descriptor,
            limit=self.config.max_line,
            encoding=self._encoding,
            fields={field: entry.path} if field else {},
            held=self._context.held,
            hold=self.config.hold,
            outputs=self._context.outputs,
            most=self._context.most,
        )

    async def start(self, entries: Any) -> None:
        """Find what the checkpoint knows, and what is new. Raises StartError."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a descriptor per file
        self._watches.open()
        self._followed.resume(msgspec.convert(entries or [], list[Entry]))
        self._look(time.monotonic(), at_end=entries is None and self.config.start == "end")
        if not self._followed.files:
            self._events.nothing_to_read(self.config.paths)

    # --- when -----------------------------------------------------------------------------------------------------

    async def run(self, emit: Emit) -> None:
        """Read for ever; after `drain` was called, to the end of every file."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._keep_watch(), name=f"{self._context.name}: while reading waits")
            while not self._draining and not self._closed(time.monotonic()):
                self._notice(time.monotonic())
                if self._ready:
                    files, self._ready = self._ready, {}
                    self._ready.update(dict.fromkeys(await self._round(emit, files)))
                if not self._ready:
                    await self._release(emit)
                    await self._pause()
            await self._finish(emit)
            watching.cancel()
        self._drained.set()
        if not self.ends:
            await asyncio.Event().wait()

    def _closed(self, now: float) -> bool:
        """Whether nobody has written to the files for long enough; asked once in a while."""
        wanted = self.config.end_when_closed
        if wanted is None or now < self._next_asked:
            return False
        self._next_asked = now + min(ASK, wanted / 4)
        if not self._followed.unwritten():
            self._unwritten_since = None
        elif self._unwritten_since is None:
            self._unwritten_since = now
        elif now - max(self._unwritten_since, *self._grown()) >= wanted:
            self._events.files_closed(wanted)
            return True
        return False

    def _grown(self) -> Iterable[float]:
        return (file.grown_at for file in self._followed.files.values())

    def _notice(self, now: float) -> None:
        """Find out who has something to read."""
        look = now >= self._next_look or self._followed.renamed(self._watches.names())
        if now >= self._settled:
            grown, unsure = self._followed.grown(self._watches.growth())
            self._ready.update(dict.fromkeys(grown))
            look = look or unsure
            if grown or unsure:
                self._settled = now + min(SETTLE, self._context.linger())
        if look:
            self._look(now)
        if self._followed.polled and now - self._polled >= self.config.poll:
            self._polled = now
            self._ready.update(dict.fromkeys(self._followed.polled))
        for file in [file for file, due in self._waiting.items() if due <= now]:
            del self._waiting[file]
            self._ready[file] = None

    def _look(self, now: float, *, at_end: bool = False) -> None:
        """Look for files, and at all of them."""
        new, again = self._followed.look(now, at_end=at_end)
        self._next_look = now + (0.0 if again else LOOK if self._followed.looks_often else RELOOK)
        self._ready.update(dict.fromkeys(self._followed.files.values()))
        self._begun = self._begun or new

    def _truncated(self, file: Follower) -> None:
        self._ready.update(dict.fromkeys(self._followed.truncated(file)))
        self._begun = True

    async def _keep_watch(self) -> None:
        """While reading waits for the outputs: open what is new and see what is truncated, before it is gone."""
        while True:
            await self._blocked.wait()
            now = time.monotonic()
            if now >= self._next_look or self._followed.renamed(self._watches.names()):
                self._look(now)
            for file in list(self._followed.files.values()):
                if file.shrunk():
                    self._truncated(file)
            await asyncio.sleep(BLOCKED)

    async def _pause(self) -> None:
        """Until something happens, or has to be looked at without."""
        now = time.monotonic()
        until = min([self._next_look, *self._waiting.values()])
        if self.ends:
            until = min(until, self._next_asked)
        if self._followed.polled:
            until = min(until, self._polled + self.config.poll)
        if now < self._settled:
            await self._watches.wait(max(0.0, min(until, self._settled) - now), growth=False)
        else:
            await self._watches.wait(max(0.0, until - now), growth=True)

    # --- reading --------------------------------------------------------------------------------------------------

    async def _round(self, emit: Emit, files: Iterable[Follower]) -> list[Follower]:
        """One chunk of each file; returns those that may have more."""
        if self._begun:
            self._begun = False
            await self._context.persist()  # before anything of them is delivered, so that their identities stay
        more: list[Follower] = []
        for file in list(files):
            try:
                got = file.read(time.monotonic())
            except Truncated:
                self._truncated(file)
                continue
            if got is not None:
                more.append(file)
                await self._hand_on(emit, got)
            elif file.due is not None:
                self._waiting[file] = file.due
        return more

    async def _hand_on(self, emit: Emit, got: tuple[Batch, Lines]) -> None:
        batch, lines = got
        self._read_bytes.value += batch.end - batch.start
        self._events.lines_altered(batch.source.name, lines)
        blocked = asyncio.get_running_loop().call_later(BLOCKED, self._blocked.set)
        await emit(batch)
        blocked.cancel()
        self._blocked.clear()
        await asyncio.sleep(0)  # reading never waits for the disk; the others need their turn

    async def _finish(self, emit: Emit) -> None:
        """To the end of every file as it is now, then the lines that have no end."""
        for _ in range(2):  # the second time for what was written, or rotated, during the first
            self._look(time.monotonic())
            limits = {
                file: os.fstat(file.descriptor).st_size
                for file in self._followed.files.values()
                if file.descriptor is not None
            }
            files = list(limits)
            while files:
                # A truncated file has a new follower, without a limit; it is read to its end as well.
                files = [file for file in files if file not in limits or file.offset < limits[file]]
                self._ready = {}
                files = await self._round(emit, files)
                files += [file for file in self._ready if file not in limits]
        for file in list(self._followed.files.values()):
            if file.unread:
                await self._last_lines(emit, file)

    async def _last_lines(self, emit: Emit, file: Follower, *, gone: bool = False) -> bool:
        """What is left of a file, also a line without its end; False if nothing was."""
        found = False
        try:
            while (got := file.read(time.monotonic(), final=True, gone=gone)) is not None:
                found = True
                await self._hand_on(emit, got)
        except Truncated:
            for one in self._followed.truncated(file):
                await self._context.persist()
                found = await self._last_lines(emit, one) or found
        return found

    async def _release(self, emit: Emit) -> None:
        """Let go of files that are gone, once all that was in them is safe."""
        now = time.monotonic()
        for file in self._followed.missing():
            assert file.missing_since is not None
            if not file.at_end or not file.acknowledged:
                continue
            if now - max(file.grown_at, file.missing_since) < self.config.release:
                continue
            if await self._last_lines(emit, file, gone=True):
                continue  # the writer is gone, and has left a line without its end: not before that has been taken
            self._followed.release(file)
            self._context.touch()

    async def drain(self) -> None:
        """Read to the end; return when everything has been emitted."""
        self._draining = True
        self._watches.wake.set()
        await self._drained.wait()

    def commit(self, batch: Batch, dead: int) -> None:
        """A batch is settled."""
        mark: Mark = batch.mark
        mark.follower.commit(batch, dead)

    def reached(self, batch: Batch, output: str, dead: Sequence[int]) -> None:
        """A batch is settled for one of several outputs."""
        mark: Mark = batch.mark
        mark.follower.reached(batch, output, dead)

    def rereadable(self, batch: Batch) -> bool:
        """Whatever has lines, and none that goes out without its end or its beginning."""
        mark: Mark = batch.mark
        return bool(batch.read) and not mark.torn

    def reread(self, start: int, mark: Any, size: int) -> list[Batch]:
        """From the file, wherever it is by now."""
        follower: Follower = mark.follower
        try:
            return follower.again(start, mark, size)
        except Truncated:
            raise Gone from None

    # --- what it says ---------------------------------------------------------------------------------------------

    def snapshot(self) -> list[Entry]:
        """An entry per file."""
        return [file.entry() for file in self._followed]

    def accounts(self) -> Iterable[tuple[str, Account, Mapping[str, Any]]]:
        """One per file and generation."""
        for file in self._followed:
            more: dict[str, Any] = {
                "generation": file.generation,
                "committed": file.committed,
                "read_to": file.offset,
                "size": file.size,
            }
            if len(self._context.outputs) > 1:
                more["outputs"] = {output: place.offset for output, place in file.positions.reached.items()}
            yield file.path, file.account, more

    def checks(self) -> Iterable[Check]:
        """Every file has been read to its end."""
        behind = [(file.path, left) for file in self._followed.files.values() if (left := _behind(file))]
        detail = ", ".join(f"{path}: {left} bytes unread" for path, left in behind[:3])
        yield Check("every file read to its end", not behind, detail)

    async def stop(self) -> None:
        """Close every file; what they held stays in the checkpoint."""
        self._followed.close()


def _behind(file: Follower) -> int:
    """Bytes that are there and have not been read, though they could be."""
    if file.descriptor is None:
        return 0
    return max(0, os.fstat(file.descriptor).st_size - file.offset - file.torn)
