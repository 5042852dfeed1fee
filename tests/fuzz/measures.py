"""What is fuzzed of the adapter: lines, pickles and messages of strangers become samples, or are refused, counted."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from math import isfinite

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from podpatterns.adapter.budget import Budget
from podpatterns.adapter.inputs.graphite import GraphiteLines, GraphitePickles
from podpatterns.adapter.inputs.influx import InfluxLines
from podpatterns.adapter.intake import Intake
from podpatterns.adapter.page import compose
from podpatterns.adapter.store import Shape, Store
from podpatterns.adapter.streams import Streams
from podpatterns.adapter.tallies import Measure, Rule, Tallies
from podpatterns.formats import (
    actuator,
    combined,
    jolokia,
    line_rows,
    openmetrics,
    otlp_messages,
    otlp_points,
    prometheus,
    prometheus_protobuf,
    server_status,
)
from podpatterns.formats.exposition import Malformed
from podpatterns.formats.families import Blocks, Family
from podpatterns.formats.refusal import REASONS, Refused
from podpatterns.formats.remote_write import read as read_remote_write
from tests.adapter.tally import Tally


def _shown(families: list[Family]) -> None:
    """No sum is poisoned, and the page that comes of it is one."""
    for family in families:
        assert len(family.blocks) == len(family.values)
        assert all(map(isfinite, family.values)), family.values
        for text in family.blocks:
            Blocks()[text]
    prometheus.parse(prometheus.render(families))


def _fed(make: Callable[[Intake, Tally], object]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        tally = Tally()
        store = Store(Shape(budget=20, budget_per_metric=10), lambda: 0.0, lambda _metric: None)
        intake = Intake(store, tally)
        feeder = make(intake, tally)
        for _ in range(2):  # the second time texts are known
            feeder.feed(data)  # type: ignore[attr-defined]
        assert store.budget.taken <= 20
        _shown(list(store.families()))

    return run


statsd = _fed(lambda intake, _tally: intake)
graphite = _fed(GraphiteLines)
pickles = _fed(GraphitePickles)
influx = _fed(InfluxLines)

_FORM = line_rows.matching(combined.GROUPS)
_RULE = Rule(
    _FORM.read,
    (),
    (
        Measure("hits", "counter", (("code", _FORM.places["status"]), ("agent", _FORM.places["agent"])), None, 1.0),
        Measure("bytes", "histogram", (), _FORM.places["bytes"], 1.0),
    ),
)
log_lines = _fed(lambda intake, tally: Tallies([_RULE], intake, tally))


def otlp(data: bytes) -> None:
    """Both encodings, twice into streams: points or refusals, and a page."""
    for json in (False, True):
        with contextlib.suppress(ValueError):
            streams = Streams(Budget(20, 10), None, lambda _metric: None)
            for _ in range(2):
                for point in otlp_points.points(otlp_messages.read(data, json=json), otlp_points.Naming()):
                    if isinstance(point, Refused):
                        assert point.reason in REASONS
                        continue
                    with contextlib.suppress(Refused):
                        streams.take(point, 0.0)
            assert streams.count <= 20
            _shown(list(streams.families(0.0)))


def messages(data: bytes) -> None:
    """Remote write of both versions and pages in protobuf: read or refused, and nothing else is raised."""
    for read in (read_remote_write, lambda data: read_remote_write(data, 2), prometheus_protobuf.parse):
        with contextlib.suppress(ValueError):
            read(data)


def pages(data: bytes) -> None:
    """Pages of text, in both formats: what is wrong has a place on the page, and what is read makes a page again."""
    for form in (prometheus, openmetrics):
        problems: list[Malformed] = []
        blocks = Blocks()
        for _ in range(2):  # the second time series are known
            try:
                families = form.parse(data, blocks, problems)
            except Malformed:
                return  # not UTF-8: nothing of it can be read
            assert all(0 < each.line <= data.count(b"\n") + 2 and each.column > 0 for each in problems)
            page = compose(families, (), blocks)
            prometheus.parse(prometheus.render(page.families))
            openmetrics.render(page.families)


def status(data: bytes) -> None:
    """What servers say of themselves: what is no such document is told so, and what is read makes a page."""
    text = data.decode("utf-8", "replace")
    found: list[Family] = []
    for read in (
        lambda: server_status.nginx(text),
        lambda: server_status.apache(text),
        lambda: server_status.redis(text),
        lambda: jolokia.read(data)[0],
        lambda: actuator.health(data),
        lambda: list(actuator.meters([({}, actuator.read_meter(data))])),
        lambda: [Family(name, "gauge") for name in actuator.names(data)],
    ):
        with contextlib.suppress(ValueError):
            found += read()
    prometheus.parse(prometheus.render(compose(found, (), Blocks()).families))


def _request() -> bytes:
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = resource.scope_metrics.add()
    scope.metrics.add(name="g", unit="1").gauge.data_points.add(as_double=2.5, time_unix_nano=5)
    total = scope.metrics.add(name="c").sum
    total.is_monotonic, total.aggregation_temporality = True, 1
    total.data_points.add(as_int=5, time_unix_nano=5)
    histogram = scope.metrics.add(name="h", unit="ms").histogram
    histogram.aggregation_temporality = 2
    histogram.data_points.add(count=3, sum=1.5, bucket_counts=[1, 2], explicit_bounds=[0.5])
    exponential = scope.metrics.add(name="e").exponential_histogram
    exponential.aggregation_temporality = 2
    exponential.data_points.add(count=3, scale=2).positive.bucket_counts.extend([1, 2])
    scope.metrics.add(name="s").summary.data_points.add(count=1, sum=1).quantile_values.add(quantile=0.5, value=1)
    return request.SerializeToString()


ACCESS = b'::1 - ada [10/Oct/2000:13:55:36 -0700] "GET /a?b HTTP/1.0" 200 2326 "http://x/" "Moz \\"illa\\" [en]"\n'
JSON = (
    b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","sum":{"aggregationTemporality":1,"isMonotonic":true,'
    b'"dataPoints":[{"asInt":"3","timeUnixNano":"5","attributes":[{"key":"k","value":{"arrayValue":{"values":[]}}}]}]}}]}]}]}'
)
SEEDS = {
    "statsd": (statsd, [b"a:1|c|@0.1|#k:v\nb:+2|g", b"a,k=v:1:2|ms|T5|c:x\n_e{1,1}:a|b", b"a[k=v]:x|s\n_sc|a|0"]),
    "graphite": (graphite, [b"a.b;k=v 5 -1\nc 1.5e3", b"a nan 1\n"]),
    "influx": (influx, [b'a\\ b,k=v\\,w x=1i,y="t\\"",z=true 5\n', b"a x=1u"]),
    "pickle": (pickles, [pickle.dumps([("a;k=v", (1, 2.5)), ("b", (-1, 3))], protocol) for protocol in range(5)]),
    "logs": (log_lines, [ACCESS, b"\n" + ACCESS + b"nonsense"]),
    "otlp": (otlp, [_request(), JSON]),
    "messages": (
        messages,
        [
            b"\x0a\x1c\x0a\x0d\x0a\x08__name__\x12\x01a\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x05",
            b"\x22\0\x22\x08__name__\x22\x01a\x2a\x0f\x0a\x02\x01\x02\x12\x09\x09\0\0\0\0\0\0\xf0\x3f",
            prometheus_protobuf.render(prometheus.parse("# TYPE a counter\na_total 1\n")),
        ],
    ),
    "pages": (
        pages,
        [
            b'# HELP h x\\n\n# TYPE h histogram\nh_bucket{a="\\"",le="+Inf"} 1\nh_sum 1e3 17\n{"b.c",d="e"} NaN\n',
            b'# TYPE a_s counter\n# UNIT a_s s\na_s_total{b="c"} 1 2.5 # {d="e"} .5\na_s_created 1\n# EOF\n',
        ],
    ),
    "status": (
        status,
        [
            b"Active connections: 291\nserver accepts handled requests\n 1 2 3\nReading: 6 Writing: 179 Waiting: 106\n",
            b"Total kBytes: 7\nCPULoad: .5\nBusyWorkers: 1\nScoreboard: __W_K...\n",
            b"redis_version:7\r\nuptime_in_seconds:17\r\ncmdstat_get:calls=3,usec=7\r\ndb0:keys=2,expires=1\r\n",
            b'[{"request":{"mbean":"java.lang:type=Memory,a=b"},"status":200,"value":{"Used":{"max":-1},"On":true}}]',
            b'{"status":"UP","components":{"db":{"status":"DOWN","components":{"x":{}}}}}',
            b'{"name":"a.b","baseUnit":"s","measurements":[{"statistic":"COUNT","value":4},{"statistic":"TOTAL_TIME"}]}',
        ],
    ),
}
"""Targets by name, with what to start from."""

WORDS = (
    b"|c", b"|g", b"|ms", b"|s", b"|@", b"|#", b"|T", b"NaN", b"1e400", b"_e{", b"\x80\x04", b"R", b"c", b"\x94",
    b"\x86", b'"asDouble":', b"timeUnixNano", b"=", b";", b"\\", b"i,", b"true", b'" 200 ', b"9" * 400, b"[" * 2000,
    b'{"a":' * 1000, b"# TYPE ", b"# EOF\n", b'le="', b" 1e999", b"\xc3\xa4", b"{", b"}", b'",',
)  # fmt: skip
"""What matters in these formats."""
