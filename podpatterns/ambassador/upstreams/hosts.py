"""One version at fixed addresses, taken in turn."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from random import random
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from msgspec import Meta

from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.link import Link
from podpatterns.ambassador.upstreams import Done, Make, Spawn, Upstream, UpstreamConfig
from podpatterns.errors import UpstreamError
from podpatterns.runtime.backoff import Backoff
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address, Duration, Size

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange

P = TypeVar("P", bound=asyncio.Protocol)

_LEARN_FROM = 0.5
"""Seconds; a connection that is closed sooner says more about a restart than about an idle timeout."""

_AUTHORITY = re.compile(r"[A-Za-z0-9.\-_~\[\]:%]+")


class HostsConfig(UpstreamConfig, frozen=True, kw_only=True):
    """One version of a service at one or several addresses. `name: host:port` is short for it, as is a list of them."""

    EXAMPLE: ClassVar[str] = """
type: hosts
addresses: [10.0.0.7:8080, "10.0.0.8:8080"]
first_byte: 5s
"""

    addresses: tuple[Address, ...]
    """Where it answers: `host:port` or `unix:/path`; new connections take them in turn. A host name is resolved anew
    for each new connection."""

    host: str | None = None
    """The Host that it is to see, for services that go by their name. None: the one that the application has sent."""

    connect: Duration = Duration("1s")
    """How long a connection may take, and how long a request may wait for a free one. In one cluster a second is
    long: then the next address is tried, and after the last the client gets 504."""

    first_byte: Duration = Duration("15s")
    """How long it may think, from the last byte of the request to the first of the response; then the client gets
    504."""

    idle: Duration = Duration("60s")
    """How long nothing may move in the middle of a body, in either direction; then the exchange is aborted."""

    keep: Duration = Duration("4s")
    """How long an unused connection is kept. Shorter than the 5 s after which many servers (Node, uvicorn) close
    theirs, so that a request is hardly ever written onto a connection that is about to be closed. `0s`: one request
    for each."""

    max_connections: Annotated[int, Meta(ge=1)] = 1024
    """Connections to all its addresses together. What goes beyond waits for a free one."""

    max_pending: Annotated[int, Meta(ge=0)] = 1024
    """Requests that may wait for a connection; the next one is answered 503 at once, because a longer queue helps
    nobody."""

    max_head: Size = Size("64KiB")
    """Bytes of a response's head; a longer one is answered 502."""

    failures: Annotated[int, Meta(ge=1)] = 3
    """Failed connections in a row after which an address rests, first for about a second, then longer, up to 30 s.
    While all of them rest, requests go to the other versions of the split, or are answered 503."""

    def __post_init__(self) -> None:
        """At least one address, and a Host that is one."""
        if not self.addresses:
            raise InvalidField("addresses", "must name at least one address")
        for address in self.addresses:
            if address.path is None and not address.host:
                raise InvalidField("addresses", f'"{address}" lacks a host; did you mean "127.0.0.1{address}"?')
            if address.path is None and not address.port:
                raise InvalidField("addresses", f'"{address}": port 0 cannot be connected to')
        if self.host is not None and not _AUTHORITY.fullmatch(self.host):
            raise InvalidField("host", f'"{self.host}" is not a host name, with or without a port')

    def build(self, name: str, events: AmbassadorEvents, spawn: Spawn) -> Hosts:
        """The upstream at work."""
        return Hosts(name, self, events, spawn)


class Host:
    """One address and how it has been doing."""

    __slots__ = ("address", "failures", "probing", "rests_until", "times_rested")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.failures = 0
        self.times_rested = 0
        self.rests_until = 0.0
        self.probing = False
        """True while one real request finds out whether a rested address answers again."""


