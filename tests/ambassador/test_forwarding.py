"""Requests through real sockets: both directions, every framing, and what happens when a peer misbehaves."""

import asyncio

import pytest

from podpatterns.ambassador.match import MatchConfig
from podpatterns.ambassador.retry import RetryConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.runtime.units import Address, Duration, Size

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def eventually(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition is in code that knows of no event
            await asyncio.sleep(0.005)


def answering(*answers):
    """A handler that reads a head and sends the next answer, for ever the last one."""
    left = list(answers)

    async def handle(server, peer):
        while True:
            await server.head(peer)
            await peer.send(left.pop(0) if len(left) > 1 else left[0])

    return handle


def once(answer, *, reset=False):
    """A handler that reads a head, sends something and closes."""

    async def handle(server, peer):
        await server.head(peer)
        await peer.send(answer)
        if reset:
            peer.reset()

    return handle


# --- heads --------------------------------------------------------------------------------------------------------


async def test_a_request_and_its_response(upstream, running, ask):
    """The upstream sees the request with a Via and nothing else added; the client sees the response."""
    server = await upstream()
    async with running(server) as proxy:
        got = await ask(proxy, b"GET /a?b HTTP/1.1\r\nHost: a\r\nX: 1\r\nConnection: close\r\n\r\n")
    assert got == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    via = b"Via: 1.1 " + proxy.events.via
    assert server.heads == [b"GET /a?b HTTP/1.1\r\nHost: a\r\nX: 1\r\n" + via + b"\r\n\r\n"]


async def test_trace_context_passes_untouched(upstream, running, ask):
    """W3C traceparent and tracestate, and a request's id, reach the upstream as they were sent, once and in order."""
    fields = (
        b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
        b"tracestate: a=1,b=2\r\ntracestate: c=3\r\nX-Request-Id: 7\r\n"
    )
    server = await upstream()
    async with running(server) as proxy:
        await ask(proxy, b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"Connection: close\r\n\r\n")
    (head,) = server.heads
    assert b"Host: a\r\n" + fields + b"Via: " in head


async def test_byte_by_byte_both_ways(upstream, running, connect):
    """Cuts in the stream make no difference on either side."""

    async def dribble(server, peer):
        while True:
            await server.head(peer)
            for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
                await peer.send(bytes([byte]))
                await asyncio.sleep(0)

    server = await upstream(dribble)
    async with running(server) as proxy:
        client = await connect(proxy)
        for _ in range(2):
            for byte in GET:
                await client.send(bytes([byte]))
                await asyncio.sleep(0)
            got = await client.until(b"0\r\n\r\n")
            assert got.startswith(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert len(server.heads) == 2
    assert server.connections == 1


async def test_pipelined_requests_are_answered_in_order(upstream, running, ask):
    """One after the other, whatever the upstream's answers look like."""

    async def echo_path(server, peer):
        while True:
            path = (await server.head(peer)).split()[1]
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    server = await upstream(echo_path)
    async with running(server) as proxy:
        requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(50))
        got = await ask(proxy, requests + b"\r\n" + LAST)
    assert [part.split(b"\r\n\r\n")[1].split(b"HTTP")[0] for part in got.split(b"HTTP/1.1 200 OK")[1:]] == [
        *(b"/%d" % number for number in range(50)),
        b"/",
    ]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"501"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", b"400"),
    ],
)
async def test_what_is_refused_never_reaches_the_upstream(upstream, running, ask, data, status):
    """The client gets a status and a reason, the connection ends, and the upstream hears nothing."""
    server = await upstream()
    async with running(server) as proxy:
        got = await ask(proxy, data)
        assert got.split()[1] == status
        assert b"Connection: close" in got
        assert proxy.events.refusals == 1
    assert server.heads == []


async def test_no_route(upstream, running, ask):
    """What no route wants is answered 404, and the connection goes on."""
    server = await upstream()
    routes = (RouteConfig(match=MatchConfig(prefix="/api"), to="stable"),)
    async with running(server, routes=routes) as proxy:
        got = await ask(proxy, GET + LAST.replace(b"GET /", b"GET /api"))
    assert got.startswith(b"HTTP/1.1 404 ")
    assert b"HTTP/1.1 200 OK" in got


