"""Outlier detection: an endpoint that keeps failing rests, longer each time, and comes back by one real request. Pure.

              too many failures                time is up, and a request chosen
    WELL ───────────────────────► RESTING ───────────────────────────────────► TRIAL
      ▲                              ▲                                           │
      │                              └──────────────── it has failed ────────────┤
      └──────────────────────────────── it was answered ─────────────────────────┘

Sources: Envoy's outlier detection (consecutive failures, failure percentage), linkerd's failure accrual (rests that
grow, with jitter; one real request as the probe).
"""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta

from podpatterns.ambassador.http1.fields import named
from podpatterns.runtime.backoff import Backoff
from podpatterns.runtime.schema import Config, InvalidField
from podpatterns.runtime.units import Duration, Share


class OutliersConfig(Config, frozen=True, kw_only=True):
    """When an address rests. A failure is a status of 500 or more, a 429, a reset or silence before a response.

    An address whose answers fail rests only while another one can take its requests: the last one is never taken
    away for what it answers, because its errors tell the client more than a 503 of ours, and because one broken page
    is no reason to take a whole service away. An address that cannot be connected to rests in any case.
    """

    connect_failures: Annotated[int, Meta(ge=1)] = 3
    """Failed connections in a row after which an address rests. Three, so that a restart between two attempts is
    forgiven."""

    failures: Annotated[int, Meta(ge=1)] | None = 5
    """Failures in a row after which an address rests; five as in Envoy. None: they do not matter."""

    failure_rate: Share | None = Share("50%")
    """The share of its requests within `window` that may fail, if that is also twice as much as at the other
    addresses: when all fail alike, none of them is to blame. None: it does not matter."""

    min_requests: Annotated[int, Meta(ge=1)] = 20
    """Requests within `window` from which on there is a failure rate: one in two says nothing."""

    window: Duration = Duration("10s")
    """For how long requests count for the failure rate; long enough for `min_requests` on a quiet service."""

    rest: Duration = Duration("1s")
    """How long the first rest lasts at most; each one after that at most twice as long. The actual time lies between
    half of it and all of it, by chance, so that not all proxies come back at the same time. Then a single real request
    finds out whether the address is well again."""

    max_rest: Duration = Duration("30s")
    """The longest rest, also if `Retry-After` asks for a longer one."""

    max_ejected: Share = Share("50%")
    """How many of the addresses may rest for their answers at the same time; one of several may always. Half, so that
    the others are not asked for more than twice as much."""

    def __post_init__(self) -> None:
        """Rests grow."""
        if self.rest > self.max_rest:
            raise InvalidField("rest", f"{self.rest} is longer than max_rest, {self.max_rest}")
        if not self.rest:
            raise InvalidField("rest", "must be longer than nothing; to eject no address, set failures to null")
        if not self.window:
            raise InvalidField("window", "must be longer than nothing")


class State(enum.Enum):
    """Where an endpoint stands."""

    WELL = enum.auto()
    RESTING = enum.auto()
    TRIAL = enum.auto()


class Reason(enum.StrEnum):
    """Why an endpoint rests: labels of the metric."""

    CONNECT = enum.auto()
    FAILURES = enum.auto()
    FAILURE_RATE = enum.auto()
    OVERLOAD = enum.auto()