class Hosts(Upstream):
    """A pool of kept connections, the last one back being the first one out; new ones take addresses in turn."""

    _REST = Backoff(first=1.0, cap=30.0)

    def __init__(self, name: str, config: HostsConfig, events: AmbassadorEvents, spawn: Spawn) -> None:
        self.name = name
        self.config = config
        self.available = True
        self.limits = Limits(head=config.max_head)
        self.host = config.host.encode() if config.host else None
        self.tail = b"Via: 1.1 %b\r\n\r\n" % events.via
        self.first_byte = float(config.first_byte)
        self.idle = float(config.idle)
        self._events = events
        self._spawn = spawn
        self._hosts = [Host(address) for address in config.addresses]
        self._turn = 0
        self._idle: list[Link] = []
        self._all: set[Link] = set()
        self._connecting = 0
        self._dialed = 0
        """Connections that are not pooled, those on their way included."""
        self._waiting: deque[Exchange] = deque()
        self._retired = False
        self._closed = False
        self._keep = float(config.keep)
        """Seconds to keep an idle connection; learns from connections that the far side has closed earlier."""

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    # --- connections ----------------------------------------------------------------------------------------------

    def acquire(self, exchange: Exchange, *, fresh: bool = False) -> Link | None:
        """See Upstream."""
        if not fresh and self._idle:
            link = self._idle.pop()
            if not link.transport.is_closing():
                return link
        if len(self._waiting) - self._connecting >= self.config.max_pending:
            raise UpstreamError(503, "overflow", f"{self.name} has {self.config.max_pending} requests waiting already")
        if not self.available:
            raise UpstreamError(503, "no_healthy_upstream", f"{self.name} cannot be reached at any of its addresses")
        # Half a timeout more than all attempts take together: what an attempt reports is better than "too late".
        exchange.within(self.config.connect * (len(self._hosts) + 0.5))
        self._waiting.append(exchange)
        if len(self._all) + self._connecting + self._dialed < self.config.max_connections:
            self._connecting += 1
            self._spawn(self._connect())
        return None

    def release(self, link: Link) -> None:
        """See Upstream."""
        link.used = True
        if self._waiting:
            self._waiting.popleft().connected(link)
            return
        if self._retired or not self._keep:
            link.close()
            return
        link.idle_since = self._loop.time()
        self._idle.append(link)

    def withdraw(self, exchange: Exchange) -> None:
        """See Upstream."""
        if exchange in self._waiting:
            self._waiting.remove(exchange)

    def closed(self, link: Link) -> None:
        """See Upstream."""
        self._all.discard(link)
        if link in self._idle:
            self._idle.remove(link)
            unused = self._loop.time() - link.idle_since
            if _LEARN_FROM < unused < self._keep:
                # The far side keeps connections for a shorter time than we do: let go of them before it does.
                self._keep = unused * 0.8
                self._events.idle_closed(self.name, self._keep)
        if self._connecting < len(self._waiting) and not self._closed:
            self._connecting += 1
            self._spawn(self._connect())

    async def _connect(self) -> None:
        """One new connection, for whoever waits longest."""
        error: UpstreamError | None = None
        link: Link | None = None
        try:
            link = await self._open(lambda: Link(self))
        except UpstreamError as cause:
            error = cause
        finally:
            self._connecting -= 1
        if link is not None:
            self._all.add(link)
            if self._waiting:
                self._waiting.popleft().connected(link)
            else:
                self.release(link)
        elif self._waiting and error is not None:
            self._waiting.popleft().failed(error)

    async def _open(self, make: Callable[[], P]) -> P:
        """A new connection; tries each address once. Raises UpstreamError."""
        error = UpstreamError(503, "no_healthy_upstream", f"{self.name} cannot be reached at any of its addresses")
        for _ in self._hosts:
            host = self._next()
            if host is None:
                break
            try:
                async with asyncio.timeout(self.config.connect):
                    protocol = await self._attempt(host.address, make)
            except TimeoutError:
                error = UpstreamError(
                    504, "connect_timeout", f"{self.name} took no connection within {self.config.connect}"
                )
                self._failed(host, "connect_timeout")
            except OSError as cause:
                error = UpstreamError(
                    502, "connect_failure", f"{self.name} cannot be reached: {cause.strerror or cause}"
                )
                self._failed(host, "connect_failure")
            else:
                self._succeeded(host)
                self._events.connected(self.name, str(host.address))
                return protocol
        raise error

    async def _attempt(self, address: Address, make: Callable[[], P]) -> P:
        if address.path is not None:
            return (await self._loop.create_unix_connection(make, address.path))[1]
        return (await self._loop.create_connection(make, address.host, address.port))[1]

    def dial(self, make: Make, done: Done) -> None:
        """See Upstream."""
        if not self.available:
            done(UpstreamError(503, "no_healthy_upstream", f"{self.name} cannot be reached at any of its addresses"))
        elif len(self._all) + self._connecting + self._dialed >= self.config.max_connections:
            done(UpstreamError(503, "overflow", f"{self.name} has {self.config.max_connections} connections already"))
        else:
            self._dialed += 1
            self._spawn(self._dial(make, done))

    async def _dial(self, make: Make, done: Done) -> None:
        try:
            protocol = await self._open(make)
        except UpstreamError as error:
            self._dialed -= 1
            done(error)
        else:
            done(protocol)

    def hung_up(self) -> None:
        """See Upstream."""
        self._dialed -= 1

    # --- addresses ------------------------------------------------------------------------------------------------

    def _next(self) -> Host | None:
        """The next address in turn that does not rest; after its rest an address gets one request to prove itself."""
        now = self._loop.time()
        for _ in self._hosts:
            self._turn = (self._turn + 1) % len(self._hosts)
            host = self._hosts[self._turn]
            if host.failures < self.config.failures:
                return host
            if host.rests_until <= now and not host.probing:
                host.probing = True
                return host
        return None

    def _failed(self, host: Host, reason: str) -> None:
        host.failures += 1
        host.probing = False
        self._events.connect_failed(self.name, str(host.address), reason, host.failures)
        if host.failures >= self.config.failures:
            # Between half of the bound and the bound: not at once, and not all at the same time.
            rest = self._REST.delay(host.times_rested, 0.5 + random() / 2)  # noqa: S311 - jitter
            host.times_rested += 1
            host.rests_until = self._loop.time() + rest
            self._events.address_rests(self.name, str(host.address), rest)
        self._judge()

    def _succeeded(self, host: Host) -> None:
        if host.failures >= self.config.failures:
            self._events.address_back(self.name, str(host.address))
        host.failures = host.times_rested = 0
        host.probing = False
        self._judge()

    def _judge(self) -> None:
        now = self._loop.time()
        self.available = bool(self._idle) or any(
            host.failures < self.config.failures or (host.rests_until <= now and not host.probing)
            for host in self._hosts
        )

    # --- upkeep ---------------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """See Upstream."""
        if not self.available:
            self._judge()
        oldest = now - self._keep
        # The list is in the order in which the connections came back, so the oldest stand first.
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.pop(0).close()

    def retire(self) -> None:
        """See Upstream."""
        self._retired = True
        while self._idle:
            self._idle.pop().close()

    @property
    def busy(self) -> bool:
        """See Upstream."""
        return bool(self._all or self._waiting or self._connecting)

    def abort(self) -> None:
        """Close everything at once."""
        self._closed = True
        self.retire()
        for link in list(self._all):
            link.close()

    def describe(self) -> Mapping[str, Any]:
        """See Upstream."""
        now = self._loop.time()
        return {
            "available": self.available,
            "connections": len(self._all) + self._dialed,
            "idle": len(self._idle),
            "waiting": len(self._waiting),
            "addresses": {
                str(host.address): f"rests for {max(0.0, host.rests_until - now):.1f}s after {host.failures} failures"
                if host.failures >= self.config.failures
                else "ok"
                for host in self._hosts
            },
        }
