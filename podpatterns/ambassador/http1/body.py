"""Bodies: taking the payload out of its framing, and putting it into another.

Every reader has the same two methods: `feed(data)` returns the payload in `data` and, once the body is complete,
what follows it (None before); `eof()` says whether the body may end here. A chunked body is not passed on as it
came but framed anew, one chunk for each piece that was read: what reaches the far side is our framing alone.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from podpatterns.ambassador.http1.fields import NO_OPTIONS, trailers_without
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.formats.http1 import LAST_CHUNK, Bounds, ChunkedBody

CHUNKED: Final = -1
"""A length that stands for chunked framing."""

UNTIL_CLOSE: Final = -2
"""A length that stands for a response which ends with its connection."""

_OWN_CHUNK = re.compile(rb"([1-9a-f][0-9a-f]{0,14})\r\n")
"""The first line of a chunk as we write it ourselves."""

_FEW = 64
"""Chunks of a body that may be passed on as it came; a body in smaller pieces is better joined."""

_FORBIDDEN = re.compile(
    rb"(?im)^(?:connection|content-length|transfer-encoding|trailer|host|te|upgrade|keep-alive|proxy-connection|via"
    rb"|authorization|proxy-authorization|cookie|set-cookie|cache-control|expect|max-forwards|content-type"
    rb"|content-encoding|content-range):[^\r\n]*\r\n"
)
"""What decides on framing, routing or authentication has no place after the body (RFC 9110 6.5.1)."""


class Body(Protocol):
    """What reads a body."""

    trailers: bytes

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """The payload in `data`, and what follows the body once it is complete. Raises Refused."""

    def eof(self) -> bool:
        """True if a body that ends here is complete."""


class LengthBody:
    """A body of a known length."""

    __slots__ = ("remaining",)
    trailers = b""

    def __init__(self, length: int) -> None:
        self.remaining = length

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """At most `remaining` bytes."""
        size = len(data)
        if size < self.remaining:
            self.remaining -= size
            return data, None
        if size == self.remaining:
            self.remaining = 0
            return data, b""
        payload, rest = data[: self.remaining], data[self.remaining :]
        self.remaining = 0
        return payload, rest

    def eof(self) -> bool:
        """Only when every byte has come."""
        return not self.remaining


class CloseBody:
    """A response body that ends with the connection."""

    __slots__ = ()
    trailers = b""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Everything."""
        return data, None

    def eof(self) -> bool:
        """At any time: that is what makes this framing a poor one."""
        return True


class ProxiedChunks(ChunkedBody):
    """A chunked body that is passed on: its trailers without what must not be.

    `options` are the names that the message's Connection lists: they concern this connection in the trailers as well.
    """

    __slots__ = ("_options",)

    def __init__(self, limits: Bounds, options: frozenset[bytes] = NO_OPTIONS) -> None:
        super().__init__(limits)
        self._options = options

    def kept(self, trailers: bytes) -> bytes:
        """The trailers that concern the far side."""
        return trailers_without(_FORBIDDEN.sub(b"", trailers), self._options)


def reader(length: int, limits: Limits, options: frozenset[bytes] = NO_OPTIONS) -> Body:
    """The reader for a length as the framing tables give it, of a message whose Connection lists `options`."""
    if length == CHUNKED:
        return ProxiedChunks(limits, options)
    return CloseBody() if length == UNTIL_CLOSE else LengthBody(length)


def framed(data: bytes, at: int) -> bool:
    """True if exactly one chunked body stands from `at` on, framed as we would do it: it can be passed on as it is."""
    for _ in range(_FEW):
        match = _OWN_CHUNK.match(data, at)
        if match is None:
            return data.startswith(LAST_CHUNK, at) and len(data) == at + len(LAST_CHUNK)
        end = match.end() + int(match[1], 16)
        if data[end : end + 2] != b"\r\n":
            return False
        at = end + 2
    return False


def chunk(payload: bytes) -> bytes:
    """One chunk around a payload; nothing for nothing, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


def last_chunk(trailers: bytes = b"") -> bytes:
    """What ends a chunked body. `trailers` are whole lines."""
    return b"0\r\n%b\r\n" % trailers if trailers else LAST_CHUNK
