"""HTTP/1.1 from the application."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from podpatterns.ambassador.access_log import AccessLog, AccessLogConfig, Which
from podpatterns.ambassador.downstream import Downstream
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.exchange import Exchange
from podpatterns.ambassador.handler import Unrouted
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.listeners import Listener, ListenerConfig
from podpatterns.ambassador.match import MatchConfig
from podpatterns.ambassador.overload import InFlight
from podpatterns.ambassador.plan import Plan
from podpatterns.ambassador.policies import PolicyConfig, Site, Step
from podpatterns.ambassador.policies.rate_limit import RateLimitConfig
from podpatterns.ambassador.policies.tracing import TracingConfig
from podpatterns.ambassador.route import Route, RouteConfig
from podpatterns.ambassador.upstreams import Upstream, UpstreamConfig
from podpatterns.runtime.schema import InvalidField, Items
from podpatterns.runtime.units import Duration, Size

QUIET = 0.3
"""Seconds without a request after which a kept connection is closed in a drain; a client that is about to send gets
through."""


class HttpConfig(ListenerConfig, frozen=True, kw_only=True):
    """Takes HTTP/1.1 requests and routes each by the first route that matches; WebSocket handshakes too."""

    EXAMPLE: ClassVar[str] = """
type: http
listen: 127.0.0.1:8000
routes:
- match: {prefix: /admin, headers: {x-tester: "*"}}
  to: test
- split: {stable: 90, test: 10}
  override: {header: x-version}
"""

    routes: Items[RouteConfig]
    """What is done with which requests; the first that matches counts, and what none matches is answered 404."""

    head_timeout: Duration = Duration("10s")
    """How long a request's head may take from its first byte (and a new connection may stay silent); then 408."""

    idle: Duration = Duration("10m")
    """How long a connection is kept between two requests. Longer than clients keep theirs: who may write next had
    better be the one that closes."""

    max_requests: Annotated[int, Meta(ge=1)] | None = None
    """Requests at the same time, over all routes, WebSockets for as long as they are open; the next one is answered 503
    with Retry-After. For an application that asks too much at once of what cannot scale. None: as many as there are
    connections, for each carries one."""

    max_head: Size = Size("64KiB")
    """Bytes of a request's head; a longer one is answered 431, or 414 where the first line alone is longer."""

    max_fields: Annotated[int, Meta(ge=1)] = 100
    """Fields of a request's head; more are answered 431."""

    access_log: Which | AccessLogConfig = "errors"
    """Which requests get a line in the log: `off`, `errors` (those that were not answered by the upstream, or with a
    5xx) or `all`; or a mapping, to draw a sample."""

    tracing: TracingConfig = msgspec.field(default_factory=TracingConfig)
    """How a request can be found again in the logs of every service that it passes."""

    rate_limit: RateLimitConfig | None = None
    """How many requests may come in a time, over all routes. None: as many as do."""

    def __post_init__(self) -> None:
        """At least one route, with names of their own."""
        if not self.routes:
            raise InvalidField("routes", "must have at least one route")
        names = [route.name for route in self.routes if route.name is not None]
        for name in names:
            if names.count(name) > 1:
                raise InvalidField("routes", f'two routes are called "{name}"')

    def mistakes(self, upstreams: Mapping[str, UpstreamConfig]) -> Iterator[InvalidField]:
        """See ListenerConfig."""
        for index, route in enumerate(self.routes):
            for mistake in route.mistakes(upstreams):
                yield InvalidField(f"routes[{index}].{mistake.field}", str(mistake))

    def plan(self, upstreams: Mapping[str, Upstream], events: AmbassadorEvents) -> Plan:
        """See ListenerConfig."""
        site = Site(self.title, "", events, upstreams, MatchConfig())
        steps: list[Step | None] = [policy.compile(site) for policy in self.policies]
        if self.max_requests is not None:
            steps.insert(0, InFlight(self.title, self.max_requests, events.in_flight(self.title), events))
        before = tuple(step for step in steps if step is not None)
        routes = [
            Route(route.name or f"route-{index}", self.title, route, upstreams, events, before)
            for index, route in enumerate(self.routes)
        ]
        return Plan(routes, Unrouted(self.title, events))

    @property
    def policies(self) -> Sequence[PolicyConfig]:
        """What is done with every request that a route takes, in this order, before the route's own policies."""
        return [self.tracing] if self.rate_limit is None else [self.tracing, self.rate_limit]

    def describe(self, request: Request) -> Iterator[str]:
        """What these policies would do with a request, a sentence for each thing."""
        for policy in self.policies:
            yield from policy.describe(request, MatchConfig())

    def build(self, events: AmbassadorEvents) -> Http:
        """See ListenerConfig."""
        return Http(self, events)


class Http(Listener[Downstream]):
    """Reads requests from its connections."""

    config: HttpConfig

    def __init__(self, config: HttpConfig, events: AmbassadorEvents) -> None:
        super().__init__(config, events)
        self.configure(config)

    def configure(self, config: ListenerConfig) -> None:
        """See Listener."""
        assert isinstance(config, HttpConfig)
        self.config = config
        self.limits = Limits(head=config.max_head, fields=config.max_fields)
        self._log = AccessLog(config.access_log, config.title, self.events)

    @property
    def patience(self) -> float:
        """Seconds that a connection may wait for its next request."""
        return QUIET if self.draining else self.config.idle

    def accept(self) -> Downstream:
        """See Listener."""
        return Downstream(self, asyncio.get_running_loop().time)

    def sweep(self, now: float) -> None:
        """See Listener."""
        for connection in [each for each in (*self.connections, *self.turned_away) if each.due <= now]:
            connection.expired()

    def hurry(self) -> None:
        """A connection that is kept for a next request waits for it a moment longer."""
        soon = asyncio.get_running_loop().time() + QUIET
        for connection in self.connections:
            if connection.idle:
                connection.due = min(connection.due, soon)

    def end_tunnels(self) -> None:
        """Whoever speaks WebSocket is prepared to connect again."""
        for connection in list(self.connections):
            if connection.exchange is not None and connection.exchange.tunnel:
                connection.close()

    # --- accounts -------------------------------------------------------------------------------------------------

    def record(self, exchange: Exchange, now: float) -> None:
        """Count an exchange that is over, and log it if it is of the kind that is logged."""
        status, target, flag, log = exchange.status, exchange.target, exchange.flag, self._log
        tally = exchange.route.own if target is None else target.tally
        seconds = now - exchange.started
        tally.classes[status // 100].value += 1
        if status != 101:  # how long people keep a WebSocket says nothing of the version
            tally.latency.observe(seconds)
        if flag:
            tally.flagged(flag, status)
        for end in exchange.on_end:
            end(exchange, now)
        if status >= log.threshold or (flag and log.flagged):
            log.write(exchange, seconds, tally.version)