class Record:
    """How one endpoint has been doing. Times are seconds on any one clock."""

    __slots__ = (
        "_config", "_failed", "_forgiven", "_left", "_lost", "_requests", "_rest", "_times", "connects", "failures",
        "reason", "state", "until", "untried_since",
    )  # fmt: skip

    def __init__(self, config: OutliersConfig) -> None:
        self._config = config
        self._rest = Backoff(first=config.rest, cap=config.max_rest)
        self.state = State.WELL
        self.reason = Reason.CONNECT
        """Of the last rest."""
        self.connects = 0
        """Failed connections in a row."""
        self.failures = 0
        """Failures in a row."""
        self.until = 0.0
        """The end of the rest."""
        self.untried_since = 0.0
        """Since when nobody has tried it."""
        self._lost = 0.0
        """When a trial counts as lost, because nobody has told what came of it."""
        self._times = 0
        self._forgiven = 0.0
        """From when on a new rest is a first one again: it has been well for as long as it was away."""
        self._left = 0.0
        self._failed = 0
        self._requests = 0

    @property
    def troubled(self) -> bool:
        """True while a good answer would change something."""
        return self.state is not State.WELL or self.failures > 0

    @property
    def changes(self) -> float:
        """When a request should find out if it is well again."""
        return self._lost if self.state is State.TRIAL else self.until

    def due(self, now: float) -> bool:
        """Whether a request should find out now."""
        return self.state is not State.WELL and now >= self.changes

    # --- what happens to it ---------------------------------------------------------------------------------------

    def connect_failed(self) -> Reason | None:
        """A connection could not be opened. Returns why it should rest now; None: it should not, or does already."""
        self.connects += 1
        if self.state is State.TRIAL or (self.state is State.WELL and self.connects >= self._config.connect_failures):
            return Reason.CONNECT
        return None

    def connected(self, now: float) -> bool:
        """A connection was opened. True: that brings it back."""
        self.connects = 0
        return self.reason is Reason.CONNECT and self._back(now)

    def succeeded(self, now: float) -> bool:
        """A request was answered well. True: that brings it back; one that was sent before the rest does not."""
        self.failures = 0
        return self.state is State.TRIAL and self._back(now)

    def _back(self, now: float) -> bool:
        if self.state is State.WELL:
            return False
        self._forgiven = now + (now - self._left)
        self.state = State.WELL
        self.connects = self.failures = 0
        return True

    def failed(self, requests: int, others: float = 0.0) -> Reason | None:
        """A request has failed. Returns why it should rest now; None: it should not, or does already.

        `requests` is how many it was ever sent, `others` the failure rate of the other endpoints.
        """
        config = self._config
        self.failures += 1
        self._failed += 1
        if self.state is State.TRIAL:
            return self.reason
        if self.state is State.RESTING:
            return None
        if config.failures is not None and self.failures >= config.failures:
            return Reason.FAILURES
        failed, count = self.recent(requests)
        if config.failure_rate is None or count < config.min_requests:
            return None
        rate = failed / count
        return Reason.FAILURE_RATE if rate > config.failure_rate and rate >= 2 * others else None

    def begin_window(self, requests: int) -> None:
        """Count anew for the failure rate, from so many requests on; at the same time as all others do."""
        self._failed, self._requests = 0, requests

    def recent(self, requests: int) -> tuple[int, int]:
        """Failures and requests of this window."""
        return self._failed, max(self._failed, requests - self._requests)

    def eject(self, now: float, reason: Reason, u: float, at_least: float = 0.0) -> float:
        """Rest, with `u` drawn evenly from [0, 1); returns for how many seconds."""
        if self.state is State.WELL:
            self._left = now
            if now >= self._forgiven:
                self._times = 0
        rest = max(self._rest.delay(self._times, 0.5 + u / 2), min(at_least, self._config.max_rest))
        self._times += 1
        self.state, self.reason, self.until, self.untried_since = State.RESTING, reason, now + rest, now
        self._failed = 0
        return rest

    def try_again(self, now: float, patience: float) -> None:
        """A request is on its way to find out. If nothing is heard of it for so many seconds, another one is."""
        self.state, self._lost = State.TRIAL, now + patience

    def rest_on(self, now: float) -> bool:
        """A trial has failed. True: it came before its time, so the same rest goes on."""
        if self.state is not State.TRIAL or now >= self.until:
            return False
        self.state, self.untried_since = State.RESTING, now
        return True


_RETRY_AFTER, _DATE = named(b"retry-after"), named(b"date")


def retry_after(head: bytes) -> float:
    """The seconds that a response's `Retry-After` asks for; 0 without one, or if it makes no sense."""
    found = _RETRY_AFTER.search(head)
    if found is None:
        return 0.0
    value = found[1].strip(b" \t")
    if value.isdigit():
        return float(value[:9])
    from email.utils import parsedate_to_datetime  # dates are rare, and it brings half a megabyte

    date = _DATE.search(head)
    try:
        then = parsedate_to_datetime(value.decode("latin-1"))
        since = parsedate_to_datetime(date[1].strip().decode("latin-1")) if date is not None else None
        return max(0.0, (then - since).total_seconds()) if since is not None else 0.0
    except (ValueError, TypeError):  # no date, or one with and one without a time zone
        return 0.0
