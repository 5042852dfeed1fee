"""What containers have written, kept as the kubelet keeps it: one file for each run, in the format of the CRI.

The current run's file and the one before are kept. A file that has reached its limit is set aside and a new one begun;
of those set aside, the last one is kept (kubelet: containerLogMaxSize, containerLogMaxFiles).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

LIMIT = 10 * 1024 * 1024
"""Bytes of one file (Kubernetes' default)."""
_BATCH = 1 << 16


class ContainerLog:
    """The log of one run of a container."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.closed = False
        self._file = path.open("wb", buffering=0)
        self._size = 0
        self.news = asyncio.Event()
        """Set when something has been written, or the run is over; cleared by who reads."""

    def write(self, stream: str, line: str) -> None:
        """One line, with the time and its stream; nothing once it is closed. Raises OSError."""
        if self.closed:
            return
        if self._size >= LIMIT:
            self._set_aside()
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        self._size += self._file.write(f"{now} {stream} F {line}\n".encode("utf-8", "replace"))
        self.news.set()

    def close(self) -> None:
        """The run is over: nothing more comes."""
        if not self.closed:
            self.closed = True
            self._file.close()
            self.news.set()

    def reading(self) -> Reading:
        """What is kept, and then what comes; to be closed."""
        return Reading(self)

    @property
    def aside(self) -> Path:
        """The file that was set aside, if one was."""
        return self.path.with_suffix(".1.log")

    def _set_aside(self) -> None:
        self._file.close()
        self.path.replace(self.aside)
        self._file = self.path.open("ab", buffering=0)
        self._size = 0

    def remove(self) -> None:
        """The files are not wanted any more."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.aside.unlink(missing_ok=True)


class Reading:
    """Reads a log: `lines()`, then `follow()` goes on where they have ended, so that nothing is lost in between."""

    def __init__(self, log: ContainerLog) -> None:
        self._log = log
        self._aside = log.aside.open("rb") if log.aside.exists() else None
        self._file = log.path.open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._aside is not None:
            self._aside.close()
        self._file.close()

    def lines(self) -> Iterator[bytes]:
        """Every line that is kept, in the CRI's format, without its end."""
        for file in (self._aside, self._file):
            for line in file or ():
                yield line.rstrip(b"\n")

    async def follow(self) -> AsyncIterator[list[bytes]]:
        """Batches of the lines behind those, until the run is over."""
        while True:
            # In this order, and without a pause in between: what is written after the look wakes us up.
            self._log.news.clear()
            over, current = self._log.closed, self._log.path.stat().st_ino
            while batch := self._file.readlines(_BATCH):
                yield [line.rstrip(b"\n") for line in batch]
            if current != os.fstat(self._file.fileno()).st_ino:
                self._file.close()
                self._file = self._log.path.open("rb")
                continue
            if over:
                return
            await self._log.news.wait()


class PodLogs:
    """The logs of a pod's containers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logs: dict[str, list[ContainerLog]] = {}

    def begin(self, container: str, run: int) -> ContainerLog:
        """A log for a new run; that of the last but one is removed."""
        folder = self._folder / container
        folder.mkdir(parents=True, exist_ok=True)
        kept = self._logs.setdefault(container, [])
        for old in kept:
            old.close()
        while len(kept) > 1:
            kept.pop(0).remove()
        log = ContainerLog(folder / f"{run}.log")
        kept.append(log)
        return log

    def find(self, container: str, *, previous: bool = False) -> ContainerLog | None:
        """The log of the current run, or of the one before; None: there is none."""
        kept = self._logs.get(container, [])
        wanted = 2 if previous else 1
        return kept[-wanted] if len(kept) >= wanted else None

    def close(self) -> None:
        """Close every file."""
        for kept in self._logs.values():
            for log in kept:
                log.close()
