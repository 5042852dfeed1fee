"""A connection to an upstream: carries one exchange at a time, and reads the response strictly.

Not a byte goes to the client before the head it belongs to was read whole; a body that ends too early is reported as
such, never made to look complete.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from podpatterns.ambassador.http1.body import Body, chunk, last_chunk
from podpatterns.ambassador.http1.response import read_response
from podpatterns.formats.http1 import Refused

if TYPE_CHECKING:
    from podpatterns.ambassador.endpoints.endpoint import Endpoint
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.upstreams import Upstream


class Link(asyncio.Protocol):
    """Reads responses for the exchange it carries; without one, whatever comes makes it close."""

    __slots__ = (
        "_body", "_buffer", "_chunked", "endpoint", "exchange", "expires", "heard", "held", "idle_since", "requests",
        "transport", "upstream",
    )  # fmt: skip

    def __init__(self, upstream: Upstream, endpoint: Endpoint) -> None:
        self.upstream = upstream
        self.endpoint = endpoint
        """The address that it leads to."""
        self.exchange: Exchange | None = None
        self.requests = 0
        """How many it has carried to their end; after the first the upstream may close it at any time."""
        self.heard = False
        """True once something of the response has come."""
        self.held = False
        """True while we do not read from the upstream."""
        self.idle_since = 0.0
        self.expires = float("inf")
        """When it is too old to carry another request."""
        self._body: Body | None = None
        """The reader of a response body that has not come completely."""
        self._buffer = b""
        """Part of a response's head."""
        self._chunked = False
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)

    # --- reading --------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Part of a response; on an idle connection it answers nothing that was asked (RFC 9112 9.2)."""
        exchange = self.exchange
        if exchange is None:
            self.transport.abort()
        elif self._body is not None:
            self._relay(exchange, self._body, data)
        elif exchange.tunnel:
            exchange.client.write(data)
            if exchange.client.slow:
                self.hold()
        else:
            self._heads(exchange, self._buffer + data if self._buffer else data)

    def _heads(self, exchange: Exchange, data: bytes) -> None:
        """Interim heads until the final one."""
        self.heard = True
        while data:
            try:
                response = read_response(data, exchange.request.method, self.upstream.limits)
            except Refused as error:
                exchange.give_up(502, error.reason, str(error))
                return
            if response is None:
                break
            if response.status >= 200:
                self._buffer = b""
                if not self.requests and not response.verbatim:
                    self.upstream.learn(data[: response.size])
                exchange.respond(self, response, data)
                return
            if response.status == 101:
                self._buffer = b""
                exchange.switch(self, response, data)
                return
            exchange.interim(response)
            data = data[response.size :]
        self._buffer = data

    def stream(self, exchange: Exchange, body: Body, data: bytes, *, head: bytes = b"", chunked: bool) -> None:
        """Pass on a body that has not come completely; `chunked`: to a client that gets it in chunks.

        `head` goes ahead of it, in one piece with what is there of it: a system call costs more than the copy.
        """
        self._body, self._chunked = body, chunked
        if data:
            self._relay(exchange, body, data, head)
        else:
            if head:
                exchange.client.transport.write(head)
            exchange.within(self.upstream.idle)

    def _relay(self, exchange: Exchange, body: Body, data: bytes, head: bytes = b"") -> None:
        try:
            payload, rest = body.feed(data)
        except Refused as error:
            if head:
                exchange.client.transport.write(head)
            exchange.truncated("bad_body", str(error))
            return
        client = exchange.client
        if self._chunked:
            payload = chunk(payload)
            if rest is not None:
                payload += last_chunk(body.trailers)
        if head:
            payload = head + payload
        if payload:
            client.transport.write(payload)
        if rest is not None:
            exchange.finish(rest)
            return
        exchange.within(self.upstream.idle)
        if client.slow:
            self.hold()

    def rest(self) -> None:
        """Forget the exchange that is over, to carry another one."""
        self.exchange = self._body = None
        self.heard = False
        self._buffer = b""
        if self.held:
            self.held = False
            self.transport.resume_reading()

    # --- holding back ---------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Read no more for now: the client reads more slowly than the upstream sends."""
        if not self.held:
            self.held = True
            self.transport.pause_reading()

    def go_on(self) -> None:
        """The client has caught up."""
        if self.held:
            self.held = False
            if self.exchange is not None and not self.exchange.tunnel:
                self.exchange.within(self.upstream.idle)
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        """The upstream takes the request slowly: the client has to wait."""
        if self.exchange is not None:
            self.exchange.client.hold()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.exchange is not None:
            self.exchange.client.go_on()

    # --- the end --------------------------------------------------------------------------------------------------

    @property
    def streaming(self) -> bool:
        """True in the middle of a response's body."""
        return self._body is not None

    def eof_received(self) -> bool:
        """The upstream says no more; the transport closes, and `connection_lost` decides what that means."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, by whichever side."""
        self.upstream.closed(self)
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        body = self._body
        if body is None:
            exchange.lost(self, exc)
        elif exc is None and body.eof():
            exchange.link = None
            if self._chunked:
                exchange.client.write(last_chunk())
            exchange.client.completed(exchange)
        else:
            exchange.truncated("truncated", "the connection was closed in the middle of a response")

    def close(self) -> None:
        """Let go of it: nothing on it matters any more."""
        self.exchange = None
        self.transport.abort()
