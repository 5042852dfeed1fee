"""Hop-by-hop fields: what concerns one connection is not passed on (RFC 9110 7.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from podpatterns.ambassador.http1.grammar import TOKEN
from podpatterns.formats.http1 import Refused

_KNOWN = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b"proxy-connection", b"transfer-encoding"})
"""Connection options whose fields are dealt with anyway."""

_ESSENTIAL = frozenset({b"host", b"content-length", b"via", b"expect", b"max-forwards", b"authorization", b"cookie"})
"""Nobody lists these for an honest reason: removing them would change what the message means."""

NO_OPTIONS: Final[frozenset[bytes]] = frozenset()
"""What a message lists that has no Connection field: nearly every one."""

MAX_OPTIONS = 16
"""Connection options in one message; each costs a search through the head."""

MAX_OPTION = 64
"""Bytes of a connection option: each becomes an expression, and is remembered."""

MAX_VALUES = 2048
"""Bytes of all Connection fields of one message; they are remembered too."""


def connection_options(values: Iterable[bytes]) -> frozenset[bytes]:
    """The options of all Connection fields, in lower case. Raises Refused for what is not a list of tokens."""
    given = tuple(values)
    if sum(map(len, given)) > MAX_VALUES:
        raise Refused(400, "connection_options", f"Connection may have {MAX_VALUES} bytes")
    return _options(given)


@lru_cache(maxsize=64)  # nearly every client sends one of the same few values
def _options(values: tuple[bytes, ...]) -> frozenset[bytes]:
    options = {option for value in values for option in map(_strip, value.lower().split(b",")) if option}
    if len(options) > MAX_OPTIONS or not all(len(each) <= MAX_OPTION and TOKEN.fullmatch(each) for each in options):
        raise Refused(400, "connection_options", f"Connection must list at most {MAX_OPTIONS} names of fields")
    if options & _ESSENTIAL:
        raise Refused(400, "connection_options", "Connection lists a field that is not hop-by-hop")
    return frozenset(options)


def _strip(value: bytes) -> bytes:
    return value.strip(b" \t")


def spans(head: bytes, options: frozenset[bytes]) -> list[tuple[int, int]]:
    """Where the fields stand that Connection lists by name; each span starts with the CRLF before the field."""
    return [match.span() for name in options - _KNOWN for match in named(name).finditer(head)]


def trailers_without(lines: bytes, options: frozenset[bytes]) -> bytes:
    """A trailer section (whole lines) without the fields that Connection lists by name."""
    for name in options - _KNOWN:
        lines = named(name).sub(b"", b"\r\n" + lines)[2:]
    return lines


@lru_cache(maxsize=256)
def named(name: bytes) -> re.Pattern[bytes]:
    """Finds every field of a name (in any case): its line from the CRLF before it; group 1 is the value."""
    return re.compile(rb"\r\n(?i:" + re.escape(name) + rb"):([^\r\n]*)")


def without(head: bytes, cuts: list[tuple[int, int]], start: int, end: int) -> bytes:
    """`head[start:end]` without some spans; order and spelling of all the rest stay as they are."""
    cuts.sort()
    pieces = []
    for left, right in cuts:
        pieces.append(head[start:left])
        start = max(start, right)
    pieces.append(head[start:end])
    return b"".join(pieces)
