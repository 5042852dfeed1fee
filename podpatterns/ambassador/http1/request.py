"""Request heads: from bytes to a `Request`, or to a refusal.

`read_request` decides on nothing before the empty line that ends a head, except on what can only be refused; so
it comes to the same result however the bytes were cut on their way.
"""

from __future__ import annotations

import re

from msgspec import Struct

from podpatterns.ambassador.http1.body import CHUNKED
from podpatterns.ambassador.http1.fields import NO_OPTIONS, connection_options, named, spans, without
from podpatterns.ambassador.http1.grammar import (
    ABSOLUTE,
    HOST,
    LENGTH,
    REQUEST,
    REQUEST_FIELDS,
    REQUEST_LINE,
    TOKEN,
)
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.formats.http1 import Refused

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"})
"""Methods that may be sent again (RFC 9110 9.2.2); TRACE is not forwarded at all."""

MAX_METHOD = 32
"""Bytes of a method; the longest registered one has 17."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\n"
"""How an HTTP/2 client with prior knowledge starts, as far as our own end of a head."""

_BARE_LF = re.compile(rb"(?<!\r)\n")


class Request(Struct, eq=False, gc=False):
    """One request's head.

    `head` is what goes to the upstream: first line and fields, each with its CRLF, without the closing empty line, so
    that fields can be added behind it. `size` bytes were taken from the input. `length` is that of the body, or
    CHUNKED. `options` are the names that Connection lists. `identified`: it came with an X-Request-Id.

    A struct, because one is made for each request, and C fills it in a third of the time; it holds nothing that could
    lead back to it, so the garbage collector need not look.
    """

    method: bytes
    target: bytes
    host: bytes
    head: bytes
    size: int
    length: int = 0
    minor: int = 1
    persistent: bool = True
    identified: bool = False
    options: frozenset[bytes] = NO_OPTIONS
    upgrade: bytes = b""

    @property
    def idempotent(self) -> bool:
        """True if doing it twice is doing it once."""
        return self.method in IDEMPOTENT

    @property
    def path(self) -> bytes:
        """The target without its query, as it was sent: never normalized."""
        return self.target.partition(b"?")[0]

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field (name in lower case), in order."""
        return [value.strip(b" \t") for value in named(name).findall(self.head)]


def read_request(data: bytes, limits: Limits, own_via: bytes = b"") -> Request | None:
    """The head at the start of `data`; None while it is incomplete.

    `own_via` is this proxy's name in Via: a request that carries it has come round in a loop.

    Raises:
        Refused: malformed, ambiguous, too large, or something that is not handled here.
    """
    match = limits.usual_request.match(data)
    if match is not None and (size := match.end()) <= limits.head:
        method, target, host, length, chunked, keeps, identified = match.groups()
        if host is not None:
            if keeps is None:
                head = data[: size - 2]
            else:
                start, end = match.span(6)
                head = data[:start] + data[end : size - 2]
            request = Request(method, target, host, head, size)
            if length is not None:
                request.length = int(length)
            elif chunked is not None:
                request.length = CHUNKED
            if identified is not None:
                request.identified = True
            return request
    match = REQUEST.match(data)
    if match is None:
        return _incomplete(data, limits)
    if match.end() > limits.head:
        raise _too_large(data, limits)
    return _unusual(data, match, limits, own_via)


