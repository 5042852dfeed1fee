"""Where lines come in: bytes to slots, a known series for one look-up and one float.

The line is cut at its first colon and the next bar; what stands around the value (name, type, rate, tags) is one key
that leads to the slot. Only text that was never seen is parsed. Lines that come again as they are need not even be
cut (`repeats`). What plain values do to each kind of slot stands in the loop itself: a call would cost as much as the
look-up. Measured: see benchmarks/adapter.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable
from collections.abc import Set as AbstractSet
from typing import Protocol, TypeVar

from podpatterns.adapter.repeats import USUAL, Repeats
from podpatterns.adapter.slots import SIGNS, SURE, Counter, Distribution, Gauge, Scaled, Set, Slot, Way
from podpatterns.adapter.store import Store
from podpatterns.formats.refusal import Refused, number
from podpatterns.formats.statsd import Line, Skipped, parse

MAX_LINE = 8192
"""Bytes; what no client sends. Bounds the memory that one remembered text can take."""

UNDERSCORE = 95
"""Python forgives it within a number. As an integer, for to look for bytes in bytes takes ten times as long."""

_WHITE = (b" ", b"\t", b"\r", b"\v", b"\f")
"""What `float` would forgive around a number, and we do not."""

K = TypeVar("K", bound=Hashable)


class Sink(Protocol):
    """What is told about lines."""

    def lines_taken(self, count: int) -> None:
        """So many lines came in, refused and skipped ones included."""

    def line_refused(self, reason: str, detail: str) -> None:
        """One of them, or one of its values, was refused."""

    def line_skipped(self, what: str) -> None:
        """One of them was an event or a service check."""


class Intake:
    """Feeds StatsD lines to a store. The memory of known texts is bounded by four texts per series of the budget."""

    def __init__(self, store: Store, sink: Sink) -> None:
        self.store, self.sink = store, sink
        self._known: dict[Hashable, Way] = {}
        """By a line's name and what stands behind its value, with a line end between them, which neither holds; for
        other formats by the format and what stands for the series."""
        self._repeats = Repeats(self._known)
        self._limit = 4 * store.shape.budget
        store.settle = self._repeats.settle

    def feed(self, data: bytes) -> None:
        """Take in whole lines, separated by newlines; empty ones do not count."""
        lines = data.split(b"\n")
        ordered = self._repeats.take(lines)
        empty = self._each(ordered, odd=any(white in data for white in _WHITE)) if ordered else 0
        self.sink.lines_taken(len(lines) - empty)

    def _each(self, lines: list[bytes], *, odd: bool) -> int:
        """Take in lines in their order, one by one. Returns how many were empty."""
        known, gauges = self._known, self._repeats.gauges
        empty = 0
        slot: Way
        for line in lines:
            if gauges and (found := gauges.get(line)):
                slot, x = found
                slot.value = x
                slot.touched = True
                continue
            name, _, rest = line.partition(b":")
            value, _, tail = rest.partition(b"|")
            try:
                slot = known[b"\n".join((name, tail))]
                x = float(value)
            except (KeyError, ValueError):
                if line:
                    self._strange(line)
                else:
                    empty += 1
                continue
            kind = type(slot)
            if not -SURE < x < SURE or odd or UNDERSCORE in value:
                self._unsure(slot, value, line)
            elif kind is Counter and x >= 0.0:
                slot.value += x  # type: ignore[union-attr]
            elif kind is Distribution:
                x /= slot.divisor  # type: ignore[union-attr]
                slot.total += x  # type: ignore[union-attr]
                slot.counts[bisect_left(slot.bounds, x)] += 1.0  # type: ignore[union-attr]
                slot.touched = True  # type: ignore[union-attr]
            elif kind is Gauge and value[0] > SIGNS:
                slot.value = x  # type: ignore[union-attr]
                slot.touched = True  # type: ignore[union-attr]
            else:
                try:
                    slot.take(x, value)
                except Refused as refused:
                    self.sink.line_refused(refused.reason, shown(line))
        return empty

    def sample(self, key: tuple[bytes, bytes], value: float, noun: str, read: Callable[[bytes], Line]) -> None:
        """Take in one sample of another format as the value of a gauge.

        `key` is the format and the text that stands for the series; `read` makes a line of a text that was never seen.
        """
        try:
            way = self.way(key, noun, read)
            way.take(value, b"=")  # set, whatever the sign: only StatsD's gauges are changed by signed values
        except Refused as refused:
            self.sink.line_refused(refused.reason, told(refused, key[1]))

    def way(self, key: tuple[bytes, K], noun: str, read: Callable[[K], Line]) -> Way:
        """Where the values of a series go; arguments as for `sample`, and what stands for it may be anything hashable.

        Raises:
            Refused: there is no place for it.
        """
        way = self._known.get(key)
        if way is None:
            way, own = self.store.slot(read(key[1]), noun)
            if own:
                self._keep(key, way)
        return way

    def forget(self) -> None:
        """Forget every text: where it leads may have changed."""
        self._repeats.forget()
        self._known.clear()

    def forget_slots(self, gone: AbstractSet[Slot]) -> None:
        """Forget the texts that lead to slots which are no longer the store's."""
        self._repeats.forget()
        for key, way in list(self._known.items()):
            if (way.gauge if isinstance(way, Scaled) else way) in gone:
                del self._known[key]

    def _unsure(self, slot: Way, value: bytes, line: bytes) -> None:
        """A value of a known series that needs a closer look."""
        text = value.decode("utf-8", "replace")
        try:
            slot.take(0.0 if isinstance(slot, Set) else number(text), value)
        except Refused as refused:
            self.sink.line_refused(refused.reason, told(refused, line))

    def _strange(self, raw: bytes) -> None:
        """A line whose text was never seen, or whose value is not one number: packed values, sets, nonsense."""
        if self._several(raw):
            return
        try:
            line = _checked(raw)
            slot, own = self.store.slot(line)
        except Refused as refused:
            self.sink.line_refused(refused.reason, told(refused, raw))
            return
        except Skipped as skipped:
            self.sink.line_skipped(skipped.what)
            return
        if own and line.lasting:
            self._remember(raw, slot)
        self._take(line, slot, raw)

    def _several(self, raw: bytes) -> bool:
        """Take in packed values of a known series, as clients that aggregate send them, or a member of a known set.

        Returns whether it was that; a line with a value that is unusual is looked at as a whole, elsewhere.
        """
        name, _, rest = raw.partition(b":")
        value, _, tail = rest.partition(b"|")
        slot = self._known.get(b"\n".join((name, tail)))
        if isinstance(slot, Set):
            values = [value] if value and value.isascii() else []
            numbers = [0.0]
        elif isinstance(slot, (Counter, Distribution, Gauge)) and b":" in value:
            values = value.split(b":")
            numbers = list(map(float, values)) if all(map(USUAL, values)) else []
            if not all(-SURE < x < SURE for x in numbers):
                return False
        else:
            return False
        for x, text in zip(numbers, values, strict=False):
            try:
                slot.take(x, text)
            except Refused as refused:
                self.sink.line_refused(refused.reason, told(refused, raw))
        return bool(values and numbers)

    def _take(self, line: Line, slot: Way, raw: bytes) -> None:
        for text in line.values:
            try:
                slot.take(0.0 if line.type == "s" else number(text), text.encode())
            except Refused as refused:
                self.sink.line_refused(refused.reason, told(refused, raw))

    def _remember(self, raw: bytes, slot: Way) -> None:
        name, _, rest = raw.partition(b":")
        value, _, tail = rest.partition(b"|")
        if b"]" in value:
            return  # SignalFx tags may hold colons, and this line does: cutting at the first one misses the value
        self._keep(b"\n".join((name, tail)), slot)

    def _keep(self, key: Hashable, slot: Way) -> None:
        if len(self._known) >= self._limit:
            self.forget()
        self._known[key] = slot


def _checked(raw: bytes) -> Line:
    """The line, if every value of it is a number: a line of nonsense must not make a series."""
    if len(raw) > MAX_LINE:
        raise Refused("too_long")
    line = parse(raw)
    for value in line.values if line.type != "s" else ():
        number(value)
    return line


def told(refused: Refused, raw: bytes) -> str:
    """What is wrong, and the line that it is in."""
    line = shown(raw)
    return (
        line
        if not refused.detail or refused.detail in (line, raw.decode("utf-8", "replace"))
        else f"{refused.detail} in {line}"
    )


def shown(raw: bytes, most: int = 80) -> str:
    """The beginning of a line, for people."""
    text = raw[:most].decode("utf-8", "replace")
    return text + "…" if len(raw) > most else text
