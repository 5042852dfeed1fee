"""One version of a service, at addresses or names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from random import random
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from podpatterns.ambassador.balance import BalanceConfig, balancer
from podpatterns.ambassador.credentials import CredentialConfig
from podpatterns.ambassador.endpoints import origin
from podpatterns.ambassador.endpoints.connector import Connector
from podpatterns.ambassador.endpoints.endpoint import Endpoint
from podpatterns.ambassador.endpoints.health import Checks, HealthConfig
from podpatterns.ambassador.endpoints.names import DnsConfig, Names
from podpatterns.ambassador.endpoints.outliers import OutliersConfig
from podpatterns.ambassador.endpoints.pool import Pool, now
from podpatterns.ambassador.endpoints.roster import Roster
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.tls import Tls, TlsConfig
from podpatterns.ambassador.upstreams import Spawn, UpstreamConfig
from podpatterns.runtime.schema import InvalidField, Items
from podpatterns.runtime.units import Address, Duration, Share, Size, Url


class HostsConfig(UpstreamConfig, frozen=True, kw_only=True):
    """One version of a service at one or several addresses. `name: host:port` is short for it, as is a list of them."""

    EXAMPLE: ClassVar[str] = """
type: hosts
addresses: [10.0.0.7:8080, "10.0.0.8:8080"]
first_byte: 5s
"""

    addresses: Items[Address | Url]
    """Where it answers: `host:port`, `unix:/path` or `https://host`. Names are resolved again and
    again, see `dns`."""

    host: str | None = None
    """The Host that it is to see, for services that go by their name. None: that of the addresses, where they are
    written as URLs; otherwise the one that the application has sent."""

    tls: TlsConfig | None = None
    """How to speak TLS to it: whom to trust, and who we are. `{}`: with the system's authorities. None: the same where
    addresses begin with `https://`, plain text where they do not."""

    credentials: CredentialConfig | None = None
    """What each request carries to tell who we are; a field of the same name from the application is removed. For HTTP
    alone: a `tcp` listener passes bytes on as they are. None: nothing."""

    connect: Duration = Duration("1s")
    """How long a connection may take, and how long a request may wait for a free one. In one cluster a second is
    long: then the next address is tried, and after the last, or the third, the client gets 504."""

    failfast: Duration = Duration("3s")
    """For how long after the last address has gone down requests wait for one to be back; nothing of them was sent, so
    that is safe for every method. Three seconds as in linkerd: a restart takes no longer, and is not noticed. What
    does is an outage, in which requests are answered at once. In a split, other versions take them instead. `0s`:
    nobody waits."""

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

    health: HealthConfig | None = None
    """Asks each address by itself whether it is well. None: only what requests meet counts."""

    dns: DnsConfig = DnsConfig()
    """How the names among the addresses are resolved. Each address of a name is used like one that is written here."""

    panic: Share = Share("50%")
    """If fewer of its addresses than this are well, all are used that can be connected to: then either the checks are
    wrong, or the few would go down under the load of all. Half, as in Envoy. `0%`: never."""

    def __post_init__(self) -> None:
        """At least one address, and a Host that is one."""
        if not self.addresses:
            raise InvalidField("addresses", "must name at least one address")
        for index, address in enumerate(self.addresses):
            if mistake := origin.mistake(address):
                raise InvalidField(f"addresses[{index}]", f'"{getattr(address, "redacted", address)}" {mistake}')
        for field, judge in (("addresses", origin.secure), ("host", origin.authority)):
            try:
                judge(self.addresses)
            except ValueError as error:
                if field != "host" or self.host is None:
                    raise InvalidField(field, str(error)) from None
        if self.tls is not None and any(map(origin.plain, self.addresses)):
            raise InvalidField("tls", 'contradicts an address that begins with "http://"')
        if self.tls is not None and self.tls.verify and self.tls.server_name is None and any(self._sockets):
            raise InvalidField("tls", "needs server_name: a unix socket has no name that a certificate could hold")
        if self.host is not None and not origin.AUTHORITY.fullmatch(self.host):
            raise InvalidField("host", f'"{self.host}" is not a host name, with or without a port')

    @property
    def places(self) -> tuple[Address, ...]:
        """The addresses without schemes."""
        return tuple(map(origin.place, self.addresses))

    @property
    def _sockets(self) -> list[str]:
        return [address.path for address in self.places if address.path is not None]

    @property
    def secured(self) -> TlsConfig | None:
        """How to speak TLS to it; None for plain text."""
        return self.tls or (TlsConfig() if origin.secure(self.addresses) else None)

    @property
    def authority(self) -> bytes | None:
        """The Host that it is to see; None for the application's."""
        host = self.host or origin.authority(self.addresses)
        return host.encode() if host else None

    def build(self, name: str, events: AmbassadorEvents, spawn: Spawn) -> Hosts:
        """The upstream at work. Raises StartError for files that cannot be used."""
        if self.credentials is None:
            return Hosts(name, self, events, spawn)
        from podpatterns.ambassador.guarded import GuardedHosts

        return GuardedHosts(name, self, self.credentials.build(name, events), events, spawn)


class Hosts(Pool):
    """A pool in front of the addresses."""

    def __init__(self, name: str, config: HostsConfig, events: AmbassadorEvents, spawn: Spawn) -> None:
        tls = None if config.secured is None else Tls(config.secured, name, events)
        names = Names(
            name,
            config.places,
            lambda address, host: Endpoint(address, config.outliers, host),
            self.replace,
            events,
            every=config.dns.every,
        )
        connector = Connector(name, config.connect, tls)
        roster = Roster(
            name,
            names.endpoints,
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
            connector,
            events,
            spawn,
            keep=float(config.keep),
            keep_requests=config.keep_requests or float("inf"),
            keep_age=config.keep_age,
            max_connections=config.max_connections,
            max_pending=config.max_pending,
            max_requests=config.max_requests,
            failfast=config.failfast,
        )
        self.config = config
        self._tls = tls
        self.limits = Limits(head=config.max_head)
        self.host = config.authority
        self.tail = b"Via: 1.1 %b\r\n\r\n" % events.via
        self.first_byte = float(config.first_byte)
        self.idle = float(config.idle)
        self._tasks_of_ours: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = ()
        """What goes on beside requests."""
        if names.sought:
            self._tasks_of_ours += (names.run,)
        if config.health is not None:
            checks = Checks(name, config.health, roster, connector, events, host=self.host)
            self._tasks_of_ours += (checks.run,)
        if tls is not None:
            self._tasks_of_ours += (lambda: tls.run(self.outdate),)

    async def run(self) -> None:
        """See Upstream."""
        await super().run()
        async with asyncio.TaskGroup() as tasks:
            for start in self._tasks_of_ours:
                tasks.create_task(start())

    def retire(self) -> None:
        """See Upstream."""
        super().retire()
        if self._tls is not None:
            self._tls.retire()

    def describe(self) -> Mapping[str, Any]:
        """See Upstream."""
        state = super().describe()
        return state if self._tls is None else {**state, "tls": self._tls.describe()}