async def test_the_upstreams_own_host(upstream, running, ask):
    """An upstream that goes by its name sees its name."""
    server = await upstream()
    async with running(server, hosts={"host": "shop.example:8080"}) as proxy:
        await ask(proxy, LAST)
    assert server.heads[0].count(b"Host:") == 1
    assert b"Host: shop.example:8080\r\n" in server.heads[0]


async def test_a_loop_ends(upstream, running, ask):
    """A request that has been here before is not forwarded again."""
    server = await upstream()
    async with running(server) as proxy:
        got = await ask(proxy, GET[:-2] + b"Via: 1.0 x, 1.1 " + proxy.events.via + b"\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 508 ")
    assert server.heads == []


# --- response bodies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x\r\nbc\r\n0\r\nT: 1\r\nHost: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n",
        ),
        (
            b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        ),
    ],
)  # fmt: skip
async def test_kinds_of_responses(upstream, running, connect, answer, expected):
    """Each kind arrives whole and exact, and the client's connection goes on."""
    server = await upstream(answering(answer))
    async with running(server) as proxy:
        client = await connect(proxy)
        for _ in range(2):
            await client.send(GET)
            assert await client.exactly(len(expected)) == expected


async def test_head_has_no_body(upstream, running, connect):
    """The answer to HEAD ends with its head, whatever length that announces."""
    server = await upstream(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"))
    async with running(server) as proxy:
        client = await connect(proxy)
        for _ in range(2):
            await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert server.connections == 1


async def test_a_body_until_close_becomes_chunked(upstream, running, connect):
    """So that an HTTP/1.1 client can tell its end, and keep its connection."""
    server = await upstream(once(b"HTTP/1.1 200 OK\r\n\r\nhello"))
    async with running(server) as proxy:
        client = await connect(proxy)
        for _ in range(2):
            await client.send(GET)
            got = await client.until(b"0\r\n\r\n")
            assert got.startswith(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")


async def test_http_1_0_clients(upstream, running, ask):
    """No chunks, no interim responses, and a close at the end; unless they ask for more."""
    server = await upstream(
        answering(
            b"HTTP/1.1 103 Early Hints\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        )
    )
    async with running(server) as proxy:
        got = await ask(proxy, b"GET / HTTP/1.0\r\n\r\n")
    assert got == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"
    assert server.heads[0].startswith(b"GET / HTTP/1.1\r\nHost: localhost\r\n")


async def test_http_1_0_keep_alive(upstream, running, connect):
    """An HTTP/1.0 client that asks for it may go on."""
    server = await upstream()
    async with running(server) as proxy:
        client = await connect(proxy)
        for _ in range(2):
            await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert b"Connection: keep-alive" in await client.until(b"\r\n\r\nok")


@pytest.mark.parametrize("minor", [b"0", b"1"])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nx\r\n",
    ],
)
async def test_a_truncated_body_never_looks_complete(upstream, running, ask, answer, minor):
    """The client's connection is reset: an end of file would complete a body without length."""
    server = await upstream(once(answer))
    async with running(server) as proxy:
        with pytest.raises(ConnectionResetError):
            await ask(proxy, b"GET / HTTP/1.%b\r\nHost: a\r\n\r\n" % minor)
        assert proxy.events.failures == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"hello\r\n\r\n",
    ],
)
async def test_a_bad_response_is_a_502(upstream, running, connect, answer):
    """And the client's connection goes on with the next request."""
    server = await upstream(once(answer))
    async with running(server) as proxy:
        client = await connect(proxy)
        for _ in range(2):
            await client.send(GET)
            assert (await client.until(b")\n")).startswith(b"HTTP/1.1 502 ")


async def test_what_comes_after_a_response_is_not_passed_on(upstream, running, connect):
    """Nobody asked for it: it goes to no client, and the connection is not used again (response splitting)."""
    server = await upstream(
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    )
    async with running(server) as proxy:
        client = await connect(proxy)
        for _ in range(3):
            await client.send(GET)
            assert await client.exactly(len(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) == (
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            )
    assert server.connections == 3


# --- request bodies -----------------------------------------------------------------------------------------------


async def body_echo(server, peer):
    """Answers with the body it was sent, which has a length."""
    while True:
        head = await server.head(peer)
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = await peer.reader.readexactly(length)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (length, body))


