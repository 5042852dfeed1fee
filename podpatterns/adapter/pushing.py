"""Outputs that push: families are taken at an interval, encoded, and delivered in order.

What the far side does not take waits, within a bound; what is oldest is given up first, and counted. The end is the
same: a drain takes the last samples and delivers them.
"""

from __future__ import annotations

import asyncio
import random
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from podpatterns.adapter.carriers import Carrier
from podpatterns.adapter.outputs import Output, OutputConfig, OutputContext
from podpatterns.errors import Rejected, Retryable
from podpatterns.formats.families import Family
from podpatterns.formats.points import not_finite
from podpatterns.runtime.backoff import Backoff
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.units import Duration, Size

_LONGEST_PAUSE = 60.0
"""Seconds that a far side may ask us to pause; more would fill the queue for a typing error."""


_SET_BACK = 60.0
"""Seconds by which a clock may be set back until its new time is taken as it is."""


class PushConfig(OutputConfig, frozen=True, kw_only=True):
    """What all outputs that push have in common."""

    interval: Duration = Duration("15s")
    """How often metrics are taken and sent; the default is what Prometheus' users scrape at."""

    timeout: Duration = Duration("10s")
    """How long one delivery may take, connecting included, until it is tried again; and how long sources may take."""

    max_waiting: Size = Size("16MiB")
    """Bytes that wait while the far side is down. Beyond it the oldest are given up, and counted in
    `podpatterns_adapter_deliveries_lost_total`."""

    final_delivery: Duration = Duration("5s")
    """How long a drain tries to deliver what is left; at most what is left of the grace."""

    def __post_init__(self) -> None:
        """Check what a type cannot say."""
        if not self.interval:
            raise InvalidField("interval", "an interval must be longer than 0s")
        if not self.timeout:
            raise InvalidField("timeout", "a delivery needs some time")


def bodies(lines: Iterable[bytes], most: int) -> list[bytes]:
    """Lines joined to bodies of at most so many."""
    rest = iter(lines)
    return [b"".join(some) for some in iter(lambda: list(islice(rest, most)), [])]


