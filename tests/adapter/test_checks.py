"""Each check against what it is about: it passes, and it fails with a reason that holds no secret."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import ssl
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from podpatterns.adapter.checks import CheckConfig
from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.health import HealthConfig
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.errors import ConfigError
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.units import Address
from podpatterns.testing.streams import FakeRedis
from tests.adapter.looking import until


def configured(**item: Any) -> CheckConfig:
    return decode(parse(json.dumps(item))[0], CheckConfig)


async def reason(config: CheckConfig) -> str:
    """What the health adapter makes of one check; empty if it passes."""
    health = HealthConfig(listen=Address("127.0.0.1:0"), checks=[config])
    async with Adapter(AdapterConfig(health=health)) as adapter:
        (watched,) = adapter.health[0].checks.values()
        await adapter.health[0].look(watched)
        return watched.reason


def alive(pid: int) -> bool:
    """Whoever inherits a process may leave it as a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def answering(answer: bytes):
    """A server that reads a request and answers it."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_tcp(tmp_path, unused_tcp_port):
    """Whoever accepts passes, on a port or a socket."""
    assert await reason(configured(type="tcp", address=f"127.0.0.1:{unused_tcp_port}")) == "connection refused"
    async with await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await reason(configured(type="tcp", address=f"127.0.0.1:{port}")) == ""
    path = tmp_path / "s"
    assert "no such file" in await reason(configured(type="tcp", address=f"unix:{path}"))
    async with await asyncio.start_unix_server(lambda r, w: w.close(), path):
        assert await reason(configured(type="tcp", address=f"unix:{path}")) == ""


async def test_command():
    """Exit code 0 passes; output is told only where that is asked for; a program that is missing is named."""
    assert await reason(configured(type="command", command=["true"])) == ""
    secret = ["sh", "-c", "echo password=hunter2; exit 7"]
    assert await reason(configured(type="command", command=secret)) == "exit code 7"
    shown = await reason(configured(type="command", command=secret, show_output=True))
    assert shown == "exit code 7: password=hunter2"
    assert "no-such-program cannot be run" in await reason(configured(type="command", command=["no-such-program"]))


async def test_a_command_is_ended_when_its_time_is_over(tmp_path):
    """With all that it has started."""
    pid = tmp_path / "pid"
    script = f"sh -c 'echo $$ > {pid}; sleep 60' & wait"
    began = time.monotonic()
    assert await reason(configured(type="command", command=["sh", "-c", script], timeout="500ms")) == (
        "no answer within 500ms"
    )
    assert time.monotonic() - began < 5
    await until(lambda: not alive(int(pid.read_text())))  # SIGKILL is sent by then, and takes its moment


@pytest.mark.parametrize(
    ("answer", "more", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nall is ready", {}, ""),
        (b"HTTP/1.1 200 OK\r\n\r\nall is ready", {"contains": "ready"}, ""),
        (b"HTTP/1.1 200 OK\r\n\r\nall is ready", {"contains": "green"}, "the page lacks the text"),
        (b"HTTP/1.1 302 Found\r\n\r\n", {}, ""),
        (b"HTTP/1.1 500 No\r\n\r\n", {}, "status 500"),
        (b"HTTP/1.1 500 No\r\n\r\n", {"status": "500"}, ""),
        (b"SSH-2.0\r\n", {}, "the answer is not HTTP"),
    ],
)
async def test_http(answer, more, expected):
    """The status decides, and the text where one is asked for."""
    server, port = await answering(answer)
    async with server:
        said = await reason(configured(type="http", url=f"http://u:hunter2@127.0.0.1:{port}/x", **more))
    assert said.startswith(expected)
    assert bool(said) == bool(expected)
    assert "hunter2" not in said


async def test_tls_that_fails_says_why(tmp_path):
    """The number of such an error is none of the system's, whose words for it would be about something else."""
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=shop"]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    subprocess.run(["openssl", *words, *files], check=True, capture_output=True)  # noqa: ASYNC221 - before anything runs
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        said = await reason(configured(type="http", url=url))
        assert said == "the certificate is refused: self-signed certificate"
        assert "closed without an answer" in await reason(configured(type="http", url=url, verify=False))

    async def greet(reader, writer):
        writer.write(b"220 shop ESMTP\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert await reason(configured(type="http", url=url)) == "no TLS: wrong version number"


@pytest.mark.parametrize("check", ["redis", "postgresql"])
async def test_a_password_that_cannot_be_read_is_told_from_a_server_that_cannot_be_reached(check, tmp_path):
    """The path is not told, nor what the file holds."""
    secret = tmp_path / "password"
    config = configured(type=check, address=f"unix:{tmp_path}/server", password=str(secret))
    assert await reason(config) == "the password cannot be read: no such file or directory"
    secret.write_bytes(b"hunter2\xff")
    assert await reason(config) == "the password cannot be read: does not hold text in utf-8"
    secret.write_bytes(b"hunter2")
    assert await reason(config) == "no such file or directory"


async def test_a_name_that_is_not_known():
    """In words, without the number that the resolver gives it."""
    said = await reason(configured(type="tcp", address="nowhere.invalid:1", remote=True, timeout="5s"))
    assert said
    assert "[" not in said


async def test_redis(tmp_path, unused_tcp_port):
    """PONG passes; a password that is wrong and a server that is loading do not."""
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    async with FakeRedis(password="hunter2") as server:
        assert await reason(configured(type="redis", address=server.address, password=str(secret))) == ""
        assert "NOAUTH" in await reason(configured(type="redis", address=server.address))
        secret.write_text("other")
        said = await reason(configured(type="redis", address=server.address, password=str(secret)))
        assert "WRONGPASS" in said
        assert "other" not in said
    async with FakeRedis() as server:
        server.errors.append("LOADING Redis is loading the dataset in memory")
        assert "LOADING" in await reason(configured(type="redis", address=server.address))
    assert await reason(configured(type="redis", address=f"127.0.0.1:{unused_tcp_port}")) == "connection refused"


async def test_sqlite(tmp_path):
    """A query that is answered passes; writing, a file that is none and an answer that is not expected do not."""
    path = tmp_path / "shop.db"
    said = await reason(configured(type="sqlite", path=str(path)))
    assert said == "unable to open database file: no such file or directory"
    assert not path.exists()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE products (name)")
        database.commit()
    assert await reason(configured(type="sqlite", path=str(path))) == ""
    counted = {"type": "sqlite", "path": str(path), "query": "SELECT count(*) > 0 FROM products"}
    assert await reason(configured(**counted, expect="0")) == ""
    assert await reason(configured(**counted, expect="1")) == "the query gives another value than is expected"
    assert await reason(configured(type="sqlite", path=str(path), query="SELECT NULL", expect="null")) == ""
    assert "no such table" in await reason(configured(type="sqlite", path=str(path), query="SELECT 1 FROM nowhere"))
    assert "readonly" in await reason(
        configured(type="sqlite", path=str(path), query="WITH x AS (SELECT 1) INSERT INTO products SELECT 1")
    )
    (tmp_path / "text").write_text("not a database, though it is long enough to be looked at by SQLite" * 20)
    assert "not a database" in await reason(configured(type="sqlite", path=str(tmp_path / "text")))
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    began = time.monotonic()
    said = await reason(configured(type="sqlite", path=str(path), query=endless, timeout="300ms"))
    assert said in ("no answer within 300ms", "interrupted")
    assert time.monotonic() - began < 3


async def test_file(tmp_path):
    """Fresh passes; old and missing do not."""
    path = tmp_path / "heartbeat"
    assert await reason(configured(type="file", path=str(path), max_age="1m")) == "there is no such file"
    path.touch()
    assert await reason(configured(type="file", path=str(path), max_age="1m")) == ""
    os.utime(path, (0, time.time() - 90))
    assert "last written to 90 s ago" in await reason(configured(type="file", path=str(path), max_age="1m"))


async def test_metric_of_a_page():
    """Every series that is meant must lie within the limits."""
    page = b'HTTP/1.1 200 OK\r\n\r\n# TYPE depth gauge\ndepth{queue="a"} 3\ndepth{queue="b"} 70\ndepth{queue="c"} NaN\n'
    server, port = await answering(page)
    async with server:
        ask = {"type": "metric", "metric": "depth", "url": f"http://127.0.0.1:{port}/metrics"}
        assert await reason(configured(**ask, labels={"queue": "a"}, max=10)) == ""
        assert await reason(configured(**ask, labels={"queue": "b"}, max=10)) == "70 is more than 10"
        assert await reason(configured(**ask, labels={"queue": "a"}, min=5, max=10)) == "3 is less than 5"
        assert await reason(configured(**ask, max=100)) == "the value is not a number"
        assert await reason(configured(**ask, labels={"queue": "d"}, max=10)) == "there is no such series"
        assert await reason(configured(**ask, labels={"queue": "d"}, max=10, absent=True)) == ""


async def test_metric_that_the_adapter_holds():
    """Also by the names that only the page has."""
    depth = configured(type="metric", metric="shop_depth", max=10)
    timer = configured(type="metric", metric="shop_time_seconds_count", min=1)
    config = AdapterConfig(
        inputs=[StatsdConfig(listen=Address("127.0.0.1:0"))],
        outputs=[PrometheusConfig(listen=Address("127.0.0.1:0"))],
        health=HealthConfig(listen=Address("127.0.0.1:0"), checks=[depth, timer]),
    )
    async with Adapter(config) as adapter:
        health = adapter.health[0]
        for lines, expected in (
            (b"", ["there is no such series", "there is no such series"]),
            (b"shop.depth:7|g\nshop.time:20|ms\n", ["", ""]),
            (b"shop.depth:70|g\n", ["70 is more than 10", ""]),
        ):
            adapter.feed(lines)
            for watched in health.checks.values():
                await health.look(watched)
            assert [watched.reason for watched in health.checks.values()] == expected
        page = (await adapter.page()).decode()
    assert 'podpatterns_adapter_check_up{check="metric"} ' in page
    assert 'podpatterns_adapter_check_runs_total{check="metric",result="failed"}' in page


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"type": "tcp", "address": "db.shop:5432"}, '"db.shop" is not this pod; set "remote: true"'),
        ({"type": "tcp", "address": ":80"}, "names no host"),
        ({"type": "http", "url": "http://example.org/"}, "is not this pod"),
        ({"type": "redis", "address": "cache:6379"}, "is not this pod"),
        ({"type": "postgresql", "address": "db:5432"}, "is not this pod"),
        ({"type": "metric", "metric": "x", "max": 1, "url": "http://example.org/"}, "is not this pod"),
        ({"type": "metric", "metric": "x"}, "needs a limit"),
        ({"type": "metric", "metric": "x", "min": 3, "max": 1}, "max: is less than min, 3"),
        ({"type": "http", "url": "http://127.0.0.1/", "status": "399-200"}, '"399-200" ends before it begins'),
        ({"type": "http", "url": "http://127.0.0.1/", "status": "2xx"}, 'a range, such as .*, not "2xx"'),
        ({"type": "command", "command": []}, "at least 1"),
        ({"type": "sqlite", "path": "/x", "query": "DELETE FROM x"}, "query: must be a statement that reads: SELECT"),
        ({"type": "postgresql", "query": "EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1"}, "query"),
        ({"type": "file", "path": "/x", "max_age": "0s"}, "longer than"),
        ({"type": "tcp", "address": "127.0.0.1:1", "interval": "0s"}, "longer than"),
        ({"type": "tcp", "address": "127.0.0.1:1", "name": "a/b"}, "name"),
    ],
)
def test_what_is_refused(item, message):
    """Mistakes, and the way out of the pod unless it is meant."""
    with pytest.raises(ConfigError, match=message):
        configured(**item)
    if "is not this pod" in message:
        configured(**item, remote=True)


def test_every_check_says_what_it_asks_without_secrets():
    """For `explain`."""
    password = "/var/run/secrets/hunter2"
    for item in (
        {"type": "redis", "password": password},
        {"type": "postgresql", "password": password},
        {"type": "http", "url": "http://me:hunter2@127.0.0.1/"},
        {"type": "command", "command": ["check", "hunter2"]},
    ):
        said = configured(**item).asks()
        assert said
        assert "hunter2" not in said
    assert configured(type="metric", metric="d", labels={"q": "a"}, max=9).asks() == (
        'compare d{q="a"} with max 9, from what the adapter shows'
    )
