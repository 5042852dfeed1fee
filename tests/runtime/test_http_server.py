"""The server of the admin endpoint: strict, small, and never in the way of a probe."""

import asyncio
import subprocess
import sys
from contextlib import suppress

import pytest

from podpatterns.runtime import http_server
from podpatterns.runtime.admin import Admin
from podpatterns.runtime.events import RuntimeEvents
from podpatterns.runtime.http_server import BadRequest, HttpReply, HttpServer, read_head
from podpatterns.runtime.phases import Phase
from podpatterns.runtime.service import Reply, Route
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Address


def head(*fields, line=b"GET / HTTP/1.1", host=b"Host: a"):
    return b"\r\n".join([line, *([host] if host else []), *fields]) + b"\r\n\r\n"


READ = {
    "the least": (head(), ("GET", "/", {}, "a", True)),
    "a query": (head(line=b"GET /a%20b?x=1&x=2&y= HTTP/1.1"), ("GET", "/a b", {"x": "2", "y": ""}, "a", True)),
    "HTTP/1.0": (head(line=b"GET / HTTP/1.0", host=None), ("GET", "/", {}, None, False)),
    "close": (head(b"Connection: x, Close"), ("GET", "/", {}, "a", False)),
    "absolute form": (head(line=b"GET http://b:1/c?d=e HTTP/1.1"), ("GET", "/c", {"d": "e"}, "b:1", True)),
    "a path like a host": (head(line=b"GET //localhost/x HTTP/1.1"), ("GET", "//localhost/x", {}, "a", True)),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name):
    """Path and query without their escapes; the Host is the one that the client means, and no path can pose as one."""
    data, (method, path, query, host, persistent) = READ[name]
    request = read_head(data)
    assert (request.method, request.path, request.query) == (method, path, query)
    assert (request.fields.get("host"), request.persistent) == (host, persistent)


