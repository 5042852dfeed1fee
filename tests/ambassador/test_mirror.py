"""Mirroring: copies are complete and marked, and whatever becomes of them, their originals feel nothing of it."""

import asyncio
import re

import pytest

from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import read_request
from podpatterns.ambassador.policies.faults import AbortConfig, FaultsConfig
from podpatterns.ambassador.policies.headers import FieldsConfig, HeadersConfig
from podpatterns.ambassador.policies.mirror import MirrorConfig, shadowed
from podpatterns.ambassador.policies.rewrite import RewriteConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.errors import ConfigError
from podpatterns.runtime.config import loads
from podpatterns.runtime.units import Duration, Share, Size

GET = b"GET /a?b HTTP/1.1\r\nHost: shop:80\r\nX-A: 1\r\n\r\n"


class Shadow:
    """An upstream that reads whole requests with Content-Length or in chunks, and may be told how to answer."""

    def __init__(self, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"):
        self.answer = answer
        self.requests = asyncio.Queue()
        self.begun = asyncio.Event()

    async def __call__(self, server, peer):
        while True:
            head, body = await server.head(peer), b""
            self.begun.set()
            if length := re.search(rb"Content-Length: (\d+)", head):
                body = await peer.reader.readexactly(int(length[1]))
            elif b"chunked" in head:
                body = await peer.reader.readuntil(b"0\r\n\r\n")
            self.requests.put_nowait((head, body))
            if self.answer is None:
                await peer.rest()
            await peer.send(self.answer)

    async def next(self):
        async with asyncio.timeout(10):
            return await self.requests.get()


async def outcomes(proxy, count):
    """What has become of the copies, once there are so many outcomes."""
    async with asyncio.timeout(10):
        while True:
            series = proxy.events._mirrored.series
            if sum(series.values()) >= count:
                return {labels[-1]: int(number) for labels, number in series.items()}
            await asyncio.sleep(0.005)


def mirrored(**options):
    return (RouteConfig(name="r", to="stable", mirror=MirrorConfig(to="shadow", **options)),)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Host: shop", b"Host: shop-shadow"),
        (b"host:shop:8080", b"Host: shop-shadow:8080"),
        (b"Host: 10.0.0.1:80", b"Host: 10.0.0.1-shadow:80"),
        (b"Host: [::1]:80", b"Host: [::1]:80"),
        (b"Host: a\r\nExpect: 100-continue", b"Host: a-shadow"),
    ],
)
def test_a_copy_is_marked(line, expected):
    """In Host alone, before the port; the copy is still a request, and waits for nothing."""
    head = shadowed(b"GET /x-host HTTP/1.1\r\n" + line + b"\r\nX-Host: Host: b\r\n")
    assert head == b"GET /x-host HTTP/1.1\r\n" + expected + b"\r\nX-Host: Host: b\r\n"
    assert read_request(head + b"\r\n", Limits()) is not None


async def test_the_copy_is_the_request_as_it_is_sent(upstream, running, connect):
    """With what rewriting and headers have done to it; the answer comes from the one that was asked."""
    shadow = Shadow()
    servers = {"stable": await upstream(), "shadow": await upstream(shadow)}
    routes = (
        RouteConfig(
            name="r",
            to="stable",
            mirror=MirrorConfig(to="shadow"),
            rewrite=RewriteConfig(path="/new"),
            headers=HeadersConfig(request=FieldsConfig(set={"x-b": "2"})),
        ),
    )
    async with running(servers, routes=routes, name="in") as proxy:
        client = await connect(proxy)
        for _ in range(3):
            await client.send(GET)
            assert (await client.until(b"ok")).startswith(b"HTTP/1.1 200")
            head, _ = await shadow.next()
            original = servers["stable"].heads[-1]
            assert head == original.replace(b"Host: shop:80", b"Host: shop-shadow:80")
            assert head.startswith(b"GET /new?b HTTP/1.1\r\n")
        assert await outcomes(proxy, 3) == {"2xx": 3}
        assert servers["shadow"].connections == 1
        tallies = {version for _, _, version in proxy.events.tallies}
        assert "shadow" not in tallies


