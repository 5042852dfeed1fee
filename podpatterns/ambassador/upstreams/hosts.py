"""One version at fixed addresses, taken in turn."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from random import random
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from podpatterns.ambassador.balance import BalanceConfig, balancer
from podpatterns.ambassador.endpoints.connector import Connector
from podpatterns.ambassador.endpoints.endpoint import Endpoint
from podpatterns.ambassador.endpoints.outliers import OutliersConfig
from podpatterns.ambassador.endpoints.pool import Pool, now
from podpatterns.ambassador.endpoints.roster import Roster
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.upstreams import Spawn, UpstreamConfig
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address, Duration, Share, Size

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

    keep_requests: Annotated[int, Meta(ge=1)] | None = None
    """Requests after which a connection is closed. None: any number; `keep_age` spreads the load as well."""

    keep_age: Duration = Duration("10m")
    """How old a connection may become before it is closed between two requests, give or take a tenth. So that load
    moves to addresses that were added behind a load balancer; rare enough to cost nothing."""

    max_connections: Annotated[int, Meta(ge=1)] = 1024
    """Connections to all its addresses together. What goes beyond waits for a free one."""

    max_pending: Annotated[int, Meta(ge=0)] = 1024
    """Requests that may wait for a connection; the next one is answered 503 at once, because a longer queue helps
    nobody."""

    max_head: Size = Size("64KiB")
    """Bytes of a response's head; a longer one is answered 502."""

    max_requests: Annotated[int, Meta(ge=1)] | None = None
    """Requests that it may have at the same time, waiting ones included; the next one is answered 503. None: as many
    as there may be connections and waiting requests."""

    balance: BalanceConfig = "round_robin"
    """Which address takes a request. `round_robin`: each in turn. `p2c`: of two at random the one with fewer requests
    under way, for requests that differ much in their work. `ewma`: of two at random the one that has answered faster
    lately, for addresses that differ in speed. `{hash: {header: x-user}}`: requests with the same key go to the same
    address, for services that keep state or a cache for each user."""

    outliers: OutliersConfig = OutliersConfig()
    """When an address that fails is left alone for a while."""

    panic: Share = Share("50%")
    """If fewer of its addresses than this are well, all are used that can be connected to: then either the checks are
    wrong, or the few would go down under the load of all. Half, as in Envoy. `0%`: never."""

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


class Hosts(Pool):
    """A pool in front of the addresses."""

    def __init__(self, name: str, config: HostsConfig, events: AmbassadorEvents, spawn: Spawn) -> None:
        roster = Roster(
            name,
            [Endpoint(address, config.outliers) for address in config.addresses],
            balancer=balancer(config.balance, random),
            outliers=config.outliers,
            panic=config.panic,
            patience=config.connect + config.first_byte,
            events=events,
            clock=now,
            draw=random,
        )
        super().__init__(
            name,
            roster,
            Connector(name, config.connect),
            events,
            spawn,
            keep=float(config.keep),
            keep_requests=config.keep_requests or float("inf"),
            keep_age=config.keep_age,
            max_connections=config.max_connections,
            max_pending=config.max_pending,
            max_requests=config.max_requests,
        )
        self.config = config
        self.limits = Limits(head=config.max_head)
        self.host = config.host.encode() if config.host else None
        self.tail = b"Via: 1.1 %b\r\n\r\n" % events.via
        self.first_byte = float(config.first_byte)
        self.idle = float(config.idle)
        self._tasks_of_ours: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = ()
        """What goes on beside requests."""

    async def run(self) -> None:
        """See Upstream."""
        async with asyncio.TaskGroup() as tasks:
            for start in self._tasks_of_ours:
                tasks.create_task(start())
