"""The connections of one upstream: kept ones, new ones, and the requests that wait for one.

One piece, because all of it keeps one account: how many connections there are, on their way, and wanted. What can be
decided without connections stands beside it: whom to ask (roster), who waits (waiting), how long to keep (keeping).
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Mapping, Sequence
from random import random
from typing import TYPE_CHECKING, Any, TypeVar

from podpatterns.ambassador.endpoints.budget import RetryBudget
from podpatterns.ambassador.endpoints.connector import Connector
from podpatterns.ambassador.endpoints.endpoint import Endpoint
from podpatterns.ambassador.endpoints.keeping import Keeping
from podpatterns.ambassador.endpoints.outliers import State
from podpatterns.ambassador.endpoints.roster import Roster
from podpatterns.ambassador.endpoints.waiting import Waiter, Waiting
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.link import Link
from podpatterns.ambassador.upstreams import Done, Make, Spawn, Upstream
from podpatterns.errors import UpstreamError

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.http1.request import Request

P = TypeVar("P", bound=asyncio.Protocol)


ATTEMPTS = 3
"""Connect timeouts that one request waits for at most, where there are so many addresses; those that refuse at once are
all tried."""


_GRACE = 0.3
"""Seconds; longer than from one sweep to the next."""


class Pool(Upstream):
    """Per endpoint a stack of kept connections; one queue of requests in front of all of them."""

    def __init__(
        self,
        name: str,
        roster: Roster,
        connector: Connector,
        events: AmbassadorEvents,
        spawn: Spawn,
        *,
        keep: float,
        keep_requests: float,
        keep_age: float,
        max_connections: int,
        max_pending: int,
        max_requests: int | None,
        failfast: float,
    ) -> None:
        self.name = name
        self.requests = 0
        self.budget = RetryBudget(now, lambda: self.requests)
        self._roster = roster
        self._roster.changed = self._changed
        self._changed()
        self._connector = connector
        self._events = events
        self._spawn = spawn
        self._keeping = Keeping(keep)
        self._swept = 0.0
        """When connections were swept last; one that has been idle since before that is looked at before it is used."""
        self._keep_requests = keep_requests
        self._keep_age = keep_age
        self._max_connections = max_connections
        self._max_pending = max_pending
        self._max_requests = max_requests
        self._failfast = failfast
        self._open = 0
        """Connections of any kind, those on their way included."""
        self._connecting = 0
        self._dialed: dict[asyncio.Protocol, Endpoint] = {}
        self._affine = roster.affine
        self._waiting = Waiting(affine=roster.affine)
        self._line = self._waiting.queue
        self._left: list[Endpoint] = []
        """Endpoints that names no longer lead to, until their last connection is closed."""
        self._refused = True
        """False while what keeps us from connecting is no restart: silence, or a certificate."""
        self._last_failure = ""
        """Why the last attempt to connect has failed, if that takes more words than that there was no connection."""
        self._outdated = float("-inf")
        """When connections that were begun before ceased to be of use."""
        self._retired = False
        self._closed = False
        self._clock: Callable[[], float] = now

    def _changed(self) -> None:
        self.available = self._roster.available

    # --- pooled connections ---------------------------------------------------------------------------------------

    def acquire(self, exchange: Exchange, *, fresh: bool = False, avoid: Endpoint | None = None) -> Link | None:
        """See Upstream."""
        if self._max_requests is not None:
            self._admit(self._max_requests)
        endpoint = self._roster.only or self._choose(exchange, avoid)
        if endpoint is not None and not fresh:
            idle = endpoint.idle
            while idle:
                link = idle.pop()
                if not link.transport.is_closing() and (link.idle_since >= self._swept or silent(link.transport)):
                    endpoint.requests += 1
                    return link
                self._useless(link)
        return self._queue(exchange, endpoint, avoid, fresh=fresh)

    def _admit(self, bound: int) -> None:
        """Let a request in; raises UpstreamError if there are too many already."""
        if self.active + len(self._waiting) >= bound:
            raise UpstreamError(503, "overflow", f"{self.name} has {bound} requests already")

    def _choose(self, exchange: Exchange, avoid: Endpoint | None) -> Endpoint | None:
        choose = self._roster.choose
        if avoid is None:
            return choose(exchange.request)
        return choose(exchange.request, (avoid,)) or choose(exchange.request)

    @property
    def active(self) -> int:
        """Requests that have a connection."""
        return sum(len(endpoint.links) - len(endpoint.idle) for endpoint in (*self._roster.endpoints, *self._left))

    def _queue(
        self, exchange: Exchange, endpoint: Endpoint | None, avoid: Endpoint | None, *, fresh: bool
    ) -> Link | None:
        """Wait for a connection; one is opened unless there are too many."""
        full = self._open >= self._max_connections
        if (endpoint is None or full) and (link := self._spare()) is not None:
            if endpoint is None or not (fresh or self._affine):
                link.endpoint.requests += 1
                return link
            link.close()  # once it is gone, there is room for another one
        if endpoint is None and not self._patient():
            raise self._unreachable()
        if (full or endpoint is None) and len(self._waiting.stranded) >= self._max_pending:
            raise UpstreamError(503, "overflow", f"{self.name} has {self._max_pending} requests waiting already")
        exchange.within(self._attempts + (self._failfast if endpoint is None else 0.0))
        waiter = self._waiting.join(exchange, endpoint, avoid, self._clock())
        if endpoint is not None and not full:
            self._begin(waiter, endpoint)
        return None

    @property
    def _attempts(self) -> float:
        """Seconds, more than all attempts take together: what an attempt reports is better than "too late"."""
        return self._connector.patience * (min(len(self._roster.endpoints) or 1, ATTEMPTS) + 0.5) + _GRACE

    def _patient(self) -> bool:
        """Whether to wait for somebody to come back. A restart takes a moment; what takes longer is an outage."""
        return self._refused and self._clock() - self._roster.down_since < self._failfast

    def _spare(self) -> Link | None:
        """A kept connection to any address: better than none, where no new one can be opened."""
        for endpoint in self._roster.endpoints:
            while endpoint.idle:
                link = endpoint.idle.pop()
                if not link.transport.is_closing() and silent(link.transport):
                    return link
                self._useless(link)
        return None

    def _unreachable(self) -> UpstreamError:
        why = "cannot be reached at any of its addresses" if self._roster.endpoints else "has no address any more"
        if self._roster.endpoints and self._last_failure:
            why += f"; the last time: {self._last_failure}"
        return UpstreamError(503, "no_healthy_upstream", f"{self.name} {why}")

    def release(self, link: Link) -> None:
        """See Upstream."""
        link.requests += 1
        now = self._clock()
        if link.requests >= self._keep_requests or now >= link.expires or link.endpoint.leaving:
            link.close()
        elif not self._line:
            self._park(link, now)
        else:
            self._offer(link, now)

    def _offer(self, link: Link, now: float, owner: Waiter | None = None) -> None:
        """A free connection, which was opened for `owner`, for whoever waits and is helped by it."""
        if self._serve(link, owner):
            return
        if self._open >= self._max_connections and self._waiting.stranded:
            link.close()  # they need one to elsewhere, and there is no room for it
        else:
            self._park(link, now)

    def _park(self, link: Link, now: float) -> None:
        """Keep it for a later request."""
        if self._retired or not self._keeping.seconds or link.endpoint.leaving:
            link.close()
            return
        link.idle_since = now
        link.endpoint.idle.append(link)

    def _serve(self, link: Link, owner: Waiter | None = None) -> bool:
        """Give a free connection, which was opened for `owner`, to whom it helps. False: nobody."""
        exchange = self._waiting.take(link.endpoint, owner)
        if exchange is None:
            return False
        link.endpoint.requests += 1
        exchange.connected(link)
        return True

    def withdraw(self, exchange: Exchange) -> None:
        """See Upstream."""
        self._waiting.withdraw(exchange)

    def closed(self, link: Link) -> None:
        """See Upstream."""
        endpoint = link.endpoint
        if link in endpoint.links:
            endpoint.links.remove(link)
            self._open -= 1
        if link in endpoint.idle:
            endpoint.idle.remove(link)
            self._useless(link)
        self._refill()

    def _useless(self, link: Link) -> None:
        """An idle connection has been closed by the far side."""
        if self._keeping.closed_after(self._clock() - link.idle_since):
            self._events.idle_closed(self.name, self._keeping.seconds)
        link.close()

    def learn(self, head: bytes) -> None:
        """See Upstream."""
        if self._keeping.told(head):
            self._events.idle_closed(self.name, self._keeping.seconds)

    def _refill(self) -> None:
        """Open connections for those who wait without one on its way, as far as there may be more."""
        if not self._line or self._closed:
            return
        for waiter in self._waiting.stranded:
            if self._open >= self._max_connections:
                return
            endpoint = waiter.endpoint
            if endpoint is None or endpoint.leaving or endpoint.record.state is not State.WELL:
                endpoint = self._choose(waiter.exchange, waiter.avoid)
            if endpoint is not None:
                self._begin(waiter, endpoint)
            elif self._patient() and not (waiter.error and self._has_waited(waiter)):
                return
            elif self._waiting.leave(waiter):
                waiter.exchange.failed(waiter.error or self._unreachable())

    def _begin(self, waiter: Waiter, endpoint: Endpoint) -> None:
        waiter.endpoint, waiter.connecting = endpoint, True
        self._connecting += 1
        self._open += 1
        self._spawn(self._connect(waiter, endpoint))

    async def _connect(self, waiter: Waiter, endpoint: Endpoint) -> None:
        """A new connection, for whoever has waited longest."""
        error: UpstreamError | None = None
        link: Link | None = None
        self._clock = asyncio.get_running_loop().time
        begun = self._clock()
        try:
            link, _ = await self._reach(lambda each: Link(self, each), endpoint, waiter.exchange.request)
        except UpstreamError as cause:
            error = cause
        finally:
            self._connecting -= 1
            self._open -= 1
            waiter.connecting = False
        if link is not None:
            self._open += 1
            link.endpoint.links.add(link)
            link.expires = self._clock() + self._keep_age * (0.9 + 0.2 * random())  # noqa: S311 - not all at the same time
            if begun <= self._outdated:
                link.expires = self._outdated
            self._offer(link, self._clock(), waiter)
        elif error is not None:
            waiter.error = error
            if self._worth_waiting(waiter):
                waiter.exchange.within(self._attempts + self._failfast)
            elif self._waiting.leave(waiter):
                waiter.exchange.failed(error)
        self._refill()

    def _worth_waiting(self, waiter: Waiter) -> bool:
        """After a failed attempt: whether somebody may be back in a moment, and there is nothing else to do."""
        return waiter in self._line and waiter.exchange.last_chance and self._patient() and not self._has_waited(waiter)

    def _has_waited(self, waiter: Waiter) -> bool:
        return self._clock() - waiter.since >= self._failfast

    async def _reach(
        self, make: Callable[[Endpoint], P], first: Endpoint, request: Request | None = None
    ) -> tuple[P, Endpoint]:
        """A new connection to the first endpoint that takes one; each is tried once. Raises UpstreamError."""
        error = self._unreachable()
        tried: list[Endpoint] = []
        endpoint: Endpoint | None = first
        last = self._clock() + self._connector.patience * (ATTEMPTS - 0.5)
        while endpoint is not None:
            tried.append(endpoint)
            try:
                protocol = await self._attempt(endpoint, make)
            except UpstreamError as cause:
                error = cause
                self._refused = cause.flag == "connect_failure"
                self._last_failure = str(cause) if cause.flag == "tls_failure" else ""
                self._roster.connect_failed(endpoint, cause.flag)
            else:
                self._roster.connected(endpoint)
                return protocol, endpoint
            endpoint = self._roster.choose(request, tried) if self._clock() <= last else None
        raise error

    async def _attempt(self, endpoint: Endpoint, make: Callable[[Endpoint], P]) -> P:
        endpoint.connecting += 1
        try:
            return await self._connector.open(endpoint, lambda: make(endpoint))
        finally:
            endpoint.connecting -= 1

    def outcome(self, link: Link, status: int, seconds: float, head: bytes = b"") -> None:
        """See Upstream."""
        self._roster.outcome(link.endpoint, status, seconds, head)

    def outdate(self) -> None:
        """No connection that is open now carries another request: they were opened with what is no longer so."""
        self._outdated = self._clock()
        for endpoint in self._roster.endpoints:
            for link in endpoint.links:
                link.expires = self._outdated
            while endpoint.idle:
                endpoint.idle.pop().close()

    # --- connections of their own ---------------------------------------------------------------------------------

    def dial(self, make: Make, done: Done) -> None:
        """See Upstream."""
        endpoint = self._roster.only or self._roster.choose(None)
        if endpoint is None:
            done(self._unreachable())
        elif self._open >= self._max_connections:
            done(UpstreamError(503, "overflow", f"{self.name} has {self._max_connections} connections already"))
        else:
            self._open += 1
            self._spawn(self._dial(make, done, endpoint))

    async def _dial(self, make: Make, done: Done, first: Endpoint) -> None:
        try:
            protocol, endpoint = await self._reach(lambda _: make(), first)
        except UpstreamError as error:
            self._open -= 1
            done(error)
        else:
            self._dialed[protocol] = endpoint
            endpoint.dialed += 1
            done(protocol)

    def hung_up(self, protocol: asyncio.Protocol) -> None:
        """See Upstream."""
        self._open -= 1
        self._dialed.pop(protocol).dialed -= 1

    def replace(self, endpoints: Sequence[Endpoint]) -> None:
        """Go on with these; what is under way on others ends where it is."""
        gone = [endpoint for endpoint in self._roster.endpoints if endpoint not in endpoints]
        self._roster.replace(endpoints)
        for endpoint in gone:
            endpoint.leaving = True
            while endpoint.idle:
                endpoint.idle.pop().close()
        self._left += gone

    async def run(self) -> None:
        """See Upstream; from now on it is in use."""
        self._events.pools[self.name] = self

    # --- upkeep ---------------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """See Upstream."""
        self._swept = now
        self.budget.tick()
        self._roster.sweep(now)
        self._refill()
        if self._left:
            self._left = [endpoint for endpoint in self._left if endpoint.links]
        oldest = now - self._keeping.seconds
        for endpoint in self._roster.endpoints:
            idle = endpoint.idle
            # The list is in the order in which the connections came back, so the oldest stand first.
            while idle and idle[0].idle_since < oldest:
                idle.pop(0).close()

    def retire(self) -> None:
        """See Upstream."""
        self._retired = True
        self._events.pool_gone(self)
        for endpoint in self._roster.endpoints:
            while endpoint.idle:
                endpoint.idle.pop().close()

    @property
    def busy(self) -> bool:
        """See Upstream."""
        return bool(self._open or self._waiting)

    def abort(self) -> None:
        """See Upstream."""
        self._closed = True
        self.retire()
        for endpoint in (*self._roster.endpoints, *self._left):
            for link in list(endpoint.links):
                link.close()

    def gauges(self) -> Mapping[str, float]:
        """Connections by their state."""
        idle = sum(len(endpoint.idle) for endpoint in self._roster.endpoints)
        return {
            "active": self._open - self._connecting - idle,
            "idle": idle,
            "connecting": self._connecting,
        }

    @property
    def pending(self) -> int:
        """Requests that wait for a connection."""
        return len(self._waiting)

    def addresses(self) -> Mapping[str, int]:
        """How many addresses are in which state."""
        return self._roster.count()

    def describe(self) -> Mapping[str, Any]:
        """See Upstream."""
        return {
            "available": self.available,
            "connections": self._open - self._connecting,
            "idle": sum(len(endpoint.idle) for endpoint in self._roster.endpoints),
            "waiting": len(self._waiting),
            "requests": self.requests,
            "retries_left": int(self.budget.left),
            "addresses": {endpoint.name: self._roster.describe(endpoint) for endpoint in self._roster.endpoints},
        }


def silent(transport: asyncio.Transport) -> bool:
    """Whether nothing has come on an idle connection: anything that has, mostly its end, makes it useless.

    The loop will tell as well, but perhaps only after the request was written. In TLS a message may mean nothing.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("sslcontext") is not None:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
    return not poll.poll(0)


def now() -> float:
    """The running loop's time, in seconds."""
    return asyncio.get_running_loop().time()