class Waiting:
    """Bodies in order, within a bound. Pure."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bodies: deque[bytes] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._bodies)

    @property
    def first(self) -> bytes:
        """The oldest body."""
        return self._bodies[0]

    def put(self, body: bytes) -> int:
        """Append one. Returns how many of the oldest had to go for it; the newest one always stays."""
        self._bodies.append(body)
        self.size += len(body)
        gone = 0
        while self.size > self._limit and len(self._bodies) > 1:
            self.drop(self.first)
            gone += 1
        return gone

    def clear(self) -> int:
        """Give up everything. Returns how many there were."""
        count, self.size = len(self._bodies), 0
        self._bodies.clear()
        return count

    def change(self, function: Callable[[bytes], bytes]) -> None:
        """Say the same in another form; order and number stay."""
        self._bodies = deque(map(function, self._bodies))
        self.size = sum(map(len, self._bodies))

    def drop(self, body: bytes) -> None:
        """Take the first one out, if it is still this one: a delivery under way may have been overtaken by `put`."""
        if self._bodies and self._bodies[0] is body:
            self.size -= len(self._bodies.popleft())


class Push(Output):
    """Two tasks: one takes metrics at each interval, one delivers. Neither waits for the other."""

    finite = False
    """Whether the format has no place for NaN and infinity: such samples are left out, and counted."""

    def __init__(self, config: PushConfig, where: str, context: OutputContext) -> None:
        self.name, self.called, self._where = f"output {context.name}", context.name, where
        self._settings, self._source, self._events = config, context.source, context.events
        self._waiting = Waiting(config.max_waiting)
        self._more = asyncio.Event()
        self._sending, self._taking = asyncio.Lock(), asyncio.Lock()
        self._over = False
        self._told = 0.0
        self._backoff = Backoff(first=0.5, cap=_LONGEST_PAUSE / 2)

    @abstractmethod
    def encode(self, families: Sequence[Family], now: float) -> list[bytes]:
        """The bodies that say all this; `now` is in seconds since 1970."""

    @abstractmethod
    async def deliver(self, body: bytes) -> None:
        """Hand one body over. Raises Retryable, Rejected, OSError or TimeoutError."""

    def last(self, now: float) -> list[bytes]:  # noqa: ARG002 - for those that have a word for the end
        """What is sent when all is over."""
        return []

    async def run(self) -> None:
        """Take and deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_always(), name=f"{self.name}: taking")
            group.create_task(self._deliver_always(), name=f"{self.name}: delivering")

    async def drain(self, deadline: Deadline) -> None:
        """Deliver the last samples."""
        patience = min(self._settings.final_delivery, deadline.remaining)
        self._over = True  # nothing may follow the last word
        try:
            async with asyncio.timeout(patience):
                async with self._taking:
                    await self._take()
                    self._put(self.last(self._now()))
                while self._waiting:
                    pause = await self._deliver_first(0)
                    await asyncio.sleep(pause or 0)
        except TimeoutError:
            pass  # what is left is counted by `stop`

    async def leave(self) -> None:
        """The same, as far as it has time of its own: nobody waits with a grace."""
        await self.drain(Deadline(time.monotonic() + self._settings.final_delivery, time.monotonic))

    async def stop(self) -> None:
        """Give up what is left, and count it."""
        if self._waiting:
            self.lost("shutdown", self._waiting.clear())
        self._events.deliveries_waiting(self.called, 0)

    def failed(self, why: str) -> None:
        """A delivery was not taken, or not as a whole."""
        self._events.delivery_failed(self.called, self._where, why)

    def lost(self, reason: str, count: int) -> None:
        """Deliveries are given up."""
        self._events.deliveries_lost(self.called, reason, count)

    def left_out(self, reason: str, count: int) -> None:
        """Samples that the format has no place for."""
        self._events.samples_left_out(self.called, reason, count)

    async def _take_always(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._settings.interval, loop.time())
            await asyncio.sleep(due - loop.time())
            async with self._taking:
                if not self._over:
                    await self._take()

    async def _take(self) -> None:
        families = await self._source.collect(min(self._settings.timeout, self._settings.interval))
        if self.finite and (count := not_finite(families)):
            self.left_out("not_finite", count)
        self._put(self.encode([family for family in families if family.values], self._now()))

    def _now(self) -> float:
        """The time of what is told now: later than what was told before, in milliseconds too.

        Far sides refuse what is not; but the last samples may follow others at once, and a clock may be set back a
        little. One that is set back by more was wrong, and is not followed for ever.
        """
        now = time.time()
        if now <= self._told + 0.001 < now + _SET_BACK:
            now = self._told + 0.002
        self._told = now
        return now

    def _put(self, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            if gone := self._waiting.put(body):
                self.lost("max_waiting", gone)
        self._events.deliveries_waiting(self.called, self._waiting.size)
        if self._waiting:
            self._more.set()

    async def _deliver_always(self) -> None:
        failures = 0
        while True:
            if not self._waiting:
                self._more.clear()
                await self._more.wait()
            pause = await self._deliver_first(failures)
            failures = failures + 1 if pause is not None else 0
            if pause:
                await asyncio.sleep(pause)

    async def _deliver_first(self, failures: int) -> float | None:
        """Deliver the oldest body. Returns None, or the seconds to wait after a failure."""
        async with self._sending:
            if not self._waiting:
                return None  # a drain was faster
            body = self._waiting.first
            try:
                async with asyncio.timeout(self._settings.timeout):
                    await self.deliver(body)
            except Rejected as error:
                self.failed(str(error))
                self.lost("rejected", 1)
            except (Retryable, OSError, TimeoutError) as error:
                self.failed(str(error) or f"no answer within {self._settings.timeout}")
                after = error.after if isinstance(error, Retryable) else None
                if after is not None:
                    return min(after, _LONGEST_PAUSE)
                return self._backoff.delay(failures, random.random())  # noqa: S311 - jitter
            else:
                self._events.delivered(self.called)
            self._waiting.drop(body)
            self._events.deliveries_waiting(self.called, self._waiting.size)
            return None


class Carried(Push):
    """Bodies of lines, to wherever a carrier takes them."""

    def __init__(self, config: PushConfig, carrier: Carrier, context: OutputContext) -> None:
        super().__init__(config, carrier.where, context)
        self._carrier = carrier

    async def deliver(self, body: bytes) -> None:
        """Hand it to the carrier."""
        await self._carrier.send(body)

    async def stop(self) -> None:
        """Close what the carrier has open."""
        await super().stop()
        await self._carrier.stop()
