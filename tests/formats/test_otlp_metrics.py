"""Laws of metrics in OTLP's JSON."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats.families import Family
from podpatterns.formats.otlp_metrics import request
from podpatterns.formats.prometheus import parse


def metrics(families: list[Family]) -> dict[str, dict[str, Any]]:
    (resource,) = request(families, {}, 20.0, 10.0)["resourceMetrics"]
    (scope,) = resource["scopeMetrics"]
    return {metric["name"]: metric for metric in scope["metrics"]}


PAGE = """\
# HELP a_total How many.
# TYPE a_total counter
a_total{k="v"} 3
a_total NaN
# TYPE g gauge
g{k="v"} 2.5 15000
# TYPE s summary
s{quantile="0.5"} 7
s{quantile="0.9"} NaN
s_count 2
s_sum 9
# TYPE h histogram
h_bucket{k="v",le="1"} 1
h_bucket{k="v",le="+Inf"} 3
h_count{k="v"} 3
h_sum{k="v"} 9
h_bucket{k="w",le="1"} 1
# TYPE empty gauge
empty NaN
"""
KV = [{"key": "k", "value": {"stringValue": "v"}}]
BEGUN = {"timeUnixNano": "20000000000", "startTimeUnixNano": "10000000000"}


def test_each_type_has_its_form() -> None:
    """Sums and histograms are cumulative since the start, gauges are of now or their own time; NaN is left out."""
    found = metrics(parse(PAGE))
    assert set(found) == {"a_total", "g", "s", "h"}
    assert found["a_total"] == {
        "name": "a_total",
        "description": "How many.",
        "sum": {
            "aggregationTemporality": 2,
            "isMonotonic": True,
            "dataPoints": [{"attributes": KV, **BEGUN, "asDouble": 3.0}],
        },
    }
    assert found["g"]["gauge"] == {"dataPoints": [{"attributes": KV, "timeUnixNano": "15000000000", "asDouble": 2.5}]}
    assert found["s"]["summary"]["dataPoints"] == [
        {"attributes": [], **BEGUN, "count": "2", "sum": 9.0, "quantileValues": [{"quantile": 0.5, "value": 7.0}]}
    ]
    assert found["h"]["histogram"]["dataPoints"] == [
        {"attributes": KV, **BEGUN, "count": "3", "bucketCounts": ["1", "2"], "explicitBounds": [1.0], "sum": 9.0}
    ]


def test_a_series_begins_when_it_says_so() -> None:
    """`starts` says when a series began; a kind that OTLP does not have becomes gauges."""
    counter = Family("a_total", "counter", blocks=[""], values=[3.0], starts=[12.0])
    buckets = Family("q", "gaugehistogram", blocks=['{le="+Inf"}', ""], values=[1.0, 2.0])
    buckets.suffixes = ["_bucket", "_gsum"]
    found = metrics([counter, buckets])
    (point,) = found["a_total"]["sum"]["dataPoints"]
    assert point["startTimeUnixNano"] == "12000000000"
    assert found["q_gsum"]["gauge"]["dataPoints"][0]["asDouble"] == 2.0
    assert found["q_bucket"]["gauge"]["dataPoints"][0]["attributes"][0]["key"] == "le"


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8))
def test_bucket_counts_add_up(steps: list[float]) -> None:
    """Whatever fractions sampled lines leave, the counts of the buckets are whole and add up to the count."""
    counts = list(accumulate(steps))
    bounds = [*map(str, range(len(counts) - 1)), "+Inf"]
    family = Family("h", "histogram", blocks=[f'{{le="{bound}"}}' for bound in bounds], values=counts)
    family.suffixes = ["_bucket"] * len(counts)
    (point,) = metrics([family])["h"]["histogram"]["dataPoints"]
    assert sum(map(int, point["bucketCounts"])) == int(point["count"])
    assert all(int(count) >= 0 for count in point["bucketCounts"])
    assert len(point["bucketCounts"]) == len(point["explicitBounds"]) + 1
