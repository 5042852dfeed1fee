"""Any protocol over TCP, by connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import ClassVar

from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.handler import Unrouted
from podpatterns.ambassador.listeners import Listener, ListenerConfig
from podpatterns.ambassador.plan import Plan
from podpatterns.ambassador.route import RouteConfig
from podpatterns.ambassador.stream import Stream, StreamRoute
from podpatterns.ambassador.upstreams import Upstream, UpstreamConfig
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration


class TcpConfig(ListenerConfig, frozen=True, kw_only=True):
    """Passes connections on as they are, each to a version by its weight: databases, HTTP/2 by prior knowledge, gRPC.

    A connection that cannot be opened goes to the next version, the ratios of those that are left being kept; if there
    is none, the client's connection is reset.
    """

    EXAMPLE: ClassVar[str] = """
type: tcp
listen: 127.0.0.1:5432
split: {stable: 90, test: 10}
"""

    to: str | None = None
    """The one upstream. None: see `split`."""

    split: dict[str, int] | None = None
    """Upstreams with weights, whole numbers of any sum, by which each new connection is given to one; open connections
    stay where they are when weights change. None: see `to`."""

    idle: Duration = Duration("1h")
    """How long nothing may move in either direction; then both sides are reset. Long, because many protocols keep
    connections for later."""

    def __post_init__(self) -> None:
        """Exactly one of `to` and `split`."""
        _ = self.route

    @property
    def route(self) -> RouteConfig:
        """Its one route. Raises what is wrong with it."""
        return RouteConfig(to=self.to, split=self.split)

    def mistakes(self, upstreams: Mapping[str, UpstreamConfig]) -> Iterator[InvalidField]:
        """See ListenerConfig."""
        yield from self.route.mistakes(upstreams)
        for name in self.route.weights:
            if getattr(upstreams.get(name), "credentials", None) is not None:
                place = "to" if self.split is None else f"split.{name}"
                yield InvalidField(
                    place, f"{name} has credentials, which are for HTTP: a tcp listener passes bytes on as they are"
                )

    def plan(self, upstreams: Mapping[str, Upstream], events: AmbassadorEvents) -> Plan:
        """See ListenerConfig."""
        return Plan([StreamRoute("route-0", self.title, self.route, upstreams, events)], Unrouted(self.title, events))

    def build(self, events: AmbassadorEvents) -> Tcp:
        """See ListenerConfig."""
        return Tcp(self, events)


class Tcp(Listener[Stream]):
    """Passes its connections on."""

    config: TcpConfig

    @staticmethod
    def clock() -> float:
        """The loop's time, in seconds."""
        return asyncio.get_running_loop().time()

    def configure(self, config: ListenerConfig) -> None:
        """See Listener."""
        assert isinstance(config, TcpConfig)
        self.config = config

    def accept(self) -> asyncio.Protocol:
        """See Listener."""
        (route,) = self.plan.routes
        assert isinstance(route, StreamRoute)
        return Stream(self, route).near

    def sweep(self, now: float) -> None:
        """See Listener."""
        for stream in [each for each in self.connections if each.moved or each.due <= now]:
            stream.check(now)

    def end_tunnels(self) -> None:
        """What they carry has no end that we know of: both sides are closed once everything is written."""
        for stream in list(self.connections):
            stream.finish("drained")
