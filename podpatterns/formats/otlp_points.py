"""What a request of OTLP says, point by point: the series it belongs to under Prometheus' names, and its value.

    for point in points(request, Naming()):
        ...

Source: OpenTelemetry's metrics data model, and "Prometheus and OpenMetrics Compatibility".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite
from typing import Any

import msgspec

from podpatterns.formats import otlp_messages as otlp
from podpatterns.formats import otlp_names
from podpatterns.formats.exponential import Exponential
from podpatterns.formats.families import RESERVED, Kind, Labels, block
from podpatterns.formats.refusal import Refused

_SHORT = 500
"""Characters of attributes whose block is remembered; a stranger's long ones would fill the memory."""

_MOST = 4096
"""Buckets of one point; SDKs keep to 160."""


@dataclass(frozen=True, slots=True)
class Naming:
    """What of a resource and of a library becomes labels."""

    target_info: bool = True
    scope: bool = True
    promote: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram: how many lie in the bucket that ends at each bound (not below it), the last at infinity; the sum."""

    counts: Mapping[float, float]
    total: float | None


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A summary."""

    count: float
    total: float
    values: Sequence[tuple[float, float]]


Value = float | Buckets | Exponential | Quantiles


@dataclass(frozen=True, slots=True)
class Head:
    """The metric that a point belongs to."""

    name: str
    kind: Kind
    help: str
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Point:
    """One point: its labels as a block, its times in nanoseconds, what it says; None where the series has ended.

    `delta` says that the value is what came since the point before. `common` are those of the labels that all points
    of the same resource and library have.
    """

    head: Head
    labels: str
    start: int
    time: int
    value: Value | None
    delta: bool = False
    common: Labels = ()


def points(request: otlp.Request, naming: Naming) -> Iterator[Point | Refused]:
    """Every point in its order, or why it cannot be one."""
    for resource in request.resource_metrics:
        described = _attributes(resource.resource.attributes) if resource.resource else {}
        common, info = _resource(described, naming)
        latest = 0
        for scope in resource.scope_metrics:
            labels = tuple({**common, **_scope(scope.scope, naming)}.items())
            for metric in scope.metrics:
                for point in _points(metric, labels):
                    if isinstance(point, Point):
                        latest = max(latest, point.time)
                    yield point
        if info and latest and naming.target_info:
            yield Point(_TARGET, block({**info, **common}.items()), 0, latest, 1.0, common=tuple(common.items()))


_TARGET = Head("target_info", "info", "Attributes of what is measured.", "", "")


def _resource(described: Mapping[str, str], naming: Naming) -> tuple[dict[str, str], dict[str, str]]:
    """The labels that every series of a resource gets, and those of its `target_info`."""
    rest = dict(described)
    service, namespace = rest.pop("service.name", ""), rest.pop("service.namespace", "")
    common = {"job": f"{namespace}/{service}" if namespace and service else service}
    common["instance"] = rest.pop("service.instance.id", "")
    promoted = otlp_names.labels((name, value) for name, value in rest.items() if name in naming.promote)
    return {**promoted, **common}, otlp_names.labels(rest.items())


def _scope(scope: otlp.Scope | None, naming: Naming) -> dict[str, str]:
    if scope is None or not naming.scope:
        return {}
    return {"otel_scope_name": scope.name, "otel_scope_version": scope.version}


def _attributes(attributes: Iterable[otlp.KeyValue]) -> dict[str, str]:
    return {each.key: text(each.value) for each in attributes}


def text(value: otlp.AnyValue | None) -> str:
    """A value as a label: text as it is, all others as JSON has them."""
    if value is None:
        return ""
    if value.string_value is not None:
        return value.string_value
    return msgspec.json.encode(_plain(value)).decode()


def _plain(value: otlp.AnyValue | None) -> Any:
    if value is None:
        return None
    if value.array_value is not None:
        return [_plain(each) for each in value.array_value.values]
    if value.kvlist_value is not None:
        return {each.key: _plain(each.value) for each in value.kvlist_value.values}
    for each in (value.string_value, value.bool_value, value.int_value, value.double_value):
        if each is not None:
            return each
    return None


# --- metrics ----------------------------------------------------------------------------------------------------------


