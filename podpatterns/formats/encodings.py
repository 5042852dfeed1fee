"""How text is encoded, and where its lines end. Pure.

Lines are found before they are decoded, so that positions are those of the file and a broken line does not spoil its
neighbours. In most encodings a newline is the byte 0x0A and that byte is nothing else. In UTF-16 and UTF-32 it is a
unit of two or four bytes, and the units have to be counted from the start of the file: the halves of two characters may
look like it. In EBCDIC it is the byte 0x25.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, replace
from typing import Self

_WIDE = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}
"""Encodings whose byte order a mark at the start of the file tells, and what they are without one."""
_HEADERS = {"iso2022_kr": b"\x1b$)C"}
"""What stands once at the start of the file, and is needed to decode a line of it."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding by whose lines a file can be read. `unit` is the length of its units, `newline` one of them."""

    codec: str
    newline: bytes
    unit: int = 1
    either: bool = False
    """A mark at the start of the file tells the byte order."""
    _header: bytes = b""

    @classmethod
    def of(cls, name: str) -> Self:
        """By a name that Python knows.

        Raises:
            LookupError: Python has no such codec for text.
            ValueError: it has, and a text in it has no lines; the message says why.
        """
        codec = codecs.lookup(name).name.removesuffix("-sig")
        either = codec in _WIDE
        codec = _WIDE.get(codec, codec)
        try:
            "".encode(codec)  # a LookupError where it turns bytes into bytes
            newline = "\n".encode(codec)
            simple = codec != "idna" and "A\nB".encode(codec) == "A".encode(codec) + newline + "B".encode(codec)
        except UnicodeError:
            newline, simple = b"", False
        wide = codec.startswith(("utf-16", "utf-32"))
        if codec not in _HEADERS and (not simple or (len(newline) > 1 and not wide)):
            raise ValueError(f'"{name}" is a notation for a single text, in which a newline is no byte of its own')
        return cls(
            codec,
            b"\n" if codec in _HEADERS else newline,
            len(newline) if wide else 1,
            either,
            _HEADERS.get(codec, b""),
        )

    def told_by(self, first: bytes) -> Self:
        """The byte order, where the first bytes of a file tell it."""
        if self.either:
            family = self.codec[:6]
            for order in ("le", "be"):
                if first.startswith("\ufeff".encode(f"{family}-{order}")):
                    codec = f"{family}-{order}"
                    return replace(self, codec=codec, newline="\n".encode(codec))
        return self

    @property
    def plain(self) -> bool:
        """A newline is the byte 0x0A."""
        return self.newline == b"\n"

    def mark(self, raw: bytes) -> int:
        """Bytes of a byte order mark that a text begins with."""
        if raw[:1].isascii() and raw[:1] not in b"+\0":
            return 0
        try:
            mark = "\ufeff".encode(self.codec)
        except UnicodeError:
            return 0
        return len(mark) if raw.startswith(mark) else 0

    # --- newlines -------------------------------------------------------------------------------------------------

    def find(self, data: bytes, begin: int = 0, end: int | None = None) -> int:
        """Where the first newline is; -1 for none. `begin` is where a unit does."""
        place = data.find(self.newline, begin, end)
        while place >= 0 and (place - begin) % self.unit:
            place = data.find(self.newline, place + 1, end)
        return place

    def rfind(self, data: bytes, begin: int = 0, end: int | None = None) -> int:
        """Where the last newline is; -1 for none. `begin` is where a unit does."""
        place = data.rfind(self.newline, begin, end)
        while place >= 0 and (place - begin) % self.unit:
            place = data.rfind(self.newline, begin, place + self.unit - 1)
        return place

    def split(self, data: bytes) -> list[bytes]:
        """The lines of a text."""
        if self.unit == 1:
            return data.split(self.newline)
        lines, begin = [], 0
        while (end := self.find(data, begin)) >= 0:
            lines.append(data[begin:end])
            begin = end + self.unit
        return [*lines, data[begin:]]

    # --- text -----------------------------------------------------------------------------------------------------

    def decode(self, raw: bytes) -> str:
        """The text. Raises UnicodeError."""
        return (self._header + raw if self._header else raw).decode(self.codec)

    def decode_line(self, raw: bytes) -> tuple[str, bool]:
        """The text of one line, which stays one, and whether something in it had to be replaced by U+FFFD."""
        try:
            text, replaced = self.decode(raw), False
        except UnicodeError:
            text, replaced = (self._header + raw).decode(self.codec, "replace"), True
        # A codec's replacement, or an escape of its own, may make a newline.
        return (text.replace("\n", "\ufffd"), True) if "\n" in text else (text, replaced)

    def whole(self, raw: bytes) -> int:
        """Bytes of a text without the beginning of a character that it may end with."""
        if self.codec == "utf-8" and raw[-4:].isascii():
            return len(raw)
        decoder = codecs.getincrementaldecoder(self.codec)("replace")
        decoder.decode(self._header + raw)
        return max(0, len(raw) - len(decoder.getstate()[0]))


UTF_8 = Encoding("utf-8", b"\n")