async def test_uploads_of_a_length(upstream, running, connect):
    """In one piece or in many, small or large: what arrives is what was sent."""
    server = await upstream(body_echo)
    async with running(server) as proxy:
        client = await connect(proxy)
        for size in (1, 1000, 300_000):
            body = bytes(range(250)) * (size // 250) + b"x" * (size % 250)
            head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
            sending = asyncio.create_task(client.send(head + body))
            await client.until(b"\r\n\r\n")
            assert await client.exactly(size) == body
            await sending
    assert server.connections == 1


async def test_chunked_uploads(upstream, running, connect):
    """Are framed anew: our framing alone reaches the upstream."""

    async def read_chunks(server, peer):
        while True:
            await server.head(peer)
            body = await peer.until(b"0\r\n\r\n")
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    server = await upstream(read_chunks)
    async with running(server) as proxy:
        client = await connect(proxy)
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;ext=1\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        )
        await client.until(b"\r\n\r\n")
        assert await client.until(b"0\r\n\r\n") == b"3\r\nabc\r\n0\r\n\r\n"


async def test_expect_continue(upstream, running, connect):
    """The client waits for the upstream's word, and gets it."""

    async def careful(server, peer):
        await server.head(peer)
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await peer.reader.readexactly(2) == b"hi"
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await upstream(careful)
    async with running(server) as proxy:
        client = await connect(proxy)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hi")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")


