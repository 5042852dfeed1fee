"""Laws of the inputs for Graphite's and InfluxDB's lines, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import pickle
import socket
import struct
from pathlib import Path

import aiohttp
import pytest

from podpatterns.adapter import receiving
from podpatterns.adapter.config import AdapterConfig, SeriesConfig
from podpatterns.adapter.inputs import InputConfig
from podpatterns.adapter.inputs.graphite import GraphiteConfig
from podpatterns.adapter.inputs.influx import InfluxConfig
from podpatterns.adapter.mapping_config import MappingRuleConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.errors import StartError
from podpatterns.runtime.units import Address, Duration, Size
from tests.adapter.looking import samples, until

ANY = Address("127.0.0.1:0")


def made(source: InputConfig, **more: object) -> AdapterConfig:
    page = PrometheusConfig(listen=ANY, final_scrape=Duration("0s"))
    return AdapterConfig(inputs=[source], outputs=[page], own_metrics=False, **more)  # type: ignore[arg-type]


def port_of(adapter: Adapter) -> int:
    return adapter.inputs[0].address.port  # type: ignore[attr-defined, no-any-return]


async def test_graphite_over_tcp_byte_by_byte() -> None:
    """However a line is cut, it is one line; the last value wins, a sign does not make it a change."""
    async with Adapter(made(GraphiteConfig(listen=ANY))) as adapter:
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(adapter))
        for byte in b"shop.load;host=a 3 1700000000\nshop.load;host=a -2 1700000001\r\nshop.load nan 1\n":
            writer.write(bytes([byte]))
            await writer.drain()
        writer.write(b"shop.temp 4 -1")
        writer.close()
        await until(lambda: adapter.events.lines == 4)
        assert await samples(adapter) == {'shop_load{host="a"}': -2.0, "shop_temp": 4.0}
        assert adapter.events.refused == {"not_finite": 1}
        text = (await adapter.page()).decode()
        assert "# HELP shop_load Graphite metric shop.load." in text
        assert "# TYPE shop_load gauge" in text


async def test_graphite_over_udp_with_mapping_and_budget() -> None:
    """Rules for gauges apply to the dotted names; a dropped line counts; what is beyond the budget overflows."""
    rules = [
        MappingRuleConfig(match="debug.*", action="drop"),
        MappingRuleConfig(match="shop.*.load", name="shop_load", labels={"city": "$1"}, scale=2.0),
    ]
    config = made(GraphiteConfig(listen=ANY, protocol="udp"), mapping=rules, series=SeriesConfig(budget=2))
    async with Adapter(config) as adapter:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", port_of(adapter)))
            for _ in range(2):
                client.send(b"debug.x 1 1\nshop.zurich.load 3 1\nshop.bern.load 4 1\nshop.basel.load 5 1\nnew 1 1")
        await until(lambda: adapter.events.lines == 10)
        assert await samples(adapter) == {
            'shop_load{city="zurich"}': 6.0,
            'shop_load{city="bern"}': 8.0,
            'shop_load{overflow="true"}': 10.0,
            'podpatterns_overflow_gauges{overflow="true"}': 1.0,
        }
        assert adapter.events.unwanted == {"debug.*": 2}
        assert adapter.events.overflow == {"shop_load": 2, "": 2}
        assert adapter.events.refused == {}


def send(adapter: Adapter, datagram: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(datagram, ("127.0.0.1", port_of(adapter)))


async def test_long_graphite_lines_are_refused() -> None:
    """A line without end is refused, whether it comes in a datagram or over a connection."""
    async with Adapter(made(GraphiteConfig(listen=ANY, protocol="udp"))) as adapter:
        send(adapter, b"x" * 9000 + b" 1 1\na 1 1")
        await until(lambda: adapter.events.lines == 2)
        assert adapter.events.refused == {"too_long": 1}
        assert await samples(adapter) == {"a": 1.0}


async def test_idle_series_of_other_formats_expire() -> None:
    """An expired series is forgotten with its text, and begins anew with the next line."""
    config = made(GraphiteConfig(listen=ANY, protocol="udp"), series=SeriesConfig(expire=Duration("50ms")))
    async with Adapter(config) as adapter:
        send(adapter, b"a 1 1")
        await until(lambda: adapter.events.expired == {"gauge": 1})
        assert not adapter.store.metrics
        send(adapter, b"a 2 1")
        await until(lambda: adapter.events.lines == 2)
        assert await samples(adapter) == {"a": 2.0}


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is closed at once and counted; when one has gone, there is room again."""
    monkeypatch.setattr(receiving, "CLIENTS", 2)
    async with Adapter(made(GraphiteConfig(listen=ANY))) as adapter:
        clients = [await asyncio.open_connection("127.0.0.1", port_of(adapter)) for _ in range(2)]
        for _, writer in clients:
            writer.write(b"a 1 1\n")
        await until(lambda: adapter.events.lines == 2)
        reader, crowd = await asyncio.open_connection("127.0.0.1", port_of(adapter))
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert adapter.events._crowd.series[("graphite",)] == 1
        clients[0][1].close()
        await until(lambda: adapter.events._connections.series[("graphite",)] == 1)
        _, another = await asyncio.open_connection("127.0.0.1", port_of(adapter))
        another.write(b"a 2 1\n")
        await until(lambda: adapter.events.lines == 3)
        for writer in (crowd, another, clients[1][1]):
            writer.close()


