"""Response heads: from an upstream's bytes to a `Response`. Whatever is wrong becomes a 502 for the client."""

from __future__ import annotations

import re

from msgspec import Struct

from podpatterns.ambassador.http1.body import CHUNKED, UNTIL_CLOSE
from podpatterns.ambassador.http1.fields import NO_OPTIONS, connection_options, spans, without
from podpatterns.ambassador.http1.grammar import LENGTH, RESPONSE, RESPONSE_FIELDS, SPACED_COLON
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.formats.http1 import Refused

_VERSION = b"HTTP/1.1"
_BODILESS = frozenset({204, 304})
_BARE_LF = re.compile(rb"(?<!\r)\n")


class Response(Struct, eq=False, gc=False):
    """One response's head; a struct for the same reason as Request.

    `head` is what goes to the client: status line and fields, each with its CRLF, without the closing empty line.
    `size` bytes were taken from the input. `length` is that of the body, CHUNKED or UNTIL_CLOSE. `persistent`: the
    upstream's connection may carry another request. `verbatim`: nothing had to be changed in the head. `options` are
    the names that Connection lists.
    """

    status: int
    head: bytes
    size: int
    length: int
    persistent: bool
    verbatim: bool
    options: frozenset[bytes] = NO_OPTIONS
    upgrade: bytes = b""


def read_response(data: bytes, method: bytes, limits: Limits) -> Response | None:
    """The head at the start of `data`, of an answer to a request with this method; None while it is incomplete.

    Raises:
        Refused: malformed, ambiguous or too large. Its status is 502.
    """
    match = limits.usual_response.match(data)
    if match is not None and (size := match.end()) <= limits.head and method != b"HEAD":
        status, length, chunked, keeps, keeping = match.groups()
        if length is not None or chunked is not None:
            body = CHUNKED if length is None else int(length)
            if keeps is None and keeping is None:
                return Response(int(status), data[: size - 2], size, body, True, True)  # noqa: FBT003
            head = without(data, [match.span(group) for group in (4, 5) if match[group]], 0, size - 2)
            return Response(int(status), head, size, body, True, False)  # noqa: FBT003
    match = RESPONSE.match(data)
    if match is None:
        match = _incomplete(data, limits)
        if match is None:
            return None
        return _unusual(match, method, limits, data.find(b"\r\n\r\n") + 4)
    if match.end() > limits.head:
        raise _too_large(limits)
    return _unusual(match, method, limits, match.end())


def _incomplete(data: bytes, limits: Limits) -> re.Match[bytes] | None:
    """None while `data` may still become a head; a match where removing spaces before colons makes it one."""
    end = data.find(b"\r\n\r\n", 0, limits.head)
    if end < 0:
        if len(data) >= limits.head:
            raise _too_large(limits)
        if not b"HTTP/1.".startswith(data[:7]):
            raise Refused(502, "malformed_response", "the upstream does not speak HTTP/1.1")
        if _BARE_LF.search(data) is not None:
            raise Refused(502, "malformed_response", "a line of the upstream's response ends with LF alone")
        return None
    match = RESPONSE.match(SPACED_COLON.sub(rb"\1:", data[: end + 4]))
    if match is None:
        raise Refused(502, "malformed_response", "the upstream's response head is malformed")
    return match


def _too_large(limits: Limits) -> Refused:
    return Refused(502, "response_head_too_large", f"the upstream's response head exceeds {limits.head} bytes")


def _unusual(match: re.Match[bytes], method: bytes, limits: Limits, taken: int) -> Response:
    """The complete reading; `taken` is the size of the head as it came, before spaces were removed from it."""
    data = match.string
    size, start = match.end(), match.end(2)
    if data.count(b"\n", 0, size) > limits.fields + 2:
        raise Refused(502, "response_head_too_large", f"the upstream's response has more than {limits.fields} fields")
    fields: dict[bytes, list[bytes]] = {}
    cuts: list[tuple[int, int]] = []
    status = int(match[2])
    for found in RESPONSE_FIELDS.finditer(data, start, size):
        name = found[1].lower()
        fields.setdefault(name, []).append(found[2].strip(b" \t"))
        if name in _DROPPED or (name in _FRAMING and (status < 200 or status == 204)):
            cuts.append(found.span())
    minor = int(match[1])
    try:
        options = connection_options(fields.get(b"connection", ()))
    except Refused as error:
        raise Refused(502, error.reason, f"the upstream's response: {error}") from None
    length = response_length(fields, method, status, minor)
    cuts += spans(data[: size - 2], options)
    persistent = b"close" not in options if minor else b"keep-alive" in options
    response = Response(
        status,
        _VERSION + without(data, cuts, len(_VERSION), size - 2),
        taken,
        length,
        persistent and length != UNTIL_CLOSE,
        verbatim=False,
    )
    response.options = options
    if status == 101:
        response.upgrade = fields.get(b"upgrade", [b""])[0].lower()
    return response


_DROPPED = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


def response_length(fields: dict[bytes, list[bytes]], method: bytes, status: int, minor: int) -> int:
    """The length of a response's body (RFC 9112 6.3), with every ambiguity refused. Names in lower case."""
    lengths, codings = fields.get(b"content-length", []), fields.get(b"transfer-encoding", [])
    if codings and lengths:
        raise Refused(502, "length_and_chunked", "the upstream sent Content-Length beside Transfer-Encoding")
    if len(lengths) > 1 or (lengths and LENGTH.fullmatch(lengths[0]) is None):
        raise Refused(502, "content_length", "the upstream's Content-Length is not one number")
    if codings and (minor == 0 or len(codings) > 1 or codings[0].lower() != b"chunked"):
        raise Refused(502, "transfer_encoding", "the upstream's Transfer-Encoding is not chunked")
    if method == b"HEAD" or status < 200 or status in (204, 304):
        return 0
    if codings:
        return CHUNKED
    return int(lengths[0]) if lengths else UNTIL_CLOSE