@pytest.mark.parametrize("pieces", [1, 7, 100])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_are_copied(upstream, running, connect, pieces, chunked):
    """However they come, and however they are framed."""
    first, second = Shadow(b"HTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\nok"), Shadow()
    servers = {"stable": await upstream(first), "shadow": await upstream(second)}
    body = b"GHIJKLMNOPQRSTUVWXYZ" * 50
    framing, sent = b"Content-Length: 1000", body
    if chunked:
        framing, sent = b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    async with running(servers, routes=mirrored()) as proxy:
        client = await connect(proxy)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
        size = -(-len(sent) // pieces)
        for start in range(0, len(sent), size):
            await client.send(sent[start : start + size])
            await asyncio.sleep(0)
        assert (await client.until(b"ok")).startswith(b"HTTP/1.1 201")
        for shadow in (first, second):
            got = (await shadow.next())[1]
            assert (re.sub(rb"(?:\r\n)?[0-9a-f]+\r\n(?:\r\n)?", b"", got) if chunked else got) == body
        assert await outcomes(proxy, 1) == {"2xx": 1}


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "5xx"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "2xx"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", None),
        (b"nonsense\r\n\r\n", "malformed_response"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "bad_body"),
    ],
)
async def test_a_bad_answer_to_a_copy_is_counted(upstream, running, connect, behaviour, expected):
    """And nothing else: the client has its own answer, and no version has failed."""
    servers = {"stable": await upstream(), "shadow": await upstream(behaviour)}
    if expected is None:

        async def closing(server, peer):
            await server.head(peer)
            await peer.send(behaviour)

        servers["shadow"], expected = await upstream(closing), "2xx"
    async with running(servers, routes=mirrored()) as proxy:
        client = await connect(proxy)
        await client.send(GET)
        assert (await client.until(b"ok")).startswith(b"HTTP/1.1 200")
        assert await outcomes(proxy, 1) == {expected: 1}
        assert proxy.status().facts["errors"] == 0


async def test_nobody_there_for_the_copies(upstream, running, connect, unused_tcp_port):
    """Every request is answered, at once, and each copy counted as failed."""
    server = await upstream()
    async with running({"stable": server, "shadow": unused_tcp_port}, routes=mirrored()) as proxy:
        client = await connect(proxy)
        for _ in range(10):
            await client.send(GET)
            await client.until(b"ok")
        found = await outcomes(proxy, 10)
        assert found.keys() <= {"connect_failure", "no_healthy_upstream", "connect_failed", "resting"}
        assert sum(found.values()) == 10
        assert proxy.status().facts["errors"] == 0


async def test_copies_that_are_never_answered_are_bounded(upstream, running, connect):
    """So many at a time and so long; the others are counted as not made, and no request waits for any of it."""
    shadow = Shadow(None)
    servers = {"stable": await upstream(), "shadow": await upstream(shadow)}
    async with running(servers, routes=mirrored(max_pending=3, timeout=Duration("300ms"))) as proxy:
        client = await connect(proxy)
        for _ in range(8):
            await client.send(GET)
            await client.until(b"ok")
        found = await outcomes(proxy, 8)
        assert found.pop("overflow") >= 1
        assert set(found) <= {"first_byte_timeout", "total_timeout"}
        await client.send(GET)
        await client.until(b"ok")
        await outcomes(proxy, 9)


