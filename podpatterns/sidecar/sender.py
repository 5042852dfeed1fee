"""The sender: carries parcels to one output, in the order of the chain, for as long as it takes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping

from podpatterns.errors import Rejected, Retryable
from podpatterns.runtime.backoff import Backoff
from podpatterns.sidecar import dead_letters
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.chain import Parcel
from podpatterns.sidecar.dead_letters import DeadLetters
from podpatterns.sidecar.events import ANNOUNCE, SidecarEvents
from podpatterns.sidecar.outputs import Output, Receipt


class Sender:
    """One output, and its place in the chain: `at` is the next parcel that it has to deliver."""

    def __init__(
        self,
        name: str,
        output: Output,
        *,
        key: str,
        at: Parcel,
        letters: DeadLetters,
        events: SidecarEvents,
        load: Callable[[Parcel], Awaitable[None]],
        passed: Callable[[Sender, Parcel], None],
        backoff: Backoff,
        longest: float,
    ) -> None:
        self.name = name
        self.output = output
        self.key = key
        """What its position is kept under: says where it delivers to, so that a changed configuration mixes up none."""
        self.at = at
        self.passed = 0
        """Bytes of the log that it has passed."""
        self.trouble: str | None = None
        """Why it is waiting, while it is."""
        self._letters = letters
        self._events = events
        self._load, self._passed = load, passed
        self._backoff = backoff
        self._longest = longest  # pause that the far side can ask for
        self._sealed = asyncio.Event()
        self._delivered = events.delivered(name)
        self._announced = float("-inf")

    def wake(self) -> None:
        """Another parcel has been sealed."""
        self._sealed.set()

    async def run(self) -> None:
        """Deliver, for ever."""
        while True:
            while self.at.next is None:
                self._sealed.clear()
                await self._sealed.wait()
            parcel = self.at
            parcel.busy += 1
            try:
                if parcel.away:
                    await self._load(parcel)
                if parcel.records:
                    await self._carry(parcel)
            finally:
                parcel.busy -= 1
            assert parcel.next is not None, "sealed"
            self.at = parcel.next
            self._passed(self, parcel)

    async def _carry(self, parcel: Parcel) -> None:
        batches = parcel.batches(self.key)
        if not batches:
            return
        receipt = await self._persist(batches)
        rejected = receipt.rejected
        if rejected:
            await self._bury(parcel, batches, rejected)
        if receipt.refused:
            self._events.records_refused(self.name, receipt.refused, receipt.why)
            parcel.refused = max(parcel.refused, receipt.refused)
        elif receipt.why:
            self._events.output_warned(self.name, receipt.why)
        self._delivered.value += sum(map(len, batches)) - len(rejected) - receipt.refused

    async def _deliver(self, batches: list[Batch]) -> Receipt:
        try:
            return await self.output.deliver(batches)
        except Rejected as error:
            every = ((at, index) for at, batch in enumerate(batches) for index in range(len(batch)))
            return Receipt(dict.fromkeys(every, error.reason))

    async def _bury(self, parcel: Parcel, batches: list[Batch], rejected: Mapping[tuple[int, int], str]) -> None:
        by_batch: dict[int, dict[int, str]] = {}
        for (at, index), reason in rejected.items():
            by_batch.setdefault(at, {})[index] = reason
        places = {id(batch): place for place, (_, batch) in enumerate(parcel.items)}
        for at, reasons in by_batch.items():
            parcel.dead.setdefault(places[id(batches[at])], set()).update(reasons)
        await self._letters.write(
            [
                letter
                for at, reasons in sorted(by_batch.items())
                for letter in dead_letters.of(batches[at], reasons, self.name)
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
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
