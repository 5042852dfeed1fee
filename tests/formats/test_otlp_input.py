"""Laws of what is read from OTLP: protobuf and JSON say the same, names are Prometheus', buckets lose no count."""

from __future__ import annotations

import contextlib
from math import inf

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from podpatterns.formats import otlp_messages, otlp_metrics, otlp_names
from podpatterns.formats.exponential import Exponential
from podpatterns.formats.otlp_points import Buckets, Naming, Point, Quantiles, points
from podpatterns.formats.prometheus import parse
from podpatterns.formats.protobuf import varint
from podpatterns.formats.protobuf_messages import encode
from podpatterns.formats.refusal import Refused

NAMES = [
    ("http.server.duration", "ms", "histogram", "http_server_duration_milliseconds"),
    ("requests", "", "counter", "requests_total"),
    ("requests_total", "", "counter", "requests_total"),
    ("total.requests", "1", "counter", "requests_total"),
    ("cpu.usage", "1", "gauge", "cpu_usage_ratio"),
    ("cpu_usage_ratio", "1", "gauge", "cpu_usage_ratio"),
    ("items", "1", "counter", "items_total"),
    ("memory_usage", "By", "gauge", "memory_usage_bytes"),
    ("disk", "TiBy", "gauge", "disk_tebibytes"),
    ("throughput", "By/s", "gauge", "throughput_bytes_per_second"),
    ("requests", "1/s", "gauge", "requests_per_second"),
    ("response_time_seconds", "s", "histogram", "response_time_seconds"),
    ("cpu.seconds_total", "s", "counter", "cpu_seconds_total"),
    ("lag", "{message}", "gauge", "lag"),
    ("lag", "By/{message}", "gauge", "lag_bytes"),
    ("custom", "unit@with#special/chars", "gauge", "custom_unit_with_special_per_chars"),
    ("a__b", "c__d", "gauge", "a_b_c_d"),
    ("123", "", "gauge", "_123"),
    ("@#$%", "", "gauge", ""),
    ("ns:a.b", "", "gauge", "ns:a_b"),
]


@pytest.mark.parametrize(("name", "unit", "kind", "expected"), NAMES)
@pytest.mark.holds("OTLP names")
def test_names_are_those_of_prometheus(name, unit, kind, expected):
    """The unit in words, `_total` last, `_ratio` for a gauge of 1; nothing twice."""
    assert otlp_names.metric(name, unit, kind) == expected


@pytest.mark.holds("OTLP names")
def test_labels_of_one_name_are_joined():
    """In the order of their keys, as Prometheus does it; what cannot begin a label gets `key`."""
    pairs = [("a.b", "2"), ("a-b", "1"), ("1x", "d"), ("_p", "u"), ("", "n"), ("__", "n")]
    assert otlp_names.labels(pairs) == {"a_b": "1;2", "key_1x": "d", "key_p": "u"}


