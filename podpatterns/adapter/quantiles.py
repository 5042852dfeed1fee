"""Quantiles of a stream of values within the last minutes, to one percent of their value, in bounded memory.

Values are counted by their order of magnitude: the buckets of a DDSketch, each two percent wider than the one before,
so that the middle of a bucket is at most one percent off. Old values go a window at a time.

Source: Masson, Rim, Lee: "DDSketch: A fast and fully-mergeable quantile sketch with relative-error guarantees", 2019.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from math import ceil, isfinite, log, nan

from podpatterns.adapter.slots import Distribution

_GAMMA = 1.01 / 0.99
_LOG_GAMMA = log(_GAMMA)
_MIDDLE = 2 / (_GAMMA + 1)
_SMALLEST = 1e-9
"""What is nearer to zero counts as zero: with it a window has at most some 5,000 buckets, half of them negative."""


class Quantiles(Distribution):
    """Count and sum as in any distribution, and quantiles of the last `span` seconds in `steps` windows."""

    __slots__ = ("_began", "_clock", "_length", "_windows")

    def __init__(
        self, weight: float, divisor: float, since: float | None, *, span: float, steps: int, clock: Callable[[], float]
    ) -> None:
        super().__init__((), weight, divisor, since)
        self._length, self._clock = span / steps, clock
        self._began = clock()
        self._windows: list[Tally[int]] = [Tally() for _ in range(steps)]

    def take(self, value: float, text: bytes) -> None:
        """Observe one value."""
        super().take(value, text)
        self._turn()
        self._windows[0][bucket(value / self.divisor)] += 1

    def quantiles(self, wanted: Iterable[float]) -> list[float]:
        """The quantiles over all sample rates; NaN where nothing came within the span."""
        counts: Tally[int] = Tally()
        for part in self.parts():
            assert isinstance(part, Quantiles)
            part._turn()  # noqa: SLF001 - its own kind
            for window in part._windows:  # noqa: SLF001
                for number, count in window.items():
                    counts[number] += count * part.weight  # type: ignore[assignment]  # a weight may be a fraction
        return quantiles_of(counts, wanted)

    def _turn(self) -> None:
        passed = int((self._clock() - self._began) // self._length)
        if passed > 0:
            steps = len(self._windows)
            self._windows = [*(Tally[int]() for _ in range(min(passed, steps))), *self._windows][:steps]
            self._began += passed * self._length


def bucket(value: float) -> int:
    """The number of a value's bucket: 0 for zero, even ones for positive values, odd ones for negative values."""
    size = abs(value)
    if size < _SMALLEST or not isfinite(size):
        return 0
    number = 2 * (ceil(log(size / _SMALLEST) / _LOG_GAMMA) + 1)
    return number if value > 0 else number + 1


def _value(number: int) -> float:
    if number == 0:
        return 0.0
    size = _SMALLEST * _GAMMA ** (number // 2 - 1) * _MIDDLE
    return -size if number % 2 else size


def quantiles_of(counts: Mapping[int, float], wanted: Iterable[float]) -> list[float]:
    """Quantiles of values that were counted by their buckets."""
    ordered = sorted((_value(number), count) for number, count in counts.items())
    total = sum(count for _, count in ordered)
    return [_at(ordered, quantile * total) for quantile in wanted]


def _at(ordered: list[tuple[float, float]], rank: float) -> float:
    passed, value = 0.0, nan
    for value, count in ordered:  # noqa: B007 - the last one is the answer
        passed += count
        if passed >= rank:
            break
    return value
