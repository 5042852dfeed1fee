"""Asks a server for its health over gRPC: one call of grpc.health.v1.Health/Check, over HTTP/2 without TLS.

That is all of HTTP/2 that a probe needs (RFC 9113; RFC 7541, section 6.2.2: literal fields that are never indexed), so
no library for it is carried along. Fields of the answer are not read: the message says it all, and where there is
none the service is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from podpatterns.errors import PodpatternsError

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 0x1, 0x1, 0x4, 0x8
_LONGEST: Final = 1 << 14
"""Bytes of a frame: what a peer may send that has been told nothing else (SETTINGS_MAX_FRAME_SIZE)."""
_STATES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


class BadAnswer(PodpatternsError):  # noqa: N818 - what came back
    """What came back is not gRPC."""


async def check(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], authority: str, service: str
) -> tuple[bool, str]:
    """Whether the service says SERVING, and what it said. Closes the connection. Raises OSError, BadAnswer."""
    reader, writer = streams
    try:
        writer.write(request(authority, service))
        while True:
            kind, flags, body = await _frame(reader)
            if kind == _DATA and body:
                state = serving(body[1 : len(body) - body[0]] if flags & _PADDED else body)
                return state == 1, _STATES.get(state, f"status {state}")
            if kind == _SETTINGS and not flags & _ACK:
                writer.write(frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                writer.write(frame(_PING, _ACK, 0, body))
            elif kind in (_RST_STREAM, _GOAWAY) or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
                named = f' or does not know "{service}"' if service else ""
                return False, f"no status: the server has no health service (grpc.health.v1){named}"
    finally:
        writer.transport.abort()


async def _frame(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    try:
        head = await reader.readexactly(9)
        length = int.from_bytes(head[:3], "big")
        if length > _LONGEST:
            raise BadAnswer("the answer is not HTTP/2")
        return head[3], head[4], await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise BadAnswer("the connection was closed without an answer; is it gRPC without TLS?") from None


def request(authority: str, service: str) -> bytes:
    """Everything that the client sends: preface, settings, one request."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": "/grpc.health.v1.Health/Check", ":authority": authority,
        "te": "trailers", "content-type": "application/grpc", "user-agent": "kube-probe/podpatterns",
    }  # fmt: skip
    named = service.encode()
    message = b"\x0a" + bytes(_varint(len(named))) + named if named else b""
    return b"".join((
        _PREFACE,
        frame(_SETTINGS, 0, 0, b""),
        frame(_HEADERS, _END_HEADERS, 1, b"".join(_literal(name, text) for name, text in fields.items())),
        frame(_DATA, _END_STREAM, 1, b"\0" + len(message).to_bytes(4, "big") + message),
    ))  # fmt: skip


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """A frame of HTTP/2."""
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def _literal(name: str, text: str) -> bytes:
    return b"\x10" + b"".join(_string(part.encode()) for part in (name, text))


def _string(text: bytes) -> bytes:
    """A string without Huffman code, its length with a prefix of seven bits."""
    if len(text) < 127:
        return bytes([len(text)]) + text
    return b"\x7f" + bytes(_varint(len(text) - 127)) + text


def _varint(number: int) -> Iterator[int]:
    while number > 127:
        yield number & 127 | 128
        number >>= 7
    yield number


def serving(body: bytes) -> int:
    """The status in a HealthCheckResponse with its prefix of five bytes; 0 if it has none."""
    message = body[5:]
    return message[1] if len(message) >= 2 and message[0] == 0x08 else 0
