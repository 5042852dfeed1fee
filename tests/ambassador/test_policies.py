"""Policies at work, over sockets: what the upstream is sent, what the client gets, and what is counted."""

import asyncio
import re

import msgspec
import pytest

from podpatterns.ambassador.match import MatchConfig
from podpatterns.ambassador.policies.faults import AbortConfig, BandwidthConfig, DelayConfig, FaultsConfig, ResetConfig
from podpatterns.ambassador.policies.headers import FieldsConfig, HeadersConfig
from podpatterns.ambassador.policies.rate_limit import RateLimitConfig
from podpatterns.ambassador.policies.redirect import RedirectConfig
from podpatterns.ambassador.policies.respond import RespondConfig
from podpatterns.ambassador.policies.rewrite import RewriteConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.runtime.units import Duration, Share, Size

API = MatchConfig(prefix="/api")


def asking(target="/", fields=b"", method=b"GET"):
    return method + b" " + target.encode() + b" HTTP/1.1\r\nHost: shop:80\r\n" + fields + b"\r\n"


def last(target="/", fields=b"", method=b"GET"):
    return asking(target, b"Connection: close\r\n" + fields, method)


def counted(proxy, name):
    """The counter's series."""
    for family in proxy.context.telemetry.registry.collect():
        if family.name == f"podpatterns_ambassador_{name}":
            return {tuple(each.labels.values()): each.value for each in family.samples if each.name.endswith("_total")}
    return {}


# --- rewriting and fields -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rewrite", "target", "expected"),
    [
        (RewriteConfig(prefix="/v2"), "/api/users?x=%20/api", b"GET /v2/users?x=%20/api HTTP/1.1"),
        (RewriteConfig(prefix="/"), "/api", b"GET / HTTP/1.1"),
        (RewriteConfig(path="/all?kind=a"), "/api/x?y=1", b"GET /all?kind=a&y=1 HTTP/1.1"),
        (RewriteConfig(regex=r"/api/(\d+)", to=r"/by-id?id=\1"), "/api/7", b"GET /by-id?id=7 HTTP/1.1"),
        (RewriteConfig(regex=r"/api/(\d+)", to=r"/by-id?id=\1"), "/api/x", b"GET /api/x HTTP/1.1"),
        (RewriteConfig(host="other:81"), "/api//%2e?", b"GET /api//%2e? HTTP/1.1"),
    ],
)
async def test_the_upstream_is_asked_for_something_else(upstream, running, ask, rewrite, target, expected):  # noqa: PLR0917
    """Path and Host as configured; everything else as the client sent it."""
    server = await upstream()
    async with running(server, routes=(RouteConfig(match=API, to="stable", rewrite=rewrite),)) as proxy:
        assert (await ask(proxy, last(target, b"X: /api\r\n"))).endswith(b"ok")
    head = server.heads[0].split(b"\r\n")
    assert head[0] == expected
    assert (b"Host: other:81" in head) == (rewrite.host is not None)
    assert (b"Host: shop:80" in head) == (rewrite.host is None)
    assert b"X: /api" in head
    assert sum(line.lower().startswith(b"host:") for line in head) == 1


async def test_a_rewritten_target_is_bounded(upstream, running, ask):
    """A template that multiplies what it takes from the request does not make us hold more than a target may have."""
    server = await upstream()
    rewrite = RewriteConfig(regex="/(.*)", to=r"/\1\1\1")
    async with running(server, routes=(RouteConfig(to="stable", rewrite=rewrite),)) as proxy:
        got = await ask(proxy, last("/" + "a" * 30_000))
    assert got.startswith(b"HTTP/1.1 414")
    assert b"target_too_long" not in got.partition(b"\r\n\r\n")[0]
    assert server.heads == []


FIELDS = HeadersConfig(
    request=FieldsConfig(
        set={"X-Forwarded-For": "{client}", "x-was": "{method} {host}{path} {{}} {route}@{listener}"},
        add={"X-Tag": "b"},
        remove=("x-secret", "Accept"),
    ),
    response=FieldsConfig(set={"X-Version": "{version}"}, add={"Set-Cookie": "b=2"}, remove=("server",)),
)