async def test_an_early_response_ends_the_upload(upstream, running, connect):
    """The client reads the answer, though it is still sending; then the connection closes."""
    server = await upstream(once(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"))
    async with running(server) as proxy:
        client = await connect(proxy)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx")
        got = await client.until(b"big")
        assert b" 413 " in got
        assert b"Connection: close" in got
        await client.send(b"y" * 1000)
        assert await client.rest() == b""


async def test_a_client_that_leaves_in_the_middle(upstream, running, connect):
    """The upstream's connection is closed: a truncated upload must not look complete either."""
    ended = asyncio.Event()

    async def wait(server, peer):
        await server.head(peer)
        await peer.reader.read()
        ended.set()

    server = await upstream(wait)
    async with running(server) as proxy:
        client = await connect(proxy)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        await eventually(lambda: server.heads)
        client.reset()
        async with asyncio.timeout(10):
            await ended.wait()
    assert proxy.events.dropped == 0


async def test_half_close(upstream, running, connect):
    """A client that has said everything still gets its answer."""
    server = await upstream()
    async with running(server) as proxy:
        client = await connect(proxy)
        await client.send(GET)
        client.writer.write_eof()
        assert (await client.rest()).endswith(b"ok")


async def test_websocket(upstream, running, connect):
    """After 101 bytes pass both ways until one side closes."""

    async def echo(server, peer):
        await server.head(peer)
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi")
        while data := await peer.reader.read(100):
            await peer.send(data.upper())

    server = await upstream(echo)
    async with running(server) as proxy:
        client = await connect(proxy)
        await client.send(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n")
        head = await client.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Upgrade: websocket" in head
        assert await client.exactly(2) == b"hi"
        for _ in range(3):
            await client.send(b"abc")
            assert await client.exactly(3) == b"ABC"
        client.writer.write_eof()
        assert await client.rest() == b""
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in server.heads[0]


async def test_an_upgrade_that_nobody_asked_for(upstream, running, ask):
    """Is a bad response."""
    server = await upstream(once(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"))
    async with running(server) as proxy:
        assert (await ask(proxy, LAST)).startswith(b"HTTP/1.1 502 ")


# --- the pool -----------------------------------------------------------------------------------------------------


async def closing_after_one(server, peer):
    """Keeps its connection open for one answer, then closes it when the next request is there: the race, on purpose."""
    await server.head(peer)
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    await server.head(peer)
    peer.reset()


async def test_a_stale_connection_is_no_error_for_an_idempotent_request(upstream, running, connect):
    """It goes out once more, on a new connection."""
    server = await upstream(closing_after_one)
    async with running(server) as proxy:
        client = await connect(proxy)
        for _ in range(4):
            await client.send(GET)
            assert (await client.until(b"ok")).startswith(b"HTTP/1.1 200")
        assert proxy.events.retries == 3


@pytest.mark.holds("RFC 9110 9.2.2")
async def test_a_post_is_never_sent_twice(upstream, running, connect):
    """On the same race it is a 502: the upstream may have done what it was asked."""
    server = await upstream(closing_after_one)
    async with running(server) as proxy:
        client = await connect(proxy)
        await client.send(GET)
        await client.until(b"ok")
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert b"reset_before_response" in await client.until(b")\n")
        assert proxy.events.retries == 0
    assert sum(head.startswith(b"POST") for head in server.heads) == 1


@pytest.mark.parametrize(
    ("retry", "request_", "attempts"),
    [
        (RetryConfig(), LAST, 3),
        (RetryConfig(attempts=0), LAST, 1),
        (RetryConfig(on=("connect",)), LAST, 1),
        (RetryConfig(), LAST.replace(b"GET", b"POST"), 1),
        (RetryConfig(idempotency_key=True), LAST.replace(b"GET", b"POST"), 1),
        (RetryConfig(), LAST.replace(b"GET", b"POST")[:-2] + b"Idempotency-Key: 7\r\n\r\n", 1),
        (RetryConfig(idempotency_key=True), LAST.replace(b"GET", b"POST")[:-2] + b"Idempotency-Key: 7\r\n\r\n", 3),
        (RetryConfig(), LAST.replace(b"GET", b"PUT")[:-2] + b"Content-Length: 4\r\n\r\nbody", 3),
        (RetryConfig(max_body=Size("3B")), LAST.replace(b"GET", b"PUT")[:-2] + b"Content-Length: 4\r\n\r\nbody", 1),
    ],
)
async def test_what_is_sent_again(upstream, running, ask, retry, request_, attempts):  # noqa: PLR0917 - fixtures
    """Only what does no harm twice is sent again, and only as often as the route says; its body goes with it."""
    server = await upstream(once(b""))
    async with running(server, routes=(RouteConfig(to="stable", retry=retry),)) as proxy:
        assert b"reset_before_response" in await ask(proxy, request_)
    assert server.connections == attempts
    assert len({head.split(b"\r\n\r\n")[0] for head in server.heads}) == 1


FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UNAVAILABLE = b"HTTP/1.1 503 Unavailable\r\nContent-Length: 4\r\n\r\nbusy"


@pytest.mark.parametrize(("method", "status"), [(b"GET", b"200"), (b"POST", b"503")])
async def test_an_answer_that_the_route_wants_repeated(upstream, running, ask, method, status):
    """The client never sees it, unless the request could do harm twice; then it gets the answer as it is."""
    server = await upstream(answering(UNAVAILABLE, FINE))
    routes = (RouteConfig(to="stable", retry=RetryConfig(on=("503",))),)
    async with running(server, routes=routes) as proxy:
        answer = await ask(proxy, LAST.replace(b"GET", method))
    assert answer.split()[1] == status
    assert answer.endswith(b"ok" if status == b"200" else b"busy")


async def test_the_budget_bounds_what_is_sent_again(upstream, running, ask):
    """Without a budget left a failure is a failure: retries never become a flood."""
    server = await upstream(once(b""))
    async with running(server) as proxy:
        proxy.upstreams["stable"].budget = Nothing()
        assert b"reset_before_response" in await ask(proxy, LAST)
        assert proxy.events.retries == 0
    assert server.connections == 1


class Nothing:
    """A budget that is used up."""

    def allows(self):
        return False

    def tick(self):
        pass


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(b"", b"(total_timeout)"), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome", b"some")],
)
async def test_total_timeout(upstream, running, ask, sent, expected):
    """A request has one deadline over everything; a response that has begun by then is cut, not completed."""

    async def dribble(server, peer):
        await server.head(peer)
        await peer.send(sent)
        await server.event.wait()

    server = await upstream(dribble)
    routes = (RouteConfig(to="stable", timeout=Duration("0.2s")),)
    async with running(server, routes=routes) as proxy:
        try:
            answer = await ask(proxy, LAST)
        except ConnectionError:
            answer = b"some"
        server.event.set()
        assert expected in answer


async def test_nothing_is_retried_after_the_first_byte(upstream, running, connect):
    """An answer that has begun is an answer."""

    async def half(server, peer):
        await server.head(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await server.head(peer)
        await peer.send(b"HTTP/1.1 2")

    server = await upstream(half)
    async with running(server) as proxy:
        client = await connect(proxy)
        await client.send(GET)
        await client.until(b"ok")
        await client.send(GET)
        assert (await client.until(b")\n")).startswith(b"HTTP/1.1 502 ")
    assert len(server.heads) == 2


async def test_idle_connections_with_data_are_closed(upstream, running, connect):
    """What comes unasked answers nothing; the next request gets a new connection."""
    sent, idle = asyncio.Event(), asyncio.Event()

    async def talkative(server, peer):
        await server.head(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await idle.wait()
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        sent.set()
        await peer.reader.read()

    server = await upstream(talkative)
    async with running(server) as proxy:
        client = await connect(proxy)
        await client.send(GET)
        await client.until(b"ok")
        idle.set()
        await sent.wait()
        await eventually(lambda: proxy.upstreams["stable"].describe()["connections"] == 0)
        await client.send(GET)
        assert (await client.until(b"ok")).startswith(b"HTTP/1.1 200")


async def test_connections_are_bounded(upstream, running, connect):
    """More requests than connections wait for one; more than may wait are answered 503 at once."""
    release = asyncio.Event()

    async def slow(server, peer):
        while True:
            await server.head(peer)
            await release.wait()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = await upstream(slow)
    async with running(server, hosts={"max_connections": 2, "max_pending": 3}) as proxy:
        clients = [await connect(proxy) for _ in range(7)]
        for index, client in enumerate(clients):
            await client.send(GET)
            await eventually(
                lambda index=index: (
                    sum(proxy.upstreams["stable"].describe()[key] for key in ("connections", "waiting"))
                    >= min(index + 1, 5)
                )
            )
        for client in clients[5:]:
            got = await client.until(b")\n")
            assert got.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 1" in got
        release.set()
        for client in clients[:5]:
            assert (await client.until(b"ok")).startswith(b"HTTP/1.1 200")
    assert server.connections == 2


async def test_an_upstream_that_is_not_there(running, connect, unused_tcp_port):
    """502 with the reason; after some failures 503 without another attempt, until it may be back."""
    async with running(unused_tcp_port, hosts={"failfast": Duration("100ms")}) as proxy:
        client = await connect(proxy)
        answers = []
        for _ in range(5):
            await client.send(GET)
            answers.append(await client.until(b")\n"))
        assert [answer.split()[1] for answer in answers] == [b"502"] + [b"503"] * 4
        assert b"connect_failure" in answers[0]
        assert b"no_healthy_upstream" in answers[-1]


async def test_the_other_address_takes_over(upstream, running, ask, unused_tcp_port):
    """A request that could not be sent anywhere yet goes to the next address of its version."""
    server = await upstream()
    both = (Address(f"127.0.0.1:{unused_tcp_port}"), Address(f"127.0.0.1:{server.port}"))
    async with running(server, hosts={"addresses": both}) as proxy:
        for _ in range(6):
            assert (await ask(proxy, LAST)).startswith(b"HTTP/1.1 200")


async def test_a_version_that_is_away_leaves_its_share_to_the_others(upstream, running, connect, unused_tcp_port):
    """Every request goes where it can be answered, the first ones included: nothing was sent to the other version."""
    server = await upstream()
    ports = {"stable": server, "test": unused_tcp_port}
    routes = (RouteConfig(split={"stable": 1, "test": 9}),)
    async with running(ports, routes=routes) as proxy:
        client = await connect(proxy)
        statuses = []
        for _ in range(60):
            await client.send(GET)
            head = await client.until(b"\r\n\r\n")
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            await client.exactly(length)
            statuses.append(int(head.split()[1]))
        assert statuses == [200] * 60
        assert [check.name for check in proxy.status().checks] == ["no request dropped"]


# --- time and space -----------------------------------------------------------------------------------------------


async def test_first_byte_timeout(upstream, running, ask):
    """An upstream that thinks for too long: 504, with the reason."""

    async def silent(server, peer):
        await server.head(peer)
        await peer.reader.read()

    server = await upstream(silent)
    async with running(server, hosts={"first_byte": Duration("200ms")}) as proxy:
        got = await ask(proxy, LAST)
    assert got.startswith(b"HTTP/1.1 504 ")
    assert b"first_byte_timeout" in got


async def test_idle_timeout(upstream, running, ask):
    """An upstream that stops in the middle: the client's connection is reset."""

    async def stuck(server, peer):
        await server.head(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await peer.reader.read()

    server = await upstream(stuck)
    async with running(server, hosts={"idle": Duration("200ms")}) as proxy:
        with pytest.raises(ConnectionResetError):
            await ask(proxy, LAST)


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHo", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"]
)
async def test_slow_clients(upstream, running, ask, sent):
    """A head or a body that does not come: 408."""

    async def wait(server, peer):
        await peer.reader.read()

    server = await upstream(wait)
    async with running(server, head_timeout=Duration("200ms"), hosts={"idle": Duration("200ms")}) as proxy:
        assert (await ask(proxy, sent)).startswith(b"HTTP/1.1 408 ")


async def test_slowloris(upstream, running, connect):
    """A head that dribbles in does not win time with each byte."""
    server = await upstream()
    async with running(server, head_timeout=Duration("300ms")) as proxy:
        client = await connect(proxy)
        started = asyncio.get_running_loop().time()
        got = b""
        while b"408" not in got:
            await client.send(b"G")
            try:
                async with asyncio.timeout(0.02):
                    got += await client.reader.read(100)
            except TimeoutError:
                continue
        assert asyncio.get_running_loop().time() - started < 2


async def test_too_many_clients(upstream, running, connect):
    """The one that is too many is told so at once."""
    server = await upstream()
    async with running(server, max_connections=2) as proxy:
        clients = [await connect(proxy) for _ in range(2)]
        await eventually(lambda: len(proxy.listeners[0].connections) == 2)
        extra = await connect(proxy)
        got = await extra.rest()
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in got
        await clients[0].send(GET)
        assert (await clients[0].until(b"ok")).startswith(b"HTTP/1.1 200")


async def test_a_slow_client_holds_the_upstream_back(upstream, running, connect):
    """What the proxy holds of a fast response is bounded; in the end every byte arrives."""
    total, sent = 64 << 20, 0

    async def flood(server, peer):
        nonlocal sent
        await server.head(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        piece = b"x" * 65536
        while sent < total:
            peer.writer.write(piece)
            await peer.writer.drain()
            sent += len(piece)
        await peer.reader.read()

    server = await upstream(flood)
    async with running(server) as proxy:
        client = await connect(proxy, limit=65536)
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        before = -1
        while sent != before:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.2)
        (connection,) = proxy.listeners[0].connections
        assert connection.slow
        assert connection.transport.get_write_buffer_size() < 1 << 20
        assert sent < total
        left = total
        while left:
            left -= len(await client.exactly(min(left, 1 << 16)))


async def test_a_slow_upstream_holds_the_client_back(upstream, running, connect):
    """The same for an upload."""
    go, total = asyncio.Event(), 32 << 20

    async def lazy(server, peer):
        await server.head(peer)
        peer.writer.transport.pause_reading()
        await go.wait()
        peer.writer.transport.resume_reading()
        left = total
        while left:
            left -= len(await peer.reader.read(1 << 20))
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = await upstream(lazy)
    async with running(server) as proxy:
        client = await connect(proxy)
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)
        client.writer.write(b"x" * total)
        # It is held for a moment while the connection is made, too.
        await eventually(lambda: any(each.held and each.exchange.link for each in proxy.listeners[0].connections))
        (connection,) = proxy.listeners[0].connections
        assert connection.exchange.link.transport.get_write_buffer_size() < 2 << 20
        go.set()
        assert (await client.until(b"ok")).startswith(b"HTTP/1.1 200")
