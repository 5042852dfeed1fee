"""Laws of the running adapter: sockets, scrapes, reload, drain; and of every component of its slots."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import time
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from podpatterns.adapter.config import AdapterConfig, SeriesConfig
from podpatterns.adapter.inputs import InputConfig
from podpatterns.adapter.inputs.graphite import GraphiteConfig
from podpatterns.adapter.inputs.scrape import ScrapeConfig
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.outputs import OutputConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig, _patience
from podpatterns.adapter.runtime import Adapter
from podpatterns.adapter.transforms import TransformConfig
from podpatterns.adapter.transforms.python import PythonConfig
from podpatterns.adapter.transforms.rename import RenameConfig
from podpatterns.errors import ConfigError, StartError
from podpatterns.formats import openmetrics, prometheus_protobuf
from podpatterns.formats.accept import OPENMETRICS, PROTOBUF, TEXT_1, negotiate
from podpatterns.formats.families import Family
from podpatterns.formats.prometheus import parse
from podpatterns.runtime import config as configuration
from podpatterns.runtime.components import load_all, slot_of
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse as yaml
from podpatterns.runtime.service import Deadline, Request
from podpatterns.runtime.units import Address, Duration, FunctionRef, Size, Url
from tests.adapter.looking import until, values

ANY = Address("127.0.0.1:0")


def made(*inputs: InputConfig, final: str = "0s", **more: object) -> AdapterConfig:
    page = PrometheusConfig(listen=ANY, final_scrape=Duration(final))
    return AdapterConfig(inputs=list(inputs) or [StatsdConfig(listen=ANY)], outputs=[page], **more)  # type: ignore[arg-type]


async def fetched(url: str, accept: str = "", **headers: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Accept": accept, **headers}) as response:
        return response.status, response.headers["Content-Type"], await response.text()


def samples(page: bytes | str) -> dict[str, float]:
    return values(parse(page))


@pytest.mark.holds("start times")
async def test_a_series_says_since_when_it_counts() -> None:
    """Its first increment is not lost: whoever reads start times knows that it was zero then. Text has none."""
    began = time.time()
    async with Adapter(made(own_metrics=False)) as adapter:
        adapter.feed(b"a:1|c\nt:30|ms\ng:1|g")
        counter, timer, gauge = openmetrics.parse(await adapter.page(OPENMETRICS.content_type))
        assert counter.starts is not None
        assert began - 1 < counter.starts[0] <= time.time()
        assert timer.starts is not None
        assert timer.starts[-1] == counter.starts[0]
        assert gauge.starts is None
        protobuf = prometheus_protobuf.parse(await adapter.page(PROTOBUF.content_type))
        assert protobuf[0].starts == counter.starts
        assert b"created" not in await adapter.page()


async def test_a_page_is_compressed_for_who_takes_gzip() -> None:
    """The same page, a tenth as long; one that fits into a packet, and one for all others, goes as it is."""
    async with Adapter(made(own_metrics=False)) as adapter, aiohttp.ClientSession(auto_decompress=False) as session:

        async def asked(accepted: str) -> tuple[str | None, bytes]:
            async with session.get(adapter.url, headers={"Accept-Encoding": accepted}) as response:
                assert response.headers["Vary"] == "Accept, Accept-Encoding"
                return response.headers.get("Content-Encoding"), await response.read()

        adapter.feed(b"a:1|c")
        assert await asked("gzip") == (None, await adapter.page())
        adapter.feed(b"\n".join(b"shop.orders:1|c|#customer:%d" % number for number in range(500)))
        page = await adapter.page()
        encoding, body = await asked("gzip")
        assert (encoding, gzip.decompress(body)) == ("gzip", page)
        assert len(body) < len(page) / 4
        assert await asked("identity") == (None, page)


@pytest.mark.holds("negotiation", "escaping")
async def test_names_in_utf8_are_negotiated() -> None:
    """Whoever takes them gets them in quotes; all others get them escaped as they ask, by default by underscores."""

    def dotted(families: list[Family]) -> list[Family]:
        for family in families:
            family.name = family.name.replace("_", ".")
        return families

    transforms = [PythonConfig(function=FunctionRef(dotted))]
    async with Adapter(made(own_metrics=False, transforms=transforms)) as adapter:
        adapter.feed(b"shop.size:1|g")
        for accept, line in (
            ("", "shop_size 1"),
            ("text/plain;version=1.0.0;escaping=allow-utf-8", '{"shop.size"} 1'),
            ("text/plain;version=0.0.4;escaping=dots", "shop_dot_size 1"),
            ("application/openmetrics-text;version=1.0.0;escaping=values", "U__shop_2e_size 1"),
        ):
            _, kind, text = await fetched(adapter.url, accept)
            assert line in text.splitlines()
            assert accept.partition(";")[0] in kind


@pytest.mark.holds("quarantine")
async def test_a_family_that_cannot_be_written_is_left_out() -> None:
    """The page is answered with the others, and names it."""

    def spoil(families: list[Family]) -> list[Family]:
        for family in families:
            if family.name == "bad":
                family.help = "\ud800"
        return families

    async with Adapter(made(transforms=[PythonConfig(function=FunctionRef(spoil))])) as adapter:
        adapter.feed(b"bad:1|g\ngood:1|g")
        status, _, text = await fetched(adapter.url)
        assert status == 200
        assert "good 1" in text
        assert "\nbad " not in text
        again = samples((await fetched(adapter.url))[2])
        name = 'podpatterns_adapter_quarantined_samples{family="bad",reason="unwritable_UnicodeEncodeError"}'
        assert again[name] == 1


async def test_udp_lines_become_a_page() -> None:
    """Every line of every datagram is on the page, in the form that the scraper prefers."""
    async with Adapter(made()) as adapter:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", adapter.inputs[0].address.port))  # type: ignore[attr-defined]
            for _ in range(50):
                client.send(b"a:1|c|#k:v\nb:2|g\nt:30|ms")
            client.send(b"a:NaN|c\n")
        await until(lambda: adapter.events.lines == 151)
        status, kind, text = await fetched(adapter.url)
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores")
        found = samples(text)
        assert found['a_total{k="v"}'] == 50
        assert found["t_seconds_count"] == 50
        assert found['podpatterns_adapter_lines_refused_total{reason="not_finite"}'] == 1
        _, kind, text = await fetched(adapter.url, "application/openmetrics-text;version=1.0.0")
        assert kind.startswith("application/openmetrics-text")
        assert text.endswith("# EOF\n")
        assert adapter.status().facts["page"] == adapter.url
        assert [check.name for check in adapter.status().checks if not check.ok] == ["no line refused"]


async def test_unix_datagrams_and_a_stale_socket(tmp_path: Path) -> None:
    """A socket file that a killed process left behind is replaced; one that is in use is not."""
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(str(path))
    config = made(StatsdConfig(listen=Address(f"unix:{path}")))
    async with Adapter(config) as adapter:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"a:1|c", str(path))
        await until(lambda: adapter.events.lines == 1)
        with pytest.raises(StartError, match=r"s\.sock"):
            await Adapter(config).__aenter__()
    assert not path.exists()


async def test_tcp_lines_byte_by_byte() -> None:
    """Lines may come in pieces; the last one needs no newline; a line without end is refused and skipped."""
    async with Adapter(made(StatsdConfig(listen=ANY, protocol="tcp"))) as adapter:
        port = adapter.inputs[0].address.port  # type: ignore[attr-defined]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        for byte in b"a:1|c\na:2|c\n":
            writer.write(bytes([byte]))
            await writer.drain()
        writer.write(b"x" * 100_000)
        await writer.drain()
        writer.write(b"xx\na:4|c")
        writer.close()
        await until(lambda: adapter.store.metrics.get("a_total") and samples_of(adapter) == 7)
        assert adapter.events.refused == {"too_long": 1}


def samples_of(adapter: Adapter) -> float:
    return next(iter(adapter.store.families())).values[0]


async def test_a_taken_port_is_named() -> None:
    """StartError says which address and what to change, for input and output."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.create_server(("127.0.0.1", 0)) as tcp:
        udp.bind(("127.0.0.1", 0))
        taken = Address(f"127.0.0.1:{udp.getsockname()[1]}")
        with pytest.raises(StartError, match=f"{taken}.*listen"):
            await Adapter(made(StatsdConfig(listen=taken))).__aenter__()
        page = Address(f"127.0.0.1:{tcp.getsockname()[1]}")
        config = AdapterConfig(inputs=[StatsdConfig(listen=ANY)], outputs=[PrometheusConfig(listen=page)])
        with pytest.raises(StartError, match=f"{page}.*listen"):
            await Adapter(config).__aenter__()


