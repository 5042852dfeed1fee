"""The rules of RFC 9110 and RFC 9112 for an intermediary, one test each; `docs/conformance.md` is made from them.

Most run over a whole connection in memory (`tests/fuzz/wire.py`); what is about closing and time runs over sockets.
"""

import asyncio
import re
from pathlib import Path

import pytest

import podpatterns.ambassador
from podpatterns.runtime.units import Duration
from tests.fuzz import oracle
from tests.fuzz.answers import ANSWERS
from tests.fuzz.payloads import CHUNKS, NEXT, PASSED, PAYLOADS, REFUSED, TE, get, post
from tests.fuzz.wire import Wire, outcome

GET = get()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def sent(*requests):
    """What the upstream gets of a client's bytes: the messages, all of them."""
    got = outcome([b"".join(requests)])
    assert not got.refused
    return got.requests


def received(answer, request=GET, *, closes=False):
    """What the client gets of an upstream's bytes."""
    return Wire(lambda _: [answer], closes=closes).run([request])


def rows(table, words):
    """The names of rows with one of these words in them; each word stands in at least one."""
    found = {word: [name for name in table if word in name] for word in words}
    assert all(found.values()), found
    return [name for names in found.values() for name in names]


def refused(*words):
    """Each of these rows is refused, and nothing of the bad message reaches the upstream."""
    for name in rows(REFUSED, words):
        payload = REFUSED[name]
        got = outcome([payload.data])
        assert got.refused == [(payload.status, payload.reason)], name
        assert len(got.requests) == payload.before, name


def bad(*words):
    """Each of these answers becomes a 502 (or a reset, if it is the body), and the connection it came on is closed."""
    for name in rows(ANSWERS, words):
        wire = Wire(lambda _, name=name: [ANSWERS[name].data])
        got = wire.run([GET])
        assert got.reset or got.client.startswith(b"HTTP/1.1 502 "), name
        assert got.reset is (ANSWERS[name].payload is None), name
        assert all(link.transport.closing for link in wire.origin.links), name


# --- RFC 9110 -----------------------------------------------------------------------------------------------------


@pytest.mark.holds("RFC 9110 5.3")
def test_fields_of_one_name_keep_their_order():
    """In both directions, also with others between them, and with hop-by-hop fields taken out."""
    lines = (b"A: 1", b"B: 2", b"A: 3", b"Connection: B", b"a: 4")
    assert [each for each in sent(get(*lines))[0].fields if each[0] == b"a"] == [
        (b"a", b"1"),
        (b"a", b"3"),
        (b"a", b"4"),
    ]
    got = received(b"HTTP/1.1 200 OK\r\nSet-Cookie: 1\r\nX: 1\r\nSet-Cookie: 2\r\nContent-Length: 0\r\n\r\n")
    assert got.client.index(b"Set-Cookie: 1") < got.client.index(b"Set-Cookie: 2")


@pytest.mark.holds("RFC 9110 5.1")
def test_unknown_fields_are_forwarded():
    """As they were written, in both directions."""
    got = outcome([get(b"X-Unknown: \t a  b ", b"y_z: \xff")])
    assert b"\r\nX-Unknown: \t a  b \r\ny_z: \xff\r\n" in got.upstream[0]
    assert b"\r\nX-Unknown:  a \r\n" in received(OK.replace(b"\r\n", b"\r\nX-Unknown:  a \r\n", 1)).client


@pytest.mark.holds("RFC 9110 5.5")
def test_line_ends_and_nul_in_a_field():
    """Refused in requests, 502 in responses."""
    refused("CR alone", "NUL in", "LF alone ends a field", "escape in a value", "DEL in")
    bad("CR alone in a field", "NUL in a field", "LF alone in a field")