def _points(metric: otlp.Metric, common: Labels) -> Iterator[Point | Refused]:
    data, kind, temporality = _data(metric)
    if data is None:
        return
    name = otlp_names.metric(metric.name, metric.unit, kind)
    head = Head(name, kind, metric.description, otlp_names.unit_name(metric.unit), metric.name)
    wrong = "" if name.strip("_") else "no_name"
    if temporality not in (otlp.DELTA, otlp.CUMULATIVE):
        wrong = "no_temporality"
    for each in data:
        if wrong:
            yield Refused(wrong, metric.name[:80])
            continue
        try:
            value = None if each.flags & otlp.NO_VALUE else _value(each)
        except Refused as refused:
            yield Refused(refused.reason, metric.name[:80])
            continue
        labels = _labels(tuple(_attributes(each.attributes).items()), common)
        delta = temporality == otlp.DELTA
        yield Point(head, labels, each.start_time_unix_nano, each.time_unix_nano, value, delta, common)


def _labels(attributes: Labels, common: Labels) -> str:
    """The block of a series, out of the attributes of a point and what all points around it have in common."""
    size = sum([len(name) + len(value) for name, value in attributes])
    return _remembered(attributes, common) if size <= _SHORT else _made(attributes, common)


@lru_cache(maxsize=16_384)
def _remembered(attributes: Labels, common: Labels) -> str:
    return _made(attributes, common)


def _made(attributes: Labels, common: Labels) -> str:
    own = otlp_names.labels(attributes)
    if RESERVED & own.keys():
        own = {f"exported_{label}" if label in RESERVED else label: own[label] for label in own}
    return block({**own, **dict(common)}.items())


_Data = otlp.NumberDataPoint | otlp.HistogramDataPoint | otlp.ExponentialHistogramDataPoint | otlp.SummaryDataPoint


def _data(metric: otlp.Metric) -> tuple[Sequence[_Data] | None, Kind, int]:
    """The points of a metric, the kind that it becomes, and whether they are changes."""
    if metric.sum is not None:
        kind: Kind = "counter" if metric.sum.is_monotonic else "gauge"
        return metric.sum.data_points, kind, metric.sum.aggregation_temporality
    histogram = metric.histogram or metric.exponential_histogram
    if histogram is not None:
        return histogram.data_points, "histogram", histogram.aggregation_temporality
    if metric.summary is not None:
        return metric.summary.data_points, "summary", otlp.CUMULATIVE
    if metric.gauge is not None:
        return metric.gauge.data_points, "gauge", otlp.CUMULATIVE
    return None, "unknown", otlp.CUMULATIVE


def _value(point: _Data) -> Value:
    if isinstance(point, otlp.NumberDataPoint):
        value = point.as_double if point.as_double is not None else point.as_int
        if value is None:
            raise Refused("no_value")
        return _finite(float(value))
    if isinstance(point, otlp.HistogramDataPoint):
        return _explicit(point)
    if isinstance(point, otlp.ExponentialHistogramDataPoint):
        return _exponential(point)
    values = [(each.quantile, each.value) for each in point.quantile_values if isfinite(each.value)]
    return Quantiles(float(point.count), _finite(point.sum), values)


def _finite(value: float) -> float:
    if not isfinite(value):
        raise Refused("not_finite")
    return value


def _explicit(point: otlp.HistogramDataPoint) -> Buckets:
    bounds = [*map(_finite, point.explicit_bounds), inf]
    counts = point.bucket_counts or [point.count] if len(bounds) == 1 else point.bucket_counts
    if len(counts) != len(bounds) or sorted(set(bounds)) != bounds or min(counts) < 0 or sum(counts) != point.count:
        raise Refused("bad_buckets")
    total = None if point.sum is None else _finite(point.sum)
    return Buckets(dict(zip(bounds, map(float, counts), strict=True)), total)


def _exponential(point: otlp.ExponentialHistogramDataPoint) -> Exponential:
    if not -32 <= point.scale <= 64 or not 0 <= point.zero_threshold < inf or point.zero_count < 0:
        raise Refused("bad_buckets")
    total = None if point.sum is None else _finite(point.sum)
    positive, negative = dict(_counted(point.positive)), dict(_counted(point.negative))
    found = Exponential(point.scale, point.zero_threshold, point.zero_count, positive, negative, total)
    if found.count != point.count:
        raise Refused("bad_buckets")
    return found


def _counted(buckets: otlp.Buckets | None) -> Iterator[tuple[int, int]]:
    if buckets is None:
        return
    if len(buckets.bucket_counts) > _MOST:
        raise Refused("bad_buckets")
    for at, count in enumerate(buckets.bucket_counts, buckets.offset):
        if count:
            if count < 0:
                raise Refused("bad_buckets")
            yield at, count