async def test_requests_come_in_by_a_unix_socket(tmp_path: Path) -> None:
    """Whoever shares the volume may write to it; what a killed process left is taken over, and nothing stays behind."""
    path = tmp_path / "influx.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    config = made(InfluxConfig(listen=Address(f"unix:{path}")))
    async with Adapter(config) as adapter:
        assert path.stat().st_mode & 0o777 == 0o666
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as http,
            http.post("http://adapter/write", data=b"a v=1") as response,
        ):
            assert response.status == 204
        assert await samples(adapter) == {"a_v": 1.0}
        with pytest.raises(StartError, match="set `listen` of the influx input"):
            async with Adapter(config):
                pass
        assert path.exists()
    assert not path.exists()


async def test_influx_writes() -> None:
    """204 for what was taken, 400 naming the first refused line while the others count; gzip; both versions' paths."""
    async with Adapter(made(InfluxConfig(listen=ANY, max_body=Size(1000)))) as adapter, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{port_of(adapter)}"

        async def status(method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
            async with http.request(method, url + path, data=body, headers=headers) as response:
                return response.status, await response.text()

        line = b'cpu,host=a\\ b usage=1.5,value=2i,ok=t,note="x" 1700000000000000000\n'
        assert await status("POST", "/write?db=x", line) == (204, "")
        assert await samples(adapter) == {'cpu{host="a b"}': 2.0, 'cpu_usage{host="a b"}': 1.5, 'cpu_ok{host="a b"}': 1}
        assert adapter.events.skipped == {"text_field": 1}
        packed = {"Content-Encoding": "gzip"}
        body = gzip.compress(b'cpu usage=3 17\ncpu usage=nan 17\nt note="x"\n\xff v=1\nlast v=1')
        code, text = await status("POST", "/api/v2/write?precision=s", body, **packed)
        assert code == 400
        assert "3 lines" in text
        assert "nan" in text
        assert (await samples(adapter))["cpu_usage"] == 3.0
        assert (await samples(adapter))["last_v"] == 1.0
        assert adapter.events.refused == {"not_finite": 1, "no_number": 1, "not_utf8": 1}
        assert (await status("POST", "/write", gzip.compress(b"a" * 2000), **packed))[0] == 413
        assert (await status("POST", "/write", b"no gzip", **packed))[0] == 400
        assert (await status("POST", "/write", b"", **{"Content-Encoding": "br"}))[0] == 400
        assert (await status("POST", "/write?precision=w"))[0] == 400
        assert (await status("GET", "/ping"))[0] == 204
        assert (await status("GET", "/write"))[0] == 405
        assert (await status("POST", "/query", b"q=CREATE+DATABASE+%22shop%22"))[0] == 200
        assert (await status("GET", "/query?q=SHOW%20DATABASES"))[0] == 400
        assert (await status("GET", "/elsewhere"))[0] == 404


async def test_influx_over_a_unix_socket(tmp_path: Path) -> None:
    """Datagrams at a path, for containers that share a folder."""
    path = tmp_path / "influx.sock"
    async with Adapter(made(InfluxConfig(listen=Address(f"unix:{path}"), protocol="udp"))) as adapter:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"a value=1\na value=2", str(path))
        await until(lambda: adapter.events.lines == 2)
        assert await samples(adapter) == {"a": 2.0}


async def test_pickles_are_taken_where_that_is_wished() -> None:
    """Behind their lengths, byte by byte; one that could run something is refused, and the rest goes on."""
    async with Adapter(made(GraphiteConfig(listen=ANY, protocol="pickle"))) as adapter:
        _, writer = await asyncio.open_connection("127.0.0.1", adapter.inputs[0].address.port)  # type: ignore[attr-defined]
        for body in (
            pickle.dumps([("a;k=v", (1, 5)), ("b", (-1, float("nan"))), ("c" * 9000, (1, 1)), ("", (1, 1))]),
            pickle.dumps([print]),
            pickle.dumps([("a;k=v", (1_700_000_060, 6.5))], 0),
        ):
            for byte in struct.pack(">I", len(body)) + body:
                writer.write(bytes([byte]))
        await until(lambda: adapter.events.lines == 6)
        assert await samples(adapter) == {'a{k="v"}': 6.5}
        assert adapter.events.refused == {"not_finite": 1, "too_long": 1, "no_name": 1, "bad_pickle": 1}
        writer.close()


async def test_graphite_over_a_unix_stream(tmp_path: Path) -> None:
    """A line per line; the socket's file goes with the adapter, and a second adapter does not take it away."""
    path = tmp_path / "carbon.sock"
    config = made(GraphiteConfig(listen=Address(f"unix:{path}")))
    async with Adapter(config) as adapter:
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(b"a 1 -1\na 2 -1\n")
        await until(lambda: adapter.events.lines == 2)
        assert await samples(adapter) == {"a": 2.0}
        with pytest.raises(StartError, match=r"carbon\.sock"):
            await Adapter(config).__aenter__()
        writer.close()
    assert not path.exists()


@pytest.mark.parametrize("config", [GraphiteConfig, InfluxConfig])
async def test_a_taken_port_is_named(config: type) -> None:
    """StartError says whose address it is and what to change."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = Address(f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(StartError, match=f"{taken}.*`listen` of the (graphite|influx) input"):
            await Adapter(made(config(listen=taken))).__aenter__()
