"""The pipeline: transforms, gathering, and the memory budget between inputs and outputs.

    emit(batch) → transforms → encoded → parcel (by size or time) → a queue for each output → settled → commit

A parcel is settled when every output has taken it. Outputs take parcels in order, so parcels are settled in order,
and so each input gets its batches back in the order in which it has emitted them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from podpatterns.runtime.backoff import Backoff
from podpatterns.sidecar import dead_letters
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.dead_letters import DeadLetters
from podpatterns.sidecar.events import SidecarEvents
from podpatterns.sidecar.gathering import held, leading
from podpatterns.sidecar.inputs import Input
from podpatterns.sidecar.live import Live
from podpatterns.sidecar.outputs import Output
from podpatterns.sidecar.sender import Parcel, Sender
from podpatterns.sidecar.transforms import Transform


class Pipeline:
    """What lies between inputs and outputs. `in_flight` is what of the budget is taken, in bytes."""

    def __init__(
        self,
        *,
        transforms: Sequence[Transform],
        fields: Mapping[str, Any],
        size: int,
        linger: float,
        memory: int,
        letters: DeadLetters,
        events: SidecarEvents,
        backoff: Backoff,
        longest: float,
        settled: Callable[[], None],
    ) -> None:
        self.transforms, self.fields = transforms, fields
        self.size, self.linger, self.memory = size, linger, memory
        self.senders: list[Sender] = []
        self.in_flight = 0
        self.live = Live()
        self._letters = letters
        self._events = events
        self._backoff = backoff
        self._longest = longest
        self._settled = settled
        self._open = Parcel()
        self._timer: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, name: str, output: Output) -> None:
        """An output that takes every parcel."""
        self.senders.append(
            Sender(
                name,
                output,
                letters=self._letters,
                events=self._events,
                settle=self._settle,
                backoff=self._backoff,
                longest=self._longest,
            )
        )

    async def emit(self, source: Input, batch: Batch) -> None:
        """Take a batch; returns when there is room for another."""
        if self.transforms and len(batch):
            for part in await self._transformed(batch):
                await self._take(source, part)
        else:
            await self._take(source, batch)

    async def _take(self, source: Input, batch: Batch) -> None:
        body = batch.encode(self.fields)
        if self.live.wanted:
            self.live.feed(body, time.monotonic())
        if batch.notes:
            self._events.noted(batch.notes)
        # The raw text is still there for as long as an output may ask for ids: it counts as well.
        raw = batch.end - batch.start
        size = len(body) + raw
        while self.in_flight and self.in_flight + size > self.memory:
            self.flush()
            self._room.clear()
            await self._room.wait()
        self.in_flight += size
        self._empty.clear()
        parcel = self._open
        parcel.items.append((source, batch))
        parcel.size += size
        parcel.raw += raw
        parcel.records += len(batch)
        if parcel.raw >= self.size:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.linger, self.flush)

    def flush(self) -> None:
        """Send what has been gathered, without waiting for more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        parcel = self._open
        if not parcel.items:
            return
        self._open = Parcel()
        parcel.waiting = len(self.senders)
        for sender in self.senders:
            sender.put(parcel)

    async def drained(self) -> None:
        """Send everything; return when all of it is settled."""
        self.flush()
        await self._empty.wait()

    def _settle(self, parcel: Parcel) -> None:
        refused = parcel.refused
        for at, (source, batch) in enumerate(parcel.items):
            dead = batch.lines_of(parcel.dead.get(at, ()))
            # Nobody said which: the first lines of the parcel stand for them in the accounts.
            batch.refused = min(refused, len(batch) + batch.merged - dead)
            refused -= batch.refused
            source.commit(batch, batch.failed + dead)
        self.in_flight -= parcel.size
        self._room.set()
        if not self.in_flight:
            self._empty.set()
        self._settled()

    # --- transforms -----------------------------------------------------------------------------------------------

    def held(self, data: bytes, begin: int, end: int) -> int:
        """How many of the last lines of a piece of some bytes may belong together with lines to come."""
        return held(self.transforms, data[begin:end]) if leading(self.transforms) else 0

    async def _transformed(self, batch: Batch) -> list[Batch]:
        lines, offsets, fields = batch.lines, batch.offsets, batch.fields
        whole = batch
        try:
            for transform in self.transforms:
                batch = transform.apply(batch)
            batch.encode(self.fields)  # here, because it fails on what a transform has put into records
        except Exception as error:  # noqa: BLE001 - transforms run code of the user's; what it raises costs a line, not the sidecar
            self._events.transform_failed(error)
            anew = Batch(
                whole.source, None, whole.start, whole.end, lines=lines, offsets=offsets, fields=fields, mark=whole.mark
            )
            return await self._one_by_one(anew)
        return [batch]

    async def _one_by_one(self, batch: Batch) -> list[Batch]:
        """Each record through the transforms alone, so that one that they fail on does not take the others with it."""
        first = leading(self.transforms)
        for gathering in first:
            batch = gathering.apply(batch)
        if not len(batch):
            batch.encode(self.fields)
            return [batch]
        ends = [*batch.offsets[1:], batch.end]
        parts, letters = [], []
        for place, end in enumerate(ends):
            part = batch.piece(place, end)
            try:
                for transform in self.transforms[len(first) :]:
                    part = transform.apply(part)
                part.encode(self.fields)
            except Exception as error:  # noqa: BLE001 - as above
                part = batch.piece(place, end)
                part.encode(self.fields)
                letters += dead_letters.of(part, {0: f"{type(error).__name__}: {error}"}, "transform")
                part.fail()
            parts.append(part)
        # What was left out while lines were gathered stands in no part: the first one brings it to account.
        parts[0].read += batch.dropped
        parts[0].dropped += batch.dropped
        parts[0].notes.update(batch.notes)
        if letters:
            await self._letters.write(letters)
        return parts
