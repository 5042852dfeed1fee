"""Series that come as points with a time: cumulative ones are kept as they are, changes are added up. Pure.

What a point says is the whole truth about its series, so there is nothing to look up by its text: unlike a StatsD line
it is parsed anyway, and costs one dictionary look-up more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import isfinite

from podpatterns.formats.exponential import Exponential
from podpatterns.formats.families import Family, with_label
from podpatterns.formats.numbers import number
from podpatterns.formats.otlp_points import Buckets, Head, Point, Value
from podpatterns.formats.statsd import Refused


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
class _Metric:
    head: Head
    series: dict[str, Stream] = field(default_factory=dict)


class Streams:
    """All series of an input.

    Args:
        budget: how many there may be.
        budget_per_metric: how many of one metric.
        expire: seconds after its last point at which a series leaves the page; None for never.
    """

    def __init__(self, budget: int, budget_per_metric: int, expire: float | None) -> None:
        self._budget, self._per_metric, self._expire = budget, budget_per_metric, expire
        self._metrics: dict[str, _Metric] = {}
        self.count = 0

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
            if point.time < stream.time or (point.delta and point.time == stream.time):
                raise Refused("out_of_order", name)  # a change that is sent again would count twice
            stream.value = _added(stream.value, point.value) if point.delta else point.value
            stream.start = stream.start if point.delta else point.start
            stream.time, stream.seen, stream.sum = point.time, now, point.delta
            return
        if self.count >= self._budget or (metric is not None and len(metric.series) >= self._per_metric):
            raise Refused("series_budget", name)
        if metric is None:
            metric = self._metrics[name] = _Metric(point.head)
        metric.series[point.labels] = Stream(point.value, point.start, point.time, now, point.delta)
        self.count += 1

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
        del metric.series[labels]
        self.count -= 1
        if not metric.series:
            del self._metrics[metric.head.name]


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
