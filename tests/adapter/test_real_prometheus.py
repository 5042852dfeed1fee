"""What a real Prometheus (Debian's `prometheus`) makes of our page: its query API gives the values that were sent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import pytest

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.mapping_config import HistogramOptionsConfig, MappingDefaultsConfig
from podpatterns.adapter.outputs.prometheus import Prometheus, PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.formats.families import Family
from podpatterns.runtime.units import Address, Duration

pytestmark = pytest.mark.e2e

CONFIG = """\
global: {{scrape_interval: 150ms, scrape_timeout: 150ms}}
scrape_configs:
- job_name: adapter
  honor_labels: true
  static_configs: [{{targets: ["{target}"]}}]
"""


class Queries:
    """Prometheus' query API, on a socket of its own."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def value(self, query: str) -> float | None:
        """The value of an instant query with one result; None where there is no result yet."""
        async with self._session.get(f"{self._url}/api/v1/query", params={"query": query}) as response:
            answer = await response.json()
        assert answer["status"] == "success", answer
        results = answer["data"]["result"]
        assert len(results) <= 1, results
        return float(results[0]["value"][1]) if results else None

    async def comes_to(self, query: str, expected: float) -> None:
        """Wait until the query gives the value: the next scrape brings it."""
        seen = None
        try:
            async with asyncio.timeout(15):
                while (seen := await self.value(query)) != pytest.approx(expected):  # noqa: ASYNC110 - over HTTP there is no event
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"{query} is {seen}, not {expected}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def program(name: str) -> str:
    """The path of one of Prometheus' programs."""
    # `make e2e` puts the program beside this Python; a test that is run by itself finds it there as well.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    found = shutil.which(name, path=path)
    assert found, f"there is no {name}; tests/e2e/setup.sh takes it out of Debian's package"
    return found


@contextlib.asynccontextmanager
async def prometheus(page: str, folder: Path, *options: str, config: str = CONFIG) -> AsyncIterator[Queries]:
    """A Prometheus of the test's own that scrapes `page`, on a loopback port and with its data in `folder`."""
    host, _, _ = page.removeprefix("http://").partition("/")
    (folder / "prometheus.yml").write_text(config.format(target=host))
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            *options,
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as session:
            await ready(session, f"http://127.0.0.1:{port}", process, folder / "log")
            yield Queries(session, f"http://127.0.0.1:{port}")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ready(session: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(30):
            while process.returncode is None:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with session.get(f"{url}/-/ready") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.05)
    text = log.read_text()  # noqa: ASYNC240 - one small file, when all is over
    pytest.fail(f"prometheus did not become ready:\n{text}")


@pytest.fixture
def config() -> AdapterConfig:
    anywhere = Address("127.0.0.1:0")
    return AdapterConfig(
        inputs=[StatsdConfig(listen=anywhere)],
        outputs=[PrometheusConfig(listen=anywhere, final_scrape=Duration("0s"))],
    )


async def test_prometheus_stores_what_was_sent(config: AdapterConfig, tmp_path: Path) -> None:
    """Counters, gauges and histograms that came in over UDP are in Prometheus with their labels, and follow changes."""
    async with Adapter(config) as adapter, prometheus(adapter.url, tmp_path) as queries:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", adapter.inputs[0].address.port))  # type: ignore[attr-defined]
            client.send(b"shop.orders:3|c|#country:ch\nshop.orders:2|c|@0.5|#country:ch\nshop.orders:5|c|#country:de")
            client.send(b"shop.basket:7.5|g\nshop.checkout:30|ms\nshop.checkout:300|ms\nshop.checkout:3000|ms")
            await queries.comes_to('shop_orders_total{country="ch"}', 7)
            await queries.comes_to("sum(shop_orders_total)", 12)
            await queries.comes_to("shop_basket", 7.5)
            # OpenMetrics, which Prometheus asks for first, writes the bound 5 as 5.0.
            for bound, count in (("0.025", 0), ("0.05", 1), ("0.5", 2), ("5(.0)?", 3), ("[+]Inf", 3)):
                await queries.comes_to(f'shop_checkout_seconds_bucket{{le=~"{bound}"}}', count)
            await queries.comes_to("shop_checkout_seconds_count", 3)
            await queries.comes_to("shop_checkout_seconds_sum", 3.33)
            client.send(b"shop.orders:1|c|#country:ch\nshop.basket:-2|g")
            await queries.comes_to('shop_orders_total{country="ch"}', 8)
            await queries.comes_to("shop_basket", 5.5)
        await queries.comes_to("up", 1)