@pytest.mark.holds("RFC 9110 6.5", "RFC 9112 7.1.2")
def test_trailers_stay_trailers():
    """They are passed on behind the body, never merged into the head; what decides on framing or routing is dropped."""
    (request,) = sent(post(TE, body=b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nContent-Length: 9\r\n\r\n"))
    assert request.trailers == [(b"x-sum", b"1")]
    assert not request.values(b"x-sum")
    got = received(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nSet-Cookie: evil\r\n\r\n" % TE)
    ((answer,), error) = oracle.responses(got.client, [b"GET"])
    assert error is None
    assert answer.trailers == [(b"x-sum", b"1")]


@pytest.mark.holds("RFC 9110 7.6.1")
def test_hop_by_hop_fields_are_dropped():
    """Connection and what it lists (in trailers, too), Keep-Alive, Proxy-Connection, TE, Upgrade; both ways."""
    hops = (
        b"Connection: close, X-Hop",
        b"X-Hop: 1",
        b"Keep-Alive: 5",
        b"Proxy-Connection: x",
        b"TE: gzip",
        b"Upgrade: h2c",
    )
    (request,) = sent(post(*hops, TE, body=b"0\r\nx-hop: 1\r\nX-Sum: 1\r\n\r\n"))
    assert {name for name, _ in request.fields} == {b"host", b"transfer-encoding", b"via"}
    assert request.trailers == [(b"x-sum", b"1")]
    lines = b"\r\n".join((b"HTTP/1.1 200 OK", *hops, TE))
    got = received(lines + b"\r\n\r\n2\r\nok\r\n0\r\nX-HOP: 1\r\nX-Sum: 1\r\n\r\n")
    ((answer,), error) = oracle.responses(got.client, [b"GET"])
    assert error is None
    assert {name for name, _ in answer.fields} == {b"transfer-encoding"}
    assert answer.trailers == [(b"x-sum", b"1")]
    refused("Connection lists")


@pytest.mark.holds("RFC 9110 7.6.1, loops")
def test_loops_end():
    """A request that has passed through here before is answered 508, not forwarded again."""
    refused("a loop")


@pytest.mark.holds("RFC 9110 7.6.2")
def test_max_forwards():
    """OPTIONS counts it down, and is answered here at 0; other methods pass it on as it is; TRACE is not forwarded."""
    ask = b"OPTIONS / HTTP/1.1"
    assert sent(get(b"Max-Forwards: 7", line=ask))[0].values(b"max-forwards") == [b"6"]
    assert sent(get(b"Max-Forwards: 0"))[0].values(b"max-forwards") == [b"0"]
    got = outcome([get(b"Max-Forwards: 0", line=ask)])
    assert got.client.startswith(b"HTTP/1.1 200 ")
    assert not got.requests
    refused("Max-Forwards", "TRACE")


@pytest.mark.holds("RFC 9110 7.6.3")
def test_via():
    """Each request that is forwarded gets a Via of ours behind those that it has."""
    for request in (GET, get(b"Via: 1.0 x"), post(TE, body=CHUNKS), get(line=b"GET / HTTP/1.0")):
        values = sent(request)[0].values(b"via")
        assert values[-1] == b"1.1 us"
    assert sent(get(b"Via: 1.0 x"))[0].values(b"via") == [b"1.0 x", b"1.1 us"]


@pytest.mark.holds("RFC 9110 7.7")
@pytest.mark.parametrize(
    "target", [b"/", b"//a/../b/./c", b"/%2e%2E/%00", b"/?", b"/a?b?c=/../&d=%0a", b"/;a=b;,", b"/{|}"]
)
def test_targets_are_never_changed(target):
    """No byte of path or query is decoded, normalized or encoded."""
    assert sent(get(line=b"GET " + target + b" HTTP/1.1"))[0].first[1] == target


@pytest.mark.holds("RFC 9110 7.8")
def test_upgrade_needs_connection():
    """An Upgrade that Connection does not list is not passed on; other protocols than WebSocket are declined."""
    websocket = b"Upgrade: websocket"
    assert not sent(get(websocket))[0].values(b"upgrade")
    assert not sent(get(b"Connection: upgrade", b"Upgrade: h2c"))[0].values(b"upgrade")
    assert sent(get(b"Connection: Upgrade", websocket))[0].values(b"upgrade") == [b"websocket"]
    bad("an upgrade that nobody asked for")


@pytest.mark.holds("RFC 9110 8.6")
def test_bad_lengths_are_never_forwarded():
    """Neither in requests nor in responses; a length that is right is forwarded in plain digits."""
    refused("length: ")
    bad("length beyond", "negative length", "list of lengths", "empty length", "two lengths")
    for name in rows(PASSED, ["zeros in a length", "before a length", "around a length"]):
        assert outcome([PASSED[name].data]).requests[0].values(b"content-length") == [b"5"]


@pytest.mark.holds("RFC 9110 9.3.2")
def test_head_has_no_body():
    """Whatever its answer announces, and also where the answer is ours."""
    head = get(line=b"HEAD / HTTP/1.1")
    got = received(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", head)
    assert got.client == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    for answer in (received(b"nonsense\r\n\r\n", head), outcome([get(b"X : y", line=b"HEAD / HTTP/1.1")])):
        assert answer.client.endswith(b"\r\n\r\n")


@pytest.mark.holds("RFC 9110 10.1.1")
def test_expectations():
    """100-continue is forwarded, and the upstream's answer to it comes back; any other expectation is a 417."""
    head = post(b"Expect: 100-continue", b"Content-Length: 5")
    wire = Wire()
    wire.client.data_received(head)
    (link,) = wire.origin.links
    assert b"\r\nExpect: 100-continue\r\n" in link.transport.written
    link.data_received(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert wire.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    got = wire.run([b"hello"])
    assert got.client.endswith(OK)
    refused("expectation")


@pytest.mark.holds("RFC 9110 15.2")
def test_interim_responses():
    """Each is forwarded, however many; to HTTP/1.0, which knows none, not one is."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
    assert received(hints * 30 + OK).client == hints * 30 + OK
    old = received(hints + OK, get(line=b"GET / HTTP/1.0"))
    assert old.client == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


@pytest.mark.holds("RFC 9110 15.5.20")
def test_421_is_the_upstreams_alone():
    """It is passed on, and never made here: no source file of ours says 421."""
    answer = b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n"
    assert received(answer).client == answer
    sources = Path(podpatterns.ambassador.__file__).parent.rglob("*.py")
    assert not [path for path in sources if re.search(r"\b421\b", path.read_text())]


# --- RFC 9112 -----------------------------------------------------------------------------------------------------


@pytest.mark.holds("RFC 9112 2.2")
def test_lines_end_with_crlf_alone():
    """A bare LF or CR is refused wherever it stands; empty lines before a request are skipped."""
    refused("line: LF", "line: CR", "chunk: LF", "chunk: CR", "trailer that ends with LF")
    bad("LF alone")
    assert len(sent(b"\r\n\r\n", GET, b"\r\n", NEXT)) == 2


@pytest.mark.holds("RFC 9112 2.3")
def test_our_own_version():
    """HTTP/1.1 is what both sides get, whatever the other side speaks."""
    assert sent(get(line=b"GET / HTTP/1.0"))[0].first[2] == b"HTTP/1.1"
    assert received(OK.replace(b"1.1", b"1.0")).client.startswith(b"HTTP/1.1 200 OK\r\n")
    refused("HTTP/0.9", "HTTP/1.2", "HTTP/2")


@pytest.mark.holds("RFC 9112 3.2")
def test_host():
    """Exactly one, and one that is a host: everything else is a 400."""
    refused("host: ")


@pytest.mark.holds("RFC 9112 3.2.2")
def test_absolute_form():
    """Its host takes the place of Host, and the upstream gets the path alone."""
    (request,) = sent(get(b"X: 1", line=b"GET http://b:81/c?d HTTP/1.1"))
    assert request.first[1] == b"/c?d"
    assert request.values(b"host") == [b"b:81"]
    refused("absolute form")


@pytest.mark.holds("RFC 9112 5.1")
def test_space_before_the_colon():
    """400 in a request; removed from a response."""
    refused("before the colon")
    got = received(b"HTTP/1.1 200 OK\r\nX-Y \t: 1\r\nContent-Length : 2\r\n\r\nok")
    assert got.client == b"HTTP/1.1 200 OK\r\nX-Y: 1\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.holds("RFC 9112 5.2")
def test_line_folding():
    """400 in a request, 502 in a response."""
    refused("fold")
    bad("fold")


@pytest.mark.holds("RFC 9112 6.1")
def test_transfer_encoding():
    """With Content-Length, in HTTP/1.0, or anything but `chunked`: refused, and 502. No chunks to HTTP/1.0."""
    refused("length and coding: CL", "length and coding: TE", "coding: ", "in HTTP/1.0")
    bad("length and coding", "gzip", "chunked twice", "chunked in HTTP/1.0")
    chunked = b"HTTP/1.1 200 OK\r\n%b\r\n\r\n2\r\nok\r\n0\r\n\r\n" % TE
    for answer, line in (
        (chunked, b"GET / HTTP/1.0"),
        (chunked.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", b"HEAD / HTTP/1.0"),
        (b"HTTP/1.1 304 Not Modified\r\n%b\r\n\r\n" % TE, b"GET / HTTP/1.0"),
    ):
        got = received(answer, get(line=line))
        assert b"chunked" not in got.client.lower()
        assert got.closed


@pytest.mark.holds("RFC 9112 6.3")
def test_message_lengths():
    """Final coding not chunked: 400. A bad length in a response: 502, and its connection is closed. 204 has no body."""
    refused("coding: chunked, gzip", "coding: gzip")
    bad("length with a sign", "two equal lengths")
    got = received(b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil")
    assert got.client == b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.holds("RFC 9112 7.1")
def test_chunk_sizes():
    """Only hexadecimal digits below 2^60; too many or too long extensions are refused, all others are dropped."""
    refused("size of", "before a size", "after a size", "extension", "empty size")
    assert sent(PASSED["extensions"].data)[0].payload == b"hello"


@pytest.mark.holds("RFC 9112 8")
@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"GET / HTTP/1.0"])
def test_truncated_responses_never_look_complete(line):
    """The client's connection is reset; an end of file would complete a body without a length."""
    for name in rows(
        ANSWERS, ["half a body", "half the chunks", "no last chunk", "last chunk without", "bad chunk size"]
    ):
        assert received(ANSWERS[name].data, get(line=line), closes=True).reset, name


@pytest.mark.holds("RFC 9112 9.2")
def test_data_on_an_idle_connection():
    """What an upstream says unasked answers nothing: its connection is closed, the next request gets another one."""
    wire = Wire()
    wire.run([GET])
    (link,) = wire.origin.free
    link.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert link.transport.closing
    assert b"evil" not in wire.transport.written


@pytest.mark.holds("RFC 9112 9.3")
def test_persistence():
    """HTTP/1.1 keeps its connection unless told otherwise, HTTP/1.0 only if asked, and is told so."""
    assert not outcome([GET]).closed
    assert outcome([get(b"Connection: close")]).closed
    assert outcome([get(line=b"GET / HTTP/1.0")]).closed
    kept = outcome([get(b"Connection: keep-alive", line=b"GET / HTTP/1.0")])
    assert not kept.closed
    assert b"\r\nConnection: keep-alive\r\n" in kept.client
    wire = Wire(lambda _: [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")])
    assert not wire.run([GET]).closed
    assert wire.origin.links[0].transport.closing


@pytest.mark.holds("RFC 9112 9.3.2")
def test_pipelines_are_answered_in_order():
    """Each gets its own answer, one after the other; a bad one ends the connection after those before it."""

    def named(message):
        return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(message.first[1]), message.first[1])]

    requests = [get(line=b"GET /%d HTTP/1.1" % number) for number in range(20)]
    got = Wire(named).run([b"".join(requests)])
    answers, error = oracle.responses(got.client, [b"GET"] * 20)
    assert error is None
    assert [answer.payload for answer in answers] == [b"/%d" % number for number in range(20)]
    refused("pipeline: a bad request")


@pytest.mark.holds("RFC 9112 9.5")
async def test_an_early_response(upstream, running, connect):
    """Ends the upload: the client has its answer, told that it is the last one, and the rest is not sent on."""

    async def early(server, peer):
        await server.head(peer)
        await peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        server.rest = await peer.rest()
        server.event.set()

    server = await upstream(early)
    async with running(server) as proxy:
        client = await connect(proxy)
        await client.send(post(b"Content-Length: 1000000", body=b"x"))
        assert b"\r\nConnection: close\r\n" in await client.until(b"big")
        async with asyncio.timeout(10):
            await server.event.wait()
    assert len(server.rest) <= 1


@pytest.mark.holds("RFC 9112 9.6")
async def test_lingering_close(upstream, running, connect):
    """A client that is still sending when it is refused reads the answer, and no reset in its place."""
    server = await upstream()
    async with running(server) as proxy:
        client = await connect(proxy)
        await client.send(post(b"Content-Length: x"))
        for _ in range(20):
            await client.send(b"y" * 50_000)
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.holds("RFC 9112 11.1")
def test_response_splitting():
    """What an upstream sends beyond its response goes to nobody, and its connection carries nothing more."""
    for name in rows(ANSWERS, ["behind"]):
        wire = Wire(lambda _, name=name: [ANSWERS[name].data])
        got = wire.run([GET, NEXT])
        assert b"evil" not in got.client, name
        assert len(got.upstream) == 2, name


@pytest.mark.holds("RFC 9112 11.2")
def test_request_smuggling():
    """Of every row of the table the upstream gets the requests that a second, strict reader sees, or fewer."""
    for name, payload in PAYLOADS.items():
        read, _ = oracle.requests(payload.data)
        got = outcome([payload.data])
        assert len(got.requests) <= len(read), name
        assert not [each for each in got.requests if each.first[1] == b"/smuggled"], name


# --- slow and broken peers ----------------------------------------------------------------------------------------


@pytest.mark.holds("slow head")
async def test_slow_heads(upstream, running, connect):
    """A head that dribbles in gets its time once, and not anew with each byte; then 408."""
    server = await upstream()
    async with running(server, head_timeout=Duration("200ms")) as proxy:
        client = await connect(proxy)
        await client.send(b"GET / HTTP/1.1\r\n")
        answer = asyncio.ensure_future(client.rest())
        while not answer.done():
            client.writer.write(b"X")
            await asyncio.sleep(0.02)
        assert (await answer).startswith(b"HTTP/1.1 408 ")


@pytest.mark.holds("bounded heads")
def test_sizes_are_bounded():
    """Heads and trailers in bytes, heads also in fields: 431, or 414 for the first line; 502 in responses."""
    refused("size: ", "endless trailers")
    bad("head too large", "too many fields")


@pytest.mark.holds("interim flood")
async def test_a_flood_of_interim_responses(upstream, running, ask):
    """Interim responses win no time: whoever sends nothing else is given up after `first_byte`."""

    async def flood(server, peer):
        await server.head(peer)
        while True:
            await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await asyncio.sleep(0.01)

    server = await upstream(flood)
    async with running(server, hosts={"first_byte": Duration("300ms")}) as proxy:
        got = await ask(proxy, get(b"Connection: close"))
    assert b"HTTP/1.1 504 " in got