def export():
    """A request that says something of every kind."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    for key, value in (("service.name", "shop"), ("service.namespace", "ns"), ("service.instance.id", "i1")):
        resource.resource.attributes.add(key=key).value.string_value = value
    resource.resource.attributes.add(key="host.cpus").value.int_value = 4
    scope = resource.scope_metrics.add()
    scope.scope.name, scope.scope.version = "lib", "1.2"
    gauge = scope.metrics.add(name="temp", unit="Cel", description="How warm.").gauge.data_points.add(as_double=2.5)
    gauge.attributes.add(key="room.no").value.array_value.values.add(int_value=1)
    total = scope.metrics.add(name="orders").sum
    total.is_monotonic, total.aggregation_temporality = True, 1
    total.data_points.add(as_int=-(2**63) + 1, time_unix_nano=2**63 + 5, start_time_unix_nano=7)
    histogram = scope.metrics.add(name="t", unit="s").histogram
    histogram.aggregation_temporality = 2
    histogram.data_points.add(count=6, sum=9.5, bucket_counts=[1, 2, 3], explicit_bounds=[0.5, 1.0])
    exponential = scope.metrics.add(name="e").exponential_histogram
    exponential.aggregation_temporality = 2
    point = exponential.data_points.add(count=7, sum=1.5, scale=3, zero_count=1)
    point.positive.offset = -9
    point.positive.bucket_counts.extend([1, 0, 2, 300000][:3])
    point.negative.bucket_counts.extend([3])
    summary = scope.metrics.add(name="s").summary.data_points.add(count=2, sum=3.0)
    summary.quantile_values.add(quantile=0.5, value=1.25)
    summary.quantile_values.add(quantile=0.9, value=float("nan"))
    return request


def both(request) -> tuple[otlp_messages.Request, otlp_messages.Request]:
    text = json_format.MessageToJson(request, use_integers_for_enums=True)
    return (
        otlp_messages.read(request.SerializeToString(), json=False),
        otlp_messages.read(text.encode(), json=True),
    )


@pytest.mark.holds("OTLP encodings")
def test_protobuf_and_json_say_the_same():
    """What the real definitions write in either encoding is read as the same points; JSON has 64 bits as text."""
    found, same = both(export())
    assert repr(found) == repr(same)  # NaN is not equal to itself
    temp, orders, t, e, s, target = points(found, Naming())
    scope = 'otel_scope_name="lib",otel_scope_version="1.2"'
    assert isinstance(temp, Point)
    assert temp.labels == f'{{instance="i1",job="ns/shop",{scope},room_no="[1]"}}'
    assert (temp.head.name, temp.head.help, temp.value) == ("temp_celsius", "How warm.", 2.5)
    assert isinstance(orders, Point)
    assert (orders.head.kind, orders.value, orders.time, orders.delta) == ("counter", -(2.0**63), 2**63 + 5, True)
    assert isinstance(t, Point)
    assert t.value == Buckets({0.5: 1.0, 1.0: 2.0, inf: 3.0}, 9.5)
    assert isinstance(e, Point)
    # Scale 3: bucket -9 ends at 2^(-8/8) = 0.5, bucket -7 at 2^(-6/8); bucket 0 of the negative ones begins at -1.
    assert isinstance(e.value, Exponential)
    assert e.value.classic() == {-2.0: 0.0, -1.0: 3.0, 0.0: 1.0, 0.25: 0.0, 0.5: 1.0, 1.0: 2.0, inf: 0.0}
    assert e.value.total == 1.5
    assert isinstance(s, Point)
    assert s.value == Quantiles(2.0, 3.0, [(0.5, 1.25)])
    assert isinstance(target, Point)
    assert target.labels == '{host_cpus="4",instance="i1",job="ns/shop"}'


def test_what_becomes_labels_can_be_chosen():
    """Without library and target_info, and with an attribute of the resource on every series."""
    found, _ = both(export())
    first, *_, last = points(found, Naming(target_info=False, scope=False, promote=frozenset({"host.cpus"})))
    assert isinstance(first, Point)
    assert first.labels == '{host_cpus="4",instance="i1",job="ns/shop",room_no="[1]"}'
    assert isinstance(last, Point)
    assert last.head.name == "s"


def refusing(change) -> list[str]:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    change(metric)
    found = list(points(both(request)[0], Naming()))
    assert all(isinstance(each, Refused) for each in found)
    return [each.reason for each in found if isinstance(each, Refused)]


def _histogram(**point):
    def change(metric):
        metric.histogram.aggregation_temporality = 2
        metric.histogram.data_points.add(**point)

    return change


def _exponential(counts, **point):
    def change(metric):
        metric.exponential_histogram.aggregation_temporality = 2
        added = metric.exponential_histogram.data_points.add(**point)
        added.positive.bucket_counts.extend(counts)

    return change


REFUSED = {
    "a gauge without a value": (lambda metric: metric.gauge.data_points.add(), "no_value"),
    "NaN": (lambda metric: metric.gauge.data_points.add(as_double=float("nan")), "not_finite"),
    "a sum of unknown temporality": (lambda metric: metric.sum.data_points.add(as_int=1), "no_temporality"),
    "too few counts": (_histogram(count=3, bucket_counts=[3], explicit_bounds=[1.0]), "bad_buckets"),
    "bounds that fall": (_histogram(count=3, bucket_counts=[1, 1, 1], explicit_bounds=[2.0, 1.0]), "bad_buckets"),
    "counts that do not add up": (_histogram(count=4, bucket_counts=[1, 2], explicit_bounds=[1.0]), "bad_buckets"),
    "exponential counts that do not": (_exponential([1, 2], count=4), "bad_buckets"),
    "a scale beyond all": (_exponential([1], count=1, scale=99), "bad_buckets"),
    "very many buckets": (_exponential([0] * 5000, count=0), "bad_buckets"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_points_that_mean_nothing_are_refused(name):
    """Each with its reason, and alone."""
    change, reason = REFUSED[name]
    assert refusing(change) == [reason]


def test_a_metric_without_a_name_is_refused():
    """Its points have nowhere to go."""
    assert refusing(lambda metric: (metric.gauge.data_points.add(as_int=1), setattr(metric, "name", "@"))) == [
        "no_name"
    ]


@given(
    st.integers(-10, 20),
    st.integers(-3000, 3000),
    st.lists(st.integers(0, 5), max_size=200),
    st.lists(st.integers(0, 5), max_size=20),
)
@pytest.mark.holds("OTLP exponential histograms")
def test_exponential_buckets_lose_no_count(scale, offset, positive, negative):
    """Counts add up, bounds ascend, and each value's bucket lies between the bounds around it."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    metric.exponential_histogram.aggregation_temporality = 2
    count = sum(positive) + sum(negative) + 2
    point = metric.exponential_histogram.data_points.add(count=count, scale=scale, zero_count=2)
    point.positive.offset = point.negative.offset = offset
    point.positive.bucket_counts.extend(positive)
    point.negative.bucket_counts.extend(negative)
    (found,) = points(both(request)[0], Naming())
    assert isinstance(found, Point)
    assert isinstance(found.value, Exponential)
    counts = found.value.classic()
    bounds = list(counts)
    assert bounds == sorted(set(bounds))
    assert bounds[-1] == inf
    assert sum(counts.values()) == count
    below = sum(number for bound, number in counts.items() if bound <= 1.0)
    # The bucket i ends at or below 1 where i < 0.
    assert below == 2 + sum(negative) + sum(positive[: max(0, -offset)])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    """Nothing but ValueError is raised, in either encoding."""
    for json in (True, False):
        with contextlib.suppress(ValueError):
            list(points(otlp_messages.read(data, json=json), Naming()))