@pytest.mark.holds("protobuf", "negotiation")
async def test_prometheus_is_served_protocol_buffers_where_it_prefers_them(
    config: AdapterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With native histograms switched on it asks for them first; counters, gauges and buckets are the same."""
    served = set()
    render = Prometheus.render

    def recorded(self: Prometheus, families: Sequence[Family], accept: str) -> tuple[bytes, str]:
        body, kind = render(self, families, accept)
        served.add(kind.partition(";")[0])
        return body, kind

    monkeypatch.setattr(Prometheus, "render", recorded)
    native = "--enable-feature=native-histograms"
    async with Adapter(config) as adapter, prometheus(adapter.url, tmp_path, native) as queries:
        adapter.feed(b"orders:3|c|#country:ch\nbasket:7.5|g\ncheckout:30|ms\ncheckout:3000|ms|@0.5")
        await queries.comes_to('orders_total{country="ch"}', 3)
        await queries.comes_to("basket", 7.5)
        await queries.comes_to('checkout_seconds_bucket{le="+Inf"}', 3)
        await queries.comes_to("checkout_seconds_sum", 6.03)
    assert served == {"application/vnd.google.protobuf"}


async def test_prometheus_stores_what_came_by_otlp(tmp_path: Path) -> None:
    """From OpenTelemetry's own SDK to Prometheus' query API, under the names that Prometheus itself would give."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

    from tests.adapter.test_otlp_input import exporting, receiving
    from tests.adapter.test_otlp_input import url as otlp_url

    native = "--enable-feature=native-histograms"
    async with Adapter(receiving()) as adapter, prometheus(adapter.url, tmp_path, native) as queries:
        view = View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation())
        provider = exporting(OTLPMetricExporter(otlp_url(adapter)), (view,))
        meter = provider.get_meter("lib", "1.0")
        meter.create_counter("orders", "1").add(3, {"country.code": "ch"})
        duration = meter.create_histogram("duration", "s", explicit_bucket_boundaries_advisory=[0.1, 1.0])
        for value in (0.05, 0.5, 5):
            duration.record(value)
        size = meter.create_histogram("size", "By")
        for value in (3, 3.5, 100):
            size.record(value)
        assert await asyncio.to_thread(provider.force_flush)
        await queries.comes_to("histogram_count(size_bytes)", 3)
        await queries.comes_to("histogram_sum(size_bytes)", 106.5)
        await queries.comes_to("histogram_fraction(2, 4, size_bytes)", 2 / 3)
        await queries.comes_to('orders_total{country_code="ch",job="shop",otel_scope_name="lib"}', 3)
        await queries.comes_to('duration_seconds_bucket{le=~"1(.0)?"}', 2)
        await queries.comes_to('count(target_info{region="ch"})', 1)
        await asyncio.to_thread(provider.shutdown)


