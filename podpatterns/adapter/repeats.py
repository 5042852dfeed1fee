"""Lines that come again as they are: `hits:1|c` above all, and most others.

Those of counters and timers are only counted as they come, whole pieces at a time and in C; what they add up to is
settled when somebody reads. Gauges are set at once: of them the last one counts. That pays where lines come again,
which is watched.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Hashable, Mapping
from itertools import islice

from podpatterns.adapter.slots import SIGNS, SURE, Counter, Distribution, Gauge, Way

LINES = 32_768
"""Whole lines that are remembered, some 8 MB; when so many new ones have come, it starts anew."""

OFTEN, REST = 4, 8
"""Each line has to come that often for counting to be worth it. If not, it is tried again after REST times LINES."""

SHORT = 4
"""Bytes of a gauge's value that is likely to come again."""

USUAL = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?").fullmatch
"""The values that nearly all lines have."""

Deed = tuple[Counter | Distribution, float, int | None]
"""What a line does each time it comes: where it goes, what is added, and the bucket where there are buckets."""


class Repeats:
    """Whole lines, with what they do. `known` leads from a line without its value to its slot, as the intake has it."""

    def __init__(self, known: Mapping[Hashable, Way]) -> None:
        self.gauges: dict[bytes, tuple[Gauge, float]] = {}
        """What whole lines of gauges do. Forgotten with the counts, and only then."""
        self._known = known
        self._counts: Tally[bytes] = Tally()
        """How often each whole line came since values were settled."""
        self._deeds: list[Deed | None] = []
        """What they do, in the same order; None for those of gauges, which are done already."""
        self._waiting = False
        self._seen = self._new = 0
        """Lines since counting began anew, and those among them that were not known."""
        self._passing = 0
        """Lines that are still to come before counting is tried again."""

    def take(self, lines: list[bytes]) -> list[bytes]:
        """Count lines that are known, and set known gauges. The lines for which that cannot be done are returned.

        If there are any, known gauges are among them, for there the last line counts.
        """
        if self._new >= LINES:
            self._turn()
        if self._passing > 0:
            self._passing -= len(lines)
            return lines
        counts, gauges = self._counts, self.gauges
        counts.update(lines)
        self._waiting = True
        self._seen += len(lines)
        new = len(counts) - len(self._deeds)
        strange: set[bytes] = set()
        if new:
            # A dictionary keeps its order: the new ones are the last ones, as many as have no deed.
            for line in list(islice(reversed(counts), new))[::-1]:
                if not self._learnt(line):
                    strange.add(line)
                    del counts[line]
            self._new += new
        if strange:
            return [line for line in lines if line in strange or line in gauges]
        for slot, x in filter(None, map(gauges.get, lines)):
            slot.value = x
            slot.touched = True
        return []

    def settle(self) -> None:
        """Put what was counted where it belongs."""
        if not self._waiting:
            return
        self._waiting = False
        for deed, count in zip(self._deeds, self._counts.values(), strict=True):
            if not count or deed is None:
                continue
            slot, x, bucket = deed
            if bucket is None:
                slot.value += x * count  # type: ignore[union-attr]
            else:
                slot.total += x * count  # type: ignore[union-attr]
                slot.counts[bucket] += count  # type: ignore[union-attr]
                slot.touched = True  # type: ignore[union-attr]
        self._counts = Tally(dict.fromkeys(self._counts, 0))

    def forget(self) -> None:
        """Settle, and start anew: where a line leads may have changed."""
        self.settle()
        self._counts.clear()
        self._deeds.clear()
        self.gauges.clear()
        self._seen = self._new = 0

    def _turn(self) -> None:
        """Start anew. If few lines came again, counting is a waste for a while."""
        if self._seen < OFTEN * self._new:
            self._passing = REST * LINES
        self.forget()

    def _learnt(self, line: bytes) -> bool:
        """Note what a line does each time it comes, if its series is known and its value is a usual one."""
        name, _, rest = line.partition(b":")
        value, _, tail = rest.partition(b"|")
        slot = self._known.get(b"\n".join((name, tail)))
        if slot is None or not USUAL(value):
            return False
        x = float(value)
        kind = type(slot)
        if not -SURE < x < SURE:
            return False
        if kind is Counter and x >= 0:
            self._deeds.append((slot, x, None))  # type: ignore[arg-type]
        elif kind is Distribution:
            x /= slot.divisor  # type: ignore[union-attr]
            self._deeds.append((slot, x, bisect_left(slot.bounds, x)))  # type: ignore[arg-type, union-attr]
        elif kind is Gauge and value[0] > SIGNS and len(value) <= SHORT:
            self._deeds.append(None)
            self.gauges[line] = slot, x  # type: ignore[assignment]
        else:
            return False
        return True
