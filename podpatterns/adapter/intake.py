"""Where lines come in: bytes to slots, a known series for one look-up and one float.

The line is cut at its first colon and the next bar; what stands around the value (name, type, rate, tags) is one key
that leads to the slot. Only text that was never seen is parsed. Most lines come again as they are, `hits:1|c` above
all: those with a short value are remembered as a whole, with what they do, and cost one look-up. What plain values do
to each kind of slot stands in the loop itself: a call would cost as much as the look-up. Measured: see
benchmarks/adapter.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable
from collections.abc import Set as AbstractSet
from typing import Protocol, TypeVar

from podpatterns.adapter.slots import Counter, Distribution, Gauge, Scaled, Set, Slot, Way
from podpatterns.adapter.store import Store
from podpatterns.formats.statsd import Line, Refused, Skipped, number, parse

MAX_LINE = 8192
"""Bytes; what no client sends. Bounds the memory that one remembered text can take."""

SURE = 1e15
"""Below, sums of floats stay finite and exact to a thousandth whatever is added; beyond, each addition is checked."""

LINES = 32_768
"""Whole lines that are remembered, some 8 MB; when they are no longer those that come, it starts anew."""

SHORT = 4
"""Bytes of a value that is likely to come again: counts, and milliseconds."""

SIGNS = 45
"""+ and - are not above this byte, digits are: a gauge's value with a sign is a change."""

_PLAIN = frozenset((Counter, Distribution, Gauge))
"""The kinds of slot that the loop changes by itself."""

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
        self._lines: dict[bytes, tuple[Counter | Distribution | Gauge, float]] = {}
        """What whole lines do: a value that is fine, and where it goes."""
        self._unheard = 0
        self._limit = 4 * store.shape.budget

    def feed(self, data: bytes) -> None:
        """Take in whole lines, separated by newlines; empty ones do not count."""
        known, heard = self._known, self._lines
        recall, room = heard.get, LINES - len(heard)
        odd = any(white in data for white in _WHITE)
        lines = data.split(b"\n")
        empty = unheard = 0
        slot: Way
        kind: type[Way]
        for line in lines:
            found = recall(line)
            if found:
                slot, x = found
                kind = slot.__class__
            else:
                unheard += 1
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
                kind = slot.__class__
                if not -SURE < x < SURE or odd or b"_" in value:
                    self._unsure(slot, value)
                    continue
                if kind not in _PLAIN or (x < 0.0 and kind is Counter) or (value[0] <= SIGNS and kind is Gauge):
                    try:
                        slot.take(x, value)
                    except Refused as refused:
                        self.sink.line_refused(refused.reason, shown(line))
                    continue
                if room > 0 and len(value) <= SHORT:
                    heard[line] = slot, x  # type: ignore[assignment]  # it is one of the plain kinds
                    room -= 1
            if kind is Counter:
                slot.value += x  # type: ignore[union-attr]
            elif kind is Distribution:
                x *= slot.scale  # type: ignore[union-attr]
                slot.total += x  # type: ignore[union-attr]
                slot.counts[bisect_left(slot.bounds, x)] += 1.0  # type: ignore[union-attr]
                slot.touched = True  # type: ignore[union-attr]
            else:
                slot.value = x  # type: ignore[union-attr]
                slot.touched = True  # type: ignore[union-attr]
        self._unheard += unheard
        if room <= 0 and self._unheard > 4 * LINES:
            heard.clear()
            self._unheard = 0
        self.sink.lines_taken(len(lines) - empty)

    def sample(self, key: tuple[bytes, bytes], value: float, noun: str, read: Callable[[bytes], Line]) -> None:
        """Take in one sample of another format as the value of a gauge.

        `key` is the format and the text that stands for the series; `read` makes a line of a text that was never seen.
        """
        try:
            way = self.way(key, noun, read)
            way.take(value, b"=")  # set, whatever the sign: only StatsD's gauges are changed by signed values
        except Refused as refused:
            self.sink.line_refused(refused.reason, refused.detail or shown(key[1]))

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
        self._known.clear()
        self._lines.clear()

    def forget_slots(self, gone: AbstractSet[Slot]) -> None:
        """Forget the texts that lead to slots which are no longer the store's."""
        self._lines.clear()
        for key, way in list(self._known.items()):
            if (way.gauge if isinstance(way, Scaled) else way) in gone:
                del self._known[key]

    def _unsure(self, slot: Way, value: bytes) -> None:
        """A value of a known series that needs a closer look."""
        text = value.decode("utf-8", "replace")
        try:
            slot.take(0.0 if isinstance(slot, Set) else number(text), value)
        except Refused as refused:
            self.sink.line_refused(refused.reason, refused.detail or text)

    def _strange(self, raw: bytes) -> None:
        """A line whose text was never seen, or whose value is not one number: packed values, sets, nonsense."""
        try:
            line = _checked(raw)
            slot, own = self.store.slot(line)
        except Refused as refused:
            self.sink.line_refused(refused.reason, refused.detail or shown(raw))
            return
        except Skipped as skipped:
            self.sink.line_skipped(skipped.what)
            return
        if own and line.lasting:
            self._remember(raw, slot)
        self._take(line, slot, raw)

    def _take(self, line: Line, slot: Way, raw: bytes) -> None:
        for text in line.values:
            try:
                slot.take(0.0 if line.type == "s" else number(text), text.encode())
            except Refused as refused:
                self.sink.line_refused(refused.reason, refused.detail or shown(raw))

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


def shown(raw: bytes, most: int = 80) -> str:
    """The beginning of a line, for people."""
    text = raw[:most].decode("utf-8", "replace")
    return text + "…" if len(raw) > most else text
