"""From the bytes of a file to lines of valid UTF-8. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

MARKER = b"...[truncated]"
"""Ends a line that was too long."""


class Lines(NamedTuple):
    """Clean lines: `text` joined by newlines, `offsets` where they began (None: as the lengths of the lines say)."""

    text: bytes
    offsets: list[int] | None
    truncated: int
    """Lines that were cut."""
    replaced: int
    """Lines with bytes that are not text in the encoding; each such byte has become U+FFFD."""


def clean(raw: bytes, start: int, *, limit: int, encoding: str) -> Lines:
    """Clean whole lines, given without the last newline.

    Args:
        raw: the bytes of at least one line.
        start: the position of the first byte in the file.
        limit: bytes that a line may have, without the marker.
        encoding: `utf-8`, or a codec of Python's in which the byte 0x0A is nothing but a newline.
    """
    offsets: list[int] | None = None
    truncated = replaced = 0
    if b"\r" in raw:
        offsets = line_offsets(raw.split(b"\n"), start)
        raw = raw.replace(b"\r\n", b"\n").removesuffix(b"\r")
    if len(raw) > limit:
        lines = raw.split(b"\n")
        if max(map(len, lines)) > limit:
            offsets = offsets or line_offsets(lines, start)
            truncated = sum(len(line) > limit for line in lines)
            raw = b"\n".join(line if len(line) <= limit else _cut(line, limit, encoding) + MARKER for line in lines)
    if encoding != "utf-8" or not raw.isascii():
        offsets, raw, replaced = _decoded(raw, start, offsets, encoding)
    return Lines(raw, offsets, truncated, replaced)


def _cut(line: bytes, limit: int, encoding: str) -> bytes:
    """At most `limit` bytes of a longer line; in UTF-8 no character is cut in two."""
    end = limit
    if encoding == "utf-8":
        while end and limit - end < 3 and line[end] & 0xC0 == 0x80:
            end -= 1
        if line[end] & 0xC0 == 0x80:
            end = limit  # no character of UTF-8 is so long
    return line[:end]


def _decoded(raw: bytes, start: int, offsets: list[int] | None, encoding: str) -> tuple[list[int] | None, bytes, int]:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        pass
    else:
        if encoding == "utf-8":
            return offsets, raw, 0
        if not raw.isascii():
            return offsets or line_offsets(raw.split(b"\n"), start), text.encode(), 0
        return offsets, raw, 0
    lines = raw.split(b"\n")
    offsets = offsets or line_offsets(lines, start)
    replaced, fixed = 0, []
    for line in lines:
        try:
            fixed.append(line.decode(encoding).encode())
        except UnicodeDecodeError:
            # A codec's replacement may swallow or make newlines; one line stays one line.
            fixed.append(line.decode(encoding, "replace").replace("\n", "\ufffd").encode())
            replaced += 1
    return offsets, b"\n".join(fixed), replaced


def newline_is_plain(encoding: str) -> bool:
    """Whether lines can be found before decoding: 0x0A stands for a newline and appears in no other character.

    Raises:
        LookupError: Python has no such codec for text.
    """
    try:
        return "\n".encode(encoding) == b"\n" and "A\n".encode(encoding) == b"A\n"
    except UnicodeError:
        return False


def line_offsets(lines: Sequence[bytes], start: int) -> list[int]:
    """Where each line begins, in bytes from the start of the source, for lines that are one newline apart."""
    return list(accumulate((len(line) + 1 for line in lines[:-1]), initial=start)) if lines else []
