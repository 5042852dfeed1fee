"""One request and one response, streamed between two connections.

What the upstream sends is read strictly before a byte of it goes to the client; a body that ends too early is
never made to look complete: the client's connection is reset instead. The two sides hold each other back: a client that
reads slowly pauses the upstream, an upstream that reads slowly pauses the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podpatterns.ambassador.events import Tally
from podpatterns.ambassador.http1.body import CHUNKED, UNTIL_CLOSE, Body, chunk, last_chunk, reader
from podpatterns.ambassador.http1.errors import Refused
from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.http1.response import Response, read_response
from podpatterns.ambassador.upstreams import Upstream
from podpatterns.errors import UpstreamError

if TYPE_CHECKING:
    from podpatterns.ambassador.downstream import Downstream
    from podpatterns.ambassador.link import Link

REPLAY = 64 * 1024
"""Bytes of a request that are kept, so that it can be sent again; a larger one gets one chance."""

CONTINUED = b"\r\n"
CLOSING = b"Connection: close\r\n\r\n"
KEPT = b"Connection: keep-alive\r\n\r\n"
"""What ends a response's head: for HTTP/1.1, for the last response on a connection, for an HTTP/1.0 client that
asked."""


class Exchange:
    """Knows where its request and its response stand, and whether the request may be sent again."""

    __slots__ = (
        "_body",
        "_buffer",
        "_chunk",
        "_heard",
        "_holding",
        "_retried",
        "_reusable",
        "_wire",
        "client",
        "flag",
        "link",
        "request",
        "started",
        "status",
        "tally",
        "tunnel",
        "uploaded",
        "upstream",
    )  # fmt: skip

    def __init__(self, client: Downstream, request: Request, upstream: Upstream, tally: Tally) -> None:
        self.client = client
        self.request = request
        self.upstream = upstream
        self.tally = tally
        self.link: Link | None = None
        self.status = 0
        """The status that the client has been sent, 0 before."""
        self.flag = ""
        """Why the response is not what the upstream wanted to say; empty if it is."""
        self.uploaded = False
        self.tunnel = False
        self._wire = b""
        self._body: Body | None = None
        self._buffer = b""
        self._chunk = False
        self._heard = False
        self._holding = False
        self._reusable = False
        self._retried = False
        self.started = client.clock()

    # --- the request ----------------------------------------------------------------------------------------------

    def begin(self, payload: bytes, *, complete: bool) -> None:
        """Send the head, and as much of the body as there is."""
        head = self.request.head
        upstream = self.upstream
        if upstream.host is not None:
            head = named(b"host").sub(b"\r\nHost: " + upstream.host, head, count=1)
        if self.request.length == CHUNKED:
            payload = chunk(payload) + self._end(complete)
        self._wire = head + upstream.tail + payload if payload else head + upstream.tail
        self.uploaded = complete
        self._acquire()

    def upload(self, payload: bytes, *, complete: bool) -> None:
        """Send more of the body."""
        self.uploaded = complete
        if self.request.length == CHUNKED:
            payload = chunk(payload) + self._end(complete)
        if self.link is None:
            self._wire += payload
            return
        self.within(self.upstream.first_byte if complete and self._body is None else self.upstream.idle)
        if payload:
            self.link.transport.write(payload)

    def _end(self, complete: bool) -> bytes:
        if not complete:
            return b""
        return last_chunk(self.client.trailers)

    def _acquire(self, *, fresh: bool = False) -> None:
        try:
            link = self.upstream.acquire(self, fresh=fresh)
        except UpstreamError as error:
            self.failed(error)
            return
        if link is not None:
            self.connected(link)
        elif not self.uploaded:
            self.client.hold()

    def connected(self, link: Link) -> None:
        """A connection for it: off it goes."""
        self.link = link
        link.exchange = self
        link.transport.write(self._wire)
        if self.uploaded:
            self.within(self.upstream.first_byte)
        else:
            self._wire = b""
            self.within(self.upstream.idle)
            self.client.go_on()

    def within(self, seconds: float) -> None:
        """The next step must come within so many seconds."""
        self.client.due = self.client.clock() + seconds

    # --- the response ---------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Something from the upstream."""
        if self._body is not None:
            self._relay(data)
            return
        if self.tunnel:
            self.client.write(data)
            self._hold_if_slow()
            return
        if self._buffer:
            data = self._buffer + data
        self._heard = True
        while True:
            try:
                response = read_response(data, self.request.method, self.upstream.limits)
            except Refused as error:
                self._give_up(502, error.reason, str(error))
                return
            if response is None:
                self._buffer = data
                return
            if response.status >= 200:
                self._respond(response, data)
                return
            if response.status == 101:
                self._switch(response, data)
                return
            if self.request.minor:
                self.client.write(response.head + CONTINUED)
            data = data[response.size :]
            if not data:
                self._buffer = b""
                return

    def _respond(self, response: Response, data: bytes) -> None:
        """The final head, and what of the body came with it."""
        client, length, size = self.client, response.length, response.size
        self.status = response.status
        self._reusable = response.persistent
        if client.persistent and client.listener.draining:
            client.persistent = False
        if length < 0:
            self._respond_streamed(response, data)
            return
        have = len(data) - size
        if have >= length and not self.uploaded:
            client.persistent = False  # an early response: the rest of the request is not wanted (RFC 9112 9.5)
        if client.persistent and self.request.minor:
            if have == length and response.verbatim:
                client.transport.write(data)
                self._finish(b"")
                return
            head = response.head + CONTINUED
        else:
            head = response.head + (KEPT if client.persistent else CLOSING)
        if have >= length:
            client.transport.write(head + data[size : size + length])
            self._finish(data[size + length :])
            return
        self._body = reader(length, self.upstream.limits)
        client.transport.write(head)
        if have:
            self._relay(data[size:])
        else:
            self.within(self.upstream.idle)

    def _respond_streamed(self, response: Response, data: bytes) -> None:
        """A body whose length is not known: in chunks to HTTP/1.1, until the connection closes to HTTP/1.0."""
        client, head = self.client, response.head
        self._body = reader(response.length, self.upstream.limits)
        self._chunk = bool(self.request.minor)
        if not self._chunk:
            client.persistent = False
            head = named(b"transfer-encoding").sub(b"", head)
        elif response.length == UNTIL_CLOSE:
            head += b"Transfer-Encoding: chunked\r\n"
        client.transport.write(head + (CONTINUED if client.persistent else CLOSING))
        if len(data) > response.size:
            self._relay(data[response.size :])
        else:
            self.within(self.upstream.idle)

    def _relay(self, data: bytes) -> None:
        assert self._body is not None
        try:
            payload, rest = self._body.feed(data)
        except Refused as error:
            self._truncated("bad_body", str(error))
            return
        if rest is None:
            if payload:
                self.client.transport.write(chunk(payload) if self._chunk else payload)
            self.within(self.upstream.idle)
            self._hold_if_slow()
            return
        if self._chunk:
            payload = chunk(payload) + last_chunk(self._body.trailers)
        if payload:
            self.client.transport.write(payload)
        self._finish(rest)

    def _finish(self, rest: bytes) -> None:
        """The response is complete. `rest` is what the upstream sent beyond it: nobody asked for that."""
        link, self.link = self.link, None
        if link is not None:
            link.exchange = None
            if self._holding:
                link.transport.resume_reading()
            if self._reusable and self.uploaded and not rest:
                self.upstream.release(link)
            else:
                link.close()
        self.client.completed(self)

    def _switch(self, response: Response, data: bytes) -> None:
        """101: from now on bytes pass in both directions until one side closes."""
        if not self.request.upgrade or response.upgrade != self.request.upgrade:
            self._give_up(502, "unexpected_upgrade", "the upstream changed the protocol without being asked")
            return
        self.status, self.tunnel = 101, True
        self.client.persistent = False
        self.client.due = float("inf")
        self.client.write(
            response.head + b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % response.upgrade + data[response.size :]
        )
        ahead = self.client.take_ahead()
        if ahead and self.link is not None:
            self.link.transport.write(ahead)
        self.client.go_on()

    # --- holding back ---------------------------------------------------------------------------------------------

    def _hold_if_slow(self) -> None:
        if self.client.slow:
            self.hold()

    def hold(self) -> None:
        """The client reads more slowly than the upstream sends."""
        if self.link is not None and not self._holding:
            self._holding = True
            self.link.transport.pause_reading()

    def go_on(self) -> None:
        """The client has caught up."""
        if self.link is not None and self._holding:
            self._holding = False
            if not self.tunnel:
                self.within(self.upstream.idle)
            self.link.transport.resume_reading()

    # --- what can go wrong ----------------------------------------------------------------------------------------

    def lost(self, error: Exception | None) -> None:
        """The upstream's connection is gone."""
        link, self.link = self.link, None
        if self.tunnel:
            self.client.close()
        elif self._body is not None:
            if error is None and self._body.eof():
                if self._chunk:
                    self.client.write(last_chunk())
                self.client.completed(self)
            else:
                self._truncated("truncated", "the connection was closed in the middle of a response")
        elif self._replayable and link is not None and link.used:
            # Closed while it was idle, most likely: the request was never read.
            self._retry()
        else:
            self.failed(
                UpstreamError(
                    502, "reset_before_response", f"{self.upstream.name} closed the connection without a response"
                )
            )

    @property
    def _replayable(self) -> bool:
        """True if the request may be sent again: it does no harm twice, and nothing of an answer has come."""
        if self._heard or self._retried or not self.request.idempotent:
            return False
        return bool(self._wire) and len(self._wire) <= REPLAY

    def _retry(self) -> None:
        """Send the request again, once, on a connection that has carried nothing yet."""
        self._retried = True
        self.client.listener.events.retried(self.upstream.name)
        self._acquire(fresh=True)

    def failed(self, error: UpstreamError) -> None:
        """There is no response from the upstream; the client gets one from us."""
        self.flag = error.flag
        self.status = error.status
        self.client.listener.events.upstream_failed(self.upstream.name, error.flag, str(error))
        self.client.fail(self, error)

    def _give_up(self, status: int, flag: str, text: str) -> None:
        self._drop_link()
        self.failed(UpstreamError(status, flag, f"{self.upstream.name}: {text}"))

    def _truncated(self, flag: str, text: str) -> None:
        """Part of the response is with the client already: only a reset can say that the rest is missing."""
        self._drop_link()
        self.flag = flag
        self.client.listener.events.upstream_failed(self.upstream.name, flag, text)
        self.client.cut(self)

    def _drop_link(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            link.close()

    def expired(self) -> None:
        """The next step has not come in time."""
        name = self.upstream.name
        if self.link is None:
            self.upstream.withdraw(self)
            self.failed(UpstreamError(504, "connect_timeout", f"no connection to {name} became free in time"))
        elif self._body is not None:
            self._truncated(
                "client_stalled" if self._holding else "idle_timeout", "nothing moved in the middle of a response"
            )
        elif not self.uploaded and not self.client.held:
            self._drop_link()
            self.client.refuse(Refused(408, "body_timeout", "the rest of the request did not come in time"))
        elif not self.uploaded:
            self._give_up(504, "upload_timeout", "did not take the request in time")
        else:
            self._give_up(504, "first_byte_timeout", f"gave no response within {self.upstream.first_byte:g}s")

    def client_gone(self) -> None:
        """Nobody waits for the response any more."""
        if self.link is None:
            self.upstream.withdraw(self)
        elif self.tunnel:
            link, self.link = self.link, None
            link.exchange = None
            link.transport.close()
        self._drop_link()
        if not self.tunnel:
            self.flag = "client_gone"
