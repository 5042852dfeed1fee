"""Slots: what one series is held in, and what takes the values of a line.

The hot path (`intake`) changes the numbers of the first three kinds directly and calls `take` of all others; nothing
here looks at a clock per sample, except where a set must turn its window. `renewed` is how idle series are found: each
sample leaves a mark, which is wiped when it is asked for. `since` is when a series began, in seconds since 1970, None
where nobody asks.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import isfinite

from podpatterns.formats.refusal import Refused

SURE = 1e15
"""Below, sums of floats stay finite and exact to a thousandth whatever is added; beyond, each addition is checked."""

SIGNS = 45
"""+ and - are not above this byte, digits are: a gauge's value with a sign is a change."""

SET_LIMIT = 65_536
"""Members of one set that are remembered in a window, some 6 MB at most; a set beyond stays at this number."""


class Counter:
    """A sum that only grows."""

    __slots__ = ("more", "since", "value", "weight")

    def __init__(self, weight: float, since: float | None = None) -> None:
        self.value, self.weight, self.more, self.since = 0.0, weight, None, since

    more: Counter | None

    def take(self, value: float, text: bytes) -> None:  # noqa: ARG002 - one signature for all slots
        """Add one value that the hot path was not sure of."""
        if value < 0:
            raise Refused("negative_counter")
        total = self.value + value
        if not isfinite(total * self.weight):
            raise Refused("not_finite")
        self.value = total

    def read(self) -> float:
        """The sum over all sample rates."""
        part, total = self.more, self.value * self.weight
        while part is not None:
            total += part.value * part.weight
            part = part.more
        return total


class Gauge:
    """The last value; one with a sign changes it by that much, as StatsD has it."""

    __slots__ = ("touched", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.touched = True

    def take(self, value: float, text: bytes) -> None:
        """Set or change."""
        if text[0] in b"+-":
            value += self.value
            if not isfinite(value):
                raise Refused("not_finite")
        self.value = value
        self.touched = True

    def renewed(self) -> bool:
        """Whether a sample came since this was asked last."""
        touched, self.touched = self.touched, False
        return touched

    def read(self) -> float:
        """The value."""
        return self.value


class Scaled:
    """A way into a gauge for lines whose values are multiplied; others of the same series may not be."""

    __slots__ = ("_scale", "gauge")

    def __init__(self, gauge: Gauge, scale: float) -> None:
        self.gauge, self._scale = gauge, scale

    def take(self, value: float, text: bytes) -> None:
        """Set or change."""
        value *= self._scale
        if not isfinite(value):
            raise Refused("not_finite")
        self.gauge.take(value, text)


class Discard:
    """Where lines go that a mapping rule drops: remembered like any other, they cost no more than those."""

    __slots__ = ("_dropped", "_match")

    def __init__(self, match: str, dropped: Callable[[str], None]) -> None:
        self._match, self._dropped = match, dropped

    def take(self, value: float, text: bytes) -> None:  # noqa: ARG002
        """Count it."""
        self._dropped(self._match)


class Distribution:
    """Counts by bucket, and the sum; upper bounds are inclusive, as in Prometheus.

    Values are divided, not multiplied: 9 / 1000 is 0.009, and 9 * 0.001 as floats go is a little more.
    """

    __slots__ = ("bounds", "counts", "divisor", "more", "since", "total", "touched", "weight")

    def __init__(self, bounds: Sequence[float], weight: float, divisor: float, since: float | None = None) -> None:
        self.bounds, self.weight, self.divisor, self.since = bounds, weight, divisor, since
        self.counts = array("d", bytes(8 * (len(bounds) + 1)))
        self.total = 0.0
        self.more: Distribution | None = None
        self.touched = True

    def take(self, value: float, text: bytes) -> None:  # noqa: ARG002
        """Observe one value."""
        value /= self.divisor
        total = self.total + value
        if total - total != 0.0:  # true for infinity, without a call
            raise Refused("not_finite")
        self.total = total
        self.counts[bisect_left(self.bounds, value)] += 1.0
        self.touched = True

    def merge(self, buckets: Mapping[int, int], total: float) -> None:
        """Observe many values at once, of which it is known how many belong in each bucket, and their sum."""
        if not isfinite(self.total + total):
            raise Refused("not_finite")
        for bucket, count in buckets.items():
            self.counts[bucket] += count
        self.total += total
        self.touched = True

    def renewed(self) -> bool:
        """Whether a sample of any rate came since this was asked last."""
        touched = False
        for part in self.parts():
            touched |= part.touched
            part.touched = False
        return touched

    def parts(self) -> Iterator[Distribution]:
        """This one and those of other sample rates."""
        part: Distribution | None = self
        while part is not None:
            yield part
            part = part.more

    def read(self) -> tuple[list[float], float]:
        """Cumulative counts, the last one of everything; and the sum."""
        counts, total = [count * self.weight for count in self.counts], self.total * self.weight
        part = self.more
        while part is not None:
            weight = part.weight
            counts = [mine + weight * other for mine, other in zip(counts, part.counts, strict=True)]
            total += part.total * weight
            part = part.more
        return list(accumulate(counts)), total


class Set:
    """How many different members were seen in the last whole window of time, or in the first as it grows."""

    __slots__ = ("_clock", "_last", "_members", "_since", "_window", "touched")

    def __init__(self, window: float, clock: Callable[[], float]) -> None:
        self._window, self._clock = window, clock
        self._since = clock()
        self._members: set[bytes] = set()
        self._last: int | None = None
        self.touched = True

    def take(self, value: float, text: bytes) -> None:  # noqa: ARG002
        """Note a member, by its digest: memory stays the same however long it is."""
        self._turn()
        self.touched = True
        if len(self._members) < SET_LIMIT:
            self._members.add(hashlib.blake2b(text, digest_size=8).digest())

    def renewed(self) -> bool:
        """Whether a member came since this was asked last."""
        touched, self.touched = self.touched, False
        return touched

    def read(self) -> float:
        """The number of members."""
        self._turn()
        return float(len(self._members) if self._last is None else self._last)

    def _turn(self) -> None:
        passed = self._clock() - self._since
        if passed >= self._window:
            self._last = len(self._members) if passed < 2 * self._window else 0
            self._members = set()
            self._since += passed // self._window * self._window


Slot = Counter | Gauge | Distribution | Set
"""What holds a series."""

Way = Slot | Scaled | Discard
"""What takes the values of a line."""
