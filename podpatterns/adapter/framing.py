"""Where one piece ends and the next begins, in what comes over a connection: lines, or packets behind their lengths.

A framing takes data as it comes and feeds what is whole to what understands it. Pure.
"""

from __future__ import annotations

from typing import Literal, Protocol

from podpatterns.adapter.intake import MAX_LINE

HEADER = 4
"""Bytes that a packet's length has, in every protocol that has them."""


class Lines(Protocol):
    """What understands the pieces."""

    def feed(self, data: bytes) -> None:
        """Take in whole lines, separated by newlines, or one packet; whatever they hold, nothing is raised."""


class Overlong(Exception):  # noqa: N818 - named after what is wrong
    """A packet is longer than allowed: nobody knows where the next one would begin, so the connection is of no use."""


class Framing(Protocol):
    """Cuts the data of one connection."""

    def feed(self, data: bytes) -> None:
        """Take in the next data. Raises Overlong."""

    def end(self) -> None:
        """The connection has ended."""


class ByLine:
    """A line per line; what has no end when the client goes is a line too, and one that is too long is skipped."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Feed the lines that are whole, in one piece."""
        if self._skipping:
            _, newline, data = data.partition(b"\n")
            self._skipping = not newline
        data = self._rest + data
        whole, newline, self._rest = data.rpartition(b"\n")
        if newline:
            self._lines.feed(whole)
        if len(self._rest) > MAX_LINE:
            self._lines.feed(self._rest)  # refuses it as too long, and counts it
            self._rest, self._skipping = b"", True

    def end(self) -> None:
        """Feed what is left."""
        if self._rest:
            self._lines.feed(self._rest)


class ByLength:
    """Packets, each behind its length in four bytes; one that is not whole when the client goes is nothing.

    Args:
        lines: what understands a packet.
        order: how the length is written.
        most: the longest packet that is taken.
        joined: whether packets are lines, and several of them can be fed at once.
    """

    def __init__(self, lines: Lines, order: Literal["little", "big"], most: int, *, joined: bool) -> None:
        self._lines, self._most, self._joined = lines, most, joined
        self._order: Literal["little", "big"] = order
        self._rest = bytearray()
        """What is not whole; added to in place, so that a packet in many pieces is not copied with each of them."""

    def feed(self, data: bytes) -> None:
        """Feed the packets that are whole. Raises Overlong behind them."""
        rest = self._rest
        rest += data
        at, found, size = 0, [], 0
        while len(rest) - at >= HEADER:
            size = int.from_bytes(rest[at : at + HEADER], self._order)
            if size > self._most or len(rest) - at - HEADER < size:
                break
            found.append(bytes(rest[at + HEADER : at + HEADER + size]))
            at += HEADER + size
            size = 0
        del rest[:at]
        if found:
            for packet in [b"\n".join(found)] if self._joined else found:
                self._lines.feed(packet)
        if size > self._most:
            rest.clear()
            raise Overlong(f"a packet may have {self._most} bytes, and one of {size} was announced")

    def end(self) -> None:
        """Nothing to do: half a packet means nothing."""


class ByLineOrLength:
    """Lines, or DogStatsD's packets for unix streams: no line has a zero byte, and the fourth of a length is one."""

    def __init__(self, lines: Lines, most: int) -> None:
        self._lines, self._most = lines, most
        self._chosen: Framing | None = None
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Find out which it is, and go on with that."""
        if self._chosen is None:
            data, self._rest = self._rest + data, b""
            if len(data) < HEADER:
                self._rest = data
                return
            lengths = data[HEADER - 1] == 0
            self._chosen = ByLength(self._lines, "little", self._most, joined=True) if lengths else ByLine(self._lines)
        self._chosen.feed(data)

    def end(self) -> None:
        """Feed what is left."""
        if self._chosen is not None:
            self._chosen.end()
        elif self._rest:
            self._lines.feed(self._rest)
