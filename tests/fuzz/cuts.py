"""One law for everything that reads a stream: where the network cuts it makes no difference.

`agree` feeds a fresh reader the whole, then one byte after the other, then at the places asked for, and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import TypeVar

from podpatterns.ambassador.http1.body import reader
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.formats.http1 import Refused

T = TypeVar("T")


def at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` cut at some places (taken modulo its length)."""
    size = len(data)
    marks = sorted({0, size, *(place % (size + 1) for place in places)})
    return [data[left:right] for left, right in pairwise(marks)]


def bytewise(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


def agree(read: Callable[[Iterable[bytes]], T], data: bytes, places: Iterable[int] = ()) -> T:
    """What `read` comes to for the whole; fails if it comes to anything else for the same bytes in pieces."""
    whole = read([data] if data else [])
    for pieces in (bytewise(data), at(data, places)):
        cut = read(pieces)
        assert cut == whole, f"whole: {whole!r}\ncut:   {cut!r}\npieces: {pieces!r}"
    return whole


def head(parse: Callable[[bytes], object], describe: Callable[[object], T]) -> Callable[[Iterable[bytes]], T | str]:
    """A reader of one head: what `describe` says of it, the status of its refusal, or `incomplete`."""

    def read(pieces: Iterable[bytes]) -> T | str:
        data = b""
        for piece in pieces:
            data += piece
            try:
                found = parse(data)
            except Refused as error:
                return f"refused with {error.status}"
            if found is not None:
                return describe(found)
        return "incomplete"

    return read


def body(length: int, limits: Limits) -> Callable[[Iterable[bytes]], tuple[object, ...] | str]:
    """A reader of one body: payload, trailers, whether it is complete, and what follows it."""

    def read(pieces: Iterable[bytes]) -> tuple[object, ...] | str:
        parts, payload, left = reader(length, limits), b"", iter(pieces)
        for piece in left:
            try:
                more, rest = parts.feed(piece)
            except Refused as error:
                return f"refused with {error.status}"
            payload += more
            if rest is not None:
                return payload, parts.trailers, parts.eof(), rest + _all(left)
        return payload, parts.trailers, parts.eof(), None

    return read


def _all(pieces: Iterator[bytes]) -> bytes:
    return b"".join(pieces)
