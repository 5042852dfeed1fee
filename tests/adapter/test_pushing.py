"""Laws of the outputs that push: order, bounds, retries, the end; and a real Prometheus that receives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import cramjam
import pytest
from aiohttp import web

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.outputs import OutputConfig, OutputContext
from podpatterns.adapter.outputs.graphite import GraphiteConfig as GraphiteOutputConfig
from podpatterns.adapter.outputs.influx import InfluxConfig as InfluxOutputConfig
from podpatterns.adapter.outputs.otlp import OtlpConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.outputs.remote_write import RemoteWriteConfig
from podpatterns.adapter.pushing import Push, PushConfig, Waiting
from podpatterns.adapter.runtime import Adapter
from podpatterns.errors import ConfigError, Retryable
from podpatterns.formats import remote_write
from podpatterns.formats.families import Family
from podpatterns.runtime import config as configuration
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Address, Duration, SecretFile, Size, Url
from podpatterns.testing.clock import run_virtually
from tests.adapter.looking import until

ANY = Address("127.0.0.1:0")


class Nothing:
    """A source that has nothing."""

    async def collect(self, within: float) -> list[Family]:
        return []


class Receiver:
    """A far side whose answers are told in advance; afterwards it takes everything."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.requests, self.refused = list(statuses), [], 0
        self.taken = asyncio.Event()
        self.url = Url("http://x/")

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.statuses:
            self.refused += 1
            return web.Response(status=self.statuses.pop(0), text="not now", headers={"Retry-After": "0"})
        self.requests.append((request, body))
        self.taken.set()
        return web.Response(status=204)

    def values(self, name: str) -> list[float]:
        return [
            series.samples[0][0]
            for _, body in self.requests
            for series in remote_write.read(bytes(cramjam.snappy.decompress_raw(body)))
            if dict(series.labels)["__name__"] == name
        ]


@contextlib.asynccontextmanager
async def receiving(*statuses: int) -> AsyncIterator[Receiver]:
    async with receiving_by(Receiver(*statuses)) as receiver:
        yield receiver


