"""The dead-letter file: records that can never be delivered, as NDJSON that a person can read and replay.

{"time": "…", "by": "http", "reason": "400: …", "id": "…", "file": "…", "offset": 123, "record": {…}}
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from podpatterns.formats import jsonlines
from podpatterns.runtime.backoff import Backoff
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.durable import append
from podpatterns.sidecar.events import SidecarEvents


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record, as encoded for the outputs, with who refused it and why."""

    by: str
    reason: str
    id: str
    source: str
    offset: int
    record: bytes

    def encode(self, when: str) -> bytes:
        """One line of NDJSON, newline included."""
        record = jsonlines.parse(self.record)
        line = {
            "time": when,
            "by": self.by,
            "reason": self.reason,
            "id": self.id,
            "source": self.source,
            "offset": self.offset,
            "record": self.record.decode("utf-8", "replace") if record is None else record,
        }
        return msgspec.json.encode(line) + b"\n"


def of(batch: Batch, reasons: Mapping[int, str], by: str) -> list[DeadLetter]:
    """The letters for some records of an encoded batch, by their index in it."""
    if not reasons:
        return []
    records, offsets = batch.ndjson.split(b"\n"), batch.offsets
    return [
        DeadLetter(by, reason, f"{batch.source.key}{offsets[at]:016x}", batch.source.name, offsets[at], records[at])
        for at, reason in sorted(reasons.items())
    ]


class DeadLetters:
    """The file. Writing is tried for ever: a record is let go only when it is safe here."""

    def __init__(self, path: Path, events: SidecarEvents, backoff: Backoff) -> None:
        self.path = path
        self.trouble: str | None = None
        """Why it cannot be written at the moment."""
        self._events = events
        self._backoff = backoff

    async def write(self, letters: Sequence[DeadLetter]) -> None:
        """Return when they are on disk."""
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        data = b"".join(letter.encode(when) for letter in letters)
        attempt = 0
        while True:
            try:
                await asyncio.to_thread(append, self.path, data)
            except OSError as error:
                self.trouble = error.strerror or str(error)
                self._events.dead_letters_unwritable(str(self.path), self.trouble)
                await asyncio.sleep(self._backoff.delay(attempt, random.random()))  # noqa: S311 - jitter
                attempt += 1
            else:
                break
        self.trouble = None
        for by in {letter.by for letter in letters}:
            own = [letter for letter in letters if letter.by == by]
            self._events.dead_lettered(by, len(own), own[0].reason, str(self.path))
