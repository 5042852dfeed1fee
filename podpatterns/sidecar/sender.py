"""The sender: carries parcels to one output, in order, for as long as it takes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from podpatterns.errors import Rejected, Retryable
from podpatterns.runtime.backoff import Backoff
from podpatterns.sidecar import dead_letters
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.dead_letters import DeadLetters
from podpatterns.sidecar.events import SidecarEvents
from podpatterns.sidecar.inputs import Input
from podpatterns.sidecar.outputs import Output, Receipt

ANNOUNCE = 30.0
"""Seconds between two log lines about the same output being away; each try is counted."""


@dataclass(slots=True)
class Parcel:
    """Batches that travel together: gathered by size and time, settled when every output has had them."""

    items: list[tuple[Input, Batch]] = field(default_factory=list)
    size: int = 0
    """Bytes in memory."""
    raw: int = 0
    """Bytes of the log that it stands for."""
    records: int = 0
    waiting: int = 0
    """Outputs that still have to take it."""
    dead: dict[int, set[int]] = field(default_factory=dict)
    """Records that at least one output has refused, by the index of their batch."""
    refused: int = 0
    """Records that an output has refused without saying which: the most of any of them."""

    @property
    def batches(self) -> list[Batch]:
        """What an output is given."""
        return [batch for _, batch in self.items]


class Sender:
    """One output with its queue; bounded by the budget of the pipeline that fills it."""

    def __init__(
        self,
        name: str,
        output: Output,
        *,
        letters: DeadLetters,
        events: SidecarEvents,
        settle: Callable[[Parcel], None],
        backoff: Backoff,
        longest: float,
    ) -> None:
        self.name = name
        self.output = output
        self.trouble: str | None = None
        """Why it is waiting, while it is."""
        self._letters = letters
        self._events = events
        self._settle = settle
        self._backoff = backoff
        self._longest = longest  # pause that the far side can ask for
        self._queue: asyncio.Queue[Parcel] = asyncio.Queue()
        self._delivered = events.delivered(name)
        self._announced = float("-inf")

    def put(self, parcel: Parcel) -> None:
        """Queue a parcel."""
        self._queue.put_nowait(parcel)

    async def run(self) -> None:
        """Deliver, for ever."""
        while True:
            parcel = await self._queue.get()
            if parcel.records:
                await self._carry(parcel)
            parcel.waiting -= 1
            if not parcel.waiting:
                self._settle(parcel)

    async def _carry(self, parcel: Parcel) -> None:
        batches = parcel.batches
        receipt = await self._persist(batches)
        if receipt.rejected:
            await self._bury(parcel, receipt.rejected)
        if receipt.refused:
            self._events.records_refused(self.name, receipt.refused, receipt.why)
            parcel.refused = max(parcel.refused, receipt.refused)
        elif receipt.why:
            self._events.output_warned(self.name, receipt.why)
        self._delivered.value += parcel.records - len(receipt.rejected) - receipt.refused

    async def _deliver(self, batches: list[Batch]) -> Receipt:
        try:
            return await self.output.deliver(batches)
        except Rejected as error:
            every = ((at, index) for at, batch in enumerate(batches) for index in range(len(batch)))
            return Receipt(dict.fromkeys(every, error.reason))

    async def _bury(self, parcel: Parcel, rejected: Mapping[tuple[int, int], str]) -> None:
        by_batch: dict[int, dict[int, str]] = {}
        for (at, index), reason in rejected.items():
            by_batch.setdefault(at, {})[index] = reason
        for at, reasons in by_batch.items():
            parcel.dead.setdefault(at, set()).update(reasons)
        await self._letters.write(
            [
                letter
                for at, reasons in sorted(by_batch.items())
                for letter in dead_letters.of(parcel.items[at][1], reasons, self.name)
            ]
        )

    async def _persist(self, batches: list[Batch]) -> Receipt:
        """Try until it works, waiting as long as the far side asks, or with full jitter between tries."""
        tries = 0
        while True:
            try:
                receipt = await self._deliver(batches)
            except (Retryable, OSError) as error:
                after = error.after if isinstance(error, Retryable) else None
                delay = self._backoff.delay(tries, random.random()) if after is None else min(after, self._longest)  # noqa: S311 - jitter
                tries += 1
                self._wait_for(_reason(error), tries, delay)
                await asyncio.sleep(delay)
            else:
                if tries:
                    self.trouble = None
                    self._announced = float("-inf")
                    self._events.output_recovered(self.name, tries)
                return receipt

    def _wait_for(self, reason: str, attempt: int, delay: float) -> None:
        self.trouble = reason
        now = time.monotonic()
        announce = now - self._announced >= ANNOUNCE
        if announce:
            self._announced = now
        self._events.output_waiting(self.name, reason, attempt, delay, announce=announce)


def _reason(error: Exception) -> str:
    if isinstance(error, Retryable):
        return str(error)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
