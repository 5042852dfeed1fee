"""A client's connection: reads requests one after the other, and hands each to its route.

One piece, because all of it is called by the event loop for the same few states of one connection.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from podpatterns.ambassador.http1.body import Body, reader
from podpatterns.ambassador.http1.reply import refusal, reply
from podpatterns.ambassador.http1.request import read_request
from podpatterns.ambassador.overload import TURNED_AWAY
from podpatterns.ambassador.sockets import reset
from podpatterns.formats.http1 import Refused

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.listeners.http import Http

LINGER = 2.0
"""Seconds in which a client may read our last words before its connection is closed, though it is still sending."""

_BARE_LF = re.compile(rb"(?<!\r)\n")
_EMPTY_LINES = re.compile(rb"\A(?:\r\n)+")
_FOREVER = float("inf")


class Downstream(asyncio.Protocol):
    """One client. It carries one exchange at a time, so that responses are in the order of the requests."""

    __slots__ = (
        "_body", "_buffer", "_closing", "_left", "_serving", "clock", "due", "exchange", "held", "listener",
        "persistent", "slow", "trailers", "transport",
    )  # fmt: skip

    def __init__(self, listener: Http, clock: Callable[[], float]) -> None:
        self.listener = listener
        self.clock = clock
        self.due = _FOREVER
        """When patience ends; looked at several times a second, so that no request needs a timer of its own."""
        self.exchange: Exchange | None = None
        self.persistent = True
        self.slow = False
        """True while the client reads more slowly than we write."""
        self.held = False
        """True while we do not read from the client."""
        self.trailers = b""
        self._body: Body | None = None
        """The reader of a request body that has not come completely."""
        self._buffer = b""
        """What has come and not been dealt with: part of a head, or a request ahead of its turn."""
        self._left = _FOREVER
        """Of the last response, bytes that were still to be written when that was looked at."""
        self._closing = False
        self._serving = False
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client; or one too many."""
        self.transport = cast("asyncio.Transport", transport)
        listener = self.listener
        self.due = self.clock() + listener.config.head_timeout
        if not listener.admit(self):
            if len(listener.turned_away) > TURNED_AWAY:
                self.reset()
                return
            self._say_and_close(
                reply(503, "podpatterns: too many connections\n", fields={"Retry-After": "1"}), lingering=True
            )

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client is gone."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()
            if not exchange.tunnel:
                self.listener.events.client_gone(self.listener.name)
            self.listener.record(exchange, self.clock())
        self._closing = True
        self.listener.lost(self)

    @property
    def address(self) -> str:
        """The address of the other end, without its port; empty for a unix socket.

        A socket for both families calls `10.0.0.7` `::ffff:10.0.0.7`; it is the same client.
        """
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]).removeprefix("::ffff:") if isinstance(peer, tuple) else ""

    @property
    def idle(self) -> bool:
        """True between two requests."""
        return self.exchange is None and not self._buffer and not self._closing

    # --- reading --------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Something from the client."""
        exchange = self.exchange
        if exchange is not None:
            if self._body is not None:
                self._upload(exchange, self._body, data)
            elif exchange.tunnel and exchange.link is not None:
                exchange.link.transport.write(data)
            else:
                self._buffer += data
                self.hold()
        elif not self._closing:
            if self._buffer:
                seen = len(self._buffer)
                data = self._buffer + data
                if seen > 32 and not self._decidable(data, seen):
                    self._buffer = data
                    return
            self._serve(data)

    def _decidable(self, data: bytes, seen: int) -> bool:
        """Whether it is worth while to look at a partial head again: it costs time linear in its length."""
        return (
            data.find(b"\r\n\r\n", seen - 3) >= 0
            or len(data) >= self.listener.limits.head
            or _BARE_LF.search(data, seen - 1) is not None
        )

    def _serve(self, data: bytes) -> None:
        """Take requests from `data` until one has to wait for its response."""
        listener = self.listener
        started = bool(self._buffer)
        self._serving = True
        while data:
            if data[0] == 13:  # Empty lines before a request are ignored (RFC 9112 2.2), however they were cut.
                data = _EMPTY_LINES.sub(b"", data, count=1)
                if data in {b"", b"\r"}:
                    break
            try:
                request = read_request(data, listener.limits, listener.events.via)
                if request is None:
                    break
                plan = listener.plan
                route = plan.only or plan.match(request)
                payload, complete = b"", True
                if request.length:
                    self._body = body = reader(request.length, listener.limits, request.options)
                    self.trailers = b""
                    payload, rest = body.feed(data[request.size :])
                    if rest is None:
                        complete, data = False, b""
                    else:
                        self._body, data, self.trailers = None, rest, body.trailers
                else:
                    data = data[request.size :]
            except Refused as error:
                self._serving = False
                self.refuse(error, b"HEAD" if data.startswith(b"HEAD ") else b"GET")
                return
            self._buffer = data
            self.persistent = request.persistent
            route.handle(self, request, payload, complete=complete)
            if self.exchange is not None or self._closing:
                self._serving = False
                if data and not self._closing:
                    self.hold()
                return
            data = self._buffer
            started = False
            if self.slow:
                break
        self._buffer = data
        self._serving = False
        if self.slow and data:
            self.hold()
            return
        if self.held:
            self.go_on()
        if data and not started:
            self.due = self.clock() + listener.config.head_timeout

    def _upload(self, exchange: Exchange, body: Body, data: bytes) -> None:
        try:
            payload, rest = body.feed(data)
        except Refused as error:
            self.refuse(error)
            return
        if rest is not None:
            self._body, self.trailers = None, body.trailers
            if rest:
                self._buffer = rest
                self.hold()
        exchange.upload(payload, complete=rest is not None)

    def eof_received(self) -> bool:
        """The client sends no more; what it has asked for, it still gets."""
        exchange = self.exchange
        if exchange is not None and exchange.tunnel:
            if exchange.link is None or not exchange.link.transport.can_write_eof():
                return False  # in TLS the upstream cannot be told; a WebSocket has no use for half of a connection
            exchange.link.transport.write_eof()
            return True
        if exchange is None or self._body is not None:
            return False
        self.persistent = False
        return True

    def hold(self) -> None:
        """Read no more for now: the upstream takes its time, or a request has come ahead of its turn."""
        if not self.held and not self.transport.is_closing():
            self.held = True
            self.transport.pause_reading()

    def go_on(self) -> None:
        """Read again; not while a request waits for its turn in the buffer."""
        if self.held and not (self._buffer and self.exchange is not None and self._body is None):
            self.held = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    # --- writing --------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """To the client."""
        self.transport.write(data)

    def pause_writing(self) -> None:
        """The client reads too slowly for what it is sent."""
        self.slow = True
        if self.exchange is not None and self.exchange.link is not None:
            self.exchange.link.hold()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.slow = False
        if self.exchange is not None:
            if self.exchange.link is not None:
                self.exchange.link.go_on()
        elif (self._buffer or self.held) and not self._serving and not self._closing:
            self._continue()

    def completed(self, exchange: Exchange) -> None:
        """The response is with the client, or on its way."""
        self.exchange = None
        now = self.clock()
        self.listener.record(exchange, now)
        if not self.persistent or self._body is not None:
            self._last()
            return
        self.due = now + self.listener.patience
        if self.held or self._buffer:
            self._continue()

    def _continue(self) -> None:
        """On with the next request, if it has come already."""
        if self._serving or self.slow:
            return
        if self._buffer:
            data, self._buffer = self._buffer, b""
            self._serve(data)
        if self.exchange is None:
            self.go_on()

    def _last(self) -> None:
        """No request follows on this connection."""
        self._closing = True
        if self._body is not None or self._buffer or self.held:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close in a way that lets a client read our last words though it is still sending (RFC 9112 9.6)."""
        self._closing = True
        self._buffer = b""
        self.due = self.clock() + LINGER
        self.go_on()
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def _say_and_close(self, data: bytes, *, lingering: bool) -> None:
        self._closing = True
        if self.transport.is_closing():
            return
        self.transport.write(data)
        if lingering:
            self._linger()
        else:
            self.transport.close()

    # --- answers of our own ---------------------------------------------------------------------------------------

    def respond(
        self,
        exchange: Exchange,
        text: str,
        *,
        fields: Mapping[str, str] | None = None,
        content_type: str = "text/plain; charset=utf-8",
    ) -> None:
        """Answer in the place of an upstream, with the exchange's status."""
        request = exchange.request
        if self._body is not None or not request.minor or self.listener.draining:
            self.persistent = False
        self.write(
            reply(
                exchange.status,
                text,
                method=request.method,
                persistent=self.persistent,
                fields=fields,
                content_type=content_type,
            )
        )
        self.completed(exchange)

    def refuse(self, error: Refused, method: bytes = b"GET") -> None:
        """Answer what is not forwarded, and end the connection: nobody knows where the next request starts."""
        listener, exchange = self.listener, self.exchange
        listener.events.refused(listener.name, error.status, error.reason)
        if exchange is not None:
            self.exchange = None
            exchange.client_gone()
            exchange.flag = error.reason
            if exchange.status:
                self.reset()
                listener.record(exchange, self.clock())
                return
            exchange.status, method = error.status, exchange.request.method
            listener.record(exchange, self.clock())
        self._say_and_close(refusal(error, method), lingering=True)

    def cut(self, exchange: Exchange) -> None:
        """End a response that cannot be completed, so that it cannot be taken for a complete one."""
        self.exchange = None
        self.listener.record(exchange, self.clock())
        self.reset()

    def drop(self) -> None:
        """End it now, because the grace is over; a request that is still under way counts as dropped."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()
            if not exchange.tunnel:
                exchange.flag = "dropped"
                self.listener.events.request_dropped(self.listener.name)
            self.listener.record(exchange, self.clock())
        self.reset()

    def reset(self) -> None:
        """Reset the connection: closing it would look like the end of a body that ends with its connection."""
        self._closing = True
        reset(self.transport)

    def take_ahead(self) -> bytes:
        """What the client has sent ahead; it belongs to a tunnel now."""
        data, self._buffer = self._buffer, b""
        return data

    def close(self) -> None:
        """Close once everything is written."""
        self._closing = True
        self.transport.close()

    # --- patience -------------------------------------------------------------------------------------------------

    def expired(self) -> None:
        """The next step has not come in time."""
        self.due = _FOREVER
        if self._closing:
            self._hurry()
        elif self.exchange is not None:
            self.exchange.expired()
        elif self._buffer:
            self.refuse(Refused(408, "head_timeout", "the request's head did not come in time"))
        else:
            self.close()

    def _hurry(self) -> None:
        """End a connection that is closing; not while its client still reads the last response, however slowly."""
        left = self.transport.get_write_buffer_size()
        if 0 < left < self._left:
            self._left = left
            self.due = self.clock() + LINGER
        else:
            self.transport.abort()
