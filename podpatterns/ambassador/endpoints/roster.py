"""Which endpoint takes the next request: those that are well, and those that deserve a trial, balanced."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from podpatterns.ambassador.balance import Balancer, Even
from podpatterns.ambassador.endpoints.endpoint import Endpoint
from podpatterns.ambassador.endpoints.outliers import OutliersConfig, Reason, State, retry_after
from podpatterns.ambassador.events import AmbassadorEvents

if TYPE_CHECKING:
    from podpatterns.ambassador.http1.request import Request

_PENALTY = 1.0
"""Seconds that a failure counts as, at least, where latencies count: whoever fails fast must not look fast."""


LAST_RESORT = 0.1
"""Seconds between two attempts at an endpoint where all of them rest: whoever is back is found soon, and a few
connections in a second disturb nobody."""


class Roster:
    """The endpoints of one upstream.

    Who may be chosen is found out when something has changed, not for each request; and where only one endpoint may
    be, it is `only`, and nobody needs to choose.
    """

    def __init__(
        self,
        name: str,
        endpoints: Sequence[Endpoint],
        *,
        balancer: Balancer,
        outliers: OutliersConfig,
        panic: float,
        patience: float,
        events: AmbassadorEvents,
        clock: Callable[[], float],
        draw: Even,
    ) -> None:
        self._name = name
        self._pick = balancer.pick
        self._timed = balancer.latencies
        self.affine = balancer.affine
        """True if a request must go to the endpoint that was chosen for it, as long as that is possible."""
        self._outliers = outliers
        self._panic = panic
        self._patience = patience
        """Seconds after which a trial of which nothing was heard counts as lost."""
        self._events = events
        self._clock = clock
        self._draw = draw
        self._changes = float("inf")
        """When it has to be judged anew, because a rest or a trial is over by then."""
        self._since = float("-inf")
        """When the window began in which failures count for the failure rate."""
        self._panicking = False
        self._desperate = False
        self.changed: Callable[[], None] = _nobody_asked
        """Called when it has been found out anew who may be chosen."""
        self.endpoints: list[Endpoint] = list(endpoints)
        self.usable: list[Endpoint] = self.endpoints
        self.only: Endpoint | None = None
        self.available = True
        """False while a request had better go to another version: no endpoint is well, or due for a trial."""
        self.down_since = float("inf")
        """Since when nobody is well, and not in panic either."""
        self.judge(0.0)

    # --- choosing -------------------------------------------------------------------------------------------------

    def choose(self, request: Request | None, tried: Collection[Endpoint] = ()) -> Endpoint | None:
        """One that may be chosen and was not tried yet; None if there is none."""
        usable = [each for each in self.usable if each not in tried] if tried else self.usable
        if len(usable) > 1:
            endpoint = self._pick(usable, request, self._clock() if self._timed else 0.0)
        elif usable:
            endpoint = usable[0]
        else:
            return None
        if endpoint.record.state is not State.WELL:
            self._try(endpoint)
        return endpoint

    def _try(self, endpoint: Endpoint) -> None:
        """If it has rested for long enough, this one request is to find out; the next one goes elsewhere until then."""
        now = self._clock()
        if endpoint.record.due(now) or self._desperate:
            endpoint.record.try_again(now, self._patience)
            self.judge(now)

    def judge(self, now: float) -> None:
        """Find out anew who may be chosen."""
        fit, reachable, changes, up = [], [], float("inf"), False
        for endpoint in self.endpoints:
            record = endpoint.record
            endpoint.watched = self._timed or record.troubled
            well = record.state is State.WELL or record.due(now)
            if not well:
                changes = min(changes, record.changes)
            if well and endpoint.healthy:
                fit.append(endpoint)
                up = up or record.state is State.WELL
            if well or record.reason is not Reason.CONNECT:
                reachable.append(endpoint)
        self.available = bool(fit) or any(each.idle for each in self.endpoints)
        panicking = len(fit) < self._panic * len(self.endpoints) and len(reachable) > len(fit)
        if panicking is not self._panicking:
            self._panicking = panicking
            self._events.panic(self._name, len(fit), len(self.endpoints), on=panicking)
        self.usable = reachable if panicking else fit
        self.down_since = float("inf") if up or panicking else min(self.down_since, now)
        self._desperate = False
        if not self.usable and (next_one := self._next_to_return()) is not None:
            if now >= next_one.record.untried_since + LAST_RESORT:
                self._desperate, self.usable = True, [next_one]
            else:
                changes = min(changes, next_one.record.untried_since + LAST_RESORT)
        self._changes = changes
        single = self.usable[0] if len(self.usable) == 1 else None
        self.only = single if single is not None and single.record.state is State.WELL else None
        self.changed()

    def _next_to_return(self) -> Endpoint | None:
        """Who has not been tried for longest; None while somebody is on trial: one attempt at a time."""
        if any(each.record.state is State.TRIAL for each in self.endpoints):
            return None
        resting = [
            each for each in self.endpoints if each.record.state is State.RESTING and (each.healthy or self._panic)
        ]
        return min(resting, key=lambda each: each.record.untried_since, default=None)

    def sweep(self, now: float) -> None:
        """Look whether a rest is over; called several times a second."""
        if now >= self._changes or not self.usable:
            self.judge(now)

    def replace(self, endpoints: Sequence[Endpoint]) -> None:
        """Others than before, or partly."""
        self.endpoints = list(endpoints)
        self.judge(self._clock())

    # --- what happens to them -------------------------------------------------------------------------------------

    def connect_failed(self, endpoint: Endpoint, flag: str) -> None:
        """It could not be connected to."""
        reason = endpoint.record.connect_failed()
        self._events.connect_failed(self._name, endpoint.name, flag, endpoint.record.connects)
        if reason is not None:
            self._eject(endpoint, reason)

    def connected(self, endpoint: Endpoint) -> None:
        """It could be connected to."""
        self._events.connected(self._name, endpoint.name)
        if endpoint.record.connected(self._clock()):
            self._back(endpoint)

    def outcome(self, endpoint: Endpoint, status: int, seconds: float, head: bytes) -> None:
        """A request has been answered; or not, with status 0."""
        now, record = self._clock(), endpoint.record
        failed = status == 0 or status >= 500 or status == 429
        if self._timed:
            endpoint.latency.observe(max(seconds, _PENALTY) if failed else seconds, now)
        if not failed:
            if record.succeeded(now):
                self._back(endpoint)
            endpoint.watched = self._timed or record.troubled
            return
        if now - self._since >= self._outliers.window:
            self._since = now
            for each in self.endpoints:
                each.record.begin_window(each.requests - (each is endpoint))
        reason = record.failed(endpoint.requests, self._others(endpoint))
        after = retry_after(head) if status in {429, 503} else 0.0
        if after and record.state is State.WELL:
            reason = Reason.OVERLOAD
        endpoint.watched = True
        if reason is not None and (record.state is State.TRIAL or self._expendable(endpoint)):
            self._eject(endpoint, reason, after)

    def _others(self, endpoint: Endpoint) -> float:
        """The failure rate of the other endpoints, all together."""
        recent = [each.record.recent(each.requests) for each in self.endpoints if each is not endpoint]
        requests = sum(count for _, count in recent)
        return sum(failed for failed, _ in recent) / requests if requests else 0.0

    def _expendable(self, endpoint: Endpoint) -> bool:
        """Whether it may rest for its answers: another one is well, and not too many rest already."""
        others = [each for each in self.endpoints if each is not endpoint]
        resting = sum(
            each.record.state is not State.WELL and each.record.reason is not Reason.CONNECT for each in others
        )
        allowed = max(1, int(self._outliers.max_ejected * len(self.endpoints)))
        return resting < allowed and any(each.healthy and each.record.state is State.WELL for each in others)

    def _eject(self, endpoint: Endpoint, reason: Reason, at_least: float = 0.0) -> None:
        now = self._clock()
        if endpoint.record.rest_on(now):
            self.judge(now)
            return
        rest = endpoint.record.eject(now, reason, self._draw(), at_least)
        self._events.address_rests(self._name, endpoint.name, reason.value, rest)
        self.judge(now)

    def _back(self, endpoint: Endpoint) -> None:
        self._events.address_back(self._name, endpoint.name)
        self.judge(self._clock())

    # --- for people and metrics ---------------------------------------------------------------------------------------

    def describe(self, endpoint: Endpoint) -> str:
        """Its state."""
        record = endpoint.record
        if record.state is State.TRIAL:
            return f"on trial after a rest ({record.reason})"
        if record.state is State.RESTING:
            left = max(0.0, record.until - self._clock())
            return f"rests for {left:.1f}s ({record.reason}, {max(record.connects, record.failures)} failures)"
        return "ok" if endpoint.healthy else "fails its health checks"

    def count(self) -> dict[str, int]:
        """How many endpoints are in which state."""
        found = {"well": 0, "resting": 0, "unhealthy": 0}
        for endpoint in self.endpoints:
            state = "well" if endpoint.record.state is State.WELL else "resting"
            found[state if endpoint.healthy else "unhealthy"] += 1
        return found


def _nobody_asked() -> None:
    pass
