"""Any protocol over TCP, by connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.listeners import TUNNELS, Listener, ListenerConfig
from podpatterns.ambassador.plan import Plan
from podpatterns.ambassador.route import Route, RouteConfig, Unrouted
from podpatterns.ambassador.sockets import BACKLOG, listening
from podpatterns.ambassador.stream import Stream, StreamRoute
from podpatterns.ambassador.upstreams import Upstream
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.service import Deadline
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

    max_connections: Annotated[int, Meta(ge=1)] = 10_000
    """Connections at the same time; the next one is reset."""

    def __post_init__(self) -> None:
        """Exactly one of `to` and `split`."""
        _ = self.route

    @property
    def route(self) -> RouteConfig:
        """Its one route. Raises what is wrong with it."""
        return RouteConfig(to=self.to, split=self.split)

    def mistakes(self, upstreams: Collection[str]) -> Iterator[InvalidField]:
        """See ListenerConfig."""
        return self.route.mistakes(upstreams)

    def plan(self, upstreams: Mapping[str, Upstream], events: AmbassadorEvents) -> Plan:
        """See ListenerConfig."""
        return Plan([StreamRoute("route-0", self.title, self.route, upstreams, events)], Unrouted(self.title, events))

    def build(self, events: AmbassadorEvents) -> Tcp:
        """See ListenerConfig."""
        return Tcp(self, events)


class Tcp(Listener):
    """Owns the listening socket and the streams."""

    def __init__(self, config: TcpConfig, events: AmbassadorEvents) -> None:
        self.name = config.title
        self.config: TcpConfig = config
        self.events = events
        self.streams: set[Stream] = set()
        self.draining = False
        self._plan = Plan([], Unrouted(self.name, events))
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._gone = asyncio.Event()
        self._port = 0

    @property
    def port(self) -> int:
        """See Listener."""
        return self._port

    @property
    def routes(self) -> Sequence[Route]:
        """See Listener."""
        return self._plan.routes

    @staticmethod
    def clock() -> float:
        """The loop's time, in seconds."""
        return asyncio.get_running_loop().time()

    def open(self) -> None:
        """See Listener."""
        self._sockets = listening(self.config.listen)
        if self.config.listen.path is None:
            self._port = self._sockets[0].getsockname()[1]
        self.events.listening(
            self.name, f"{self.config.listen.host}:{self.port}" if self.port else str(self.config.listen)
        )

    async def serve(self) -> None:
        """See Listener."""
        loop = asyncio.get_running_loop()
        make = loop.create_server if self.config.listen.path is None else loop.create_unix_server
        for sock in self._sockets:
            self._servers.append(await make(self._accepted, sock=sock, backlog=BACKLOG))

    def _accepted(self) -> asyncio.Protocol:
        (route,) = self._plan.routes
        assert isinstance(route, StreamRoute)
        return Stream(self, route).near

    def admit(self, stream: Stream) -> bool:
        """Whether there is room for another connection; it is counted in any case, until it is lost."""
        self.streams.add(stream)
        if len(self.streams) <= self.config.max_connections:
            return True
        self.events.refused(self.name, 0, "max_connections")
        return False

    def lost(self, stream: Stream) -> None:
        """Both sides of a stream are gone."""
        self.streams.discard(stream)
        if self.draining and not self.streams:
            self._gone.set()

    def apply(self, config: ListenerConfig, plan: Plan) -> None:
        """See Listener."""
        assert isinstance(config, TcpConfig)
        for old, new in zip(self._plan.routes, plan.routes, strict=False):
            new.inherit(old)
        self.config, self._plan = config, plan

    def sweep(self, now: float) -> None:
        """See Listener."""
        for stream in list(self.streams):
            stream.check(now)

    async def drain(self, deadline: Deadline) -> None:
        """See Listener."""
        # Whoever the system has accepted in our name already is served: closing the socket would reset them.
        for _ in range(3):
            await asyncio.sleep(0)
        for server in self._servers:
            server.close()
        self.events.listener_closed(self.name, len(self.streams))
        self.draining = True
        if not self.streams:
            return
        try:
            async with asyncio.timeout(deadline.remaining * TUNNELS):
                await self._gone.wait()
        except TimeoutError:
            # What they carry has no end that we know of: both sides are closed once everything is written.
            for stream in list(self.streams):
                stream.finish("drained")
            await self._gone.wait()

    def abort(self) -> None:
        """See Listener."""
        self.draining = True
        for server in self._servers:
            server.close()
        for sock in self._sockets:
            sock.close()
        if self._sockets and self.config.listen.path is not None:
            Path(self.config.listen.path).unlink(missing_ok=True)
        streams, self.streams = self.streams, set()
        for stream in streams:
            stream.abort()
