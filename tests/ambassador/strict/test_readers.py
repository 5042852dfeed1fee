"""Our readers of heads and bodies against a second one that was written from the RFC alone, and at every cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podpatterns.ambassador.http1.body import CHUNKED, UNTIL_CLOSE, reader
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import read_request
from podpatterns.ambassador.http1.response import read_response
from podpatterns.formats.http1 import Refused
from tests.fuzz import cuts, oracle
from tests.fuzz.answers import ANSWERS
from tests.fuzz.payloads import CHUNKS, PAYLOADS

SMALL = Limits(head=2048, fields=20, chunk_line=64, extensions=100, trailers=256)
PLACES = st.lists(st.integers(0, 5000), max_size=6)
SPLICES = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b",", b";", b"0", b"5", b"-", b"_", b"\x0b", b"\xa0",
     b"chunked", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"HTTP/1.0",
     b"\r\n\r\n", CHUNKS]
)  # fmt: skip


@st.composite
def mangled(draw, seeds):
    """One of the rows with a few bytes taken out, put in or put twice."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 3))):
        at, count = draw(st.integers(0, len(data))), draw(st.integers(0, 4))
        data = data[:at] + draw(SPLICES | st.just(data[at : at + count] * 2)) + data[at + draw(st.integers(0, 3)) :]
    return data


def request(data):
    return read_request(data, SMALL, b"us")


def without_hops(message):
    """Max-Forwards counts down on its way."""
    return [each for each in message.end_to_end if each[0] != b"max-forwards"]


def described(found):
    return found.method, found.target, found.host, found.head, found.length, found.size, found.persistent


@settings(max_examples=150, deadline=None)
@given(mangled([payload.data for payload in PAYLOADS.values() if len(payload.data) < 2000]), PLACES)
def test_requests(data, places):
    """Nothing is accepted that the oracle refuses; both see the same request; what goes on is that request."""
    found = cuts.agree(cuts.head(request, described), data, places)
    if isinstance(found, str):
        return
    method, _, host, head, length, size, _ = found
    read, error = oracle.requests(data[:size])
    assert read, error
    (theirs,) = read
    assert theirs.first[0] == method
    assert oracle.request_length(theirs) == (None if length == CHUNKED else length)
    (sent,), error = oracle.requests(head + b"\r\n")
    assert error is None
    assert without_hops(sent) == without_hops(theirs)
    assert sent.values(b"host") == [host]
    assert oracle.request_length(sent) == oracle.request_length(theirs)


@settings(max_examples=100, deadline=None)
@given(mangled([answer.data for answer in ANSWERS.values()]), st.sampled_from([b"GET", b"HEAD"]), PLACES)
def test_responses(data, method, places):
    """The same of responses, but for the space before a colon, which is taken away."""

    def described(found):
        return found.status, found.head, found.length, found.size, found.persistent

    found = cuts.agree(cuts.head(lambda data: read_response(data, method, SMALL), described), data, places)
    if isinstance(found, str):
        assert found in {"incomplete", "refused with 502"}
        return
    status, head, length, _, _ = found
    read, error = oracle.responses(head + b"\r\n", [method], closed=False)
    assert read, error
    assert int(read[0].first[1]) == status
    assert oracle.response_length(read[0], method) == (None if length == CHUNKED else length)


@settings(max_examples=100, deadline=None)
@given(
    mangled([payload.data.partition(b"\r\n\r\n")[2] for name, payload in PAYLOADS.items() if "chunk: " in name]), PLACES
)
def test_chunked_bodies(data, places):
    """Where ours sees a complete body the oracle sees the same one, and the same bytes behind it."""
    found = cuts.agree(cuts.body(CHUNKED, SMALL), data, places)
    if isinstance(found, str):
        return
    payload, trailers, complete, rest = found
    read = oracle.requests(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)[0][0]
    assert read.complete == complete
    if complete:
        assert read.payload == payload
        assert data.endswith(rest)
        ours = [line.partition(b":")[0].lower() for line in trailers.splitlines()]
        assert ours == [name for name, _ in read.trailers if name in ours]
    else:
        assert read.payload.startswith(payload)


@pytest.mark.parametrize("length", [0, 1, 5, 6, UNTIL_CLOSE])
def test_plain_bodies(length):
    """A length is exact at any cut; a body without one takes everything."""
    found = cuts.agree(cuts.body(length, SMALL), b"hello", [1, 3])
    expected = {0: (b"", b"", True, b"hello"), 1: (b"h", b"", True, b"ello"), 5: (b"hello", b"", True, b""),
                6: (b"hello", b"", False, None), UNTIL_CLOSE: (b"hello", b"", True, None)}  # fmt: skip
    assert found == expected[length]


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        (b"Content-Length: 0005", b"Content-Length: 5"),
        (b"content-length:\t5", b"Content-Length: 5"),
        (b"Content-Length:   5 ", b"Content-Length: 5"),
        (b"Content-Length: 000", b"Content-Length: 0"),
        (b"transfer-encoding:\tChunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding:  chunked", b"Transfer-Encoding: chunked"),
    ],
)
def test_odd_spellings_of_framing_are_not_passed_on(line, plain):
    """The upstream reads the length in our spelling, once; a plain spelling stays as it is, where it is."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\nX: 1\r\n\r\n"
    assert request(head % line).head == b"POST / HTTP/1.1\r\nHost: a\r\nX: 1\r\n" + plain + b"\r\n"
    assert request(head % plain).head == (head % plain)[:-2]
    assert request(head % plain.replace(b" ", b"")).head == (head % plain.replace(b" ", b""))[:-2]


def test_trailers_that_connection_lists_are_dropped():
    """They concern one connection, like the fields of that name (RFC 9110 7.6.1)."""
    found = request(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert found.options == {b"x-hop"}
    for options, trailers in (found.options, b"X-Sum: 2\r\n"), (frozenset(), b"x-hop: 1\r\nX-Sum: 2\r\nX-Hop: 3\r\n"):
        body = reader(CHUNKED, SMALL, options)
        body.feed(b"0\r\nx-hop: 1\r\nX-Sum: 2\r\nX-Hop: 3\r\n\r\n")
        assert body.trailers == trailers


@pytest.mark.parametrize("size", [1, 20, 100])
def test_a_response_with_bare_line_feeds_is_refused_at_once(size):
    """Nobody waits for the end of a head that can only be refused."""
    data = b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"
    with pytest.raises(Refused, match="LF alone"):
        read_response(data[: 15 + size], b"GET", SMALL)