async def test_fields_are_set_added_and_removed(upstream, running, ask):
    """In any case, wherever they stand and however often; those that are left keep their order and their spelling."""
    answer = (
        b"HTTP/1.1 200 OK\r\nserver: old\r\nSet-Cookie: a=1\r\nSERVER: x\r\n"
        b"X-Version: forged\r\nContent-Length: 2\r\n\r\nok"
    )
    server = await upstream(answer)
    sent = b"X-SECRET: 1\r\nx-tag: a\r\nx-forwarded-for: 6.6.6.6\r\nx-secret: 2\r\naccept: */*\r\nX-Secret-Not: 3\r\n"
    routes = (RouteConfig(name="r", match=API, to="stable", headers=FIELDS),)
    async with running(server, routes=routes, name="in") as proxy:
        got = await ask(proxy, last("/api/x?q", sent))
    lines = server.heads[0].split(b"\r\n")
    assert lines[1:7] == [
        b"Host: shop:80",
        b"x-tag: a",
        b"X-Secret-Not: 3",
        b"X-Forwarded-For: 127.0.0.1",
        b"x-was: GET shop:80/api/x {} r@in",
        b"X-Tag: b",
    ]
    head = got.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert [line for line in head if not line.startswith((b"HTTP", b"Connection"))] == [
        b"Set-Cookie: a=1",
        b"Content-Length: 2",
        b"X-Version: stable",
        b"Set-Cookie: b=2",
    ]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"0\r\n\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", b"204"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", b"500"),
    ],
)
async def test_every_kind_of_final_response_is_edited_once(upstream, running, ask, sent, expected):
    """Whatever its framing and status; an interim one never is."""
    headers = HeadersConfig(response=FieldsConfig(add={"X-By": "me"}))
    server = await upstream(sent)
    async with running(server, routes=(RouteConfig(to="stable", headers=headers),)) as proxy:
        got = await ask(proxy, last())
    assert expected in got
    assert got.count(b"X-By: me\r\n") == 1
    assert b"X-By" not in got.partition(b"Continue\r\n\r\n")[0] or b"Continue" not in got


# --- answers of our own -------------------------------------------------------------------------------------------


async def test_redirects(running, ask):
    """With the configured status, the query kept, no upstream asked, and no failure counted."""
    routes = (
        RouteConfig(match=API, redirect=RedirectConfig(prefix="/v2", status=308)),
        RouteConfig(redirect=RedirectConfig(scheme="https")),
    )
    async with running({"stable": 1}, routes=routes) as proxy:
        got = await ask(proxy, last("/api/x?a=/api"))
        assert re.match(rb"HTTP/1.1 308 Permanent Redirect\r\n(.*\r\n)*Location: /v2/x\?a=/api\r\n", got)
        assert b"Location: https://shop/y?\r\n" in await ask(proxy, last("/y?"))
        assert proxy.status().facts == {"requests": 2, "answered here": 2, "errors": 0, "refused": 0}


async def test_fixed_answers(running, connect):
    """Status, body, type and fields as configured, on a connection that is kept; a HEAD gets no body."""
    respond = RespondConfig(
        status=503,
        body='{"größe": 1}',
        content_type="application/json",
        headers={"Retry-After": "60", "X-A": "ä"},
    )
    async with running({"stable": 1}, routes=(RouteConfig(respond=respond),)) as proxy:
        client = await connect(proxy)
        for method in (b"GET", b"HEAD", b"GET"):
            await client.send(asking(method=method))
            head = await client.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"Content-Type: application/json\r\n" in head
            assert b"Retry-After: 60\r\n" in head
            assert "X-A: ä\r\n".encode() in head
            assert b"Content-Length: 14\r\n" in head
            if method == b"GET":
                assert await client.exactly(14) == '{"größe": 1}'.encode()


