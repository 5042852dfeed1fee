"""Laws of metrics that come in by OTLP, with OpenTelemetry's own SDK and exporter as the client."""

from __future__ import annotations

import asyncio
import gzip
import json

import msgspec
import pytest
from aiohttp import ClientSession
from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from podpatterns.adapter.budget import Budget
from podpatterns.adapter.config import AdapterConfig, SeriesConfig
from podpatterns.adapter.inputs.otlp import OtlpConfig
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.outputs.otlp import OtlpConfig as OtlpOutputConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.adapter.streams import Streams, _added
from podpatterns.formats.exponential import Exponential
from podpatterns.formats.families import block
from podpatterns.formats.otlp_points import Buckets, Head, Point, Quantiles, Value
from podpatterns.formats.refusal import Refused
from podpatterns.runtime.service import Request
from podpatterns.runtime.units import Address, Duration, Size, Url
from tests.adapter.bomb.attack import explode_otlp
from tests.adapter.looking import until, values

ANY = Address("127.0.0.1:0")


def receiving(**more: object) -> AdapterConfig:
    series = more.pop("series", SeriesConfig())
    page = PrometheusConfig(listen=ANY, final_scrape=Duration("0s"))
    return AdapterConfig(
        inputs=[OtlpConfig(listen=ANY, **more)],  # type: ignore[arg-type]
        outputs=[page],
        own_metrics=False,
        series=series,  # type: ignore[arg-type]
    )


def url(adapter: Adapter) -> str:
    return f"http://{adapter.inputs[0].address}/v1/metrics"  # type: ignore[attr-defined]


async def page(adapter: Adapter) -> list[str]:
    return [line for line in (await adapter.page()).decode().splitlines() if not line.startswith("# HELP")]


def exporting(exporter: OTLPMetricExporter, views: tuple[View, ...] = ()) -> MeterProvider:
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    resource = Resource({"service.name": "shop", "service.instance.id": "a", "region": "ch"})
    return MeterProvider([reader], resource, views=views)


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.holds("OTLP names", "OTLP temporality")
async def test_the_real_sdk_is_understood(compression: Compression, delta: bool) -> None:
    """Every kind of instrument, twice, cumulative or as changes: what it measured stands on the page."""
    temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
    async with Adapter(receiving(scope_labels=False)) as adapter:
        exporter = OTLPMetricExporter(
            url(adapter),
            compression=compression,
            preferred_temporality={Counter: temporality, Histogram: temporality},
        )
        provider = exporting(
            exporter, (View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation()),)
        )
        meter = provider.get_meter("lib", "1.0")
        orders = meter.create_counter("orders", "1", "How many.")
        up_down = meter.create_up_down_counter("queue.length", "{order}")
        gauge = meter.create_gauge("load", "1")
        duration = meter.create_histogram("duration", "ms", explicit_bucket_boundaries_advisory=[10.0, 100.0])
        exponential = meter.create_histogram("exponential", "s")
        for turn in range(2):
            orders.add(3, {"country.code": "ch"})
            up_down.add(-1)
            gauge.set(0.5 + turn)
            for value in (5, 50, 500):
                duration.record(value)
            for seconds in (0.75, 3.0, 3.5):
                exponential.record(seconds)
            assert await asyncio.to_thread(provider.force_flush)
        lines = await page(adapter)
        await asyncio.to_thread(provider.shutdown)
        assert adapter.events.refused == {}
    same = 'instance="a",job="shop"'
    assert "# TYPE orders_total counter" in lines
    assert f'orders_total{{country_code="ch",{same}}} 6' in lines
    assert f"queue_length{{{same}}} -2" in lines
    assert f"load_ratio{{{same}}} 1.5" in lines
    for bound, count in (("10", 2), ("100", 4), ("+Inf", 6)):
        assert f'duration_milliseconds_bucket{{{same},le="{bound}"}} {count}' in lines
    assert f"duration_milliseconds_sum{{{same}}} 1110" in lines
    for bound, count in (("0.5", 0), ("1", 2), ("2", 2), ("4", 6), ("+Inf", 6)):
        assert f'exponential_seconds_bucket{{{same},le="{bound}"}} {count}' in lines
    assert f"exponential_seconds_count{{{same}}} 6" in lines
    assert any(line.startswith(f'target_info{{{same},region="ch"') for line in lines)


