"""Tracing: every request can be found again; what a client sends is passed on, and what we add is well-formed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import read_request
from podpatterns.ambassador.match import MatchConfig
from podpatterns.ambassador.policies.rate_limit import RateLimitConfig
from podpatterns.ambassador.policies.tracing import TracingConfig, traceparent
from podpatterns.ambassador.route import RouteConfig
from podpatterns.errors import ConfigError
from podpatterns.runtime.config import loads
from podpatterns.runtime.units import Duration, Share

ID = re.compile(rb"\r\nX-Request-Id: ([0-9a-f]{32})\r\n")
TRACE = re.compile(rb"\r\ntraceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])\r\n")
REQUESTS = {
    "plain": b"GET / HTTP/1.1\r\nHost: a\r\n",
    "with a body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n",
    "in chunks": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n",
    "kept": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n",
    "complete": b"POST / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 2\r\n",
    "unusual": b"OPTIONS * HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n",
    "old": b"GET / HTTP/1.0\r\n",
}


@pytest.mark.parametrize("head", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"X-Request-Id: a\r\n", True),
        (b"x-request-id:a\r\n", True),
        (b"X-Request-ID: a\r\n", True),
        (b"X-rEQUEST-iD:\r\n", True),
        (b"X-Request-Id: a\r\nX-Request-Id: b\r\n", True),
        (b"X-Request-Ident: a\r\n", False),
        (b"My-X-Request-Id: a\r\n", False),
        (b"X-Note: X-Request-Id: a\r\n", False),
        (b"", False),
    ],
)
def test_it_is_known_whether_a_request_has_one(head, line, expected):
    """On every way on which a head is read; and nothing else about the request depends on it."""
    request = read_request(head + line + b"\r\n", Limits())
    assert request.identified is expected
    assert line in request.head
    without = read_request(head + b"\r\n", Limits())
    for name in ("method", "target", "host", "length", "minor", "persistent", "upgrade"):
        assert getattr(request, name) == getattr(without, name)


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**64 - 1), st.booleans())
def test_a_traceparent_is_one(trace, span, sampled):
    """Version 00 of W3C Trace Context, for any numbers: of the right length, in lower case, and never all zeros."""
    value = traceparent(trace, span, sampled=sampled)
    found = TRACE.fullmatch(b"\r\ntraceparent: " + value + b"\r\n")
    assert found[3] == (b"01" if sampled else b"00")
    assert int(found[1], 16) > 0
    assert int(found[2], 16) > 0


async def asked(server, client, fields=b""):
    """The head that the upstream was sent."""
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
    await client.until(b"ok")
    return server.heads[-1]


async def test_every_request_has_an_id(upstream, running, connect):
    """By default: one that is sent is passed on, in its spelling and once; otherwise each request gets its own."""
    server = await upstream()
    async with running(server, tracing=TracingConfig()) as proxy:
        client = await connect(proxy)
        seen = {ID.search(await asked(server, client))[1] for _ in range(20)}
        assert len(seen) == 20
        head = await asked(server, client, b"x-request-ID:  mine \r\n")
        assert b"\r\nx-request-ID:  mine \r\n" in head
        assert head.lower().count(b"x-request-id") == 1
        assert b"traceparent" not in head


async def test_traces_start_here_if_wanted(upstream, running, connect):
    """A request without a trace gets one of its own; one that has one keeps it, and its state."""
    server = await upstream()
    tracing = TracingConfig(traceparent="create", sample=Share("50%"), request_id="keep")
    async with running(server, tracing=tracing) as proxy:
        client = await connect(proxy)
        found = [TRACE.search(await asked(server, client)).groups() for _ in range(60)]
        assert len({trace for trace, _, _ in found}) == 60
        assert {flags for _, _, flags in found} == {b"00", b"01"}
        sent = b"TraceParent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\ntracestate: a=1\r\n"
        head = await asked(server, client, sent)
        assert sent in head
        assert head.lower().count(b"traceparent") == 1
        assert b"X-Request-Id" not in head


async def test_the_id_stands_in_the_access_log(upstream, running, connect, capfd):
    """The same as the upstream was sent, also for a request that was answered here."""
    server = await upstream()
    options = {"tracing": TracingConfig(), "access_log": "all"}
    limit = RateLimitConfig(requests=1, per=Duration("1h"))
    async with running(server, routes=(RouteConfig(to="stable", rate_limit=limit),), **options) as proxy:
        client = await connect(proxy)
        head = await asked(server, client)
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 429")
    lines = [line for line in "".join(capfd.readouterr()).splitlines() if "request.done" in line]
    ids = [re.search(r"request_id=(\w{32})\b", line)[1] for line in lines]
    assert ids[0].encode() == ID.search(head)[1]
    assert len(set(ids)) == 2


async def test_a_limit_over_all_routes(upstream, running, connect):
    """The listener's own limit counts the requests of every route together."""
    server = await upstream()
    routes = (RouteConfig(match=MatchConfig(path="/a"), to="stable"), RouteConfig(to="stable"))
    limit = RateLimitConfig(requests=2, per=Duration("1h"))
    async with running(server, routes=routes, rate_limit=limit) as proxy:
        client = await connect(proxy)
        for path, status in ((b"/a", b"200"), (b"/b", b"200"), (b"/a", b"429"), (b"/b", b"429")):
            await client.send(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await client.until(b"\r\n\r\n")
            await client.exactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))
            assert head[9:12] == status


YAML = """
ambassador:
  listeners:
  - listen: 127.0.0.1:8000
    tracing: {traceparent: create, sample: 5%}
    rate_limit: {requests: 100}
    routes: [{to: stable}]
  upstreams: {stable: "10.0.0.1:80"}
"""


def test_explain():
    """What a request gets, unless it has it."""
    config = loads([("a.yaml", YAML)], {}).patterns["ambassador"]
    shown = "\n".join(config.explain("GET / HTTP/1.1\nHost: a\n"))
    assert "adds an X-Request-Id" in shown
    assert "adds a traceparent, 5% of them sampled" in shown
    assert "limits the rate: 100 in 1s, 100 at once; then 429" in shown
    shown = "\n".join(config.explain("GET / HTTP/1.1\nHost: a\nX-Request-Id: 1\nTraceparent: 00-a-b-01\n"))
    assert "X-Request-Id" not in shown.partition("route")[2]
    assert "adds a traceparent" not in shown


def test_a_sample_of_nothing_is_a_mistake():
    """Where no trace starts, none can be sampled."""
    with pytest.raises(ConfigError, match="goes with traceparent: create"):
        loads([("a.yaml", YAML.replace("traceparent: create, ", ""))], {})
