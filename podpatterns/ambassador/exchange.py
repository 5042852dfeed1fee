"""One request and its response: from a route to an upstream and back, with what can go wrong in between.

The exchange decides; `Downstream` and `Link` read and write. It knows where its request stands, whether that may be
sent again, and how long the next step may take. The two sides hold each other back: a client that reads slowly pauses
the upstream, an upstream that reads slowly pauses the client.

One piece, because it is one state machine: its states are what `target`, `link` and `status` say, in this order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import random
from ssl import SSLError
from typing import TYPE_CHECKING, Protocol, cast

from podpatterns.ambassador.http1.body import CHUNKED, UNTIL_CLOSE, chunk, framed, last_chunk, reader
from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.http1.response import Response
from podpatterns.ambassador.policies import Edit
from podpatterns.ambassador.retry import CAUSES
from podpatterns.ambassador.tls import explained
from podpatterns.errors import UpstreamError
from podpatterns.formats.http1 import Refused

if TYPE_CHECKING:
    from podpatterns.ambassador.downstream import Downstream
    from podpatterns.ambassador.endpoints.endpoint import Endpoint
    from podpatterns.ambassador.handler import Handler, Target
    from podpatterns.ambassador.link import Link
    from podpatterns.ambassador.upstreams import Upstream

CONTINUED = b"\r\n"
CLOSING = b"Connection: close\r\n\r\n"
KEPT = b"Connection: keep-alive\r\n\r\n"
"""What ends a response's head: for HTTP/1.1, for the last response on a connection, for an HTTP/1.0 client that
asked."""


JOINED = 32 * 1024
"""Bytes of a body that are written in one piece with its head; to copy more costs more than another system call."""


class Tap(Protocol):
    """Listens to a request's body on its way to the upstream."""

    def data(self, payload: bytes, *, complete: bool) -> None:
        """The next piece, without framing."""