async def test_an_answer_before_the_body_ends_the_connection(running, connect):
    """A request whose body has not come is answered at once, and nothing of the body is taken for a request."""
    async with running({"stable": 1}, routes=(RouteConfig(respond=RespondConfig(status=403)),)) as proxy:
        client = await connect(proxy)
        await client.send(asking(fields=b"Content-Length: 30\r\n", method=b"POST") + b"GET / HTTP/1.1\r\n")
        got = await client.rest()
        assert got.count(b"HTTP/1.1") == 1
        assert b"403 Forbidden" in got
        assert b"Connection: close" in got


# --- rate limits --------------------------------------------------------------------------------------------------


async def test_too_many_requests(upstream, running, connect):
    """429 with Retry-After once the bucket is empty, each key for itself, and counted; the connection is kept."""
    server = await upstream()
    limit = RateLimitConfig(requests=2, per=Duration("1h"), header="x-user")
    async with running(server, routes=(RouteConfig(name="r", to="stable", rate_limit=limit),), name="in") as proxy:
        client = await connect(proxy)
        statuses = {}
        for _ in range(3):
            for user in (b"X-User: a\r\n", b"x-user: b \r\n", b""):
                await client.send(asking(fields=user))
                head = await client.until(b"\r\n\r\n")
                await client.exactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))
                statuses.setdefault(user, []).append(head[9:12])
                if head[9:12] == b"429":
                    assert 1700 <= int(re.search(rb"Retry-After: (\d+)\r\n", head)[1]) <= 1800
        assert set(map(tuple, statuses.values())) == {(b"200", b"200", b"429")}
        assert counted(proxy, "rate_limited") == {("in", "r"): 3}
    assert len(server.heads) == 6


async def test_a_limit_for_each_client(upstream, running, connect):
    """By the address of the connection, whatever the request says."""
    server = await upstream()
    limit = RateLimitConfig(requests=1, per=Duration("1h"), client=True)
    async with running(server, routes=(RouteConfig(to="stable", rate_limit=limit),)) as proxy:
        got = []
        for source in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
            client = await connect(proxy, local_addr=(source, 0))
            await client.send(last(fields=b"X-Forwarded-For: 1.2.3.4\r\n"))
            got.append((await client.rest())[9:12])
        assert got == [b"200", b"200", b"429"]


async def test_forgotten_keys_are_counted(upstream, running, connect):
    """More clients than may be remembered: none is refused for it, and the counter says so."""
    server = await upstream()
    limit = RateLimitConfig(requests=1, per=Duration("1h"), header="x-user", max_keys=3)
    async with running(server, routes=(RouteConfig(name="r", to="stable", rate_limit=limit),), name="in") as proxy:
        client = await connect(proxy)
        for user in range(5):
            await client.send(asking(fields=b"X-User: %d\r\n" % user))
            await client.until(b"ok")
        assert counted(proxy, "rate_keys_forgotten") == {("in", "r"): 2}


@pytest.mark.parametrize(("requests", "expected"), [(1, b"429"), (2, b"200")])
async def test_a_reload_goes_on_with_what_is_left(upstream, running, connect, requests, expected):
    """Of the route's limit and of the listener's; a limit that has changed starts anew."""
    server = await upstream()
    limits = [RateLimitConfig(requests=count, per=Duration("1h")) for count in (1, requests)]
    for options in ({"rate_limit": limits[0]}, {"routes": (RouteConfig(name="r", to="stable", rate_limit=limits[0]),)}):
        async with running(server, **options) as proxy:
            client = await connect(proxy)
            await client.send(asking())
            await client.until(b"ok")
            (listener,) = proxy.config.listeners
            other = msgspec.structs.replace(listener.routes[0], timeout=Duration("1m"))
            if "routes" in options:
                listener = msgspec.structs.replace(
                    listener, routes=(msgspec.structs.replace(other, rate_limit=limits[1]),)
                )
            else:
                listener = msgspec.structs.replace(listener, routes=(other,), rate_limit=limits[1])
            await proxy.reload(msgspec.structs.replace(proxy.config, listeners=(listener,)))
            await client.send(asking())
            assert (await client.until(b"\r\n\r\n"))[9:12] == expected


# --- faults -------------------------------------------------------------------------------------------------------


