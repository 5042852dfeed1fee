"""A whole connection without a network: a real listener, route, exchange and link between two transports in memory.

What goes in are the bytes of a client and the answers of an upstream, in the pieces in which they come; what comes out
is what each of the two sides got. Nothing waits, so thousands of connections a second can be tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from podpatterns.ambassador.downstream import Downstream
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.link import Link
from podpatterns.ambassador.listeners.http import Http, HttpConfig
from podpatterns.ambassador.policies.tracing import TracingConfig
from podpatterns.ambassador.retry import RetryConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.ambassador.upstreams import Upstream
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Address
from tests.fuzz import oracle

NAME = b"us"
"""Our name in Via."""

UNTRACED = TracingConfig(request_id="keep")
"""So that heads can be compared byte by byte."""


class Silent:
    """A log that nobody reads."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


class Events(AmbassadorEvents):
    """Remembers what was refused and what has failed."""

    def __init__(self) -> None:
        super().__init__(Telemetry(Silent()))
        self.via = NAME
        self.refused_as: list[tuple[int, str]] = []
        self.flags: list[str] = []

    def refused(self, listener: str, status: int, reason: str) -> None:
        super().refused(listener, status, reason)
        self.refused_as.append((status, reason))

    def upstream_failed(self, version: str, flag: str, detail: str) -> None:
        super().upstream_failed(version, flag, detail)
        self.flags.append(flag)


class Transport(asyncio.Transport):
    """Keeps what is written; a close takes effect when the wire says so."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = False
        self.ended = False
        """True after a half-close."""
        self.aborted = False
        self.paused = False
        self.waiting = 0
        """Bytes that the far side has not taken."""

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def write(self, data: Any) -> None:
        assert not self.ended
        if not self.closing:
            self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return None if name == "socket" else default


class Endpoint:
    """An address that is always well."""

    watched = False


class Origin(Upstream):
    """Connections in memory, one after the other; `answered` requests of each have got their answer."""

    name = "origin"
    available = True
    requests = 0
    limits = Limits()
    tail = b"Via: 1.1 " + NAME + b"\r\n\r\n"
    host = None
    first_byte = idle = 10.0
    budget = cast("Any", None)

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.free: list[Link] = []

    def acquire(self, exchange: Any, *, fresh: bool = False, avoid: Any = None) -> Link | None:
        if self.free:
            return self.free.pop()
        link = Link(self, cast("Any", Endpoint()))
        link.connection_made(Transport())
        self.links.append(link)
        return link

    def outcome(self, link: Link, status: int, seconds: float, head: bytes = b"") -> None:
        """Nothing depends on it."""

    def release(self, link: Link) -> None:
        link.requests += 1
        self.free.append(link)

    def withdraw(self, exchange: Any) -> None:
        """Nobody waits."""

    def closed(self, link: Link) -> None:
        """Nobody counts."""

    def dial(self, make: Any, done: Any) -> None:
        raise NotImplementedError

    def hung_up(self) -> None:
        raise NotImplementedError

    def sweep(self, now: float) -> None:
        raise NotImplementedError

    def retire(self) -> None:
        raise NotImplementedError

    @property
    def busy(self) -> bool:
        raise NotImplementedError

    def abort(self) -> None:
        raise NotImplementedError

    def describe(self) -> Any:
        raise NotImplementedError


@dataclass
class Outcome:
    """What the two sides got."""

    client: bytes
    """Everything that was sent to the client."""
    closed: bool
    """True if no more requests are taken from the client."""
    reset: bool
    """True if its connection was reset."""
    upstream: list[bytes]
    """What was sent on each connection to the upstream."""
    refused: list[tuple[int, str]]
    flags: list[str] = field(default_factory=list)

    @property
    def requests(self) -> list[oracle.Message]:
        """What the upstream has got whole; fails if it got anything that the oracle does not read."""
        whole = []
        for sent in self.upstream:
            messages, error = oracle.requests(sent)
            assert error is None, (error, sent)
            whole += [message for message in messages if message.complete]
        return whole


def plain(_: oracle.Message) -> list[bytes]:
    """An answer that says nothing."""
    return [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]


class Wire:
    """One client's connection, on a route with these policies."""

    def __init__(
        self, answer: Callable[[oracle.Message], Iterable[bytes]] = plain, *, closes: bool = False, **policies: Any
    ) -> None:
        self.events = Events()
        self.origin = Origin()
        self._answer = answer
        self._closes = closes
        self._answered: dict[int, int] = {}
        routes = (RouteConfig(to="origin", retry=RetryConfig(attempts=0), **policies),)
        config = HttpConfig(listen=Address("127.0.0.1:0"), routes=routes, access_log="off", tracing=UNTRACED)
        listener = config.build(self.events)
        assert isinstance(listener, Http)
        listener.apply(config, config.plan({"origin": self.origin}, self.events))
        self.client = Downstream(listener, lambda: 0.0)
        self.transport = Transport()
        self.client.connection_made(self.transport)

    def run(self, pieces: Iterable[bytes]) -> Outcome:
        """The client sends these pieces, and the upstream answers as soon as a request is complete."""
        for piece in pieces:
            if self.transport.closing:
                break
            self.client.data_received(piece)
            self._pump()
        return Outcome(
            self.transport.written,
            self.transport.closing or self.transport.ended,
            self.transport.aborted,
            [cast("Transport", link.transport).written for link in self.origin.links],
            self.events.refused_as,
            self.events.flags,
        )

    def _pump(self) -> None:
        """Answer whatever can be answered, until nothing moves."""
        moved = True
        while moved:
            moved = False
            for link in self.origin.links:
                transport = cast("Transport", link.transport)
                if transport.closing:
                    continue
                messages, _ = oracle.requests(transport.written)
                asked = [message for message in messages if message.complete]
                done = self._answered.get(id(link), 0)
                if len(asked) > done:
                    self._answered[id(link)] = done + 1
                    moved = True
                    self._send(link, transport, self._answer(asked[done]))

    def _send(self, link: Link, transport: Transport, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            if transport.closing:
                return
            link.data_received(piece)
        if self._closes and not transport.closing:
            transport.closing = True
            link.connection_lost(None)


def outcome(pieces: Iterable[bytes], answer: Callable[[oracle.Message], Iterable[bytes]] = plain) -> Outcome:
    """What becomes of a client's bytes."""
    return Wire(answer).run(pieces)