@given(st.data())
def test_damaged_requests_are_read_or_refused(data):
    """The same where most of it is right."""
    body = bytearray(export().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        list(points(otlp_messages.read(bytes(body), json=False), Naming()))


def test_messages_within_messages_have_an_end():
    """A value in a value in a value is refused before the stack is full, in either encoding."""
    value = b""
    for _ in range(5000):
        value = b"\x2a" + _sized(b"\x0a" + _sized(value))
        if len(value) > 20_000:
            break
    attribute = b"\x12" + _sized(value)
    resource = b"\x0a" + _sized(b"\x0a" + _sized(b"\x0a" + _sized(attribute)))
    with pytest.raises(ValueError, match="nested"):
        otlp_messages.read(resource, json=False)
    deep = b'{"arrayValue":{"values":[' * 20_000
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's own words
        otlp_messages.read(b'{"resourceMetrics":[{"resource":{"attributes":[{"value":' + deep, json=True)


def _sized(payload: bytes) -> bytes:
    return varint(len(payload)) + payload


PAGE = """\
# HELP a_total How many.
# TYPE a_total counter
a_total{k="v"} 3
# TYPE g gauge
g{k="v"} -2.5 15000
# TYPE s summary
s{quantile="0.5"} 7
s_count 2
s_sum 9
# TYPE h histogram
h_bucket{k="v",le="1"} 1
h_bucket{k="v",le="+Inf"} 3
h_count{k="v"} 3
h_sum{k="v"} 9
"""


@pytest.mark.holds("OTLP encodings")
def test_what_we_send_in_protobuf_is_what_we_send_in_json():
    """The real definitions read both as the same message, and we read it as the families that it was."""
    document = otlp_metrics.request(parse(PAGE), {"service.name": "shop"}, 20.0, 10.0)
    sent = ExportMetricsServiceRequest()
    sent.ParseFromString(encode(document, otlp_messages.Request))
    assert sent == json_format.ParseDict(document, ExportMetricsServiceRequest())
    found = list(points(otlp_messages.read(sent.SerializeToString(), json=False), Naming(scope=False)))
    assert [each.head.name for each in found if isinstance(each, Point)] == ["a_total", "g", "s", "h", "target_info"][
        :4
    ]
