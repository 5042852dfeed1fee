"""Names are resolved again and again, off the request path; every address of a name is an endpoint of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import random

from podpatterns.ambassador.endpoints.endpoint import Endpoint
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.runtime.schema import Config
from podpatterns.runtime.units import Address, Duration

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses that a name has, with a port. Raises OSError; NoSuchName if it certainly has none."""

_CERTAIN = frozenset(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
)
"""What getaddrinfo says when the name, or an address of it, does not exist; EAI_AGAIN and others mean "not now"."""

CONFIRMED = 2
"""So many answers in a row must say that a name does not exist, before what it had is given up."""


class DnsConfig(Config, frozen=True, kw_only=True):
    """How names are resolved: by the system, so that `/etc/hosts` and search domains count."""

    every: Duration = Duration("5s")
    """How often a name is resolved anew, give or take a quarter. The system's resolver does not tell for how long an
    answer is good, so this is what Kubernetes' own DNS gives to a service, 5 s. `0s`: for each new connection, as the
    connection is opened, and only the first address that answers is used."""


class NoSuchName(OSError):  # noqa: N818 - a fact about a name
    """The name does not exist, or has no address."""


async def system(host: str, port: int) -> Sequence[str]:
    """What the system says, in a thread: addresses of the family that it prefers, in a stable order."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except socket.gaierror as error:
        if error.errno in _CERTAIN:
            raise NoSuchName(error.errno, error.strerror) from None
        raise
    return preferred((family, str(sockaddr[0])) for family, _, _, _, sockaddr in found)


def preferred(found: Iterable[tuple[int, str]]) -> list[str]:
    """The addresses of the first one's family, sorted.

    The system puts what it can reach best first (RFC 6724). A name with addresses of both families mostly leads to the
    same servers by either, so the other family would count them twice.
    """
    pairs = list(found)
    return sorted({address for family, address in pairs if family == pairs[0][0]})


def fixed(address: Address) -> bool:
    """True if there is nothing to look up; `localhost` may be either loopback address, whichever is listened on."""
    if address.path is not None or address.host == "localhost" or address.host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(address.host)
    except ValueError:
        return False
    return True


class Names:
    """The endpoints of an upstream, by the addresses in its configuration."""

    def __init__(
        self,
        version: str,
        addresses: Sequence[Address],
        make: Callable[[Address, str | None], Endpoint],
        changed: Callable[[Sequence[Endpoint]], None],
        events: AmbassadorEvents,
        *,
        every: float,
        lookup: Lookup | None = None,
    ) -> None:
        self._version = version
        self._make = make
        self._changed = changed
        self._events = events
        self._every = every
        self._lookup = lookup or system
        # Before the first answer a name is an endpoint like any other: the connection resolves it.
        self._endpoints = {address: [make(address, None)] for address in addresses}
        self._denials: dict[Address, int] = {}
        self._failing: set[Address] = set()
        self.sought = [address for address in addresses if not fixed(address)] if every else []
        """What has to be looked up."""

    @property
    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        return [endpoint for each in self._endpoints.values() for endpoint in each]

    async def run(self) -> None:
        """Look names up, for ever."""
        while True:
            async with asyncio.TaskGroup() as tasks:
                for address in self.sought:
                    tasks.create_task(self._ask(address))
            await asyncio.sleep(self._every * (0.75 + random() / 2))  # noqa: S311 - not all at the same time

    async def _ask(self, address: Address) -> None:
        try:
            found = await self._lookup(address.host, address.port)
        except NoSuchName:
            self.denied(address)
        except OSError as error:
            self.failed(address, error.strerror or str(error))
        else:
            self.answered(address, found)

    # --- what an answer means -------------------------------------------------------------------------------------

    def answered(self, address: Address, hosts: Sequence[str]) -> None:
        """The addresses that a name has now. Those it had before and still has go on as they are."""
        self._denials.pop(address, None)
        if address in self._failing:
            self._failing.discard(address)
            self._events.name_found(self._version, address.host)
        before = {endpoint.host: endpoint for endpoint in self._endpoints[address]}
        if list(before) == list(hosts):
            return
        self._endpoints[address] = [before.get(host) or self._make(address, host) for host in hosts]
        for endpoint in self._endpoints[address]:
            # A name with one address, such as that of a pod, keeps its keys when the pod moves.
            endpoint.identity = str(address) if len(hosts) == 1 else endpoint.name
        added = [host for host in hosts if host not in before]
        removed = [host for host in before if host not in hosts and host != address.host]
        self._events.name_changed(self._version, address.host, added, removed)
        self._changed(self.endpoints)

    def denied(self, address: Address) -> None:
        """It does not exist. Said once, that may be a mistake while a zone is changed; said again, it is so."""
        self._denials[address] = denials = self._denials.get(address, 0) + 1
        self._complain(address, "the name does not exist")
        if denials < CONFIRMED or not self._endpoints[address]:
            return
        removed = [endpoint.host for endpoint in self._endpoints[address] if endpoint.host != address.host]
        self._endpoints[address] = []
        self._events.name_changed(self._version, address.host, [], removed)
        self._changed(self.endpoints)

    def failed(self, address: Address, reason: str) -> None:
        """Nobody knows: what was known before goes on to hold."""
        self._denials.pop(address, None)
        self._complain(address, reason)

    def _complain(self, address: Address, reason: str) -> None:
        self._events.name_failed(self._version, address.host, reason, first=address not in self._failing)
        self._failing.add(address)
