"""The pipeline: transforms, gathering, and the memory budget between inputs and outputs.

    emit(batch) → transforms → encoded → parcel (by size or time) → chain → each output, at its own pace → commit

A parcel is settled when every output has taken it. Outputs take parcels in order, so parcels are settled in order,
and so each input gets its batches back in the order in which it has emitted them.

Of several outputs one may be behind. What the others have had is then let go, as far as its input can read it again,
and loaded when the one that is behind comes to it; reading waits only when that one is `max_lag` behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from podpatterns.runtime.backoff import Backoff
from podpatterns.sidecar import dead_letters
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.budget import RECORDS
from podpatterns.sidecar.chain import Chain, Parcel, Stretch
from podpatterns.sidecar.dead_letters import DeadLetters
from podpatterns.sidecar.events import SidecarEvents
from podpatterns.sidecar.gathering import held, leading
from podpatterns.sidecar.inputs import Gone, Input
from podpatterns.sidecar.live import Live
from podpatterns.sidecar.outputs import Output
from podpatterns.sidecar.sender import Sender
from podpatterns.sidecar.transforms import Transform

REMEMBERED = 50_000
"""Refused records that are remembered of what was let go, some 60 bytes each: an output that refuses everything while
another one is behind is held up with it then."""


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
        max_lag: int,
        letters: DeadLetters,
        events: SidecarEvents,
        backoff: Backoff,
        longest: float,
        settled: Callable[[], None],
    ) -> None:
        self.transforms, self.fields = transforms, fields
        self.size, self.linger, self.memory, self.max_lag = size, linger, memory, max_lag
        self.records = RECORDS  # gathered for one delivery: an output may make an object of each
        self.senders: list[Sender] = []
        self.in_flight = 0
        self.live = Live()
        self._letters = letters
        self._events = events
        self._backoff = backoff
        self._longest = longest
        self._settled = settled
        self._chain = Chain()
        self._taken = 0  # bytes of the log, so far
        self._loading = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, name: str, output: Output, key: str) -> None:
        """An output that takes every parcel."""
        self.senders.append(
            Sender(
                name,
                output,
                key=key,
                at=self._chain.last,
                letters=self._letters,
                events=self._events,
                load=self._load,
                passed=self._passed,
                backoff=self._backoff,
                longest=self._longest,
            )
        )

    def resized(self) -> None:
        """Have those who wait for room look again: there may be more of it now."""
        self._room.set()

    def lag(self, sender: Sender) -> int:
        """How many bytes of the log an output has still to take."""
        return self._taken - sender.passed

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
        size = len(body) + raw + batch.overhead
        while self._full(size) or self._too_far(raw):
            self.flush()
            if not (self._full(size) and self._let_go()):
                self._room.clear()
                await self._room.wait()
        self.in_flight += size
        self._taken += raw
        self._empty.clear()
        parcel = self._chain.last
        if batch.dead:
            parcel.dead[len(parcel.items)] = {at for at, offset in enumerate(batch.offsets) if offset in batch.dead}
        parcel.items.append((source, batch))
        parcel.size += size
        parcel.raw += raw
        parcel.records += len(batch)
        if parcel.raw >= self.size or parcel.records >= self.records:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.linger, self.flush)

    def flush(self) -> None:
        """Send what has been gathered, without waiting for more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._chain.last.items:
            return
        self._chain.seal(len(self.senders))
        for sender in self.senders:
            sender.wake()

    async def drained(self) -> None:
        """Send everything; return when all of it is settled."""
        self.flush()
        await self._empty.wait()

    def _passed(self, sender: Sender, parcel: Parcel) -> None:
        """An output is done with a parcel; it may be the last one."""
        sender.passed += parcel.raw
        parcel.waiting -= 1
        if len(self.senders) > 1:
            for at, (source, batch) in enumerate(parcel.items):
                places = parcel.dead.get(at)
                source.reached(batch, sender.key, [batch.offsets[place] for place in places] if places else ())
        if not parcel.waiting:
            self._settle(parcel)
        self._room.set()
        self._settled()

    def _settle(self, parcel: Parcel) -> None:
        refused = parcel.refused
        for at, (source, batch) in enumerate(parcel.items):
            dead = batch.lines_of(parcel.dead.get(at, ()))
            # Nobody said which: the first lines of the parcel stand for them in the accounts.
            batch.refused = min(refused, len(batch) + batch.merged - dead)
            refused -= batch.refused
            source.commit(batch, batch.failed + dead)
        self.in_flight -= parcel.size
        self._chain.advance()
        if self._chain.settled:
            self._empty.set()

    # --- outputs that are behind ------------------------------------------------------------------------------------

    @property
    def _share(self) -> int:
        """Bytes of memory that are kept free for each output that is behind, so that all of them always move on."""
        return self.memory // (2 * len(self.senders))

    def _full(self, size: int) -> bool:
        """Whether there is no room for so much more."""
        free, used = self.memory, self.in_flight
        if len(self.senders) > 1:
            behind = [sender.at for sender in self.senders if 0 < sender.at.waiting < len(self.senders)]
            # What one of them is just delivering cannot be let go, and must not stop the others for good.
            free -= sum(max(self._share, parcel.size) for parcel in behind)
            used -= sum(parcel.size for parcel in set(behind))
        return bool(used) and used + size > free

    def _too_far(self, raw: int) -> bool:
        """Whether an output would be too far behind with so much more."""
        if len(self.senders) == 1:
            return False
        return any((lag := self.lag(sender)) and lag + raw > self.max_lag for sender in self.senders)

    def _let_go(self, wanted: int = 0) -> bool:
        """Free memory of what some outputs have had, and others cannot take at the moment; False if there is none.

        If that is not as much as is `wanted`, then also of what no output has had, from the last one on.
        """
        if len(self.senders) == 1 or not all(transform.repeatable for transform in self.transforms):
            return False
        if sum(len(stretch.dead) for parcel in self._chain for stretch in parcel.away) > REMEMBERED:
            return False
        freed = 0
        here = [parcel for parcel in self._chain if parcel.items and not parcel.busy]
        for parcel in [each for each in here if each.waiting < len(self.senders)] + (here[::-1] if wanted else []):
            if parcel.waiting == len(self.senders) and freed >= wanted:
                break
            if parcel.items and all(source.rereadable(batch) for source, batch in parcel.items):
                freed += parcel.let_go()
        self._chain.join()
        self.in_flight -= freed
        return freed > 0

    async def _load(self, parcel: Parcel) -> None:
        """Read again what was let go, or as much of its beginning as an output that is behind may hold."""
        async with self._loading:
            if not parcel.away:
                return  # another output has loaded it
            if self.in_flight + self._share > self.memory:
                self._let_go(self.in_flight + self._share - self.memory)
            rest, items, left = list(parcel.away), list[tuple[Input, Batch]](), self._share // 2
            dead: dict[int, set[int]] = {}
            while rest and left > 0:
                stretch = rest[0]
                for batch in self._reread(stretch, left):
                    left -= batch.end - batch.start
                    for part in await self._transformed(batch, again=True):
                        part.encode(self.fields)
                        if refused := stretch.pass_over(part):
                            dead[len(items)] = refused
                        items.append((stretch.origin, part))
                    await asyncio.sleep(0)  # the others need their turn
                if stretch.start >= stretch.end:
                    del rest[0]
            parcel.split(items, dead, rest)
            self.in_flight += parcel.size

    def _reread(self, stretch: Stretch, size: int) -> list[Batch]:
        try:
            batches = stretch.origin.reread(stretch.start, stretch.mark, size)
        except Gone:
            hollow = stretch.hollow()
            self._events.lines_gone(stretch.source.name, hollow.gone, hollow.end - hollow.start)
            return [hollow]
        for batch in batches:
            batch.taken = stretch.taken
        return batches

    # --- transforms -----------------------------------------------------------------------------------------------

    def held(self, data: bytes, begin: int, end: int) -> int:
        """How many of the last lines of a piece of some bytes may belong together with lines to come."""
        return held(self.transforms, data[begin:end]) if leading(self.transforms) else 0

    async def _transformed(self, batch: Batch, *, again: bool = False) -> list[Batch]:
        """Through all transforms; in several pieces if one of them has failed. `again`: it was counted before."""
        if not len(batch):
            return [batch]
        whole = batch.unchanged()
        try:
            for transform in self.transforms:
                batch = transform.apply(batch)
            batch.encode(self.fields)  # here, because it fails on what a transform has put into records
        except Exception as error:  # noqa: BLE001 - transforms run code of the user's; what it raises costs a line, not the sidecar
            if not again:
                self._events.transform_failed(error)
            return await self._one_by_one(whole, again=again)
        return [batch]

    async def _one_by_one(self, batch: Batch, *, again: bool) -> list[Batch]:
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
        if letters and not again:
            await self._letters.write(letters)
        return parts