def _incomplete(data: bytes, limits: Limits) -> Request | None:
    """None while `data` may still become a head; refuses what cannot, by the first mistake in it."""
    if not data:
        return None
    if data.startswith(PREFACE[: len(data)]) and len(data) < len(PREFACE):
        return None
    if data.startswith(PREFACE):
        raise Refused(505, "http2", "this listener speaks HTTP/1.1, and the client HTTP/2 with prior knowledge")
    if TOKEN.match(data) is None:
        raise Refused(400, "malformed", "not an HTTP request (is the client speaking TLS?)")
    bare = _BARE_LF.search(data, 0, limits.head)
    end = data.find(b"\r\n\r\n", 0, limits.head)
    if end < 0 and bare is None:
        if len(data) >= limits.head:
            raise _too_large(data, limits)
        return None
    line = REQUEST_LINE.match(data)
    if line is not None and (line[3] != b"1" or line[4] not in b"01"):
        raise Refused(505, "version", "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if line is None:
        raise Refused(400, "malformed", "the first line must be: method, space, target, space, HTTP/1.1, CRLF")
    raise Refused(400, "malformed_field", "a field must be: name, colon, value, CRLF; without folding or control bytes")


def _too_large(data: bytes, limits: Limits) -> Refused:
    if b"\r\n" not in data[: limits.head]:
        return Refused(414, "target_too_long", f"the first line exceeds {limits.head} bytes")
    return Refused(431, "head_too_large", f"the head exceeds {limits.head} bytes")


def _unusual(data: bytes, match: re.Match[bytes], limits: Limits, own_via: bytes) -> Request:
    """The complete reading, for whatever the fast one left: each rule of RFC 9112 in its place."""
    method, target, minor = match.groups()
    size, start = match.end(), match.end(3)
    if data.count(b"\n", 0, size) > limits.fields + 2:
        raise Refused(431, "too_many_fields", f"a head may have {limits.fields} fields")
    if len(method) > MAX_METHOD:
        raise Refused(501, "method", f"a method may have {MAX_METHOD} bytes")
    if method in (b"CONNECT", b"TRACE"):
        raise Refused(501, "method", f"{method.decode()} is not forwarded: this is a gateway, not a tunnel")
    fields: dict[bytes, list[bytes]] = {}
    cuts: list[tuple[int, int]] = []
    for found in REQUEST_FIELDS.finditer(data, start, size):
        name = found[1].lower()
        fields.setdefault(name, []).append(found[2].strip(b" \t"))
        if name in _DROPPED:
            cuts.append(found.span())
    if not fields.keys().isdisjoint(_IMPOSTORS):
        raise Refused(400, "impostor_field", "a field's name is that of a framing field, spelt with an underscore")
    if own_via and any(own_via in value for value in fields.get(b"via", ())):
        raise Refused(
            508, "loop", "this request has passed through here before; an upstream leads back to this listener"
        )
    request = Request(method, target, _host(fields, minor), b"", size, minor=int(minor))
    request.options = options = connection_options(fields.get(b"connection", ()))
    request.length = request_length(fields, request.minor)
    request.identified = b"x-request-id" in fields
    framing = _framing(request.length, fields, data, cuts, start)
    request.persistent = b"close" not in options if minor == b"1" else b"keep-alive" in options
    _expectation(fields)
    _upgrade(request, fields, options)
    first_line, host_line = _target(request, fields)
    cuts += spans(data[: size - 2], options)
    if host_line:
        cuts += [found.span() for found in named(b"host").finditer(data, start, size)]
    request.head = first_line + host_line + without(data, cuts, start, size - 2) + framing
    if method == b"OPTIONS":
        _max_forwards(request)
    if request.upgrade:
        request.head += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % request.upgrade
    return request


_DROPPED = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"http2-settings"})
"""Hop-by-hop fields. Transfer-Encoding stays: `chunked` is what we send as well."""

_IMPOSTORS = frozenset({b"content_length", b"content_encoding", b"transfer_encoding", b"transfer_length"})


def _host(fields: dict[bytes, list[bytes]], minor: bytes) -> bytes:
    values = fields.get(b"host", [])
    if len(values) > 1:
        raise Refused(400, "host", "several Host fields")
    if not values:
        if minor == b"1":
            raise Refused(400, "host", "an HTTP/1.1 request must have a Host field")
        return b""
    if HOST.fullmatch(values[0]) is None:
        raise Refused(400, "host", "the Host field does not name a host")
    return values[0]


