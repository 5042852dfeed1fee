"""Responses that a broken or hostile upstream may send: what the client gets of each.

`status` is what the client sees: 502 with a reason where the response is not passed on. Where only a reset can say that
the rest is missing, there is no payload.
"""

from __future__ import annotations

from dataclasses import dataclass

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@dataclass(frozen=True)
class Answer:
    """What an upstream sends to a GET before it closes."""

    data: bytes
    status: int = 200
    flag: str = ""
    """The response flag in the access log and the metrics."""
    payload: bytes | None = b""
    """What the client gets; None if its connection is reset in the middle."""


def head(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return b"\r\n".join([line, *fields]) + b"\r\n\r\n" + body


def bad(data: bytes, flag: str = "malformed_response") -> Answer:
    return Answer(data, 502, flag)


LENGTH = b"Content-Length: 2"
TE = b"Transfer-Encoding: chunked"

ANSWERS = {
    "plain": Answer(head(LENGTH, body=b"ok"), payload=b"ok"),
    "HTTP/1.0": Answer(head(LENGTH, line=b"HTTP/1.0 200 OK", body=b"ok"), payload=b"ok"),
    "until close": Answer(head(body=b"ok"), payload=b"ok"),
    "chunked": Answer(head(TE, body=b"2\r\nok\r\n0\r\n\r\n"), payload=b"ok"),
    "chunked with extensions and trailers": Answer(
        head(TE, body=b"1;a\r\no\r\n1;b\r\nk\r\n0\r\nX: 1\r\n\r\n"), payload=b"ok"
    ),
    "space before a colon": Answer(head(b"Content-Length : 2", b"X\t: y", body=b"ok"), payload=b"ok"),
    "no reason phrase": Answer(head(LENGTH, line=b"HTTP/1.1 200", body=b"ok"), payload=b"ok"),
    "interim, then final": Answer(head(line=b"HTTP/1.1 103 Early Hints") + head(LENGTH, body=b"ok"), payload=b"ok"),
    "many interim": Answer(head(line=b"HTTP/1.1 102 Processing") * 20 + head(LENGTH, body=b"ok"), payload=b"ok"),
    "interim with a length": Answer(
        head(b"Content-Length: 5", line=b"HTTP/1.1 103 Early Hints") + head(LENGTH, body=b"ok"), payload=b"ok"
    ),
    "204 with a length": Answer(head(b"Content-Length: 4", line=b"HTTP/1.1 204 No Content"), 204),
    "304 with a length": Answer(head(b"Content-Length: 4", line=b"HTTP/1.1 304 Not Modified"), 304),
    "a response behind the response": Answer(head(LENGTH, body=b"ok") + EVIL, payload=b"ok"),
    "a response behind the chunks": Answer(head(TE, body=b"2\r\nok\r\n0\r\n\r\n") + EVIL, payload=b"ok"),
    "a body behind a 204": Answer(head(line=b"HTTP/1.1 204 No Content") + EVIL, 204),
    "a body behind a 304": Answer(head(line=b"HTTP/1.1 304 Not Modified") + EVIL, 304),
    "length and coding": bad(head(LENGTH, TE, body=b"2\r\nok\r\n0\r\n\r\n"), "length_and_chunked"),
    "two lengths": bad(head(LENGTH, b"Content-Length: 5", body=b"ok"), "content_length"),
    "two equal lengths": bad(head(LENGTH, LENGTH, body=b"ok"), "content_length"),
    "list of lengths": bad(head(b"Content-Length: 2, 2", body=b"ok"), "content_length"),
    "empty length": bad(head(b"Content-Length:", body=b"ok"), "content_length"),
    "negative length": bad(head(b"Content-Length: -2", body=b"ok"), "content_length"),
    "length with a sign": bad(head(b"Content-Length: +2", body=b"ok"), "content_length"),
    "length beyond 64 bits": bad(head(b"Content-Length: 99999999999999999999", body=b"ok"), "content_length"),
    "gzip": bad(head(b"Transfer-Encoding: gzip", body=b"ok"), "transfer_encoding"),
    "gzip, chunked": bad(head(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), "transfer_encoding"),
    "chunked twice": bad(head(TE, TE, body=b"0\r\n\r\n"), "transfer_encoding"),
    "chunked in HTTP/1.0": bad(head(TE, line=b"HTTP/1.0 200 OK", body=b"0\r\n\r\n"), "transfer_encoding"),
    "Connection lists Content-Length": bad(
        head(b"Connection: content-length", LENGTH, body=b"ok"), "connection_options"
    ),
    "LF alone": bad(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    "LF alone in a field": bad(head(b"X: y\nSet-Cookie: evil=1", LENGTH, body=b"ok")),
    "CR alone in a field": bad(head(b"X: y\rSet-Cookie: evil=1", LENGTH, body=b"ok")),
    "NUL in a field": bad(head(b"X: \x00", LENGTH, body=b"ok")),
    "NUL in the reason": bad(head(LENGTH, line=b"HTTP/1.1 200 O\x00K", body=b"ok")),
    "fold": bad(head(b"X: y\r\n z", LENGTH, body=b"ok")),
    "no colon": bad(head(b"X", LENGTH, body=b"ok")),
    "no name": bad(head(b": y", LENGTH, body=b"ok")),
    "HTTP/2": bad(head(LENGTH, line=b"HTTP/2 200", body=b"ok")),
    "HTTP/0.9": bad(b"<html>hello</html>"),
    "ICY": bad(head(LENGTH, line=b"ICY 200 OK", body=b"ok")),
    "two-digit status": bad(head(LENGTH, line=b"HTTP/1.1 20 OK", body=b"ok")),
    "four-digit status": bad(head(LENGTH, line=b"HTTP/1.1 2000 OK", body=b"ok")),
    "status 000": bad(head(LENGTH, line=b"HTTP/1.1 000 OK", body=b"ok")),
    "status 600": bad(head(LENGTH, line=b"HTTP/1.1 600 OK", body=b"ok")),
    "signed status": bad(head(LENGTH, line=b"HTTP/1.1 +20 OK", body=b"ok")),
    "empty line first": bad(b"\r\n" + head(LENGTH, body=b"ok")),
    "an upgrade that nobody asked for": bad(
        head(b"Connection: upgrade", b"Upgrade: websocket", line=b"HTTP/1.1 101 Switching Protocols"),
        "unexpected_upgrade",
    ),
    "nothing": bad(b"", "reset_before_response"),
    "half a head": bad(b"HTTP/1.1 200 OK\r\nContent-Le", "reset_before_response"),
    "head too large": bad(head(b"X: " + b"y" * 70_000), "response_head_too_large"),
    "too many fields": bad(head(*[b"X: y"] * 101), "response_head_too_large"),
    "half a body": Answer(head(b"Content-Length: 5", body=b"ok"), 200, "truncated", None),
    "half the chunks": Answer(head(TE, body=b"2\r\nok\r\n"), 200, "truncated", None),
    "no last chunk": Answer(head(TE, body=b"5\r\nok"), 200, "truncated", None),
    "last chunk without its end": Answer(head(TE, body=b"2\r\nok\r\n0\r\n"), 200, "truncated", None),
    "bad chunk size": Answer(head(TE, body=b"2\r\nok\r\nx\r\n"), 200, "bad_body", None),
    "LF alone after a size": Answer(head(TE, body=b"2\nok\r\n0\r\n\r\n"), 200, "bad_body", None),
    "data longer than its size": Answer(head(TE, body=b"1\r\nok\r\n0\r\n\r\n"), 200, "bad_body", None),
    "folded trailer": Answer(head(TE, body=b"2\r\nok\r\n0\r\nX: y\r\n z\r\n\r\n"), 200, "bad_body", None),
    "endless trailers": Answer(head(TE, body=b"2\r\nok\r\n0\r\n" + b"X: y\r\n" * 3000), 200, "bad_body", None),
}
