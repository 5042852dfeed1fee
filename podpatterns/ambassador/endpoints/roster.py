"""Which endpoint takes the next request: in turn, without those that rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from random import random

from podpatterns.ambassador.endpoints.endpoint import Endpoint
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.runtime.backoff import Backoff


class Roster:
    """The endpoints of one upstream.

    `only` is the one endpoint, if there is a single one that may be chosen: then nobody needs to choose.
    """

    _REST = Backoff(first=1.0, cap=30.0)

    def __init__(
        self,
        name: str,
        endpoints: Sequence[Endpoint],
        failures: int,
        clock: Callable[[], float],
        events: AmbassadorEvents,
    ) -> None:
        self._name = name
        self._failures = failures
        self._clock = clock
        self._events = events
        self._turn = 0
        self.endpoints = list(endpoints)
        self.only: Endpoint | None = None
        self.available = True
        self.changed: Callable[[], None] = _nobody_asked
        """Called when it has been found out anew who may be chosen."""
        self.judge()

    def choose(self, tried: Collection[Endpoint] = ()) -> Endpoint | None:
        """The next one in turn that does not rest; after its rest it gets one request to prove itself."""
        now = self._clock()
        for _ in self.endpoints:
            self._turn = (self._turn + 1) % len(self.endpoints)
            endpoint = self.endpoints[self._turn]
            if endpoint in tried:
                continue
            if endpoint.failures < self._failures:
                return endpoint
            if endpoint.rests_until <= now and not endpoint.probing:
                return endpoint
        return None

    def trying(self, endpoint: Endpoint) -> None:
        """A connection to it is about to be opened; the first one after a rest is the only one, until it is there."""
        if endpoint.failures >= self._failures:
            endpoint.probing = True
            self.judge()

    def failed(self, endpoint: Endpoint, reason: str) -> None:
        """It could not be connected to."""
        endpoint.failures += 1
        endpoint.probing = False
        self._events.connect_failed(self._name, str(endpoint), reason, endpoint.failures)
        if endpoint.failures >= self._failures:
            # Between half of the bound and the bound: not at once, and not all at the same time.
            rest = self._REST.delay(endpoint.times_rested, 0.5 + random() / 2)  # noqa: S311 - jitter
            endpoint.times_rested += 1
            endpoint.rests_until = self._clock() + rest
            self._events.address_rests(self._name, str(endpoint), rest)
        self.judge()

    def succeeded(self, endpoint: Endpoint) -> None:
        """It could be connected to."""
        self._events.connected(self._name, str(endpoint))
        if endpoint.failures >= self._failures:
            self._events.address_back(self._name, str(endpoint))
        endpoint.failures = endpoint.times_rested = 0
        endpoint.probing = False
        self.judge()

    def judge(self) -> None:
        """Find out anew who may be chosen."""
        now = self._clock()
        usable = [
            each
            for each in self.endpoints
            if each.failures < self._failures or (each.rests_until <= now and not each.probing)
        ]
        self.available = bool(usable) or any(each.idle for each in self.endpoints)
        first = self.endpoints[0]
        self.only = first if len(self.endpoints) == 1 and first.failures < self._failures else None
        self.changed()

    def describe(self, endpoint: Endpoint) -> str:
        """Its state, for people."""
        if endpoint.failures < self._failures:
            return "ok"
        left = max(0.0, endpoint.rests_until - self._clock())
        return f"rests for {left:.1f}s after {endpoint.failures} failures"


def _nobody_asked() -> None:
    pass