async def test_a_copy_that_is_not_read_holds_nobody_back(upstream, running, connect):
    """Its upstream stops reading; the request goes on, and of its body no more is held than allowed."""
    release = asyncio.Event()

    async def deaf(server, peer):
        await server.head(peer)
        peer.reader._transport.pause_reading()
        await release.wait()

    async def hungry(server, peer):
        await server.head(peer)
        await peer.exactly(3_000_000)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    servers = {"stable": await upstream(hungry), "shadow": await upstream(deaf)}
    async with running(servers, routes=mirrored(max_body=Size("2MiB"))) as proxy:
        client = await connect(proxy)
        # In chunks, so that its size is not known beforehand.
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")

        async def upload():
            for _ in range(30):
                await client.send(b"186a0\r\n" + bytes(100_000) + b"\r\n")
            await client.send(b"0\r\n\r\n")

        await upload()
        await client.until(b"\r\n\r\n")
        assert await outcomes(proxy, 1) == {"too_large": 1}
        release.set()


async def test_what_is_not_copied(upstream, running, connect):
    """A body that is too long by its length, a protocol change, and what the share leaves out; the first two count."""
    shadow = Shadow()
    servers = {"stable": await upstream(Shadow(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))}
    servers["shadow"] = await upstream(shadow)
    async with running(servers, routes=mirrored(max_body=Size(5))) as proxy:
        client = await connect(proxy)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nhello!")
        await client.until(b"ok")
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        await client.until(b"ok")
        assert await outcomes(proxy, 2) == {"too_large": 1, "upgrade": 1}
    async with running(servers, routes=mirrored(percent=Share("25%"))) as proxy:
        client = await connect(proxy)
        for _ in range(200):
            await client.send(GET)
            await client.until(b"ok")
        copied = sum((await outcomes(proxy, 1)).values())
        assert abs(copied - 50) <= 5 * (200 * 0.25 * 0.75) ** 0.5


async def test_a_client_that_leaves_takes_its_copy_along(upstream, running, connect):
    """Half of a request is never taken for a whole one by the copy's upstream."""
    shadow = Shadow()
    servers = {"stable": await upstream(Shadow()), "shadow": await upstream(shadow)}
    async with running(servers, routes=mirrored()) as proxy:
        client = await connect(proxy)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nhel")
        await shadow.begun.wait()
        client.reset()
        assert await outcomes(proxy, 1) == {"incomplete": 1}
        assert shadow.requests.empty()


async def test_only_requests_that_are_sent_are_copied(upstream, running, connect):
    """What an earlier policy answers is not."""
    servers = {"stable": await upstream(), "shadow": await upstream()}
    routes = (
        RouteConfig(to="stable", mirror=MirrorConfig(to="shadow"), faults=FaultsConfig(abort=AbortConfig(status=400))),
    )
    async with running(servers, routes=routes) as proxy:
        client = await connect(proxy)
        await client.send(GET)
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 400")
        assert proxy.events._mirrored.series == {}
    assert servers["shadow"].connections == 0


YAML = """
ambassador:
  listeners:
  - listen: 127.0.0.1:8000
    routes:
    - to: stable
      mirror: {to: test, percent: 10%, max_body: 10}
  upstreams: {stable: "10.0.0.1:80", test: "10.0.0.2:80"}
"""


def test_explain():
    """Whether a copy would be made."""
    config = loads([("a.yaml", YAML)], {}).patterns["ambassador"]
    assert "copies 10% of them to test" in "\n".join(config.explain("GET / HTTP/1.1\nHost: a\n"))
    head = "POST / HTTP/1.1\nHost: a\nContent-Length: 11\n"
    assert "is not copied to test: too_large" in "\n".join(config.explain(head))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("to: test,", "to: tset,", 'mirror.to: unknown upstream "tset"; did you mean "test"'),
        ("to: test,", "", '"to" is required'),
        ("max_body: 10", "timeout: 0s", "longer than 0s"),
        ("to: stable", "respond: {}", "mirror: needs an upstream"),
    ],
)
def test_mistakes_are_named(old, new, expected):
    """Where it stands, and what is wrong with it."""
    with pytest.raises(ConfigError, match=re.escape(expected)):
        loads([("a.yaml", YAML.replace(old, new, 1))], {})
