"""The messages of OTLP's metrics, as structs that read both of its encodings.

    read(body, json=True)

Only what becomes a metric is declared; the rest (exemplars, schema URLs) is passed over. Source:
opentelemetry-proto, metrics/v1/metrics.proto and its neighbours; field numbers and types are theirs.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from podpatterns.formats.protobuf_messages import Field, decode

DELTA = 1
"""AGGREGATION_TEMPORALITY_DELTA."""

CUMULATIVE = 2
"""AGGREGATION_TEMPORALITY_CUMULATIVE."""

NO_VALUE = 1
"""The flag of a point that says: this series has no value any more."""


class _Message(msgspec.Struct, rename="camel"):
    """Base: names as JSON has them."""


class AnyValue(_Message):
    """A value of any type; the one field that is there says which."""

    string_value: Annotated[str | None, Field(1, "string")] = None
    bool_value: Annotated[bool | None, Field(2, "bool")] = None
    int_value: Annotated[int | None, Field(3, "int64")] = None
    double_value: Annotated[float | None, Field(4, "double")] = None
    array_value: Annotated[ArrayValue | None, Field(5)] = None
    kvlist_value: Annotated[KeyValueList | None, Field(6)] = None


class ArrayValue(_Message):
    """Several values."""

    values: Annotated[list[AnyValue], Field(1)] = []


class KeyValue(_Message):
    """An attribute."""

    key: Annotated[str, Field(1, "string")] = ""
    value: Annotated[AnyValue | None, Field(2)] = None


class KeyValueList(_Message):
    """An object."""

    values: Annotated[list[KeyValue], Field(1)] = []


class _Point(_Message, kw_only=True):
    """What all points have in common, except for the number of their attributes."""

    start_time_unix_nano: Annotated[int, Field(2, "fixed64")] = 0
    time_unix_nano: Annotated[int, Field(3, "fixed64")] = 0


class NumberDataPoint(_Point, kw_only=True):
    """A point of a gauge or a sum."""

    attributes: Annotated[list[KeyValue], Field(7, shared=True)] = []
    as_double: Annotated[float | None, Field(4, "double")] = None
    as_int: Annotated[int | None, Field(6, "sfixed64")] = None
    flags: Annotated[int, Field(8, "int64")] = 0


class HistogramDataPoint(_Point, kw_only=True):
    """A point of a histogram; the last of `bucket_counts` has no bound."""

    attributes: Annotated[list[KeyValue], Field(9, shared=True)] = []
    count: Annotated[int, Field(4, "fixed64")] = 0
    sum: Annotated[float | None, Field(5, "double")] = None
    bucket_counts: Annotated[list[int], Field(6, "fixed64")] = []
    explicit_bounds: Annotated[list[float], Field(7, "double")] = []
    flags: Annotated[int, Field(10, "int64")] = 0


class Buckets(_Message):
    """Counts of the buckets `offset`, `offset + 1`, …: bucket i holds what lies in (base^i, base^(i+1)]."""

    offset: Annotated[int, Field(1, "sint64")] = 0
    bucket_counts: Annotated[list[int], Field(2, "uint64")] = []


class ExponentialHistogramDataPoint(_Point, kw_only=True):
    """A point of an exponential histogram; its base is 2^(2^-scale)."""

    attributes: Annotated[list[KeyValue], Field(1, shared=True)] = []
    count: Annotated[int, Field(4, "fixed64")] = 0
    sum: Annotated[float | None, Field(5, "double")] = None
    scale: Annotated[int, Field(6, "sint64")] = 0
    zero_count: Annotated[int, Field(7, "fixed64")] = 0
    positive: Annotated[Buckets | None, Field(8)] = None
    negative: Annotated[Buckets | None, Field(9)] = None
    flags: Annotated[int, Field(10, "int64")] = 0
    zero_threshold: Annotated[float, Field(14, "double")] = 0.0


class ValueAtQuantile(_Message):
    """A quantile of a summary."""

    quantile: Annotated[float, Field(1, "double")] = 0.0
    value: Annotated[float, Field(2, "double")] = 0.0


class SummaryDataPoint(_Point, kw_only=True):
    """A point of a summary."""

    attributes: Annotated[list[KeyValue], Field(7, shared=True)] = []
    count: Annotated[int, Field(4, "fixed64")] = 0
    sum: Annotated[float, Field(5, "double")] = 0.0
    quantile_values: Annotated[list[ValueAtQuantile], Field(6)] = []
    flags: Annotated[int, Field(8, "int64")] = 0


class Gauge(_Message):
    """The points of a gauge."""

    data_points: Annotated[list[NumberDataPoint], Field(1)] = []


class Sum(_Message):
    """The points of a sum."""

    data_points: Annotated[list[NumberDataPoint], Field(1)] = []
    aggregation_temporality: Annotated[int, Field(2, "int64")] = 0
    is_monotonic: Annotated[bool, Field(3, "bool")] = False


class Histogram(_Message):
    """The points of a histogram."""

    data_points: Annotated[list[HistogramDataPoint], Field(1)] = []
    aggregation_temporality: Annotated[int, Field(2, "int64")] = 0


class ExponentialHistogram(_Message):
    """The points of an exponential histogram."""

    data_points: Annotated[list[ExponentialHistogramDataPoint], Field(1)] = []
    aggregation_temporality: Annotated[int, Field(2, "int64")] = 0


class Summary(_Message):
    """The points of a summary."""

    data_points: Annotated[list[SummaryDataPoint], Field(1)] = []


class Metric(_Message):
    """A metric with the points of one of the kinds."""

    name: Annotated[str, Field(1, "string")] = ""
    description: Annotated[str, Field(2, "string")] = ""
    unit: Annotated[str, Field(3, "string")] = ""
    gauge: Annotated[Gauge | None, Field(5)] = None
    sum: Annotated[Sum | None, Field(7)] = None
    histogram: Annotated[Histogram | None, Field(9)] = None
    exponential_histogram: Annotated[ExponentialHistogram | None, Field(10)] = None
    summary: Annotated[Summary | None, Field(11)] = None


class Scope(_Message):
    """The library that measures."""

    name: Annotated[str, Field(1, "string")] = ""
    version: Annotated[str, Field(2, "string")] = ""
    attributes: Annotated[list[KeyValue], Field(3, shared=True)] = []


class ScopeMetrics(_Message):
    """The metrics of a library."""

    scope: Annotated[Scope | None, Field(1)] = None
    metrics: Annotated[list[Metric], Field(2)] = []


class Resource(_Message):
    """What is measured."""

    attributes: Annotated[list[KeyValue], Field(1, shared=True)] = []


class ResourceMetrics(_Message):
    """The metrics of a resource."""

    resource: Annotated[Resource | None, Field(1)] = None
    scope_metrics: Annotated[list[ScopeMetrics], Field(2)] = []


class Request(_Message):
    """An ExportMetricsServiceRequest."""

    resource_metrics: Annotated[list[ResourceMetrics], Field(1)] = []


class PartialSuccess(_Message):
    """What was not taken."""

    rejected_data_points: Annotated[int, Field(1, "int64")] = 0
    error_message: Annotated[str, Field(2, "string")] = ""


class Response(_Message, omit_defaults=True):
    """An ExportMetricsServiceResponse."""

    partial_success: Annotated[PartialSuccess | None, Field(1)] = None


def read(body: bytes, *, json: bool) -> Request:
    """The request that a body holds.

    Raises:
        ValueError: it is none.
    """
    if not json:
        return decode(body, Request)
    try:
        # Not strict: 64-bit numbers are text there, as are NaN and Infinity.
        return msgspec.json.decode(body, type=Request, strict=False)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
