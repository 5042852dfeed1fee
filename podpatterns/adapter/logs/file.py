"""A log file that the application writes, followed through its rotation, from a position that outlives a restart."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from podpatterns.adapter.log_files import LogFiles
from podpatterns.adapter.log_generation import Piece, Position
from podpatterns.adapter.log_stream import CHUNK, LogStream
from podpatterns.adapter.logs import LogConfig, LogContext
from podpatterns.errors import StartError
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration

KEEP = 1.0
"""Seconds between two times that the position is written down."""


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

    def writes(self) -> Iterator[tuple[str, str]]:
        """The position as well."""
        yield from super().writes()
        if self.position is not None:
            yield "position", self.position

    def build(self, context: LogContext) -> File:
        """The log."""
        return File(self, context)

    @property
    def where(self) -> str:
        """Where it comes from."""
        return self.path


class File(LogStream):
    """Reads every generation of the file to its end, the oldest first."""

    config: FileConfig

    def __init__(self, config: FileConfig, context: LogContext) -> None:
        super().__init__(config, context)
        # Twice what is rewritten at a time: some of it may be kept back.
        self._files = LogFiles(context.name, [config.path], piece=2 * CHUNK, every=config.poll, events=context.events)
        self._kept: tuple[float, Position | None] = float("-inf"), None
        """When the position was written down, and which it was."""

    async def start(self) -> None:
        """Open what is written to, and find the place to go on from. Raises StartError."""
        await super().start()
        self._files.start(self._position())

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

    async def run(self) -> None:
        """Follow the file until there is a drain, then to its end."""
        draining = False
        while not draining:
            draining = self._draining.is_set()
            for piece in self._files.pieces():
                await self._take(piece, final=False)
            self._keep()
            await self.wait(self.config.poll)
        for piece in self._files.pieces(final=True):
            await self._take(piece, final=True)
        self._keep(now=True)
        self._drained.set()
        await asyncio.Event().wait()

    async def _take(self, piece: Piece, *, final: bool) -> None:
        if piece.grown:
            self.grown()
        due = self.too_long_held()
        if not (piece.grown or due or final):
            return
        whole = piece.data.endswith(b"\n")
        data = piece.data if whole else piece.data + b"\n"
        piece.take(min(await self.pass_on(data, final=final or due or not whole), len(piece.data)))
        self._keep()

    def _keep(self, *, now: bool = False) -> None:
        """Write down how far has been written, if that has changed."""
        at, last = self._kept
        if self.config.position is None or not (now or time.monotonic() - at >= KEEP):
            return
        position = self._files.position
        if position is None or position == last:
            return
        path = Path(self.config.position)
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            temporary.write_bytes(msgspec.json.encode(position))
            temporary.replace(path)
        except OSError as error:
            self._events.position_failed(self._context.name, str(path), error)
        self._kept = time.monotonic(), position

    async def stop(self) -> None:
        """Close everything; how far has been written is kept."""
        self._keep(now=True)
        self._files.close()
        await super().stop()