def request_length(fields: dict[bytes, list[bytes]], minor: int) -> int:
    """The length of a request's body (RFC 9112 6.3), with every ambiguity refused. Names in lower case."""
    lengths, codings = fields.get(b"content-length", []), fields.get(b"transfer-encoding", [])
    if codings:
        if lengths:
            raise Refused(400, "length_and_chunked", "Content-Length beside Transfer-Encoding")
        if minor == 0:
            raise Refused(400, "transfer_encoding", "Transfer-Encoding in HTTP/1.0")
        if len(codings) == 1 and codings[0].lower() == b"chunked":
            return CHUNKED
        if len(codings) == 1 and codings[0].lower().endswith(b"chunked"):
            raise Refused(501, "transfer_encoding", "no transfer coding but chunked is known here")
        raise Refused(400, "transfer_encoding", "the one Transfer-Encoding must be: chunked")
    if not lengths:
        return 0
    if len(lengths) > 1:
        raise Refused(400, "content_length", "several Content-Length fields")
    if LENGTH.fullmatch(lengths[0]) is None:
        raise Refused(400, "content_length", "Content-Length must be one number of at most 18 digits")
    return int(lengths[0])


def _framing(
    length: int, fields: dict[bytes, list[bytes]], data: bytes, cuts: list[tuple[int, int]], start: int
) -> bytes:
    """The line that frames the body if the client's is spelt oddly (zeros in front, a tab, capitals): ours then.

    Upstreams read the plain spelling alike; the odd ones, not all of them do.
    """
    if not length and b"content-length" not in fields:
        return b""
    name, plain = (b"Transfer-Encoding", b"chunked") if length == CHUNKED else (b"Content-Length", b"%d" % length)
    found = named(name).search(data, start)
    if found is None or found[1].removeprefix(b" ") == plain:
        return b""
    cuts.append(found.span())
    return b"%b: %b\r\n" % (name, plain)


def _expectation(fields: dict[bytes, list[bytes]]) -> None:
    values = fields.get(b"expect")
    if values is None:
        return
    if len(values) > 1 or values[0].lower() != b"100-continue":
        raise Refused(417, "expectation", "the only expectation known here is 100-continue")


def _upgrade(request: Request, fields: dict[bytes, list[bytes]], options: frozenset[bytes]) -> None:
    """WebSocket alone is tunnelled. Any other offer (h2c) is declined by not passing it on."""
    values = [value.lower() for value in fields.get(b"upgrade", ())]
    if request.minor == 0 or b"upgrade" not in options or b"websocket" not in values:
        return
    if values != [b"websocket"]:
        raise Refused(400, "upgrade", "Upgrade must name websocket alone")
    if request.length:
        raise Refused(400, "upgrade", "a request that upgrades cannot have a body here")
    if request.method != b"GET":
        raise Refused(400, "upgrade", "a WebSocket handshake is a GET")
    request.upgrade = b"websocket"


def _target(request: Request, fields: dict[bytes, list[bytes]]) -> tuple[bytes, bytes]:
    """The first line to send, without CRLF, and the Host line if ours replaces the client's.

    The lines that follow start with their CRLF, so the pieces join.
    """
    target, host_line = request.target, b""
    if target[0] != 47 and not (target == b"*" and request.method == b"OPTIONS"):
        match = ABSOLUTE.fullmatch(target)
        if match is None or HOST.fullmatch(match[1]) is None:
            raise Refused(400, "target", "the target must be a path or an http URL")
        # RFC 9112 3.2.2: the target's host counts, whatever Host says.
        request.host = match[1]
        request.target = (match[2] or b"/") + (match[3] or b"")
        host_line = b"\r\nHost: " + match[1]
    if b"host" not in fields and not host_line:
        host_line = b"\r\nHost: localhost"
        request.host = b"localhost"
    return request.method + b" " + request.target + b" HTTP/1.1", host_line


def _max_forwards(request: Request) -> None:
    values = request.values(b"max-forwards")
    if not values:
        return
    if len(values) > 1 or LENGTH.fullmatch(values[0]) is None:
        raise Refused(400, "max_forwards", "Max-Forwards must be one number")
    hops = int(values[0])
    if hops == 0:
        raise Refused(200, "max_forwards", "this is the proxy at which Max-Forwards ran out")
    request.head = named(b"max-forwards").sub(b"\r\nMax-Forwards: %d" % (hops - 1), request.head)