class Exchange:
    """What steps, edits, the connection to the client and the one to the upstream share of one request."""

    __slots__ = (
        "_again", "_avoid", "_head", "_payload", "_renewed", "_reusable", "_timer", "client", "deadline", "delay",
        "edits", "endpoint", "flag", "head", "link", "on_end", "pinned", "request", "retries", "route", "shown",
        "started", "status", "taps", "target", "tunnel", "uploaded", "upstream",
    )  # fmt: skip

    shown: bytes
    """The credential that it was sent with; set by an upstream that wants one."""

    def __init__(self, client: Downstream, request: Request, route: Handler) -> None:
        self.client = client
        self.request = request
        self.route = route
        self.head = request.head
        """What will be sent: first line and fields, each with its CRLF, without the closing empty line."""
        self.target: Target | None = None
        """The version; None before it is chosen, and for requests that are answered here."""
        self.pinned = False
        """True if no other version may help out."""
        self.upstream = cast("Upstream", None)
        self.link: Link | None = None
        """The connection to the upstream, while it carries this exchange."""
        self.endpoint: Endpoint | None = None
        """The address that was asked last."""
        self.edits: tuple[Edit, ...] = route.edits
        """What is done to the head of the final response."""
        self.taps: tuple[Tap, ...] = ()
        self.on_end: tuple[Callable[[Exchange, float], None], ...] = ()
        """Called once, with the loop's time, when the exchange is over, however it ends."""
        self.delay = 0.0
        """Seconds to wait before the upstream is asked."""
        self.status = 0
        """The status that the client has been sent, 0 before."""
        self.flag = ""
        """Why the response is not what the upstream wanted to say; empty if it is."""
        self.uploaded = False
        """True once the whole request has come."""
        self.tunnel = False
        """True once the protocol was switched: bytes pass in both directions."""
        self.retries = 0
        self._head = b""
        """`head` as this version gets it."""
        self._payload: bytes | None = b""
        """The request's body as it is sent, as far as it has come; None once it is too large to be sent again."""
        self._again = False
        self._avoid: Endpoint | None = None
        self._renewed = False
        self._reusable = False
        self._timer: asyncio.TimerHandle | None = None
        self.started = started = client.clock()
        self.deadline = started + route.total

    # --- the request ----------------------------------------------------------------------------------------------

    def begin(self, target: Target, payload: bytes, *, complete: bool) -> None:
        """Ask a version; `payload` is as much of the body as has come, `complete` whether that is all of it."""
        self._aim(target)
        if payload or not complete or self.taps:
            self.upload(payload, complete=complete)
        else:
            self.uploaded = True
            if self.request.length == CHUNKED:
                self._payload = self._last_chunk()
        if self.delay:
            self._later(self.delay)
        else:
            self._acquire()

    def _aim(self, target: Target) -> None:
        """At a version, from the first attempt on or from a later one."""
        self.target = target
        self.upstream = upstream = target.upstream
        upstream.requests += 1
        head = self.head
        if upstream.strip is not None:
            head = upstream.strip.sub(b"", head)
        if upstream.host is not None:
            head = named(b"host").sub(b"\r\nHost: " + upstream.host, head, count=1)
        self._head = head

    def upload(self, payload: bytes, *, complete: bool) -> None:
        """The next piece of the body."""
        for tap in self.taps:
            tap.data(payload, complete=complete)
        self.uploaded = complete
        if self.request.length == CHUNKED:
            payload = chunk(payload)
            if complete:
                payload += self._last_chunk()
        link, kept = self.link, self._payload
        if kept is not None:
            self._payload = kept + payload
            if link is not None and len(kept) + len(payload) > self.route.retry.max_body:
                self._payload = None
        if link is not None:
            self.within(self._patience if complete and not link.streaming else self.upstream.idle)
            if payload:
                link.transport.write(payload)

    def _last_chunk(self) -> bytes:
        """The end of the body. What must not stand in the head has no place in the trailers: some servers join them."""
        trailers, strip = self.client.trailers, self.upstream.strip
        if trailers and strip is not None:
            trailers = strip.sub(b"", b"\r\n" + trailers)[2:]
        return last_chunk(trailers)

    def _later(self, seconds: float) -> None:
        """Ask the upstream after a while."""
        self._wait()
        self.client.due = self.deadline
        self._timer = asyncio.get_running_loop().call_later(seconds, self._acquire)

    def _acquire(self) -> None:
        self._timer = None
        try:
            link = self.upstream.acquire(self, fresh=self._again, avoid=self._avoid)
        except UpstreamError as error:
            self.failed(error)
            return
        if link is not None:
            self.connected(link)
        else:
            self._wait()

    def _wait(self) -> None:
        if not self.uploaded:
            self.client.hold()

    def connected(self, link: Link) -> None:
        """A connection for it: off it goes."""
        self.link = link
        self.endpoint = link.endpoint
        link.exchange = self
        payload = self._payload
        head = self._head + self.upstream.tail
        if payload and len(payload) > JOINED:
            link.transport.write(head)
            link.transport.write(payload)
        else:
            link.transport.write(head + payload if payload else head)
        if self.uploaded:
            self.within(self._patience)
        else:
            if payload and len(payload) > self.route.retry.max_body:
                self._payload = None
            self.within(self.upstream.idle)
            self.client.go_on()

    @property
    def _patience(self) -> float:
        """Seconds from the end of the request to the start of the response."""
        return self.route.first_byte or self.upstream.first_byte

    def within(self, seconds: float) -> None:
        """The next step must come within so many seconds, and before the deadline."""
        due = self.client.clock() + seconds
        self.client.due = due if due < self.deadline else self.deadline  # noqa: FURB136 - a call costs more than the comparison

    # --- the response ---------------------------------------------------------------------------------------------

    def interim(self, response: Response) -> None:
        """1xx: passed on, except to HTTP/1.0, which does not know them."""
        if self.request.minor:
            self.client.write(response.head + CONTINUED)

    def respond(self, link: Link, response: Response, data: bytes) -> None:
        """The final head, at the start of `data`, and what of the body came with it."""
        client, length, size = self.client, response.length, response.size
        if response.status >= 400 or link.endpoint.watched:
            self.upstream.outcome(link, response.status, client.clock() - self.started, response.head)
            if self._refused(response.status):
                return
        self.status = response.status
        self._reusable = response.persistent
        for edit in self.edits:
            edit(self, response)
            if self.link is None:
                return
        if client.persistent and client.listener.draining:
            client.persistent = False
        if length < 0:
            self._respond_streamed(link, response, data)
            return
        have = len(data) - size
        if have >= length and not self.uploaded:
            client.persistent = False  # an early response: the rest of the request is not wanted (RFC 9112 9.5)
        if client.persistent and self.request.minor:
            if have <= length and response.verbatim:
                client.transport.write(data)
                if have == length:
                    self.finish(b"")
                else:
                    link.stream(self, reader(length - have, self.upstream.limits), b"", chunked=False)
                return
            head = response.head + CONTINUED
        else:
            head = response.head
            if not self.request.minor:  # the head of an answer to HEAD, or of a 304, may speak of chunks
                head = named(b"transfer-encoding").sub(b"", head)
            head += KEPT if client.persistent else CLOSING
        if have >= length:
            client.transport.write(head + data[size : size + length])
            self.finish(data[size + length :])
            return
        link.stream(self, reader(length, self.upstream.limits), data[size:], head=head, chunked=False)

    def _respond_streamed(self, link: Link, response: Response, data: bytes) -> None:
        """A body whose length is not known: in chunks to HTTP/1.1, until the connection closes to HTTP/1.0."""
        client, head, chunked = self.client, response.head, bool(self.request.minor)
        whole = chunked and client.persistent and self.uploaded and response.length == CHUNKED
        if whole and framed(data, response.size):
            client.transport.write(data if response.verbatim else head + CONTINUED + data[response.size :])
            self.finish(b"")
            return
        if not chunked:
            client.persistent = False
            head = named(b"transfer-encoding").sub(b"", head)
        elif response.length == UNTIL_CLOSE:
            head += b"Transfer-Encoding: chunked\r\n"
        link.stream(
            self,
            reader(response.length, self.upstream.limits, response.options),
            data[response.size :],
            head=head + (CONTINUED if client.persistent else CLOSING),
            chunked=chunked,
        )

    def finish(self, rest: bytes) -> None:
        """The response is complete. `rest` is what the upstream sent beyond it: nobody asked for that."""
        link, self.link = self.link, None
        if link is not None:
            if self._reusable and self.uploaded and not rest:
                link.rest()
                self.upstream.release(link)
            else:
                link.close()
        self.client.completed(self)

    def switch(self, link: Link, response: Response, data: bytes) -> None:
        """101: from now on bytes pass in both directions until one side closes."""
        if not self.request.upgrade or response.upgrade != self.request.upgrade:
            self.give_up(502, "unexpected_upgrade", "changed the protocol without being asked")
            return
        for edit in self.edits:
            edit(self, response)
            if self.link is None:
                return
        self.status, self.tunnel = 101, True
        client = self.client
        client.persistent = False
        client.due = float("inf")
        client.write(
            response.head + b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % response.upgrade + data[response.size :]
        )
        ahead = client.take_ahead()
        if ahead:
            link.transport.write(ahead)
        client.go_on()

    def answer(
        self,
        status: int,
        text: str,
        *,
        reason: str,
        fields: Mapping[str, str] | None = None,
        content_type: str = "text/plain; charset=utf-8",
    ) -> None:
        """Answer in the upstream's place; `reason` says why in metrics and the access log.

        Names and values in `fields` must be checked: a line end in them would split the response.
        """
        self.status, self.flag = status, reason
        self.client.respond(self, text, fields=fields, content_type=content_type)

    def replace(
        self,
        status: int,
        text: str,
        *,
        reason: str,
        fields: Mapping[str, str] | None = None,
        content_type: str = "text/plain; charset=utf-8",
    ) -> None:
        """Answer in the place of a response whose head has come, and of which nothing was passed on: for edits."""
        self._drop_link()
        self.answer(status, text, reason=reason, fields=fields, content_type=content_type)

    # --- again ----------------------------------------------------------------------------------------------------

    def _refused(self, status: int) -> bool:
        """Whether a request with this answer was sent again, so that the client never sees the answer."""
        if status == 401 and not self._renewed:
            # Once, and for every method: what was not authorized has had no effect.
            self._renewed = self.upstream.renew(self)
            if self._renewed and self._payload is not None:
                self._drop_link()
                self._later(0.0)
                return True
        return status in self.route.retry.statuses and self._retried(str(status), 0.0)

    def _retried(self, cause: str, wait: float | None = None) -> bool:
        """Send the request again, if it may be; `wait` in seconds, None for the policy's back-off."""
        link, retry = self.link, self.route.retry
        if self._payload is None or self.client.clock() >= self.deadline:
            return False
        if len(self._payload) > retry.max_body and cause != "connect":
            return False
        if not retry.allows(cause, self.request, self.retries):
            return False
        if not self.upstream.budget.allows():
            self.client.listener.events.retry_refused(self.upstream.name)
            return False
        self.retries += 1
        self._again = True
        if self.target is not None and (cause != "reset" or wait is None):
            # Not for a kept connection that turned out to be closed: that is nobody's fault.
            self.target.tally.retried += 1
        if link is not None:
            self._avoid = link.endpoint
            self._drop_link()
        self.client.listener.events.retried(self.upstream.name, cause)
        another = self.route.another(self) if cause == "connect" else None
        if another is not None:
            self._avoid = None
            self._aim(another)
            wait = 0.0
        self._later(retry.delay(self.retries - 1, random()) if wait is None else wait)  # noqa: S311 - jitter
        return True

    @property
    def last_chance(self) -> bool:
        """True if it would not be sent again, should there be no connection for it."""
        return self._payload is None or not self.route.retry.allows("connect", self.request, self.retries)

    # --- what can go wrong ----------------------------------------------------------------------------------------

    def lost(self, link: Link, error: Exception | None = None) -> None:
        """The upstream's connection is gone without an answer, or at the end of a tunnel."""
        if self.tunnel:
            self.link = None
            self.client.close()
            return
        # Closed while it was idle, most likely: then the request was never read, and nobody is to blame.
        stale = link.requests > 0 and not link.heard
        if not stale:
            self.upstream.outcome(link, 0, self.client.clock() - self.started)
        if not link.heard and self._retried("reset", 0.0 if stale else None):
            return
        self.link = None
        name = self.upstream.name
        if isinstance(error, SSLError):
            # In TLS 1.3 a server says only after our side of the handshake that it does not take our certificate.
            self._fail(UpstreamError(502, "tls_failure", f"{name} has ended the connection: {explained(error)}"))
        else:
            self._fail(UpstreamError(502, "reset_before_response", f"{name} closed the connection without a response"))

    def failed(self, error: UpstreamError) -> None:
        """There is no connection for it."""
        if not self._retried(CAUSES.get(error.flag, "")):
            self._fail(error)

    def give_up(self, status: int, flag: str, text: str) -> None:
        """The upstream does not keep to the rules, or takes too long."""
        if self.link is not None:
            self.upstream.outcome(self.link, 0, self.client.clock() - self.started)
        if not self._retried(CAUSES.get(flag, "")):
            self._drop_link()
            self._fail(UpstreamError(status, flag, f"{self.upstream.name} {text}"))

    def _fail(self, error: UpstreamError) -> None:
        """There is no response from the upstream; the client gets one from us."""
        self.status, self.flag = error.status, error.flag
        self.client.listener.events.upstream_failed(self.upstream.name, error.flag, str(error))
        self.client.respond(
            self,
            f"podpatterns: {error} ({error.flag})\n",
            fields={"Retry-After": "1"} if error.status == 503 else None,
        )

    def truncated(self, flag: str, text: str) -> None:
        """Part of the response is with the client already: only a reset can say that the rest is missing."""
        if self.link is not None and not self.link.held:  # not if it waits for the client
            self.upstream.outcome(self.link, 0, self.client.clock() - self.started)
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
        client, link, name = self.client, self.link, self.upstream.name
        late = client.clock() >= self.deadline
        if link is not None and link.streaming:
            if late:
                self.truncated("total_timeout", f"the response was not complete within {self.route.total:g}s")
            else:
                self.truncated(
                    "client_stalled" if link.held else "idle_timeout", "nothing moved in the middle of a response"
                )
        elif late:
            self._withdraw()
            self.give_up(504, "total_timeout", f"gave no response within {self.route.total:g}s in all")
        elif link is None:
            self._withdraw()
            self._fail(UpstreamError(504, "pending_timeout", f"no connection to {name} became free in time"))
        elif self.uploaded:
            self.give_up(504, "first_byte_timeout", f"gave no response within {self._patience:g}s")
        elif client.held:
            self.give_up(504, "upload_timeout", "did not take the request in time")
        else:
            self._drop_link()
            client.refuse(Refused(408, "body_timeout", "the rest of the request did not come in time"))

    def _withdraw(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif self.link is None and self.target is not None:
            self.upstream.withdraw(self)

    def client_gone(self) -> None:
        """Nobody waits for the response any more."""
        self._withdraw()
        if self.tunnel:
            link, self.link = self.link, None
            if link is not None:
                link.exchange = None
                link.transport.close()
        else:
            self._drop_link()
            self.flag = "client_gone"
