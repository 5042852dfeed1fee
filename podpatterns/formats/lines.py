"""From the bytes of a file to lines of valid UTF-8. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from podpatterns.formats.encodings import UTF_8, Encoding

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
    decoded: str | None = None
    """The text, where it had to be decoded to see whether it can be."""


def clean(raw: bytes, start: int, *, limit: int, encoding: Encoding = UTF_8) -> Lines:
    """Clean whole lines, given without the last newline.

    Args:
        raw: the bytes of at least one line.
        start: the position of the first byte in the file.
        limit: bytes that a line may have, without the marker.
        encoding: how they are encoded.
    """
    if not encoding.plain:
        return _foreign(raw, start, limit, encoding)
    offsets: list[int] | None = None
    truncated = 0
    if b"\r" in raw:
        offsets = line_offsets(raw.split(b"\n"), start)
        raw = raw.replace(b"\r\n", b"\n").removesuffix(b"\r")
    if len(raw) > limit:
        lines = raw.split(b"\n")
        if max(map(len, lines)) > limit:
            offsets = offsets or line_offsets(lines, start)
            truncated = sum(len(line) > limit for line in lines)
            raw = b"\n".join(line if len(line) <= limit else cut(line, limit, encoding) + MARKER for line in lines)
    if encoding.codec == "utf-8" and raw.isascii():
        return Lines(raw, offsets, truncated, 0)
    return _decoded(raw, start, offsets, truncated, encoding)


def cut(line: bytes, limit: int, encoding: Encoding = UTF_8) -> bytes:
    """At most `limit` bytes of a longer line; no character is cut in two."""
    end = limit - limit % encoding.unit
    return line[: encoding.whole(line[:end])]


def _decoded(raw: bytes, start: int, offsets: list[int] | None, truncated: int, encoding: Encoding) -> Lines:
    try:
        text = encoding.decode(raw)
    except UnicodeError:
        pass
    else:
        if encoding.codec == "utf-8":
            return Lines(raw, offsets, truncated, 0, text)
        if text.count("\n") == raw.count(b"\n"):
            encoded = text.encode()
            if encoded != raw:
                offsets = offsets or line_offsets(raw.split(b"\n"), start)
            return Lines(encoded, offsets, truncated, 0)
    lines = raw.split(b"\n")
    decoded = [encoding.decode_line(line) for line in lines]
    clean = "\n".join([text for text, _ in decoded]).encode()
    return Lines(clean, offsets or line_offsets(lines, start), truncated, sum(replaced for _, replaced in decoded))


def _foreign(raw: bytes, start: int, limit: int, encoding: Encoding) -> Lines:
    """The same, line by line, where a newline is not the byte 0x0A."""
    lines = encoding.split(raw)
    texts: list[str] = []
    truncated = replaced = 0
    carriage_return = "\r".encode(encoding.codec)
    for whole in lines:
        line = whole.removesuffix(carriage_return) if len(whole) % encoding.unit == 0 else whole
        long = len(line) > limit
        text, spoilt = encoding.decode_line(cut(line, limit, encoding) if long else line)
        texts.append(text + MARKER.decode() if long else text)
        truncated += long
        replaced += spoilt
    return Lines("\n".join(texts).encode(), line_offsets(lines, start, len(encoding.newline)), truncated, replaced)


def line_count(text: bytes) -> int:
    """How many lines a text has; `replace` looks for a newline with the processor's widest words, `count` does not."""
    return len(text) - len(text.replace(b"\n", b"")) + 1


def line_offsets(lines: Sequence[bytes], start: int, newline: int = 1) -> list[int]:
    """Where each line begins, in bytes from the start of the source, for lines that are a newline's length apart."""
    return list(accumulate((len(line) + newline for line in lines[:-1]), initial=start)) if lines else []