@contextlib.asynccontextmanager
async def receiving_by(receiver: Receiver) -> AsyncIterator[Receiver]:
    app = web.Application()
    app.router.add_post("/write", receiver.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = Url(f"http://127.0.0.1:{runner.addresses[0][1]}/write")
    try:
        yield receiver
    finally:
        await runner.cleanup()


def pushing(output: OutputConfig) -> AdapterConfig:
    return AdapterConfig(inputs=[StatsdConfig(listen=ANY)], outputs=[output], own_metrics=False)


def made(url: Url, interval: str = "20ms", **more: object) -> AdapterConfig:
    output = RemoteWriteConfig(url=url, interval=Duration(interval), labels={"job": "shop"}, **more)  # type: ignore[arg-type]
    return AdapterConfig(inputs=[StatsdConfig(listen=ANY)], outputs=[output], own_metrics=False)


@pytest.mark.holds("remote write retries")
async def test_what_was_refused_for_now_is_delivered_later_in_order(tmp_path: Path) -> None:
    """Server errors and 429 are tried again; values come in the order in which they were; the head says what it is."""
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    async with receiving(503, 429, 500) as receiver:
        config = made(receiver.url, token=SecretFile(str(token)), headers={"X-Scope-OrgID": "me"})
        async with Adapter(config) as adapter:
            for _ in range(5):
                adapter.feed(b"a:1|c")
                await until(lambda: receiver.refused == 3 and len(receiver.requests) > 2)
            adapter.feed(b"a:5|c")
        values = receiver.values("a_total")
        assert values[:-1] == sorted(values[:-1])  # the last one is the stale marker
        assert values[-2] == 10.0
        assert values[-1] != values[-1]
        request, _ = receiver.requests[0]
        assert request.headers["Authorization"] == "Bearer s3cret"
        assert request.headers["X-Scope-OrgID"] == "me"
        assert request.headers["Content-Encoding"] == "snappy"
        assert adapter.events.lost == {}


class Second(Receiver):
    """A receiver of remote write 2.0, or one that does not know it, and says so by 415 or not at all."""

    def __init__(self, knows: bool | None) -> None:
        super().__init__()
        self.knows, self.versions, self.missed = knows, [], 0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        version = request.headers["X-Prometheus-Remote-Write-Version"]
        self.versions.append((version, request.headers["Content-Type"]))
        if version == "2.0.0" and self.knows is False:
            return web.Response(status=415, text="what is this?")
        self.requests.append((request, body))
        if not self.knows:
            return web.Response(status=204)  # a receiver of 1.0 finds nothing that it knows, and is content
        found = remote_write.read(bytes(cramjam.snappy.decompress_raw(body)), 2)
        return web.Response(
            status=204, headers={"X-Prometheus-Remote-Write-Samples-Written": str(len(found) - self.missed)}
        )


@pytest.mark.parametrize("knows", [True, False, None])
@pytest.mark.holds("remote write 2.0")
async def test_version_two_gives_way_to_one(knows: bool | None) -> None:
    """A receiver that knows 2.0 gets it, with types; any other gets the same samples in 1.0, and nothing is lost."""
    second = Second(knows)
    async with receiving_by(second):
        async with Adapter(made(second.url, interval="1h", version="2.0")) as adapter:
            adapter.feed(b"a:7|c\ng:1|g")
        bodies = [bytes(cramjam.snappy.decompress_raw(body)) for _, body in second.requests]
        new = ("2.0.0", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
        old = ("0.1.0", "application/x-protobuf")
        if knows:
            samples, ends = (remote_write.read(body, 2) for body in bodies)
            assert {(dict(each.labels)["__name__"], each.kind) for each in samples} == {
                ("a_total", "counter"),
                ("g", "gauge"),
            }
            assert second.versions == [new, new]
        else:
            samples, ends = (remote_write.read(body) for body in bodies[-2:])
            assert {dict(each.labels)["__name__"] for each in samples} == {"a_total", "g"}
            assert second.versions == [new, old, old]
        assert all(each.samples[0][0] != each.samples[0][0] for each in ends)
        assert adapter.events.lost == {}


@pytest.mark.holds("remote write 2.0")
async def test_samples_that_were_not_written_are_counted() -> None:
    """A receiver of 2.0 that says it has written fewer than were sent: a loss, with both numbers in the log."""
    second = Second(knows=True)
    second.missed = 1
    async with receiving_by(second):
        async with Adapter(made(second.url, interval="1h", version="2.0")) as adapter:
            adapter.feed(b"a:7|c\ng:1|g")
        assert adapter.events.lost == {"remote_write: partly_written": 2}


async def test_two_outputs_of_a_type_are_told_apart(capsys: pytest.CaptureFixture[str], unused_tcp_port: int) -> None:
    """Each has figures of its own under its name; where a delivery was to go stands in the log, without a password."""
    text = f"""
    adapter:
      inputs: [{{type: statsd, listen: "127.0.0.1:0"}}]
      outputs:
      - {{type: graphite, address: "127.0.0.1:{unused_tcp_port}", interval: 20ms, final_delivery: 0s}}
      - {{type: influx, url: "http://me:s3cret@127.0.0.1:{unused_tcp_port}/write", interval: 20ms, final_delivery: 0s}}
      - {{type: graphite, address: "127.0.0.1:{unused_tcp_port}", interval: 20ms, final_delivery: 0s}}
      - {{type: graphite, name: attic, address: "127.0.0.1:{unused_tcp_port}", interval: 1h, final_delivery: 0s}}
    """
    config = configuration.loads([("f.yaml", text)]).patterns["adapter"]
    async with Adapter(config) as adapter:
        adapter.feed(b"a:1|c")
        failures = adapter.context.telemetry.families["podpatterns_adapter_delivery_failures"]
        await until(lambda: {("graphite",), ("graphite-2",), ("influx",)} == set(failures.series))
    assert adapter.events.lost.keys() == {f"{name}: shutdown" for name in ("graphite", "graphite-2", "influx", "attic")}
    said = capsys.readouterr()
    assert "s3cret" not in said.err + said.out
    assert f"http://***@127.0.0.1:{unused_tcp_port}/write" in said.err + said.out


def test_two_outputs_of_a_name_are_refused() -> None:
    """Where the second one stands: its figures would be those of both."""
    text = "adapter:\n  inputs: [{type: statsd}]\n  outputs:\n  - {type: json, name: a}\n  - {type: json, name: a}\n"
    with pytest.raises(
        ConfigError, match=r'f\.yaml:5:\d+: adapter\.outputs\[1\]\.name: "a" is the name of two outputs'
    ):
        configuration.loads([("f.yaml", text)])


async def test_another_error_is_logged_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """One that goes on is logged at its 1st, 10th and 100th time, lest it flood the log."""
    events = AdapterEvents(Telemetry())
    for error in ["refused"] * 9 + ["answered 401", "answered 401", "refused"]:
        events.delivery_failed("otlp", "http://x/", error)
    said = capsys.readouterr()
    assert (said.err + said.out).count("adapter.delivery.failed") == 3  # the 10th is another one as well


async def test_a_token_that_is_none_is_waited_for(tmp_path: Path) -> None:
    """A file that is missing, empty or no line of text stops deliveries, not the adapter, until it is right."""
    token = tmp_path / "token"
    async with receiving() as receiver:
        config = made(receiver.url, token=SecretFile(str(token)))
        async with Adapter(config) as adapter:
            adapter.feed(b"a:1|c")
            for count, wrong in enumerate((None, b"", b"a\nb\n", b"\xff")):
                if wrong is not None:
                    token.write_bytes(wrong)
                output = adapter.outputs[0]
                with pytest.raises((Retryable, OSError), match=re.escape(str(token))):
                    await output.deliver(b"")  # type: ignore[attr-defined]
                assert not receiver.requests, count
            token.write_text("s3cret")
            await until(lambda: receiver.requests)


async def test_no_two_samples_have_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the clock stands still or is set back: a far side would refuse the later one."""
    clock = iter([100.0005, 100.0005, 99.0, 100.0006, *[100.0] * 1000])
    monkeypatch.setattr("podpatterns.adapter.pushing.time.time", lambda: next(clock))
    async with receiving() as receiver:
        async with Adapter(made(receiver.url, interval="1h")) as adapter:
            adapter.feed(b"a:7|c")
            for _ in range(4):
                await adapter.outputs[0]._take()  # type: ignore[attr-defined]
        stamps = [
            series.samples[0][1]
            for _, body in receiver.requests
            for series in remote_write.read(bytes(cramjam.snappy.decompress_raw(body)))
        ]
    assert len(stamps) == 6
    assert stamps == sorted(set(stamps))


async def test_the_last_samples_are_delivered_at_the_end() -> None:
    """A drain takes what came since the last interval, and ends every series."""
    async with receiving() as receiver:
        async with Adapter(made(receiver.url, interval="1h")) as adapter:
            adapter.feed(b"a:7|c")
            assert not receiver.requests
        values = receiver.values("a_total")
        assert values[0] == 7.0
        assert values[1] != values[1]


@pytest.mark.parametrize(("escaping", "name"), [("allow-utf-8", "http.requests"), ("dots", "http_dot_requests")])
async def test_names_are_escaped_for_receivers_of_the_old_alphabet(escaping: str, name: str) -> None:
    """As they are by default: Prometheus takes them since it has known this protocol."""
    config = made(Url("http://127.0.0.1:1/"), escaping=escaping).outputs[0]
    output = config.build(OutputContext("remote_write", Nothing(), AdapterEvents(Telemetry())))
    body, _ = output.render([Family("http.requests", "gauge", blocks=[""], values=[1.0])], "")
    (series,) = remote_write.read(body)
    assert dict(series.labels)["__name__"] == name


async def test_an_output_that_is_taken_out_delivers_its_last_samples() -> None:
    """As at the end: what has come since the last interval, and the end of every series."""
    async with receiving() as receiver:
        config = made(receiver.url, interval="1h")
        async with Adapter(config) as adapter:
            adapter.feed(b"a:7|c")
            page = PrometheusConfig(listen=ANY, final_scrape=Duration("0s"))
            await adapter.reload(AdapterConfig(inputs=config.inputs, outputs=[page], own_metrics=False))
            values = receiver.values("a_total")
            assert values[0] == 7.0
            assert values[1] != values[1]


@pytest.mark.holds("remote write retries")
async def test_what_is_refused_for_good_is_lost_and_counted() -> None:
    """A 400 is not tried again; the next delivery is."""
    async with receiving(400) as receiver:
        async with Adapter(made(receiver.url)) as adapter:
            adapter.feed(b"a:1|c")
            await until(lambda: receiver.requests)
        assert adapter.events.lost == {"remote_write: rejected": 1}
        assert [check.name for check in adapter.status().checks if not check.ok] == ["no delivery lost"]


async def test_a_far_side_that_is_down_costs_no_more_than_the_bound() -> None:
    """The oldest deliveries go, and are counted; the newest are there when it returns; the end is not waited for."""
    async with receiving(*[503] * 1_000_000) as receiver:
        config = made(receiver.url, interval="2ms", max_waiting=Size(200), final_delivery=Duration("10ms"))
        async with Adapter(config) as adapter:
            adapter.feed(b"a:1|c")
            await until(lambda: adapter.events.lost.get("remote_write: max_waiting", 0) > 20)
            assert adapter.outputs[0]._waiting.size <= 200  # type: ignore[attr-defined]
            adapter.feed(b"a:1|c")
            receiver.statuses.clear()
            await until(lambda: 2.0 in receiver.values("a_total"))
            receiver.statuses.extend([503] * 1_000_000)
        assert adapter.events.lost["remote_write: shutdown"] > 0


class Numbers(Push):
    """Pushes the numbers of its intervals; the far side is down while `down()`."""

    def __init__(self, config: PushConfig, down: Callable[[], bool]) -> None:
        context = OutputContext("numbers", Nothing(), AdapterEvents(Telemetry()))
        super().__init__(config, "nowhere", context)
        self.down, self.taken, self.tries, self.number = down, list[int](), 0, 0
        self.most = 0

    def encode(self, families: Sequence[Family], now: float) -> list[bytes]:
        self.number += 1
        return [b"%04d" % self.number]

    async def deliver(self, body: bytes) -> None:
        self.tries += 1
        self.most = max(self.most, self._waiting.size)
        if self.down():
            raise Retryable("down")
        self.taken.append(int(body))

    def render(self, families: Sequence[Family], accept: str) -> tuple[bytes, str]:
        return b"", ""


@pytest.mark.parametrize("u", [0.01, 0.5, 0.99])
def test_a_receiver_that_is_down_for_minutes(u: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes of virtual time: bounded memory, few tries, and afterwards what was kept, in order and each once."""
    monkeypatch.setattr("podpatterns.adapter.pushing.random.random", lambda: u)

    async def story() -> Numbers:
        loop = asyncio.get_running_loop()
        config = PushConfig(interval=Duration("1s"), timeout=Duration("1s"), max_waiting=Size(400))
        output = Numbers(config, lambda: 100 <= loop.time() < 700)
        task = asyncio.create_task(output.run())
        await asyncio.sleep(760)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await output.drain(Deadline(loop.time() + 10, loop.time))
        await output.stop()
        return output

    output = run_virtually(story())
    lost = output._events.lost["numbers: max_waiting"]
    assert output.most <= 400
    assert output.taken == [*range(1, 100), *range(output.number - len(output.taken) + 100, output.number + 1)]
    assert len(output.taken) + lost == output.number
    # A hundred wait; the far side is found back one pause late at most.
    assert 100 + 60 - u * 30 - 2 <= len(output.taken) - 99 <= 100 + 60 + 2
    assert output.tries - len(output.taken) <= 600 / (u * 30) + 10


async def test_influx_lines_are_posted(tmp_path: Path) -> None:
    """Every sample is a line with tags, the field `value` and a time; the token has InfluxDB's own scheme."""
    token = tmp_path / "token"
    token.write_text("s3cret")
    async with receiving() as receiver:
        config = InfluxOutputConfig(url=receiver.url, interval=Duration("1h"), token=SecretFile(str(token)))
        async with Adapter(pushing(config)) as adapter:
            adapter.feed(b"a:7|c|#k:x y")
            assert await adapter.page() == b"a_total,k=x\\ y value=7.0\n"
        ((request, body),) = receiver.requests
        assert re.fullmatch(rb"a_total,k=x\\ y value=7.0 [0-9]{13}000000\n", body)
        assert request.headers["Authorization"] == "Token s3cret"
    with pytest.raises(ValueError, match="precision"):
        InfluxOutputConfig(url=Url("http://x/write?precision=s"))


async def test_otlp_is_posted() -> None:
    """One request for an interval, with the resource; nothing is sent where there is nothing to say."""
    async with receiving() as receiver:
        config = OtlpConfig(url=receiver.url, interval=Duration("1h"), resource={"service.name": "shop"})
        async with Adapter(pushing(config)):
            pass
        assert not receiver.requests
        async with Adapter(pushing(config)) as adapter:
            adapter.feed(b"a:7|c")
            assert json.loads(await adapter.page())["resourceMetrics"]
        ((request, body),) = receiver.requests
        (sent,) = json.loads(body)["resourceMetrics"]
        assert sent["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "shop"}}]
        assert sent["scopeMetrics"][0]["metrics"][0]["sum"]["dataPoints"][0]["asDouble"] == 7.0
        assert request.headers["Content-Type"] == "application/json"


async def test_graphite_lines_survive_a_broken_connection() -> None:
    """A connection that the far side closes is opened anew, and the newest values come through it."""
    seen: list[bytes] = []
    connections = 0

    async def carbon(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        seen.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(carbon, "127.0.0.1", 0)
    address = Address(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    config = GraphiteOutputConfig(address=address, interval=Duration("5ms"), prefix="shop.")
    async with Adapter(pushing(config)) as adapter:
        adapter.feed(b"a:7|c|#k:v")
        assert await adapter.page() == b"shop.a_total;k=v 7 -1\n"
        await until(lambda: connections >= 3)
    assert all(re.fullmatch(rb"shop\.a_total;k=v 7 [0-9]{10}\n", line) for line in seen if line)
    assert seen[0]
    server.close()


@pytest.mark.parametrize(("field", "value"), [("prefix", "a b."), ("address", Address(":2003"))])
def test_mistakes_in_a_graphite_output_are_named(field: str, value: object) -> None:
    """Each blames its field."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the field is what counts
        GraphiteOutputConfig(**{"address": Address("x:1"), field: value})  # type: ignore[arg-type]
    assert error.value.field == field  # type: ignore[attr-defined]


def test_waiting_is_bounded_and_in_order() -> None:
    """The sizes add up; the newest stays however large; a body that was dropped meanwhile is not dropped twice."""
    waiting = Waiting(10)
    assert [waiting.put(body) for body in (b"aaaa", b"bbbb", b"cccc", b"d" * 50)] == [0, 0, 1, 2]
    assert (len(waiting), waiting.size, waiting.first) == (1, 50, b"d" * 50)
    waiting.drop(b"aaaa")
    assert len(waiting) == 1
    waiting.drop(waiting.first)
    assert (len(waiting), waiting.size) == (0, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("interval", Duration("0s")),
        ("timeout", Duration("0s")),
        ("headers", {"a b": "c"}),
        ("headers", {"a": "b\r\nc"}),
        ("headers", {"authorization": "Bearer x"}),
        ("labels", {"a-b": "c"}),
        ("labels", {"__name__": "c"}),
    ],
)
def test_mistakes_are_named(field: str, value: object) -> None:
    """Each blames its field."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the field is what counts
        RemoteWriteConfig(url=Url("http://x/"), **{field: value})  # type: ignore[arg-type]
    assert error.value.field.startswith(field)  # type: ignore[attr-defined]
    assert issubclass(RemoteWriteConfig, PushConfig)


@pytest.mark.e2e
@pytest.mark.parametrize("version", ["1.0", "2.0"])
async def test_prometheus_receives_what_is_pushed(version: str, tmp_path: Path) -> None:
    """A real Prometheus has the values under their labels, and the stale marker ends the series at once.

    Debian's Prometheus (2.42) does not know 2.0: it gets 1.0, and nothing is lost on the way there.
    """
    from tests.adapter.test_real_prometheus import prometheus

    async with prometheus("http://127.0.0.1:1/", tmp_path, "--web.enable-remote-write-receiver") as queries:
        url = Url(f"{queries._url}/api/v1/write")
        async with Adapter(made(url, interval="100ms", version=version)) as adapter:
            adapter.feed(b"shop.orders:3|c|#country:ch\nt:30|ms\nt:300|ms")
            await queries.comes_to('shop_orders_total{country="ch",job="shop"}', 3)
            await queries.comes_to('t_seconds_bucket{le="0.05"}', 1)
            await queries.comes_to("t_seconds_count", 2)
            adapter.feed(b"shop.orders:1|c|#country:ch")
            await queries.comes_to("shop_orders_total", 4)
        assert adapter.events.lost == {}

        async def stale() -> bool:
            return await queries.value("shop_orders_total") is None

        await until(stale, within=15)
