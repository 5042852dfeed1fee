"""Distributions that have a native histogram beside their buckets: exponential ones, as fine as they are wished.

Whoever scrapes protocol buffers and knows native histograms gets those; all others see the buckets. Source: Prometheus,
"Native histograms"; client_golang's Histogram, whose options statsd_exporter has.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, frexp, ldexp, log2
from typing import NamedTuple

from podpatterns.adapter.slots import Distribution
from podpatterns.formats.exponential import Exponential

ZERO = 2.0**-128
"""What is not further from zero counts as zero, as in client_golang."""

_FINEST, _COARSEST = 8, -4
"""The scales that Prometheus has."""


class Resolution(NamedTuple):
    """How fine the buckets of a native histogram are at first, and how many there may be of them."""

    scale: int
    most: int


def scale_of(factor: float) -> int:
    """The scale at which a bucket is at most so many times as wide as the one before it; `factor` is above 1."""
    return max(_COARSEST, min(_FINEST, -floor(log2(log2(factor)))))


class Native(Distribution):
    """Counts by bucket twice: by the classic bounds, and by order of magnitude."""

    __slots__ = ("_most", "_negative", "_positive", "_scale", "_zero")

    def __init__(
        self, bounds: Sequence[float], weight: float, divisor: float, since: float | None, resolution: Resolution
    ) -> None:
        super().__init__(bounds, weight, divisor, since)
        self._scale, self._most = resolution
        self._zero = 0
        self._positive: dict[int, int] = {}
        self._negative: dict[int, int] = {}

    def take(self, value: float, text: bytes) -> None:
        """Observe one value."""
        super().take(value, text)
        value /= self.divisor
        if abs(value) <= ZERO:
            self._zero += 1
            return
        counts = self._positive if value > 0 else self._negative
        at = bucket(abs(value), self._scale)
        counts[at] = counts.get(at, 0) + 1
        while len(self._positive) + len(self._negative) > self._most and self._scale > _COARSEST:
            self._scale -= 1
            self._positive, self._negative = _halved(self._positive), _halved(self._negative)

    def exponential(self) -> Exponential:
        """The native histogram over all sample rates."""
        whole: Exponential | None = None
        for part in self.parts():
            assert isinstance(part, Native)
            own = part._weighted()  # noqa: SLF001 - its own kind
            whole = own if whole is None else whole.plus(own)
        assert whole is not None
        return whole

    def _weighted(self) -> Exponential:
        weight = self.weight
        positive, negative = (
            {at: count * weight for at, count in counts.items()} for counts in (self._positive, self._negative)
        )
        return Exponential(self._scale, ZERO, self._zero * weight, positive, negative, self.total * weight)


def bucket(value: float, scale: int) -> int:
    """The number of a positive value's bucket; one bucket ends at 1."""
    fraction, exponent = frexp(value)
    if scale <= 0:
        return exponent - 1 - (fraction == 0.5) >> -scale  # a power of two is the end of its bucket
    return ceil(ldexp(exponent + log2(fraction), scale)) - 1


def _halved(counts: dict[int, int]) -> dict[int, int]:
    """The same with half as many buckets, each twice as wide."""
    found: dict[int, int] = {}
    for at, count in counts.items():
        found[at >> 1] = found.get(at >> 1, 0) + count
    return found