async def test_errors_and_resets_on_purpose(upstream, running, ask, connect):
    """Only for requests with the field; the upstream is not asked; each is counted by its kind."""
    server = await upstream()
    routes = (
        RouteConfig(
            match=API,
            name="a",
            to="stable",
            faults=FaultsConfig(headers={"x-chaos": "*"}, abort=AbortConfig(status=418)),
        ),
        RouteConfig(name="r", to="stable", faults=FaultsConfig(reset=ResetConfig(), abort=AbortConfig())),
    )
    async with running(server, routes=routes, name="in") as proxy:
        assert (await ask(proxy, last("/api"))).startswith(b"HTTP/1.1 200")
        assert (await ask(proxy, last("/api", b"X-Chaos: yes\r\n"))).startswith(b"HTTP/1.1 418")
        client = await connect(proxy)
        await client.send(last("/"))
        with pytest.raises(ConnectionResetError):
            await client.rest()
        assert counted(proxy, "faults") == {("in", "a", "fault_abort"): 1, ("in", "r", "fault_reset"): 1}
    assert len(server.heads) == 1


async def test_a_share_of_errors(upstream, running, connect):
    """Over many requests as many as configured, within four standard deviations."""
    server = await upstream()
    faults = FaultsConfig(abort=AbortConfig(percent=Share("25%")))
    async with running(server, routes=(RouteConfig(to="stable", faults=faults),)) as proxy:
        client = await connect(proxy)
        failed = 0
        for _ in range(400):
            await client.send(asking())
            head = await client.until(b"\r\n\r\n")
            await client.exactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))
            failed += head.startswith(b"HTTP/1.1 503")
        assert abs(failed - 100) <= 4 * (400 * 0.25 * 0.75) ** 0.5


async def test_delays(upstream, running, ask):
    """The upstream is asked after the delay; the answer is its own."""
    server = await upstream()
    faults = FaultsConfig(delay=DelayConfig(time=Duration("150ms")))
    async with running(server, routes=(RouteConfig(to="stable", faults=faults),)) as proxy:
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert (await ask(proxy, last())).endswith(b"ok")
        assert loop.time() - started >= 0.15


@pytest.mark.parametrize("framing", [b"Content-Length: 40000", b"Transfer-Encoding: chunked"])
async def test_slow_responses(upstream, running, connect, framing):
    """No faster than configured, complete, and in order with the next response, which is as fast as ever."""
    body = bytes(range(250)) * 160
    sent = body if b"Length" in framing else b"9c40\r\n" + body + b"\r\n0\r\n\r\n"
    server = await upstream(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + sent)
    faults = FaultsConfig(headers={"x-slow": "*"}, bandwidth=BandwidthConfig(rate=Size("200KB")))
    async with running(server, routes=(RouteConfig(to="stable", faults=faults),)) as proxy:
        loop = asyncio.get_running_loop()
        client = await connect(proxy)
        started = loop.time()
        await client.send(asking(fields=b"X-Slow: 1\r\n") + asking() + last(fields=b"X-Slow: 1\r\n"))
        got = await client.rest()
        assert loop.time() - started >= 2 * len(body) / 200_000 * 0.8
        assert got.count(body) == 3
        assert got.count(b"HTTP/1.1 200 OK") == 3


async def test_a_slow_response_holds_the_upstream_back(upstream, running, connect):
    """Of a large response no more is taken than the client's line, and buffers of fixed size, have room for."""
    written = 0

    async def endless(server, peer):
        nonlocal written
        await server.head(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            await peer.send(bytes(100_000))
            written += 100_000

    server = await upstream(endless)
    faults = FaultsConfig(bandwidth=BandwidthConfig(rate=Size("50KB")))
    async with running(server, routes=(RouteConfig(to="stable", faults=faults),)) as proxy:
        client = await connect(proxy)
        await client.send(last())
        await client.exactly(20_000)
        (downstream,) = proxy.listeners[0].connections
        assert downstream.slow
        assert downstream.transport.get_write_buffer_size() < 1_000_000
        assert written < 30_000_000
