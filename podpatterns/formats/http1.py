"""What all readers of HTTP/1.1 have in common: chunked bodies (RFC 9112 7.1), and how a message is refused.

A reader has two methods: `feed(data)` returns the payload in `data` and, once the body is complete, what follows it
(None before); `eof()` says whether the body may end here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from podpatterns.errors import PodpatternsError

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]"
_TRAILERS = re.compile(rb"(?:" + _TOKEN + rb"++:" + _VALUE + rb"*+\r\n)*\r\n")

CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(;" + _VALUE + rb"*)?")
"""A chunk's first line without its CRLF: size in hexadecimal below 2⁶⁰, extensions (which are dropped)."""

_PLAIN_CHUNK = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{0,14})\r\n")
"""The first line of most chunks: not the last one, no extensions."""

LAST_CHUNK = b"0\r\n\r\n"


class Refused(PodpatternsError):  # noqa: N818 - named after what happened to the message
    """A message that is not taken.

    `status` answers a client (in a response from an upstream, whatever is wrong is a 502 to the client); `reason` is
    constant for one kind of mistake, and labels the counter; the text is for people and quotes nothing of the message.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(message)


class Bounds(Protocol):
    """What a chunked body may hold beside its payload."""

    @property
    def chunk_line(self) -> int:
        """Bytes of a chunk's first line."""

    @property
    def extensions(self) -> int:
        """Bytes of chunk extensions in one body."""

    @property
    def trailers(self) -> int:
        """Bytes of a trailer section."""


@dataclass(frozen=True, slots=True)
class ChunkBounds:
    """The usual ones; see `Bounds`."""

    chunk_line: int = 256
    extensions: int = 4096
    trailers: int = 8 * 1024


class ChunkedBody:
    """A chunked body, read strictly: CRLF alone ends a line, nothing stands beside a size.

    `trailers` are whole lines, once the body is complete.
    """

    __slots__ = ("_extensions", "_held", "_limits", "_remaining", "_state", "trailers")

    def __init__(self, limits: Bounds) -> None:
        self._limits = limits
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
        match = _TRAILERS.fullmatch(data, at, end + 4)
        if match is None:
            raise Refused(400, "trailers", "the trailers are not well-formed fields")
        self.trailers = self.kept(data[at : end + 2])
        self._state = "done"
        return end + 4

    def kept(self, trailers: bytes) -> bytes:
        """What is kept of the trailers; nothing may be read into what stands behind a body, so it is only text."""
        return trailers