async def exporter(handler) -> tuple[web.AppRunner, Url]:
    app = web.Application()
    app.router.add_get("/metrics", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, Url(f"http://127.0.0.1:{runner.addresses[0][1]}/metrics")


@pytest.mark.holds("deadline")
async def test_scraped_pages_are_merged() -> None:
    """A source's page stands on ours with its labels; broken lines, errors and late answers leave the rest alone."""
    hold = asyncio.Event()

    async def good(_request: web.Request) -> web.Response:
        return web.Response(text="# TYPE r gauge\nr 1\nbroken\n")

    async def late(_request: web.Request) -> web.Response:
        await hold.wait()
        return web.Response()

    async def down(_request: web.Request) -> web.Response:
        raise web.HTTPInternalServerError

    runners, inputs = [], []
    for name, handler in (("good", good), ("late", late), ("down", down)):
        runner, url = await exporter(handler)
        runners.append(runner)
        inputs.append(ScrapeConfig(url=url, name=name, labels={"source": name}))
    async with Adapter(made(*inputs)) as adapter:
        status, _, text = await fetched(adapter.url, **{"X-Prometheus-Scrape-Timeout-Seconds": "0.3"})
        assert status == 200
        found = samples(text)
        assert found['r{source="good"}'] == 1
        up = [found[f'{name}_up{{source="{name}"}}'] for name in ("good", "late", "down")]
        assert up == [1, 0, 0]
        hold.set()
    for runner in runners:
        await runner.cleanup()


PAGE = """\
# TYPE a counter
a_total{"http.route"="/x"} 3
# TYPE h histogram
h_bucket{le="1.0"} 2
h_bucket{le="+Inf"} 3
h_count 3
h_sum 4.5
# EOF
"""


@pytest.mark.parametrize("prefer", ["text", "openmetrics", "protobuf"])
async def test_a_source_is_asked_for_the_form_that_is_preferred(prefer: str) -> None:
    """Whatever it answers in says the same on our page; names in UTF-8 come through, native histograms in protobuf."""
    families = openmetrics.parse(PAGE)
    native = bytes.fromhex("2802")  # schema: 1, as sint32
    families[1].natives = {next(at for at, each in enumerate(families[1].suffixes or ()) if each == "_count"): native}

    async def answer(request: web.Request) -> web.Response:
        form = negotiate(request.headers["Accept"])
        assert form.escaping == "allow-utf-8"
        assert {"text": TEXT_1, "openmetrics": OPENMETRICS, "protobuf": PROTOBUF}[prefer].media_type == form.media_type
        return web.Response(body=form.render(families), headers={"Content-Type": form.content_type})

    runner, url = await exporter(answer)
    source = ScrapeConfig(url=url, name="app", prefer=prefer)  # type: ignore[arg-type]
    async with Adapter(made(source, own_metrics=False)) as adapter:
        found = {family.name: family for family in await adapter.collect()}
        assert found["a_total"].blocks == ['{"http.route"="/x"}']
        assert found["app_up"].values == [1.0]
        assert dict(zip(found["h"].keys(), found["h"].values, strict=True))["_count"] == 3
        assert [*found["h"].natives.values()] == ([native] if prefer == "protobuf" else [])
    await runner.cleanup()


async def test_a_protobuf_page_that_is_none_is_a_failure() -> None:
    """Cut short, it is not half taken in: the source is down, and the reason is in the log."""

    async def answer(_request: web.Request) -> web.Response:
        body = PROTOBUF.render(openmetrics.parse(PAGE))[:-1]
        return web.Response(body=body, headers={"Content-Type": PROTOBUF.content_type})

    runner, url = await exporter(answer)
    async with Adapter(made(ScrapeConfig(url=url, name="app"), own_metrics=False)) as adapter:
        assert samples(await adapter.page()) == {"app_up": 0}
    await runner.cleanup()


def test_a_remote_source_must_be_meant() -> None:
    """What is not on loopback is refused unless the file allows it."""
    with pytest.raises(ValueError, match="remote: true"):
        ScrapeConfig(url=Url("http://example.com/"), name="x")
    ScrapeConfig(url=Url("http://example.com/"), name="x", remote=True)


@pytest.mark.holds("deadline")
def test_patience() -> None:
    """Sources get nine tenths of the scraper's timeout, and the configured time where it makes no sense."""
    assert [_patience(text, 9.0) for text in ("10", "", "x", "-1", "nan", "inf")] == [9.0, 9.0, 9.0, 9.0, 9.0, 9.0]
    assert _patience("1", 9.0) == 0.9


@pytest.mark.parametrize(
    ("text", "blamed"),
    [
        (
            "inputs: [{type: statsd}]\n  outputs: [{type: prometheus}, {type: prometheus, path: /x}]",
            "outputs[1].listen",
        ),
        (
            "inputs: [{type: statsd, listen: ':9102', protocol: tcp}]\n  outputs: [{type: prometheus}]",
            "outputs[0].listen",
        ),
        (
            (
                "inputs: [{type: influx, listen: '127.0.0.1:9805'}]\n  outputs: [{type: prometheus}]\n"
                "  health: {checks: [{type: redis}]}"
            ),
            "health.listen",
        ),
        ("inputs: [{type: statsd, listen: ':9102'}]\n  outputs: [{type: prometheus}]", ""),
        ("inputs: [{type: statsd}, {type: statsd, protocol: tcp}]\n  outputs: [{type: prometheus}]", ""),
        (
            (
                "inputs: [{type: influx, listen: '127.0.0.1:7'}, {type: influx, listen: '127.0.0.2:7'}]\n"
                "  outputs: [{type: prometheus}]"
            ),
            "",
        ),
    ],
)
def test_a_port_is_listened_on_once(text: str, blamed: str) -> None:
    """A datagram's and a connection's are two, and so are those of two addresses; `check` names what meets."""
    if not blamed:
        configuration.loads([("f.yaml", f"adapter:\n  {text}\n")])
        return
    with pytest.raises(ConfigError, match=rf"f\.yaml:\d+:\d+: adapter\.{re.escape(blamed)}: port \d+ is that of \w"):
        configuration.loads([("f.yaml", f"adapter:\n  {text}\n")])


async def test_reload_keeps_the_counters() -> None:
    """Transforms and outputs change, the store and the untouched input's socket survive; a bad change undoes itself."""
    config = made()
    async with Adapter(config) as adapter:
        adapter.feed(b"a:1|c\n")
        source, before = adapter.inputs[0], adapter.outputs[0]
        await adapter.reload(made(config.inputs[0], transforms=[RenameConfig(prefix="x_")]))
        assert adapter.inputs[0] is source
        assert adapter.outputs[0] is before
        adapter.feed(b"a:1|c\n")
        assert samples(await adapter.page())["x_a_total"] == 2
        with socket.create_server(("127.0.0.1", 0)) as server:
            taken = PrometheusConfig(listen=Address(f"127.0.0.1:{server.getsockname()[1]}"))
            with pytest.raises(StartError):
                await adapter.reload(AdapterConfig(inputs=config.inputs, outputs=[taken]))
        status, _, text = await fetched(adapter.url)
        assert status == 200
        assert samples(text)["x_a_total"] == 2
        with pytest.raises(StartError, match="restart"):
            await adapter.reload(made(series=SeriesConfig(budget=5)))
        other = AdapterConfig(
            inputs=config.inputs, outputs=[PrometheusConfig(listen=ANY, path="/other", final_scrape=Duration("0s"))]
        )
        await adapter.reload(other)
        assert adapter.url.endswith("/other")
        assert samples((await fetched(adapter.url))[2])["a_total"] == 2


async def test_a_change_before_it_runs_leaves_nothing_behind() -> None:
    """What was closed for it is closed and does not run; a change that comes at the end is refused."""
    adapter = Adapter(made())
    await adapter.start()
    address = adapter.inputs[0].address  # type: ignore[attr-defined]
    await adapter.reload(made(GraphiteConfig(listen=ANY)))
    running = asyncio.create_task(adapter.run())
    await until(lambda: any(task.get_name().startswith("graphite") for task in asyncio.all_tasks()))
    assert not any(task.get_name().startswith("statsd") for task in asyncio.all_tasks())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", address.port))  # which nobody has any more
    running.cancel()
    await asyncio.wait([running])
    await adapter.stop()
    with pytest.raises(StartError, match="ending"):
        await adapter.reload(made())


async def test_an_input_that_is_exchanged_takes_in_what_has_arrived() -> None:
    """The datagrams that lie in its socket would be gone with it."""
    async with Adapter(made(StatsdConfig(listen=ANY, buffer=Size("1MiB")))) as adapter:
        address = adapter.inputs[0].address  # type: ignore[attr-defined]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(500):
                sender.sendto(b"a:1|c", (address.host, address.port))
        await adapter.reload(made(StatsdConfig(listen=ANY, protocol="tcp")))
        assert samples(await adapter.page())["a_total"] == 500


async def test_drain_waits_for_one_more_scrape() -> None:
    """Who has scraped before gets the last samples; nobody is waited for who never came."""
    adapter = Adapter(made(final="30s"))
    loop = asyncio.get_running_loop()
    async with adapter:
        adapter.feed(b"a:1|c")
        await fetched(adapter.url)
        adapter.feed(b"a:1|c")
        drained = asyncio.create_task(adapter.drain(Deadline(loop.time() + 60, loop.time)))
        await asyncio.sleep(0)
        assert samples((await fetched(adapter.url))[2])["a_total"] == 2
        async with asyncio.timeout(5):
            await drained
        adapter.outputs[0].config = PrometheusConfig(listen=ANY, final_scrape=Duration("0s"))  # type: ignore[attr-defined]
    async with asyncio.timeout(5), Adapter(made(final="30s")):
        pass


async def test_series_route() -> None:
    """The admin endpoint tells how many series there are, whose, and what was refused."""
    async with Adapter(made(series=SeriesConfig(budget=2))) as adapter:
        (route,) = adapter.routes()
        assert not route.public
        adapter.feed(b"a:1|c|#x:1\na:1|c|#x:2\na:1|c|#x:3\nb:1|c")
        reply = await route.handle(Request({"top": "1"}))
        assert reply.data["series"] == 2
        assert reply.data["top"] == [{"metric": "a_total", "series": 3}]
        assert reply.data["overflowed_samples"] == {"a_total": 1, "": 1}
        assert (await route.handle(Request({"top": "x"}))).status == 400


def test_config_from_yaml_and_its_mistakes() -> None:
    """One screen of YAML; each mistake is told."""
    good = "adapter:\n  inputs: [{type: statsd}]\n  outputs: [{type: prometheus}]\n"
    assert isinstance(configuration.loads([("a.yaml", good)]).patterns["adapter"], AdapterConfig)
    bad = "adapter:\n  inputs: []\n  outputs: [{type: prometeus}]\n  series: {buckets: [2, 1], budgt: 1}\n"
    with pytest.raises(ConfigError) as error:
        configuration.loads([("a.yaml", bad)])
    assert "prometheus" in str(error.value)
    assert "budget" in str(error.value)
    with pytest.raises(ConfigError, match="at least one"):
        configuration.loads([("a.yaml", "adapter: {inputs: [], outputs: [{type: prometheus}]}")])


def test_explain_says_what_becomes_of_each_line() -> None:
    """Read, refused with its reason, skipped, dropped, renamed."""
    text = "\n".join(made(transforms=[RenameConfig(prefix="x_")]).explain("a:1|c|@0.5|#k:v\na:NaN|c\n_sc|x|0\nu:y|s\n"))
    for part in ('becomes   x_a_total{k="v"} 2', "rate 0.5", "refused   not_finite", "skipped", "becomes   x_u 1"):
        assert part in text
    assert list(made().explain(None))


COMPONENTS = [(base, cls) for base in (InputConfig, TransformConfig, OutputConfig) for cls in load_all(slot_of(base))]


@pytest.mark.parametrize(("base", "cls"), COMPONENTS, ids=[cls.__name__ for _, cls in COMPONENTS])
async def test_every_component_runs_drains_and_stops(base: type, cls: type) -> None:
    """Its example is valid; it starts, drains, survives cancellation and leaves no task; its page reports on it."""
    component = decode(yaml(cls.EXAMPLE)[0], base)  # type: ignore[attr-defined]
    if getattr(component, "listen", None) is not None:
        component = type(component)(listen=ANY)
    if base is InputConfig:
        config = made(component)
    elif base is TransformConfig:
        config = made(transforms=[component])
    else:
        if hasattr(component, "final_delivery"):  # nobody is there to take it
            component = msgspec.structs.replace(component, final_delivery=Duration("0s"))
        page = PrometheusConfig(listen=ANY, final_scrape=Duration("0s"))
        config = AdapterConfig(inputs=[StatsdConfig(listen=ANY)], outputs=[page, component])
    before = asyncio.all_tasks()
    with pytest.raises(asyncio.CancelledError):  # noqa: PT012
        async with Adapter(config) as adapter:
            adapter.feed(b"a:1|c")
            assert "podpatterns_adapter_lines_total" in samples(await adapter.page())
            raise asyncio.CancelledError
    assert asyncio.all_tasks() == before
