"""A connection to an upstream, and what happens on it. It carries one exchange at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from podpatterns.ambassador.endpoints.endpoint import Endpoint
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.upstreams import Upstream


class Link(asyncio.Protocol):
    """Passes what the upstream sends to the exchange it carries; without one, whatever comes makes it close."""

    __slots__ = ("endpoint", "exchange", "idle_since", "requests", "transport", "upstream")

    def __init__(self, upstream: Upstream, endpoint: Endpoint) -> None:
        self.upstream = upstream
        self.endpoint = endpoint
        """The address that it leads to."""
        self.exchange: Exchange | None = None
        self.requests = 0
        """How many it has carried to their end."""
        self.idle_since = 0.0
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)

    @property
    def used(self) -> bool:
        """True once it has carried a request: the upstream may close it at any time."""
        return self.requests > 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Part of a response; on an idle connection it answers nothing that was asked (RFC 9112 9.2)."""
        exchange = self.exchange
        if exchange is not None:
            exchange.received(data)
        else:
            self.transport.abort()

    def eof_received(self) -> bool:
        """The upstream says no more; the transport closes, and `connection_lost` decides what that means."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, by whichever side."""
        self.upstream.closed(self)
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.lost(exc)

    def pause_writing(self) -> None:
        """The upstream takes the request slowly: the client has to wait."""
        if self.exchange is not None:
            self.exchange.client.hold()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.exchange is not None:
            self.exchange.client.go_on()

    def close(self) -> None:
        """Let go of it: nothing on it matters any more."""
        self.exchange = None
        self.transport.abort()
