"""Bodies: taking the payload out of its framing, and putting it into another.

Every reader has the same two methods: `feed(data)` returns the payload in `data` and, once the body is complete,
what follows it (None before); `eof()` says whether the body may end here. A chunked body is not passed on as it
came but framed anew, one chunk for each piece that was read: what reaches the far side is our framing alone.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from podpatterns.ambassador.http1.errors import Refused
from podpatterns.ambassador.http1.fields import NO_OPTIONS, trailers_without
from podpatterns.ambassador.http1.grammar import CHUNK_SIZE, TRAILERS
from podpatterns.ambassador.http1.limits import Limits

CHUNKED: Final = -1
"""A length that stands for chunked framing."""

UNTIL_CLOSE: Final = -2
"""A length that stands for a response which ends with its connection."""

LAST_CHUNK = b"0\r\n\r\n"

_PLAIN_CHUNK = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{0,14})\r\n")
"""The first line of most chunks: not the last one, no extensions."""

_OWN_CHUNK = re.compile(rb"([1-9a-f][0-9a-f]{0,14})\r\n")
"""The same as we write it ourselves."""

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


class ChunkedBody:
    """A chunked body (RFC 9112 7.1), read strictly: CRLF alone ends a line, nothing stands beside a size.

    `options` are the names that the message's Connection lists: they concern this connection in the trailers as well.
    """

    __slots__ = ("_extensions", "_held", "_limits", "_options", "_remaining", "_state", "trailers")

    def __init__(self, limits: Limits, options: frozenset[bytes] = NO_OPTIONS) -> None:
        self._limits = limits
        self._options = options
        self._state = "size"
        self._held = b""
        self._remaining = 0
        self._extensions = 0
        self.trailers = b""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """The payload of every chunk in `data`, joined."""
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        at, size = 0, len(data)
        while at < size or self._state == "done":
            if self._state == "data":
                piece = data[at : at + self._remaining]
                pieces.append(piece)
                at += len(piece)
                self._remaining -= len(piece)
                if not self._remaining:
                    self._state = "end"
            elif self._state == "size":
                at = self._whole(data, at, pieces)
                if data.startswith(LAST_CHUNK, at):
                    at += len(LAST_CHUNK)
                    self._state = "done"
                    continue
                if at == size:
                    break
                end = self._line(data, at)
                if end < 0:
                    break
                self._size(data[at:end])
                at = end + 2
            elif self._state == "end":
                if data[at : at + 2] != b"\r\n":
                    if data[at:] == b"\r":
                        self._held = b"\r"
                        break
                    raise Refused(400, "chunk_framing", "a chunk is longer than its size says")
                at += 2
                self._state = "size"
            elif self._state == "trailers":
                end = self._trailers(data, at)
                if end < 0:
                    break
                at = end
            else:
                return b"".join(pieces), data[at:]
        return b"".join(pieces) if len(pieces) != 1 else pieces[0], None

    def eof(self) -> bool:
        """Only after the last chunk and the trailers."""
        return self._state == "done"

    @staticmethod
    def _whole(data: bytes, at: int, pieces: list[bytes]) -> int:
        """Take the chunks that have come in full and have no extensions; returns where something else starts."""
        while (match := _PLAIN_CHUNK.match(data, at)) is not None:
            start = match.end()
            end = start + int(match[1], 16)
            if data[end : end + 2] != b"\r\n":
                break
            pieces.append(data[start:end])
            at = end + 2
        return at

    def _line(self, data: bytes, at: int) -> int:
        """Where the line from `at` ends; -1, with the line kept, while that is not known."""
        end = data.find(b"\r\n", at, at + self._limits.chunk_line)
        if end >= 0:
            return end
        # In this order the reason is the same at any cut: the first mistake counts.
        if data.find(b"\n", at, at + self._limits.chunk_line) >= 0:
            raise Refused(400, "chunk_framing", "a chunk's first line must end with CRLF")
        if len(data) - at >= self._limits.chunk_line:
            raise Refused(400, "chunk_line_too_long", f"a chunk's first line exceeds {self._limits.chunk_line} bytes")
        self._held = data[at:]
        return -1

    def _size(self, line: bytes) -> None:
        match = CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise Refused(400, "chunk_framing", "a chunk must start with its size in hexadecimal, below 2^60")
        digits, extension = match.groups()
        if extension:
            self._extensions += len(extension)
            if self._extensions > self._limits.extensions:
                raise Refused(400, "chunk_extensions", f"chunk extensions exceed {self._limits.extensions} bytes")
        self._remaining = int(digits, 16)
        self._state = "data" if self._remaining else "trailers"

    def _trailers(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self._state = "done"
            return at + 2
        limit = self._limits.trailers
        end = data.find(b"\r\n\r\n", at, at + limit)
        if end < 0:
            if len(data) - at >= limit:
                raise Refused(431, "trailers_too_large", f"the trailers exceed {limit} bytes")
            self._held = data[at:]
            return -1
        match = TRAILERS.fullmatch(data, at, end + 4)
        if match is None:
            raise Refused(400, "trailers", "the trailers are not well-formed fields")
        self.trailers = trailers_without(_FORBIDDEN.sub(b"", data[at : end + 2]), self._options)
        self._state = "done"
        return end + 4


def reader(length: int, limits: Limits, options: frozenset[bytes] = NO_OPTIONS) -> Body:
    """The reader for a length as the framing tables give it, of a message whose Connection lists `options`."""
    if length == CHUNKED:
        return ChunkedBody(limits, options)
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