async def test_native_histograms_pass_through(tmp_path: Path) -> None:
    """From an exporter's protobuf through our page in protobuf to Prometheus, which knows them by their functions."""
    from aiohttp import web

    from podpatterns.adapter.inputs.scrape import ScrapeConfig
    from podpatterns.formats.accept import PROTOBUF
    from podpatterns.formats.families import Family
    from podpatterns.formats.protobuf import chunk, double, varint, whole, zigzag
    from tests.adapter.test_adapter_runtime import exporter

    async def answer(_request: web.Request) -> web.Response:
        family = Family("took_seconds", "histogram", "How long.")
        for bound, count in (("1.0", 1.0), ("+Inf", 3.0)):
            family.add(count, [("le", bound)], "_bucket")
        family.add(3.0, (), "_count")
        family.add(4.5, (), "_sum")
        # Schema 0, and two buckets from (0.5, 1] on with 1 and 2 observations: powers of two.
        span = whole(1, zigzag(0)) + whole(2, 2)
        deltas = chunk(13, varint(zigzag(1)) + varint(zigzag(1)))
        family.natives = {2: whole(5, zigzag(0)) + double(6, 1e-9) + chunk(12, span) + deltas}
        return web.Response(body=PROTOBUF.render([family]), headers={"Content-Type": PROTOBUF.content_type})

    runner, url = await exporter(answer)
    anywhere = Address("127.0.0.1:0")
    config = AdapterConfig(
        inputs=[ScrapeConfig(url=url, name="app", prefer="protobuf")],
        outputs=[PrometheusConfig(listen=anywhere, final_scrape=Duration("0s"))],
    )
    feature = "--enable-feature=native-histograms"
    async with Adapter(config) as adapter, prometheus(adapter.url, tmp_path, feature) as queries:
        await queries.comes_to("histogram_count(took_seconds)", 3)
        await queries.comes_to("histogram_sum(took_seconds)", 4.5)
        await queries.comes_to("histogram_quantile(1, took_seconds)", 2)
    await runner.cleanup()


async def test_timers_are_native_histograms_where_that_is_wished(tmp_path: Path) -> None:
    """As fine as the factor asks; sampled ones by their whole weight, though that is a fraction."""
    options = HistogramOptionsConfig(native_histogram_bucket_factor=1.1)
    anywhere = Address("127.0.0.1:0")
    config = AdapterConfig(
        inputs=[StatsdConfig(listen=anywhere)],
        mapping_defaults=MappingDefaultsConfig(histogram_options=options),
        outputs=[PrometheusConfig(listen=anywhere, final_scrape=Duration("0s"))],
    )
    feature = "--enable-feature=native-histograms"
    async with Adapter(config) as adapter, prometheus(adapter.url, tmp_path, feature) as queries:
        adapter.feed(b"".join(b"took:%d|ms\nsampled:%d|h|@0.4\n" % (value, -value) for value in range(1, 1001)))
        adapter.feed(b"sampled:0|h|@0.4\n")
        await queries.comes_to("histogram_count(took_seconds)", 1000)
        await queries.comes_to("histogram_sum(took_seconds)", 500.5)
        median = await queries.value("histogram_quantile(0.5, took_seconds)")
        assert median == pytest.approx(0.5, rel=0.1)
        await queries.comes_to("histogram_count(sampled)", 2502.5)
        await queries.comes_to("histogram_fraction(-512, -256, sampled)", 256 / 1001)


async def test_prometheus_knows_the_types(config: AdapterConfig, tmp_path: Path) -> None:
    """A histogram's quantile can be asked for, and a refused line is seen where the metrics are, by its reason."""
    async with Adapter(config) as adapter, prometheus(adapter.url, tmp_path) as queries:
        adapter.feed(b"t:200|ms\n" * 100 + b"t:NaN|ms\n")
        # All lie in the bucket (0.1, 0.25]: its middle is what linear interpolation gives.
        await queries.comes_to("histogram_quantile(0.5, t_seconds_bucket)", 0.175)
        await queries.comes_to('podpatterns_adapter_lines_refused_total{reason="not_finite"}', 1)
        async with queries._session.get(f"{queries._url}/api/v1/targets/metadata") as response:
            kinds = {item["metric"]: item["type"] for item in (await response.json())["data"]}
        assert kinds["t_seconds"] == "histogram"
