"""The checkpoint: what has been acknowledged, on disk, so that a restart goes on exactly there.

One JSON file, replaced by rename after an fsync: it is always whole, either the old or the new one. Beside it stand
a lock, so that two sidecars never share one, and what has been acknowledged since, see `Recent`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from podpatterns.errors import StartError
from podpatterns.runtime.backoff import Backoff
from podpatterns.sidecar.durable import replace_file
from podpatterns.sidecar.events import SidecarEvents
from podpatterns.sidecar.recent import Recent

VERSION = 1
PACE = 0.2
"""Seconds between two writes under load: an fsync each. If the machine fails, so much is delivered twice."""


class Document(msgspec.Struct):
    """What stands in the file: each input's own entries, by the input's name, and the account of what is gone."""

    version: int = VERSION
    sequence: int = 0
    """Which of two is newer: that of the disk, or that of the last moments."""
    inputs: dict[str, Any] = {}
    closed: dict[str, Any] = {}


class Checkpoint:
    """Loads and saves the document; `run` saves whenever `touch` was called, `save` waits until it is on disk."""

    def __init__(self, path: str, snapshot: Callable[[], Document], events: SidecarEvents) -> None:
        self.path = Path(path)
        self.trouble: str | None = None
        """Why it cannot be written at the moment."""
        self._snapshot = snapshot
        self._events = events
        self._dirty = asyncio.Event()
        self._writing = asyncio.Lock()
        self._sequence = 0
        self._recent = Recent(self.path.with_name(f"{self.path.name}.recent"))
        self._lock: int | None = None
        self._thread: ThreadPoolExecutor | None = None

    def open(self) -> Document:
        """Lock, and read what there is.

        Raises:
            StartError: the directory cannot be written, or another sidecar uses the checkpoint.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartError(
                f"the checkpoint cannot be kept in {self.path.parent}: {error.strerror}; mount a volume there that "
                f"uid {os.getuid()} can write, such as an emptyDir, or set sidecar.checkpoint to another path"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise StartError(
                f"another sidecar uses the checkpoint {self.path}; give each its own with sidecar.checkpoint"
            ) from None
        # One thread: a write goes on when its save is cancelled, and the next must neither overtake it nor mix with it.
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        document = self._newer(self._load())
        self._sequence = document.sequence
        return document

    def _newer(self, document: Document) -> Document:
        """The one of the last moments, if it goes on from this one; what begins anew goes on from nothing."""
        try:
            data = self._recent.open(anew=not document.sequence)
            recent = msgspec.json.decode(data, type=Document) if data is not None else document
        except (OSError, msgspec.DecodeError):
            return document
        return recent if recent.version == VERSION and recent.sequence > document.sequence else document

    def _load(self) -> Document:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return Document()
        except OSError as error:
            raise StartError(f"the checkpoint {self.path} cannot be read: {error.strerror}") from None
        try:
            document = msgspec.json.decode(data, type=Document)
        except msgspec.DecodeError as error:
            return self._set_aside(str(error))
        if document.version != VERSION:
            raise StartError(
                f"the checkpoint {self.path} has version {document.version}, this release reads {VERSION}; "
                f"remove it to read every file from its start"
            )
        return document

    def _set_aside(self, reason: str) -> Document:
        kept = self.path.with_name(f"{self.path.name}.corrupt")
        self.path.replace(kept)
        self._events.checkpoint_unreadable(str(self.path), reason, str(kept))
        return Document()

    def close(self) -> None:
        """Let go of the lock, when nothing is being written any more."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        self._recent.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def touch(self) -> None:
        """There is something new to save."""
        self._dirty.set()
        self._recent.write(self._encoded)

    def _encoded(self) -> bytes:
        self._sequence += 1
        document = self._snapshot()
        document.sequence = self._sequence
        return msgspec.json.encode(document)

    async def run(self) -> None:
        """Save what was touched, for ever."""
        while True:
            await self._dirty.wait()
            await self.save()
            await asyncio.sleep(PACE)

    async def save(self) -> None:
        """Return when the state of now is on disk; tries for ever, because going on without would repeat lines."""
        backoff = Backoff(first=0.1, cap=5.0)
        attempt = 0
        while not await self.try_save():
            await asyncio.sleep(backoff.delay(attempt, random.random()))  # noqa: S311 - jitter
            attempt += 1

    async def try_save(self) -> bool:
        """One attempt."""
        async with self._writing:
            self._dirty.clear()
            data = self._encoded()
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, replace_file, self.path, data)
            except OSError as error:
                self.trouble = f"{error.strerror or error} (since {time.strftime('%H:%M:%S')})"
                self._dirty.set()
                self._events.checkpoint_failed(str(self.path), error)
                return False
            self.trouble = None
            self._events.checkpoint_written()
            return True
