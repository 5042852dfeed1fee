"""Laws of Prometheus' protocol buffers, beside an encoder that we did not write."""

from __future__ import annotations

import math

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.decoder import _DecodeVarint32 as varint32
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats import openmetrics, prometheus_protobuf
from podpatterns.formats.families import Family, block

_DOUBLE, _UINT64, _SINT32, _MESSAGE, _STRING, _INT64 = 1, 4, 17, 11, 9, 3
_MODEL = {
    "Pair": [("name", 1, _STRING, ""), ("value", 2, _STRING, "")],
    "Time": [("seconds", 1, _INT64, ""), ("nanos", 2, 5, "")],
    "Exemplar": [("label", 1, _MESSAGE, "Pair*"), ("value", 2, _DOUBLE, ""), ("timestamp", 3, _MESSAGE, "Time")],
    "Counter": [("value", 1, _DOUBLE, ""), ("exemplar", 2, _MESSAGE, "Exemplar"), ("created", 3, _MESSAGE, "Time")],
    "Bucket": [
        ("cumulative_count", 1, _UINT64, ""),
        ("upper_bound", 2, _DOUBLE, ""),
        ("exemplar", 3, _MESSAGE, "Exemplar"),
        ("cumulative_count_float", 4, _DOUBLE, ""),
    ],
    "Histogram": [
        ("sample_count", 1, _UINT64, ""),
        ("sample_sum", 2, _DOUBLE, ""),
        ("bucket", 3, _MESSAGE, "Bucket*"),
        ("sample_count_float", 4, _DOUBLE, ""),
        ("schema", 5, _SINT32, ""),
        ("zero_count", 7, _UINT64, ""),
        ("created", 15, _MESSAGE, "Time"),
    ],
    "Metric": [
        ("label", 1, _MESSAGE, "Pair*"),
        ("counter", 3, _MESSAGE, "Counter"),
        ("timestamp_ms", 6, _INT64, ""),
        ("histogram", 7, _MESSAGE, "Histogram"),
    ],
    "Family": [
        ("name", 1, _STRING, ""),
        ("help", 2, _STRING, ""),
        ("type", 3, 5, ""),
        ("metric", 4, _MESSAGE, "Metric*"),
        ("unit", 5, _STRING, ""),
    ],
}
"""The part of client_model's metrics.proto that is looked at: field, number, type, message (* repeated)."""


def model() -> type:
    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="m", syntax="proto2")
    for name, parts in _MODEL.items():
        message = file.message_type.add(name=name)
        for field, number, kind, of in parts:
            added = message.field.add(name=field, number=number, type=kind, label=3 if of.endswith("*") else 1)
            if of:
                added.type_name = f".m.{of.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("m.Family"))


def read(body: bytes) -> list:
    found, at, cls = [], 0, model()
    while at < len(body):
        size, at = varint32(body, at)
        found.append(cls.FromString(body[at : at + size]))
        at += size
    return found


@pytest.mark.holds("protobuf")
def test_another_decoder_reads_what_is_written() -> None:
    """Names, labels, values, times, exemplars, start times, and counts that are fractions."""
    counter = Family("a_total", "counter", "Help.", blocks=[block([("x", "ü")])], values=[2.5], starts=[100.25])
    counter.exemplars, counter.stamps = {0: '{id="7"} 0.5 3.5'}, [12.0]
    histogram = Family("h", "histogram", starts=[None, None, 5.0, 5.0])
    histogram.blocks, histogram.suffixes = ['{le="1"}', '{le="+Inf"}', "", ""], ["_bucket", "_bucket", "_count", "_sum"]
    histogram.values, histogram.natives = [1.0, 2.5, 2.5, 9.0], {2: b"\x28\x06"}
    first, second = read(prometheus_protobuf.render([counter, histogram]))
    (metric,) = first.metric
    assert (first.name, first.help, first.type) == ("a_total", "Help.", 0)
    assert (metric.label[0].name, metric.label[0].value, metric.timestamp_ms) == ("x", "ü", 12000)
    assert (metric.counter.value, metric.counter.created.seconds, metric.counter.created.nanos) == (2.5, 100, 250000000)
    assert (metric.counter.exemplar.label[0].value, metric.counter.exemplar.timestamp.nanos) == ("7", 500000000)
    found = second.metric[0].histogram
    assert [each.upper_bound for each in found.bucket] == [1.0, math.inf]
    assert (found.bucket[0].cumulative_count, found.bucket[1].cumulative_count_float) == (1, 2.5)
    assert (found.sample_count_float, found.sample_sum, found.schema, found.created.seconds) == (2.5, 9.0, 3, 5)


@pytest.mark.holds("protobuf")
def test_what_another_encoder_writes_is_read() -> None:
    """A histogram without classic buckets gets the one that the text formats need, and keeps its native ones."""
    family = model()(name="h", type=4)
    histogram = family.metric.add().histogram
    histogram.sample_count, histogram.sample_sum, histogram.schema, histogram.zero_count = 3, 4.5, -1, 3
    data = family.SerializeToString()
    (found,) = prometheus_protobuf.parse(bytes([len(data)]) + data)
    assert (found.blocks, found.values) == (['{le="+Inf"}', "", ""], [3.0, 3.0, 4.5])
    assert found.natives == {1: b"\x28\x01\x38\x03"}
    assert read(prometheus_protobuf.render([found]))[0].metric[0].histogram.schema == -1


PAGE = """\
# TYPE a_seconds counter
# UNIT a_seconds seconds
# HELP a_seconds Says.
a_seconds_total{x="y"} 1 12.5 # {id="7"} 0.5 3.25
a_seconds_created{x="y"} 2 12.5
# TYPE b gauge
b{x="1"} -2.5
b{x="2"} NaN
# TYPE h histogram
h_bucket{a="b",le="0.5"} 1 # {} 0.25
h_bucket{a="b",le="+Inf"} 2
h_count{a="b"} 2
h_sum{a="b"} 3.5
h_created{a="b"} 7.5
# TYPE s summary
s{quantile="0.5"} 2
s_count 3
s_sum 4
# TYPE q gaugehistogram
q_bucket{le="+Inf"} 2
q_gcount 2
q_gsum 1
# EOF
"""


@pytest.mark.holds("protobuf", "round trip")
def test_nothing_is_lost_between_the_forms() -> None:
    """From OpenMetrics to protocol buffers and back is the same page."""
    families = openmetrics.parse(PAGE)
    again = prometheus_protobuf.parse(prometheus_protobuf.render(families))
    assert openmetrics.render(again) == openmetrics.render(families)


@given(st.binary(max_size=60))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    """Nothing but ValueError."""
    try:
        prometheus_protobuf.parse(body)
    except ValueError as error:
        assert str(error).startswith("family ")  # noqa: PT017 - most bodies are refused


@pytest.mark.parametrize("body", [b"\x05\x0a\x01a", b"\x02\x0a\x05", b"\x00", b"\x80" * 11])
def test_a_mistake_names_its_family(body: bytes) -> None:
    """Cut short, without a name, with a length that is none."""
    with pytest.raises(ValueError, match=r"^family 1: "):
        prometheus_protobuf.parse(body)
