"""Series that come as points with a time: cumulative ones are kept as they are, changes are added up. Pure.

What a point says is the whole truth about its series, so there is nothing to look up by its text: unlike a StatsD line
it is parsed anyway, and costs one dictionary look-up more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import isfinite

from podpatterns.adapter.budget import OVERFLOW_LABEL, Budget
from podpatterns.formats.exponential import Exponential
from podpatterns.formats.families import Family, block, with_label
from podpatterns.formats.numbers import number
from podpatterns.formats.otlp_points import Buckets, Head, Point, Quantiles, Value
from podpatterns.formats.refusal import Refused


@dataclass(slots=True)
class Stream:
    """One series: what it is at now, since when and when by its own clock (in nanoseconds), and when that came."""

    value: Value
    start: int
    time: int
    seen: float
    sum: bool
    """Whether it is us who add up: then its value must not be lost while it is idle."""


@dataclass(slots=True)
class Rest(Stream):
    """The series that takes what has no room: of one metric, and one resource and library.

    Changes are added up; of gauges the last one stays. What is cumulative is added up over one collection, the points
    that have the same time, for no value can be remembered of each series: that would be the memory which there is not.
    While a collection comes in, the whole one before it is shown as long as it is the larger.
    """

    before: Value | None = None
    """The collection before, as a whole."""
    coming: Value | None = None
    """What came of the one that is under way."""

    def take(self, point: Point, now: float) -> None:
        """Take in a point of any series without room. Raises Refused."""
        value = point.value
        if value is None:
            return
        self.seen = now
        if point.delta:
            self.value, self.sum = _together(self.value, value) if self.sum else value, True
        elif point.head.kind in ("gauge", "info"):
            self.value = value
        elif point.time < self.time:
            raise Refused("out_of_order", point.head.name)
        elif self.coming is None or point.time > self.time:
            self.before, self.coming = self.coming, value
            self._show()
        else:
            self.coming = _together(self.coming, value)
            self._show()
        self.time = max(self.time, point.time)
        self.start = min(filter(None, (self.start, point.start)), default=0)

    def _show(self) -> None:
        assert self.coming is not None
        larger = self.before is None or _count(self.coming) >= _count(self.before)
        self.value = self.coming if larger else self.before  # type: ignore[assignment]


@dataclass(slots=True)
class _Metric:
    head: Head
    series: dict[str, Stream] = field(default_factory=dict)


class Streams:
    """All series of an input.

    Args:
        budget: how many there may be, with those of others.
        expire: seconds after its last point at which a series leaves the page; None for never.
        overflowed: told the metric of each point without room; an empty name where the metric itself is new.
    """

    def __init__(self, budget: Budget, expire: float | None, overflowed: Callable[[str], None]) -> None:
        self._budget, self._expire, self._overflowed = budget, expire, overflowed
        self._metrics: dict[str, _Metric] = {}
        self._rests = 0
        self.count = 0
        """Series, those of overflow not included."""

    def take(self, point: Point, now: float) -> None:
        """Take in one point; `now` is on any clock.

        Raises:
            Refused: series_budget, type_conflict, or out_of_order.
        """
        name = point.head.name
        metric = self._metrics.get(name)
        stream = metric.series.get(point.labels) if metric is not None else None
        if point.value is None:
            if metric is not None and stream is not None:
                self._remove(metric, point.labels)
            return
        if metric is not None and metric.head.kind != point.head.kind:
            raise Refused("type_conflict", f"{name} is a {metric.head.kind}")
        if stream is not None:
            if isinstance(stream, Rest):
                stream.take(point, now)
                return
            if point.time < stream.time or (point.delta and point.time == stream.time):
                raise Refused("out_of_order", name)  # a change that is sent again would count twice
            stream.value = _added(stream.value, point.value) if point.delta else point.value
            stream.start = stream.start if point.delta else point.start
            stream.time, stream.seen, stream.sum = point.time, now, point.delta
            return
        if not self._budget.allows(len(metric.series) if metric is not None else 0):
            self._overflowed(name if metric is not None else "")
            self._rest(metric, point).take(point, now)
            return
        if metric is None:
            metric = self._metrics[name] = _Metric(point.head)
        metric.series[point.labels] = Stream(point.value, point.start, point.time, now, point.delta)
        self._count(1)

    def _rest(self, metric: _Metric | None, point: Point) -> Rest:
        """The series that takes the point instead of its own. Raises Refused where it is not even that."""
        if metric is None:
            raise Refused("series_budget", point.head.name)
        labels = block((*point.common, OVERFLOW_LABEL))
        rest = metric.series.get(labels)
        if rest is None:
            # Who makes up resources must not get round the budget with their overflow.
            if self._rests >= self._budget.total:
                raise Refused("series_budget", point.head.name)
            assert point.value is not None
            rest = metric.series[labels] = Rest(point.value, point.start, point.time, 0.0, sum=False)
            self._rests += 1
        assert isinstance(rest, Rest)
        return rest

    def sizes(self) -> Iterator[tuple[str, int]]:
        """How many series each metric has."""
        return ((name, len(metric.series)) for name, metric in self._metrics.items())

    def clear(self) -> None:
        """Let go of all series, and give their room back."""
        self._metrics.clear()
        self._count(-self.count)
        self._rests = 0

    def families(self, now: float) -> Iterator[Family]:
        """Every metric as it is now, without series that have expired."""
        for metric in list(self._metrics.values()):
            head = metric.head
            family = Family(head.name, head.kind, head.help, head.unit, source=head.source)
            starts: list[float | None] = []
            for labels, stream in list(metric.series.items()):
                if self._expire is not None and now - stream.seen > self._expire:
                    if not stream.sum:
                        self._remove(metric, labels)
                    continue
                before = len(family.values)
                _write(family, labels, stream.value)
                # Beside what bears the series' own labels, which buckets and quantiles do not.
                start = stream.start / 1e9 if stream.start else None
                starts += [start if text == labels else None for text in family.blocks[before:]]
            if head.kind in ("counter", "histogram", "summary") and any(starts):
                family.starts = starts
            if family.values:
                yield family

    def _remove(self, metric: _Metric, labels: str) -> None:
        if isinstance(metric.series.pop(labels), Rest):
            self._rests -= 1
        else:
            self._count(-1)
        if not metric.series:
            del self._metrics[metric.head.name]

    def _count(self, more: int) -> None:
        self.count += more
        self._budget.taken += more


def _added(old: Value, change: Value) -> Value:
    """The sum of a value and what came since; other buckets than before begin anew."""
    if isinstance(old, float) and isinstance(change, float):
        if not isfinite(old + change):
            raise Refused("not_finite")
        return old + change
    if isinstance(old, Exponential) and isinstance(change, Exponential):
        return old.plus(change)
    if isinstance(old, Buckets) and isinstance(change, Buckets) and old.counts.keys() == change.counts.keys():
        counts = {bound: count + change.counts[bound] for bound, count in old.counts.items()}
        return Buckets(counts, None if old.total is None or change.total is None else old.total + change.total)
    return change


def _together(old: Value, more: Value) -> Value:
    """Two values of different series as one. Raises Refused where there is no such value."""
    if isinstance(old, Quantiles) and isinstance(more, Quantiles):
        return Quantiles(old.count + more.count, old.total + more.total, ())  # there is no quantile of both
    alike = type(old) is type(more)
    if isinstance(old, Buckets) and isinstance(more, Buckets):
        alike = old.counts.keys() == more.counts.keys()
    if not alike:
        raise Refused("bad_buckets", "they are others than those of the overflow series")
    return _added(old, more)


def _count(value: Value) -> float:
    """How large a cumulative value is: it grows with whatever is added."""
    if isinstance(value, Buckets):
        return sum(value.counts.values())
    return value if isinstance(value, float) else value.count


def _write(family: Family, labels: str, value: Value) -> None:
    """Append the samples of a series to its family."""
    if isinstance(value, float):
        family.blocks.append(labels)
        family.values.append(value)
        return
    if family.suffixes is None:
        family.suffixes = []
    total: float | None
    if isinstance(value, (Buckets, Exponential)):
        buckets = value.classic() if isinstance(value, Exponential) else value.counts
        family.blocks += [with_label(labels, "le", number(bound)) for bound in buckets]
        counts = list(accumulate(buckets.values()))
        family.values += counts
        family.suffixes += ["_bucket"] * len(counts)
        last, total = counts[-1], value.total
    else:
        family.blocks += [with_label(labels, "quantile", number(quantile)) for quantile, _ in value.values]
        family.values += [each for _, each in value.values]
        family.suffixes += [""] * len(value.values)
        last, total = value.count, value.total
    if isinstance(value, Exponential) and (native := value.native()) is not None:
        family.natives[len(family.values)] = native
    family.blocks.append(labels)
    family.values.append(last)
    family.suffixes.append("_count")
    if total is not None:
        family.blocks.append(labels)
        family.values.append(total)
        family.suffixes.append("_sum")
