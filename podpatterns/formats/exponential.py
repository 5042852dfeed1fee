"""Exponential histograms: added up, and as the classic and the native ones that Prometheus has.

Bucket i holds what lies in (base^i, base^(i+1)], with the base 2^(2^-scale). A smaller scale merges neighbours, in
pairs, so histograms of different scales are added up at the smallest one. Classic buckets end at powers of two, which
every scale from 0 on divides: no count is guessed. Sources: OpenTelemetry's metrics data model,
"ExponentialHistogram"; Prometheus, "Native histograms".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf, ldexp
from operator import sub
from struct import pack

from podpatterns.formats.protobuf import chunk, double, varint, whole, zigzag

_LOWEST, _HIGHEST = -1074, 1023
"""Exponents of two that a double has."""

_SCHEMAS = range(-4, 9)
"""Scales that Prometheus has; a larger one is made smaller, a smaller one has no native form."""


@dataclass(frozen=True, slots=True)
class Exponential:
    """One histogram; counts by the number of the bucket, empty ones left out. They may be fractions."""

    scale: int
    zero_threshold: float
    zero_count: float
    positive: Mapping[int, float]
    negative: Mapping[int, float]
    total: float | None

    @property
    def count(self) -> float:
        """How many observations there are."""
        return self.zero_count + sum(self.positive.values()) + sum(self.negative.values())

    def plus(self, other: Exponential) -> Exponential:
        """Both together, at the smaller of their scales."""
        scale = min(self.scale, other.scale)
        return Exponential(
            scale,
            max(self.zero_threshold, other.zero_threshold),
            self.zero_count + other.zero_count,
            _merged(scale, (self.scale, self.positive), (other.scale, other.positive)),
            _merged(scale, (self.scale, self.negative), (other.scale, other.negative)),
            None if self.total is None or other.total is None else self.total + other.total,
        )

    def classic(self) -> dict[float, float]:
        """How many lie in the bucket that ends at each power of two, and not below it; the last at infinity.

        Where a bucket is not empty, the power below it stands there as well, so that a quantile is as exact.
        """
        counts: dict[float, float] = {inf: 0.0}

        def add(lower: float, upper: float, count: float) -> None:
            if lower != -inf:
                counts.setdefault(lower, 0.0)
            counts[upper] = counts.get(upper, 0.0) + count

        for at, count in self.negative.items():
            near, far = self._around(at)
            add(-_power(far), -min(_power(near), _power(_HIGHEST)), count)
        if self.zero_count:
            add(-self.zero_threshold or 0.0, self.zero_threshold, self.zero_count)
        for at, count in self.positive.items():
            near, far = self._around(at)
            add(_power(near), _power(far), count)
        return dict(sorted(counts.items()))

    def _around(self, at: int) -> tuple[int, int]:
        """The exponents of two between which a bucket lies."""
        near = at >> self.scale if self.scale >= 0 else at << -self.scale
        return near, near + (1 if self.scale >= 0 else 1 << -self.scale)

    def native(self) -> bytes | None:
        """The fields of a native histogram in Prometheus' protobuf, beside its count and sum; None if there is none."""
        schema = min(self.scale, _SCHEMAS[-1])
        if schema not in _SCHEMAS:
            return None
        counts = (self.zero_count, *self.positive.values(), *self.negative.values())
        fractions = any(count % 1 for count in counts)
        zero = double(4, self.count) + double(8, self.zero_count) if fractions else whole(7, int(self.zero_count))
        parts = [whole(5, zigzag(schema)), double(6, self.zero_threshold), zero]
        for spans, deltas, floats, buckets in ((9, 10, 11, self.negative), (12, 13, 14, self.positive)):
            # Prometheus numbers a bucket by its upper bound.
            found = sorted((at + 1, count) for at, count in _merged(schema, (self.scale, buckets)).items())
            parts += [chunk(spans, whole(1, zigzag(gap)) + whole(2, size)) for gap, size in _spans(found)]
            numbers = [count for _, count in found]
            if numbers and fractions:
                parts.append(chunk(floats, pack(f"<{len(numbers)}d", *numbers)))
            elif numbers:
                changes = map(sub, map(round, numbers), [0, *map(round, numbers)])
                parts.append(chunk(deltas, b"".join([varint(zigzag(change)) for change in changes])))
        if not self.count or (not self.positive and not self.negative):
            parts.append(chunk(12, b""))  # an empty span, by which an empty native histogram is known
        return b"".join(parts)


def _merged(scale: int, *parts: tuple[int, Mapping[int, float]]) -> dict[int, float]:
    """The buckets of several histograms at one scale, which is none of theirs or smaller."""
    found: dict[int, float] = {}
    for own, counts in parts:
        shift = own - scale
        for at, count in counts.items():
            found[at >> shift] = found.get(at >> shift, 0) + count
    return found


def _spans(found: Iterable[tuple[int, float]]) -> Iterator[tuple[int, int]]:
    """Runs of neighbouring buckets: the gap in front of each, the first one's from zero on, and its length."""
    start = end = None
    last = 0
    for at, _ in found:
        if end is None or at != end:
            if start is not None and end is not None:
                yield start - last, end - start
                last = end
            start = at
        end = at + 1
    if start is not None and end is not None:
        yield start - last, end - start


def _power(exponent: int) -> float:
    return inf if exponent > _HIGHEST else ldexp(1.0, max(exponent, _LOWEST))
