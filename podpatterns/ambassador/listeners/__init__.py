"""Listeners: where the application's connections come in."""

from __future__ import annotations

import asyncio
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Protocol, TypeVar

from msgspec import Meta

from podpatterns.ambassador.handler import Unrouted
from podpatterns.ambassador.plan import Plan
from podpatterns.ambassador.route import Route
from podpatterns.ambassador.sockets import BACKLOG, deafen
from podpatterns.runtime.schema import ComponentConfig, InvalidField
from podpatterns.runtime.units import Address

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents
    from podpatterns.ambassador.upstreams import Upstream, UpstreamConfig
    from podpatterns.runtime.service import Deadline

HANDSHAKE = 0.02
"""Seconds that a connection may take from its first packet to our queue; on loopback it is microseconds, but for a
machine that is very busy."""

_KEEP_FILE: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""A listener's file may go on with a successor, so that it is ours to remove, not the event loop's."""

TUNNELS = 0.8
"""The part of the grace that connections without an end of their own may take; what is left is for closing them."""


class ListenerConfig(ComponentConfig, frozen=True, kw_only=True):
    """Base of every listener's configuration."""

    DEFAULT: ClassVar[str | None] = "http"

    listen: Address
    """Where to listen: `127.0.0.1:8000` for the containers of this pod alone, `:8000` for everyone, `unix:/path`.
    Port 0 takes a free one."""

    name: str | None = None
    """What metrics, logs and the admin endpoint call it. None: its address."""

    max_connections: Annotated[int, Meta(ge=1)] = 10_000
    """Connections at the same time. The next one is turned away at once: answered 503 with Retry-After by an HTTP
    listener, reset by others. Each takes up to two descriptors; the process raises its limit as far as it may."""

    @property
    def title(self) -> str:
        """The name, or the address in its place."""
        return self.name or str(self.listen)

    def mistakes(self, upstreams: Mapping[str, UpstreamConfig]) -> Iterator[InvalidField]:
        """Names in it that are not those of upstreams, or of such as it cannot use; where they stand."""
        raise NotImplementedError

    def plan(self, upstreams: Mapping[str, Upstream], events: AmbassadorEvents) -> Plan:
        """Its routes, compiled."""
        raise NotImplementedError

    def build(self, events: AmbassadorEvents) -> Listener[Any]:
        """The listener at work; nothing is opened before its `open`."""
        raise NotImplementedError


class Connection(Protocol):
    """A client's connection, as its listener sees it."""

    due: float
    """When patience ends; looked at several times a second, so that nothing needs a timer of its own."""

    def drop(self) -> None:
        """Let go of it at once; what it was in the middle of counts as dropped."""


C = TypeVar("C", bound=Connection)


