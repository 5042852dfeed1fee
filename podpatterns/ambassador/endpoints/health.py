"""Active health checks: endpoints are asked whether they are well, also while nobody else asks them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import random
from typing import Annotated, cast

from msgspec import Meta

from podpatterns.ambassador.endpoints.connector import Connector
from podpatterns.ambassador.endpoints.endpoint import Endpoint
from podpatterns.ambassador.endpoints.origin import AUTHORITY
from podpatterns.ambassador.endpoints.roster import Roster
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.response import read_response
from podpatterns.errors import UpstreamError
from podpatterns.formats.http1 import Refused
from podpatterns.runtime.schema import Config, InvalidField
from podpatterns.runtime.units import Duration

_STATUS = r"^[1-5][0-9]{2}(-[1-5][0-9]{2})?$"


class HealthConfig(Config, frozen=True, kw_only=True):
    """Asks each address by itself; one that fails its checks gets no requests until it passes them again.

    An address counts as well until it has failed, so that nothing waits for checks at the start.
    """

    path: str | None = None
    """What is asked for, with GET, such as `/healthz`. None: that a connection can be opened is enough."""

    host: str | None = None
    """The Host that is sent. None: the upstream's `host`, or the address."""

    status: Annotated[str, Meta(pattern=_STATUS)] = "200-399"
    """The status of a good answer, or the first and the last of a range. The default is what passes Kubernetes'
    probes."""

    every: Duration = Duration("5s")
    """How often each address is asked, give or take a tenth, so that many ambassadors do not ask together."""

    timeout: Duration = Duration("2s")
    """How long it may take from connecting to the answer."""

    fall: Annotated[int, Meta(ge=1)] = 3
    """Failed checks in a row that make it unwell. HAProxy's default: one lost packet is no outage."""

    rise: Annotated[int, Meta(ge=1)] = 2
    """Passed checks in a row that make it well again. HAProxy's default: who is just starting may answer once."""

    def __post_init__(self) -> None:
        """A path that can be asked for, and a range in its order."""
        if self.path is not None and (
            not self.path.startswith("/") or not self.path.isascii() or any(c <= " " or c == "\x7f" for c in self.path)
        ):
            raise InvalidField("path", f'"{self.path}" cannot be asked for; write it as it is sent, such as "/healthz"')
        if self.host is not None and not AUTHORITY.fullmatch(self.host):
            raise InvalidField("host", f'"{self.host}" is not a host name, with or without a port')
        first, _, last = self.status.partition("-")
        if last and last < first:
            raise InvalidField("status", f'{self.status} is empty; did you mean "{last}-{first}"?')
        if not self.every or not self.timeout:
            raise InvalidField("every" if not self.every else "timeout", "must be longer than nothing")
        if self.timeout > self.every:
            raise InvalidField("timeout", f"{self.timeout} is longer than every, {self.every}: checks would overlap")


class Health:
    """Whether an endpoint is well, by its checks so far. Pure."""

    __slots__ = ("_fall", "_rise", "_streak", "well")

    def __init__(self, fall: int, rise: int) -> None:
        self._fall = fall
        self._rise = rise
        self._streak = 0
        """Checks in a row that speak against what is believed."""
        self.well = True

    def checked(self, *, passed: bool) -> bool:
        """One more check. True: that has changed what is believed."""
        if passed is self.well:
            self._streak = 0
            return False
        self._streak += 1
        if self._streak < (self._rise if passed else self._fall):
            return False
        self.well, self._streak = passed, 0
        return True


class Answer(asyncio.Protocol):
    """Reads the head of one response."""

    def __init__(self) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Part of a head; interim ones do not count."""
        self._buffer += data
        try:
            while not self.status.done() and (response := read_response(self._buffer, b"GET", _LIMITS)) is not None:
                if response.status >= 200:
                    self.status.set_result(response.status)
                self._buffer = self._buffer[response.size :]
        except Refused as error:
            if not self.status.done():
                self.status.set_exception(UpstreamError(error.status, error.reason, str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed."""
        if not self.status.done():
            self.status.set_exception(UpstreamError(502, "reset", str(exc) if exc else "closed without an answer"))


_LIMITS = Limits()


class Checks:
    """Asks every endpoint of a roster, each at its own time."""

    def __init__(
        self,
        version: str,
        config: HealthConfig,
        roster: Roster,
        connector: Connector,
        events: AmbassadorEvents,
        *,
        host: bytes | None,
    ) -> None:
        self._version = version
        self._config = config
        self._roster = roster
        self._connector = connector
        self._events = events
        self._host = config.host or (host.decode() if host is not None else None)
        first, _, last = config.status.partition("-")
        self._good = range(int(first), int(last or first) + 1)
        self._health: dict[Endpoint, Health] = {}
        self._due: dict[Endpoint, float] = {}

    async def run(self) -> None:
        """Ask, for ever. Endpoints come and go meanwhile."""
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as tasks:
            while True:
                for endpoint in self.due(self._roster.endpoints, clock()):
                    tasks.create_task(self._check(endpoint))
                # At least once a second, because names may have got other addresses.
                await asyncio.sleep(max(0.01, min(1.0, min(self._due.values(), default=float("inf")) - clock())))

    def due(self, endpoints: Sequence[Endpoint], now: float) -> list[Endpoint]:
        """Those to ask now; each is asked again after the interval, however long its answer takes."""
        for gone in self._due.keys() - set(endpoints):
            del self._due[gone], self._health[gone]
        found = []
        for endpoint in endpoints:
            if endpoint not in self._due:
                self._health[endpoint] = Health(self._config.fall, self._config.rise)
            elif now < self._due[endpoint]:
                continue
            self._due[endpoint] = now + self._config.every * (0.9 + random() / 5)  # noqa: S311 - not all together
            found.append(endpoint)
        return found

    async def _check(self, endpoint: Endpoint) -> None:
        problem = ""
        try:
            async with asyncio.timeout(self._config.timeout):
                problem = await self._ask(endpoint)
        except TimeoutError:
            problem = f"no answer within {self._config.timeout}"
        except UpstreamError as error:
            problem = str(error)
        health = self._health.get(endpoint)
        if health is None:
            return  # it has left meanwhile
        self._events.checked(self._version, passed=not problem)
        if health.checked(passed=not problem):
            endpoint.healthy = health.well
            self._events.health_changed(self._version, endpoint.name, problem, well=health.well)
            self._roster.judge(asyncio.get_running_loop().time())

    async def _ask(self, endpoint: Endpoint) -> str:
        """What is wrong with its answer; empty if nothing is."""
        answer = await self._connector.open(endpoint, Answer)
        try:
            if self._config.path is None:
                return ""
            host = self._host or (str(endpoint.address) if endpoint.address.path is None else "localhost")
            answer.transport.write(
                f"GET {self._config.path} HTTP/1.1\r\nHost: {host}\r\n"
                "User-Agent: podpatterns-health\r\nConnection: close\r\n\r\n".encode()
            )
            status = await answer.status
            return "" if status in self._good else f"answered {status}, not {self._config.status}"
        finally:
            answer.status.cancel()
            answer.transport.abort()