async def post(adapter: Adapter, body: bytes, kind: str = "application/json", **fields: str) -> tuple[int, bytes]:
    async with (
        ClientSession() as session,
        session.post(url(adapter), data=body, headers={"Content-Type": kind, **fields}) as answer,
    ):
        assert answer.content_type == (kind if kind.startswith("application/") else "application/json")
        return answer.status, await answer.read()


def request(*metrics: object) -> bytes:
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).encode()


def total(value: object, time: int, **more: object) -> dict[str, object]:
    point = {"asInt": value, "timeUnixNano": str(time), **more}
    return {"name": "a", "sum": {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": [point]}}


@pytest.mark.holds("OTLP partial success", "OTLP temporality")
async def test_what_is_refused_is_said() -> None:
    """In partial_success with number and reason; what else the request holds is taken; all is counted."""
    async with Adapter(receiving()) as adapter:
        status, body = await post(adapter, request(total("3", 5), {"name": "g", "gauge": {"dataPoints": [{}]}}))
        assert status == 200
        partial = json.loads(body)["partialSuccess"]
        assert partial["rejectedDataPoints"] == "1"
        assert "no value" in partial["errorMessage"]
        assert await post(adapter, request(total(4, 6))) == (200, b"{}")
        # A change that comes a second time would count twice.
        status, body = await post(adapter, request(total("4", 6)))
        assert json.loads(body)["partialSuccess"]["rejectedDataPoints"] == "1"
        assert await page(adapter) == ["# TYPE a_total counter", "a_total 7"]
        assert adapter.events.refused == {"no_value": 1, "out_of_order": 1}
        assert adapter.events.lines == 4


async def test_protobuf_is_answered_in_protobuf() -> None:
    """An empty response for what was taken, a Status for what was not."""
    async with Adapter(receiving()) as adapter:
        kind = "application/x-protobuf"
        assert await post(adapter, b"", kind) == (200, b"")
        status, body = await post(adapter, b"\x0a\x05x", kind)
        assert status == 400
        assert b"cut short" in body
        sent = ExportMetricsServiceRequest()
        sent.resource_metrics.add().scope_metrics.add().metrics.add(name="g").gauge.data_points.add()
        status, body = await post(adapter, sent.SerializeToString(), kind)
        response = ExportMetricsServiceResponse.FromString(body)
        assert (status, response.partial_success.rejected_data_points) == (200, 1)


@pytest.mark.parametrize(
    ("body", "kind", "fields", "status"),
    [
        (b"{", "application/json", {}, 400),
        (b'{"resourceMetrics": 5}', "application/json", {}, 400),
        (b"x", "text/plain", {}, 415),
        (gzip.compress(b" " * 70_000), "application/json", {"Content-Encoding": "gzip"}, 413),
        (b" " * 70_000, "application/json", {}, 413),
        (b"nonsense", "application/json", {"Content-Encoding": "gzip"}, 400),
        (b"{}", "application/json", {"Content-Encoding": "br"}, 400),
    ],
)
async def test_requests_that_are_none_are_refused(body: bytes, kind: str, fields: dict[str, str], status: int) -> None:
    """With the status that tells the exporter why, and that it need not try again."""
    async with Adapter(receiving(max_body=Size("64KiB"))) as adapter, ClientSession() as session:
        headers = {"Content-Type": kind, **fields}
        async with session.post(url(adapter), data=body, headers=headers) as answer:
            assert answer.status == status
        async with session.post(url(adapter) + "x", data=b"{}", headers={"Content-Type": "application/json"}) as answer:
            assert answer.status == 404
        async with session.get(url(adapter)) as answer:
            assert answer.status == 405


async def test_chunked_requests_are_taken() -> None:
    """Some exporters do not know the length of what they send."""

    async def parts():
        for byte in request(total("3", 5)):
            yield bytes([byte])

    async with Adapter(receiving()) as adapter, ClientSession() as session:
        headers = {"Content-Type": "application/json"}
        async with session.post(url(adapter), data=parts(), headers=headers) as answer:
            assert answer.status == 200
        assert (await page(adapter))[1] == "a_total 3"


async def test_one_adapter_exports_to_another() -> None:
    """What we send is what we take, in both encodings; there is nothing rejected."""
    for encoding in ("json", "protobuf"):
        async with Adapter(receiving()) as taker:
            output = OtlpOutputConfig(url=Url(url(taker)), interval=Duration("1h"), encoding=encoding)  # type: ignore[arg-type]
            config = AdapterConfig(inputs=[StatsdConfig(listen=ANY)], outputs=[output], own_metrics=False)
            async with Adapter(config) as giver:
                giver.feed(b"a:3|c|#k:v\nt:30|ms\ng:-1.5|g")
            assert giver.events.lost == {}
            scope = 'otel_scope_name="podpatterns.adapter"'
            lines = await page(taker)
            assert f'a_total{{k="v",{scope}}} 3' in lines
            assert f"g{{{scope}}} -1.5" in lines
            assert f't_seconds_bucket{{{scope},le="0.05"}} 1' in lines


async def test_changes_add_up_at_the_far_side() -> None:
    """Sent as changes over several intervals, in either encoding: what arrives is what was counted."""
    async with Adapter(receiving(scope_labels=False)) as taker:
        output = OtlpOutputConfig(url=Url(url(taker)), interval=Duration("30ms"), temporality="delta")
        config = AdapterConfig(inputs=[StatsdConfig(listen=ANY)], outputs=[output], own_metrics=False)
        async with Adapter(config) as giver:
            for turn in range(1, 5):
                giver.feed(b"a:3|c\nt:30|ms\ng:5|g")

                async def arrived(total: str = f"a_total {3 * turn}") -> bool:
                    return total in await page(taker)

                await until(arrived)
        assert giver.events.lost == {}
        assert taker.events.refused == {}
        lines = await page(taker)
    assert {"a_total 12", "t_seconds_count 4", 't_seconds_bucket{le="0.05"} 4', "g 5"} <= set(lines)


@pytest.mark.holds("OTLP partial success")
async def test_what_the_far_side_rejects_is_counted() -> None:
    """partial_success of an answer is a loss, with its reason in the log; the adapter goes on."""
    async with Adapter(receiving(series=SeriesConfig(budget=1))) as taker:
        output = OtlpOutputConfig(url=Url(url(taker)), interval=Duration("1h"), encoding="protobuf")
        config = AdapterConfig(inputs=[StatsdConfig(listen=ANY)], outputs=[output], own_metrics=False)
        async with Adapter(config) as giver:
            giver.feed(b"a:3|c\nb:3|c")
        assert giver.events.lost == {"otlp: partly_rejected": 1}
        assert taker.events.refused == {"series_budget": 1}


# --- streams, alone ---------------------------------------------------------------------------------------------------

COUNTER = Head("a_total", "counter", "", "", "a")
HISTOGRAM = Head("h", "histogram", "", "", "h")


def held(budget: int, per_metric: int = 10, expire: float | None = None) -> Streams:
    return Streams(Budget(budget, per_metric), expire, lambda _metric: None)


def shown(streams: Streams, now: float = 0.0) -> dict[str, float]:
    return values(streams.families(now))


def test_series_say_since_when_they_count() -> None:
    """A cumulative one by its last point, a sum of changes by its first; beside what bears its own labels."""
    streams = held(10)
    for number in (1, 2):
        streams.take(Point(COUNTER, "", number * 10**9, 5 + number, 3.0), 0)
        streams.take(Point(COUNTER, '{k="d"}', number * 10**9, 5 + number, 3.0, delta=True), 0)
    streams.take(Point(HISTOGRAM, "", 4 * 10**9, 5, Buckets({float("inf"): 1.0}, 1.0)), 0)
    streams.take(Point(Head("g", "gauge", "", "", "g"), "", 4 * 10**9, 5, 1.0), 0)
    counter, histogram, gauge = streams.families(0)
    assert counter.starts == [2.0, 1.0]
    assert histogram.starts == [None, 4.0, 4.0]
    assert gauge.starts is None


def test_histograms_of_changes_add_up() -> None:
    """Exponential ones at the smaller of two scales; explicit ones with other bounds than before begin anew."""
    streams = held(10)
    for number, (scale, counts) in enumerate(((3, {0: 1, 9: 2}), (1, {0: 5}), (3, {8: 1}))):
        value = Exponential(scale, 0.0, 1, counts, {}, 2.0)
        streams.take(Point(HISTOGRAM, "", 0, number + 1, value, delta=True), 0)
    found = shown(streams)
    assert [found[f'h_bucket{{le="{bound}"}}'] for bound in ("0", "1", "2", "4", "+Inf")] == [3, 3, 9, 12, 12]
    assert (found["h_count"], found["h_sum"]) == (12, 6)
    other = Head("x", "histogram", "", "", "x")
    inf = float("inf")
    for number, bound in enumerate((7.0, 7.0, 8.0)):
        streams.take(Point(other, "", 0, number + 1, Buckets({bound: 5.0, inf: 0.0}, None), delta=True), 0)
        found = shown(streams)
        assert found[f'x_bucket{{le="{bound:g}"}}'] == found["x_count"] == (5, 10, 5)[number]


def test_series_expire_and_sums_of_changes_come_back() -> None:
    """A cumulative series frees its place; a sum of ours is only hidden; a point without a value ends its series."""
    streams = held(2, expire=60.0)
    streams.take(Point(COUNTER, '{k="a"}', 0, 1, 3.0), 0)
    streams.take(Point(COUNTER, '{k="b"}', 0, 1, 3.0, delta=True), 0)
    assert len(shown(streams, 60)) == 2
    assert shown(streams, 61) == {}
    assert streams.count == 1
    streams.take(Point(COUNTER, '{k="b"}', 0, 2, 4.0, delta=True), 70)
    assert shown(streams, 70) == {'a_total{k="b"}': 7}
    streams.take(Point(COUNTER, '{k="b"}', 0, 3, None), 70)
    assert (shown(streams, 70), streams.count) == ({}, 0)


def test_contradictions_are_refused() -> None:
    """Another kind under the same name, an older point, a sum beyond all numbers."""
    streams = held(10, 1)
    streams.take(Point(COUNTER, "", 0, 5, 1e308, delta=True), 0)
    for point, reason in (
        (Point(Head("a_total", "gauge", "", "", "a"), "", 0, 6, 1.0), "type_conflict"),
        (Point(COUNTER, "", 0, 4, 1.0), "out_of_order"),
        (Point(COUNTER, "", 0, 6, 1.7e308, delta=True), "not_finite"),
    ):
        with pytest.raises(Refused) as refused:
            streams.take(point, 0)
        assert refused.value.reason == reason
    assert shown(streams) == {"a_total": 1e308}


# --- what has no room -------------------------------------------------------------------------------------------------

INF = float("inf")
JOB = (("job", "shop"),)
REST = '{job="shop",overflow="true"}'


def of_user(head: Head, user: int, time: int, value: Value, *, delta: bool = False) -> Point:
    return Point(head, f'{{job="shop",user="{user}"}}', 1, time, value, delta, JOB)


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize(
    ("head", "one", "name"),
    [
        (COUNTER, 2.0, "a_total"),
        (HISTOGRAM, Buckets({1.0: 1.0, INF: 1.0}, 3.0), "h_count"),
        (HISTOGRAM, Exponential(0, 0.0, 1, {0: 1}, {}, 3.0), "h_count"),
    ],
    ids=["sum", "histogram", "exponential"],
)
def test_the_rest_is_added_up(head: Head, one: Value, name: str, delta: bool) -> None:
    """With the overflow series the sum over all series is what was counted, however many there are."""
    streams, users, turns = held(3), 50, 4
    for turn in range(1, turns + 1):
        for user in range(users):
            value = one
            for _ in range(turn - 1 if not delta else 0):
                value = _added(value, one)
            streams.take(of_user(head, user, turn, value, delta=delta), 0)
        found = shown(streams)
        mine = {key: value for key, value in found.items() if key.startswith(name)}
        assert len(mine) == 4
        assert sum(mine.values()) == 2 * users * turn
        assert mine[name + REST] == 2 * (users - 3) * turn
    assert streams.count == 3


def test_a_collection_that_is_not_whole_yet_is_no_fall() -> None:
    """Its requests come one by one; what is shown never goes down meanwhile, and does when the process began anew."""
    streams, seen = held(1), []
    streams.take(of_user(COUNTER, 0, 1, 1.0), 0)
    for time, each in ((1, 10.0), (2, 11.0), (3, 1.0), (4, 2.0)):
        for user in range(1, 5):
            streams.take(of_user(COUNTER, user, time, each), 0)
            seen.append(shown(streams)["a_total" + REST])
    assert seen == [10, 20, 30, 40, 40, 40, 40, 44, 44, 44, 44, 44, 4, 4, 6, 8]
    with pytest.raises(Refused) as refused:
        streams.take(of_user(COUNTER, 1, 3, 1.0), 0)
    assert refused.value.reason == "out_of_order"


def test_the_rest_of_what_cannot_be_added() -> None:
    """Of gauges the last one stays, summaries lose their quantiles, and other buckets are refused."""
    gauge, summary = Head("g", "gauge", "", "", "g"), Head("s", "summary", "", "", "s")
    every: list[tuple[Head, Value]] = [(summary, Quantiles(2.0, 6.0, [(0.5, 3.0)]))]
    every.append((HISTOGRAM, Buckets({1.0: 1.0, INF: 0.0}, 1.0)))
    for head, value in every:
        streams = held(1)
        for user in range(4):
            streams.take(of_user(head, user, 1, value), 0)
        found = shown(streams)
        assert not any("quantile" in key and "overflow" in key for key in found)
        assert found[f"{head.name}_count{REST}"] == 3 * found[f'{head.name}_count{{job="shop",user="0"}}']
    with pytest.raises(Refused) as refused:
        streams.take(of_user(HISTOGRAM, 9, 1, Buckets({2.0: 1.0, INF: 0.0}, 1.0)), 0)
    assert refused.value.reason == "bad_buckets"
    streams = held(1)
    for user, number in enumerate((1.0, 5.0, 3.0)):
        streams.take(of_user(gauge, user, 1, number), 0)
    assert shown(streams) == {'g{job="shop",user="0"}': 1, "g" + REST: 3}


def test_made_up_resources_do_not_get_round_the_budget() -> None:
    """Each resource has an overflow series of its own, and there are as many as the budget has series; then none."""
    streams = held(5)
    for number in range(1000):
        labels = (("job", str(number)),)
        point = Point(COUNTER, block(labels), 0, 1, 1.0, common=labels)
        if number < 10:
            streams.take(point, 0)
            continue
        with pytest.raises(Refused, match="budget"):
            streams.take(point, 0)
    assert (len(shown(streams)), streams.count) == (10, 5)
    streams.clear()
    assert (shown(streams), streams.count) == ({}, 0)


def test_the_rest_expires() -> None:
    """Like any other series; a sum of changes comes back with its value."""
    streams = held(1, expire=60.0)
    for turn in range(2):
        for user in range(2):
            streams.take(of_user(COUNTER, user, turn + 1, 1.0, delta=True), turn * 100)
        if not turn:
            assert shown(streams, 61) == {}
    assert shown(streams, 101) == {'a_total{job="shop",user="0"}': 2, "a_total" + REST: 2}


async def test_overflow_is_on_the_page_and_told() -> None:
    """A real SDK with too many users: sums stay right; page, `adapter series` and own metrics say what has no room."""
    config = receiving(series=SeriesConfig(budget=5), scope_labels=False, target_info=False)
    async with Adapter(msgspec.structs.replace(config, own_metrics=True)) as adapter:
        adapter.feed(b"mine:1|c")  # has its place in the same budget
        provider = exporting(OTLPMetricExporter(url(adapter)))
        orders = provider.get_meter("lib").create_counter("orders", "1")
        for turn in range(1, 4):
            for user in range(20):
                orders.add(1, {"user": str(user)})
            assert await asyncio.to_thread(provider.force_flush)
            lines = await page(adapter)
            rest = next(line for line in lines if line.startswith("orders_total{") and 'overflow="true"' in line)
            assert rest.startswith('orders_total{instance="a",job="shop",overflow="true"} ')
            assert float(rest.rpartition(" ")[2]) == 16 * turn
        assert "podpatterns_adapter_series 5" in lines
        assert 'podpatterns_adapter_overflowed_samples_total{metric="orders_total"} 48' in lines
        adapter.feed(b"new:1|c")
        assert 'podpatterns_overflow_counters_total{overflow="true"} 1' in await page(adapter)
        (route,) = adapter.routes()
        answer = (await route.handle(Request({}))).data
        assert (answer["series"], answer["metrics"]) == (5, 3)
        sizes = {each["metric"]: each["series"] for each in answer["top"]}
        assert sizes == {"orders_total": 5, "mine_total": 1, "podpatterns_overflow_counters_total": 1}
        assert answer["overflowed_samples"] == {"orders_total": 48, "": 1}
        await asyncio.to_thread(provider.shutdown)
        # A changed input begins anew, and its series give their room back.
        await adapter.reload(receiving(series=SeriesConfig(budget=5), target_info=False))
        assert adapter.store.budget.taken == 1


async def test_the_sender_is_told_of_overflow() -> None:
    """As a warning, in either encoding: nothing is rejected, and a sender that only counts rejections is content."""
    async with Adapter(receiving(series=SeriesConfig(budget=1), target_info=False)) as adapter:
        both = [total(1, 5)["sum"]["dataPoints"][0] | {"attributes": [attribute]} for attribute in map(user, "ab")]  # type: ignore[index]
        metric = {"name": "a", "sum": {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": both}}
        status, body = await post(adapter, request(metric))
        warning = 'the budget of series is used up; points that went to overflow="true": 1'
        assert (status, json.loads(body)) == (
            200,
            {"partialSuccess": {"rejectedDataPoints": "0", "errorMessage": warning}},
        )
        sent = json_format.Parse(request(metric), ExportMetricsServiceRequest()).SerializeToString()
        status, body = await post(adapter, sent, "application/x-protobuf")
        partial = ExportMetricsServiceResponse.FromString(body).partial_success
        assert (status, partial.rejected_data_points) == (200, 1)  # the change of the first one comes a second time
        assert adapter.events.overflow == {"a_total": 2}


def user(name: str) -> dict[str, object]:
    return {"key": "user", "value": {"stringValue": name}}


@pytest.mark.parametrize("count", [20_000])
def test_a_cardinality_bomb_stays_within_the_budget(count: int) -> None:
    """Memory is that of the budget, and the overflow series has every other point.

    `python -m tests.adapter.bomb` does the same with ten million.
    """
    streams, overflowed, grown, _ = explode_otlp(count, Budget(500, 500))
    assert grown < 30e6
    assert streams.count == 500
    assert overflowed == {"bomb_total": count - 500}
    assert shown(streams)['bomb_total{overflow="true"}'] == count - 500