class Listener(ABC, Generic[C]):
    """A listener at work: open, serve, drain, abort. What kind of connection it accepts, a subclass knows."""

    def __init__(self, config: ListenerConfig, events: AmbassadorEvents) -> None:
        self.name = config.title
        self.config = config
        self.events = events
        self.plan = Plan([], Unrouted(self.name, events))
        self.connections: set[C] = set()
        self.turned_away: set[C] = set()
        """Connections beyond the limit, until they have been told so."""
        self.draining = False
        self.port = 0
        """The port listened on, also where 0 was asked for; 0 for a unix socket."""
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.AbstractServer] = []
        self._path: str | None = None
        """The file of a unix socket, to be removed in the end."""
        self._stopped = False
        """True once nobody is on the way in any more."""
        self._closing = False
        self._closed = asyncio.Event()
        self._gone = asyncio.Event()

    @property
    def routes(self) -> Sequence[Route]:
        """The routes in force."""
        return self.plan.routes

    # --- what a kind of listener knows ----------------------------------------------------------------------------

    @abstractmethod
    def accept(self) -> asyncio.Protocol:
        """The protocol for a new connection."""

    @abstractmethod
    def configure(self, config: ListenerConfig) -> None:
        """Go by another configuration from the next request on; address and name stay."""

    @abstractmethod
    def sweep(self, now: float) -> None:
        """Look for connections whose time is up; called several times a second."""

    def hurry(self) -> None:
        """A drain has begun: end what nobody is in the middle of."""

    @abstractmethod
    def end_tunnels(self) -> None:
        """End the connections that have no end of their own, once everything is written."""

    # --- life -----------------------------------------------------------------------------------------------------

    def open(self, sockets: list[socket.socket], path: str | None) -> None:
        """Take listening sockets, and the file of a unix socket, which is removed in the end."""
        self._sockets, self._path = sockets, path
        if self.config.listen.path is None:
            self.port = sockets[0].getsockname()[1]

    def share(self, predecessor: Listener[Any]) -> None:
        """Take the sockets of a listener that leaves; `succeed` follows when it is certain that it does."""
        self.open([sock.dup() for sock in predecessor._sockets], None)

    def succeed(self, predecessor: Listener[Any]) -> None:
        """Go on in the place of a listener that leaves: who is in the queue is ours, and so is the socket's file."""
        predecessor._accept_no_more()
        predecessor._sockets.clear()
        self._path, predecessor._path = predecessor._path, None

    async def serve(self) -> None:
        """Start to accept."""
        if self._closing:
            return
        loop = asyncio.get_running_loop()
        make = loop.create_server if self.config.listen.path is None else loop.create_unix_server
        more = {} if self.config.listen.path is None else _KEEP_FILE
        for sock in self._sockets:
            self._servers.append(await make(self.accept, sock=sock, backlog=BACKLOG, **more))
        listen = self.config.listen
        self.events.listening(self.name, f"{listen.host}:{self.port}" if self.port else str(listen))

    def apply(self, config: ListenerConfig, plan: Plan) -> None:
        """Route by another plan from the next request on; address and name stay."""
        old = {route.name: route for route in self.plan.routes}
        for route in plan.routes:
            if route.name in old:
                route.inherit(old[route.name])
        self.configure(config)
        self.plan = plan

    def admit(self, connection: C) -> bool:
        """Whether there is room for another connection."""
        if len(self.connections) < self.config.max_connections:
            self.connections.add(connection)
            return True
        self.turned_away.add(connection)
        self.events.refused(self.name, 503, "max_connections")
        return False

    def lost(self, connection: C) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        self.turned_away.discard(connection)
        if self._stopped and not self.connections:
            self._gone.set()

    async def drain(self, deadline: Deadline | None = None) -> None:
        """Accept nothing new; return when the last connection is gone, however long it takes without a deadline."""
        await self.close()
        if deadline is not None and not self._gone.is_set():
            try:
                async with asyncio.timeout(deadline.remaining * TUNNELS):
                    await self._gone.wait()
            except TimeoutError:
                self.end_tunnels()
        await self._gone.wait()

    async def close(self) -> None:
        """Close the listening sockets without losing who is in their queues, or on the way from there to us."""
        if self._closing:
            await self._closed.wait()
            return
        self._closing = True
        for sock in self._sockets:
            deafen(sock)
        if self._sockets:
            await asyncio.sleep(HANDSHAKE)
        self._accept_no_more()
        await _turns()
        # Not before: whoever is told that this is the last response may connect again at once.
        self.draining = True
        for server in self._servers:
            server.close()
        self.events.listener_closed(self.name, len(self.connections))
        self.hurry()
        self._stopped = True
        self._closed.set()
        if not self.connections:
            self._gone.set()

    def _accept_no_more(self) -> None:
        loop = asyncio.get_running_loop()
        for server in self._servers:
            if isinstance(server, asyncio.Server):
                # asyncio gives those up that it has accepted and not yet told us of when their server is closed.
                for sock in self._sockets:
                    loop.remove_reader(sock)
            else:
                server.close()

    def abort(self) -> None:
        """Close everything; requests that are still under way are counted as dropped."""
        self.draining = True
        for server in self._servers:
            server.close()
        for sock in self._sockets:
            sock.close()
        if self._path is not None:
            Path(self._path).unlink(missing_ok=True)
            self._path = None
        connections = [*self.connections, *self.turned_away]
        self.connections.clear()
        self.turned_away.clear()
        for connection in connections:
            connection.drop()


async def _turns() -> None:
    """Let the loop do what it has begun: on asyncio's own it is three turns from the queue to a protocol."""
    for _ in range(4):
        await asyncio.sleep(0)
