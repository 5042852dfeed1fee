"""Where a rewritten log goes: standard output, or a file that never takes more room than it may."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec

from podpatterns.adapter.standard_output import LineWriter
from podpatterns.errors import StartError
from podpatterns.runtime.schema import Config, InvalidField
from podpatterns.runtime.units import Size


class LogOutputConfig(Config, frozen=True, kw_only=True):
    """In which form records are written, and where."""

    WRITES: ClassVar[frozenset[str]] = frozenset({"path"})

    form: Literal["json", "logfmt"] = "json"
    """`json`: an object per line. `logfmt`: `key=value` pairs; what is nested is JSON in quotes."""

    path: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """The file to append to. None: standard output, which the container runtime keeps, and whatever collects the
    logs of the node finds."""

    max_size: Size = Size("16MiB")
    """The size at which the file is renamed to `path.1`, and what was there to `path.2`. Only with `path`."""

    keep: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    """How many renamed files are kept. All together take at most (keep + 1) · max_size: so much an emptyDir needs.
    Whoever reads them has the time in which that much is written."""

    def __post_init__(self) -> None:
        if self.max_size < 64 * 1024:
            raise InvalidField("max_size", "must be at least 64KiB")


class LogOutput:
    """Writes whole lines. Every method but `start` blocks, and belongs into a thread: readers and disks may be slow."""

    def __init__(self, config: LogOutputConfig, rotated: Callable[[str], None]) -> None:
        self._config, self._rotated = config, rotated
        self._lines = LineWriter()
        self._descriptor: int | None = None
        self._size = 0
        self._torn = False

    @property
    def where(self) -> str:
        """For people."""
        return self._config.path or "standard output"

    async def start(self) -> None:
        """Open the file. Raises StartError."""
        if self._config.path is None:
            return
        try:
            await asyncio.to_thread(self._open, self._config.path)
        except OSError as error:
            raise StartError(
                f"the log {self._config.path} cannot be written: {error.strerror}; "
                f"its folder must be writable for uid {os.getuid()}"
            ) from None

    def _open(self, path: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._close()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._descriptor).st_size

    def write(self, data: bytes) -> int:
        """Write what can be written now, and say how many bytes that was: 0 where nobody reads standard output.

        Raises:
            OSError: nothing was written.
        """
        return self._lines.write(data) if self._config.path is None else self._append(self._config.path, data)

    def _append(self, path: str, data: bytes) -> int:
        end = len(data)
        if self._torn:
            end = data.index(b"\n") + 1  # the rest of a line that was not written whole belongs behind its beginning
        elif self._size + end > self._config.max_size:
            end = data.rfind(b"\n", 0, max(0, self._config.max_size - self._size)) + 1
            if not end:
                if self._size:
                    self._rotate(path)
                end = data.rfind(b"\n", 0, self._config.max_size) + 1 or data.index(b"\n") + 1
        if self._descriptor is None:
            self._open(path)
        assert self._descriptor is not None
        written = os.write(self._descriptor, data[:end])
        self._size += written
        self._torn = data[written - 1 : written] != b"\n"
        return written

    def _rotate(self, path: str) -> None:
        for number in range(self._config.keep, 0, -1):
            older = f"{path}.{number - 1}" if number > 1 else path
            if os.path.exists(older):  # noqa: PTH110 - plain paths, as they are configured
                os.replace(older, f"{path}.{number}")  # noqa: PTH105
        self._close()
        self._rotated(path)

    def stop(self) -> None:
        """Give up what could not be written, and close the file."""
        self._lines.close()
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