REFUSED = {
    "not HTTP": (b"\x16\x03\x01\r\n\r\n", 400),
    "HTTP/2": (head(line=b"GET / HTTP/2.0"), 400),
    "no Host": (head(host=None), 400),
    "two Hosts": (head(b"Host: b"), 400),
    "two Origins": (head(b"Origin: http://localhost", b"Origin: http://evil"), 400),
    "two lengths": (head(b"Content-Length: 1", b"content-length: 1"), 400),
    "a length that is no number": (head(b"Content-Length: +1"), 400),
    "another coding": (head(b"Transfer-Encoding: gzip, chunked"), 501),
    "chunks of a length": (head(b"Transfer-Encoding: chunked", b"Content-Length: 1"), 400),
    "chunks in HTTP/1.0": (head(b"Transfer-Encoding: chunked", line=b"PUT / HTTP/1.0"), 400),
    "two codings": (head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    "a large body": (head(b"Content-Length: 1048577"), 413),
    "space before the colon": (head(b"A : b"), 400),
    "folding": (head(b"A: b\r\n c"), 400),
    "bare CR": (head(b"A: b\rc"), 400),
    "an https target": (head(line=b"GET https://a/ HTTP/1.1"), 400),
    "no target": (head(line=b"GET * HTTP/1.1"), 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    """What two readers could read differently, and what is not served."""
    data, status = REFUSED[name]
    with pytest.raises(BadRequest) as caught:
        read_head(data)
    assert caught.value.status == status


async def boom(_request):
    raise RuntimeError("no page today")


async def echo(request):
    return Reply({"body": request.body.decode(), "query": dict(request.query)})


class Log:
    def __init__(self):
        self.events = []

    def __getattr__(self, level):
        return lambda event, **fields: self.events.append(event)


@pytest.fixture
async def admin():
    telemetry = Telemetry(Log())
    events = RuntimeEvents(telemetry, lambda: Phase.READY)
    routes = [Route("GET", "/echo", echo, public=True), Route("PUT", "/echo", echo), Route("GET", "/boom", boom)]
    admin = Admin(Address("127.0.0.1:0"), routes, lambda: events)
    admin.log = telemetry.log
    await admin.start()
    yield admin
    await admin.stop()


async def talk(admin, data, *, until_end=True):
    """What is answered on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", admin.port)
    writer.write(data)
    try:
        return await (reader.read() if until_end else reader.readuntil(b"\r\n\r\n"))
    finally:
        writer.close()
        await writer.wait_closed()


LAST = head(b"Connection: close", line=b"GET /echo HTTP/1.1", host=b"Host: localhost")


async def test_one_connection_carries_many_requests(admin):
    """In order, bodies included, until the client has had enough."""
    first = head(b"Content-Length: 2", line=b"PUT /echo?a=b HTTP/1.1", host=b"Host: localhost") + b"hi"
    answers = await talk(admin, first + first + LAST)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert answers.count(b'{"body":"hi","query":{"a":"b"}}\n') == 2
    assert answers.endswith(b'{"body":"","query":{}}\n')


CHUNKED = head(b"Transfer-Encoding: chunked", line=b"PUT /echo HTTP/1.1", host=b"Host: localhost")


async def test_a_chunked_body_is_taken(admin):
    """Whole or byte by byte, with extensions and trailers; the connection goes on behind it."""
    body = b"2;a=b\r\nhi\r\n1\r\n!\r\n0\r\nDigest: x\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", admin.port)
    for data in (CHUNKED + body, CHUNKED, *(body[at : at + 1] for at in range(len(body)))):
        writer.write(data)
        if data != CHUNKED and len(data) > 1:
            assert (await reader.readuntil(b"}}\n")).endswith(b'{"body":"hi!","query":{}}\n')
        await asyncio.sleep(0)
    assert (await reader.readuntil(b"}}\n")).endswith(b'{"body":"hi!","query":{}}\n')
    writer.write(LAST)
    assert (await reader.read()).endswith(b'{"body":"","query":{}}\n')
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"2\nhi\r\n0\r\n\r\n", 400),
        (b"+2\r\nhi\r\n0\r\n\r\n", 400),
        (b"1\r\nhi\r\n0\r\n\r\n", 400),
        (b"2;" + b"a" * 300 + b"\r\nhi\r\n0\r\n\r\n", 400),
        (b"0\r\n a\r\n\r\n", 400),
        (b"100000\r\n" + b"x" * 0x100000 + b"\r\n1\r\n!\r\n0\r\n\r\n", 413),
    ],
)
async def test_chunks_are_read_strictly_and_bounded(admin, body, status):
    """What two readers could read differently is refused, as is what is too long; nothing is served behind it."""
    answer = await talk(admin, CHUNKED + body + LAST)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_what_is_sent_along_with_chunks_is_left(admin):
    """A request that did not wait for the answer to a chunked one is not served: the client sends it again."""
    answer = await talk(admin, CHUNKED + b"0\r\n\r\n" + LAST)
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close\r\n" in answer


async def test_a_head_alone(admin):
    """HEAD is answered as GET is, without the body; the length is that of the body."""
    answer = await talk(admin, head(b"Connection: close", line=b"HEAD /echo HTTP/1.1"))
    assert b"Content-Length: 23\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("line", "status", "text"),
    [
        (b"GET /none HTTP/1.1", b"404 Not Found", b"/echo"),
        (b"POST /echo HTTP/1.1", b"405 Method Not Allowed", b"Allow: GET, PUT\r\n"),
        (b"GET /boom HTTP/1.1", b"500 Internal Server Error", b"the log says why"),
        (b"GET //localhost/boom HTTP/1.1", b"404 Not Found", b"/boom"),
    ],
)
async def test_what_is_not_there(admin, line, status, text):
    """The answer says what there is instead; a broken page is logged, and breaks no other."""
    answer = await talk(admin, head(line=line, host=b"Host: localhost") + LAST)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert text in answer
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert ("runtime.admin.failed" in admin.log.events) is (status[:3] == b"500")


async def test_what_is_refused_ends_the_connection(admin):
    """Nobody knows where the next request starts."""
    assert (await talk(admin, b"nonsense\r\n\r\n" + LAST)).count(b"HTTP/1.1 ") == 1
    answer = await talk(admin, head(b"A: " + b"b" * 40_000) + LAST)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_expect_is_answered(admin):
    """A client that asks first is told to go on."""
    ask = head(b"Content-Length: 2", b"Expect: 100-continue", line=b"PUT /echo HTTP/1.1", host=b"Host: localhost")
    assert await talk(admin, ask, until_end=False) == b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_a_client_that_says_nothing_is_left(admin, monkeypatch):
    """Its connection is closed, and nothing is left of it."""
    monkeypatch.setattr(http_server, "PATIENCE", 0.05)
    assert await talk(admin, b"GET / HT") == b""


async def served(admin):
    try:
        return await talk(admin, LAST)
    except ConnectionError:
        return b""


async def test_too_many_clients(admin, monkeypatch):
    """Whoever comes when all are in the middle of a request is closed at once; a place that is left is free again."""
    monkeypatch.setattr(http_server, "MAX_CLIENTS", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", admin.port)
    writer.write(head(b"Content-Length: 2", b"Expect: 100-continue", line=b"PUT /echo HTTP/1.1"))
    await reader.readuntil(b"\r\n\r\n")
    assert await served(admin) == b""
    writer.close()
    await writer.wait_closed()
    for _ in range(1000):
        if await served(admin):
            break
    else:
        pytest.fail("the place is not free again")


async def test_nobody_is_kept_out_by_idle_connections(admin, monkeypatch):
    """One that says nothing, or no more, goes for one that comes: of several the one that has been idle longest."""
    monkeypatch.setattr(http_server, "MAX_CLIENTS", 2)
    silent, *_ = first = await asyncio.open_connection("127.0.0.1", admin.port)
    kept, writer = await asyncio.open_connection("127.0.0.1", admin.port)
    for _ in range(3):
        writer.write(head(line=b"GET /echo HTTP/1.1"))
        await kept.readuntil(b"}\n")
    assert (await served(admin)).startswith(b"HTTP/1.1 200 OK")
    with suppress(ConnectionError):
        assert await silent.read() == b""
    writer.write(LAST)
    assert (await kept.read()).startswith(b"HTTP/1.1 200 OK"), "it is not the one that was closed"
    for each in (first[1], writer):
        each.close()
        with suppress(ConnectionError):
            await each.wait_closed()


async def test_a_request_under_way_is_finished(tmp_path):
    """Closing waits for its answer, not for those who only keep a connection."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(_request):
        asked.set()
        await go.wait()
        return HttpReply(200, b"done", "text/plain")

    server = HttpServer(slow)
    path = str(tmp_path / "socket")
    assert await server.start(Address(f"unix:{path}")) == 0
    idle, kept = await asyncio.open_unix_connection(path)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(head())
    await asked.wait()
    closing = asyncio.create_task(server.close())
    assert await idle.read() == b""
    go.set()
    assert (await reader.read()).endswith(b"Connection: close\r\n\r\ndone")
    await closing
    for each in (kept, writer):
        each.close()
        await each.wait_closed()


def test_a_runtime_comes_without_a_web_framework():
    """What every pod loads has no aiohttp in it: that is 11 MB for those who do not use it."""
    code = (
        "import sys, podpatterns.runtime.process, podpatterns.ambassador.runtime, podpatterns.adapter.runtime, "
        "podpatterns.sidecar.runtime; sys.exit(int('aiohttp' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
