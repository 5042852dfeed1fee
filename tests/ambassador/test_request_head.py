"""Request heads: what is read, what is refused, and that cuts in the stream make no difference."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podpatterns.ambassador.http1.body import CHUNKED
from podpatterns.ambassador.http1.grammar import REQUEST
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import _unusual, read_request
from podpatterns.formats.http1 import Refused

LIMITS = Limits(head=1024, fields=10)


def read(data, limits=LIMITS, via=b""):
    try:
        return read_request(data, limits, via)
    except Refused as error:
        return error.status, error.reason


def read_bytewise(data, limits=LIMITS):
    """What a reader that gets one byte after the other comes to."""
    for size in range(1, len(data) + 1):
        result = read(data[:size], limits)
        if result is not None:
            return result
    return None


def head(*fields, line=b"GET / HTTP/1.1", host=b"Host: a"):
    lines = [line, *([host] if host is not None else []), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


REFUSED = {
    "bare LF after the first line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    "bare LF in a field": (head(b"A: b\nC: d"), 400),
    "bare CR in a field": (head(b"A: b\rC: d"), 400),
    "NUL in a field": (head(b"A: b\x00"), 400),
    "DEL in a field": (head(b"A: b\x7f"), 400),
    "line folding": (head(b"A: b\r\n c"), 400),
    "folding before the first field": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "space before the colon": (head(b"A : b"), 400),
    "tab before the colon": (head(b"Content-Length\t: 5"), 400),
    "no colon": (head(b"A"), 400),
    "empty field name": (head(b": b"), 400),
    "non-ASCII in a field name": (head(b"Caf\xc3\xa9: b"), 400),
    "two spaces in the first line": (head(line=b"GET  / HTTP/1.1"), 400),
    "a space in the target": (head(line=b"GET /a b HTTP/1.1"), 400),
    "a trailing space": (head(line=b"GET / HTTP/1.1 "), 400),
    "a fragment": (head(line=b"GET /a#b HTTP/1.1"), 400),
    "non-ASCII in the target": (head(line=b"GET /\xff HTTP/1.1"), 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/1.2": (head(line=b"GET / HTTP/1.2"), 505),
    "HTTP/2.0": (head(line=b"GET / HTTP/2.0"), 505),
    "HTTP/2 with prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "lower-case http": (head(line=b"GET / http/1.1"), 400),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "no Host": (head(host=None), 400),
    "no Host, but another field that decides": (head(b"Via: x", host=None), 400),
    "two Hosts": (head(b"Host: a"), 400),
    "two different Hosts": (head(b"Host: b"), 400),
    "empty Host": (head(host=b"Host:"), 400),
    "Host with a path": (head(host=b"Host: a/b"), 400),
    "Host with a user": (head(host=b"Host: u@a"), 400),
    "Host with a space": (head(host=b"Host: a b"), 400),
    "Host with two values": (head(host=b"Host: a, b:1:2"), 400),
    "Content-Length beside Transfer-Encoding": (head(b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400),
    "two Content-Lengths": (head(b"Content-Length: 5", b"Content-Length: 6"), 400),
    "two equal Content-Lengths": (head(b"Content-Length: 5", b"Content-Length: 5"), 400),
    "a list of Content-Lengths": (head(b"Content-Length: 5, 5"), 400),
    "negative Content-Length": (head(b"Content-Length: -1"), 400),
    "Content-Length with a sign": (head(b"Content-Length: +1"), 400),
    "hexadecimal Content-Length": (head(b"Content-Length: 0x5"), 400),
    "Content-Length with an underscore": (head(b"Content-Length: 1_0"), 400),
    "empty Content-Length": (head(b"Content-Length: "), 400),
    "Content-Length beyond 64 bits": (head(b"Content-Length: 99999999999999999999"), 400),
    "Content-Length in Arabic digits": (head(b"Content-Length: \xd9\xa5"), 400),
    "Content_Length": (head(b"Content_Length: 5"), 400),
    "Transfer_Encoding": (head(b"Transfer_Encoding: chunked"), 400),
    "unknown coding": (head(b"Transfer-Encoding: gzip"), 400),
    "coding before chunked": (head(b"Transfer-Encoding: gzip, chunked"), 501),
    "chunked not last": (head(b"Transfer-Encoding: chunked, identity"), 400),
    "chunked twice": (head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    "obfuscated chunked": (head(b"Transfer-Encoding: \x0bchunked"), 400),
    "quoted chunked": (head(b'Transfer-Encoding: "chunked"'), 400),
    "chunked in HTTP/1.0": (head(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"), 400),
    "CONNECT": (head(line=b"CONNECT a:443 HTTP/1.1"), 501),
    "TRACE": (head(line=b"TRACE / HTTP/1.1"), 501),
    "absurd method": (head(line=b"A" * 40 + b" / HTTP/1.1"), 501),
    "asterisk without OPTIONS": (head(line=b"GET * HTTP/1.1"), 400),
    "https target": (head(line=b"GET https://a/ HTTP/1.1"), 400),
    "target with a user": (head(line=b"GET http://u@a/ HTTP/1.1"), 400),
    "relative target": (head(line=b"GET a/b HTTP/1.1"), 400),
    "unknown expectation": (head(b"Expect: tea"), 417),
    "Connection lists Host": (head(b"Connection: host"), 400),
    "Connection lists Content-Length": (head(b"Connection: content-length", b"Content-Length: 1"), 400),
    "Connection lists a very long name": (head(b"Connection: " + b"a" * 65), 400),
    "Connection lists too many": (head(b"Connection: " + b",".join(b"%d" % n for n in range(17))), 400),
    "Connection is no list of tokens": (head(b"Connection: a b"), 400),
    "head too large": (head(b"A: " + b"b" * 1100), 431),
    "first line too long": (head(line=b"GET /" + b"a" * 1100 + b" HTTP/1.1"), 414),
    "too many fields": (head(*[b"A: b"] * 10), 431),
    "too many fields, on the slow path": (head(b"Connection: close", *[b"A: b"] * 9), 431),
    "WebSocket with a body": (
        head(b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 2", line=b"GET / HTTP/1.1"),
        400,
    ),
    "bad Max-Forwards": (head(b"Max-Forwards: x", line=b"OPTIONS / HTTP/1.1"), 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_ambiguous_is_refused(name):
    """Never forwarded, never repaired; and whether it comes at once or byte by byte, with the same status."""
    data, status = REFUSED[name]
    result = read(data)
    assert isinstance(result, tuple), result
    assert result[0] == status, result
    assert read_bytewise(data)[0] == status


ACCEPTED = {
    "the least": (head(), b"GET / HTTP/1.1\r\nHost: a\r\n"),
    "any case of a name": (head(host=b"hOsT: a:80"), b"GET / HTTP/1.1\r\nhOsT: a:80\r\n"),
    "IPv6": (head(host=b"Host: [::1]:80"), b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n"),
    "unknown fields, in order": (
        head(b"B: 1", b"a:2", b"B:\t3 "),
        b"GET / HTTP/1.1\r\nHost: a\r\nB: 1\r\na:2\r\nB:\t3 \r\n",
    ),
    "empty value": (head(b"A:"), b"GET / HTTP/1.1\r\nHost: a\r\nA:\r\n"),
    "obs-text": (head(b"A: \xff"), b"GET / HTTP/1.1\r\nHost: a\r\nA: \xff\r\n"),
    "path and query untouched": (
        head(line=b"GET //a/../b;c?d=%2F&e=[f] HTTP/1.1"),
        b"GET //a/../b;c?d=%2F&e=[f] HTTP/1.1\r\nHost: a\r\n",
    ),
    "hop-by-hop fields go": (
        head(b"Connection: keep-alive, X-Hop", b"Keep-Alive: 5", b"X-Hop: 1", b"TE: trailers", b"X: 2", b"x-hop: 3"),
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 2\r\n",
    ),
    "h2c is declined": (
        head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAM"),
        b"GET / HTTP/1.1\r\nHost: a\r\n",
    ),
    "an Upgrade that Connection does not list": (head(b"Upgrade: websocket"), b"GET / HTTP/1.1\r\nHost: a\r\n"),
    "WebSocket": (
        head(b"Upgrade: WebSocket", b"Connection: keep-alive, Upgrade"),
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    ),
    "absolute form": (head(line=b"GET http://b:1/c?d HTTP/1.1"), b"GET /c?d HTTP/1.1\r\nHost: b:1\r\n"),
    "absolute form without path": (head(line=b"GET HTTP://b HTTP/1.1"), b"GET / HTTP/1.1\r\nHost: b\r\n"),
    "HTTP/1.0 without Host": (head(line=b"GET / HTTP/1.0", host=None), b"GET / HTTP/1.1\r\nHost: localhost\r\n"),
    "a method of one's own": (head(line=b"BREW /pot HTTP/1.1"), b"BREW /pot HTTP/1.1\r\nHost: a\r\n"),
    "OPTIONS *": (head(line=b"OPTIONS * HTTP/1.1"), b"OPTIONS * HTTP/1.1\r\nHost: a\r\n"),
    "Max-Forwards counts down": (
        head(b"Max-Forwards: 5", line=b"OPTIONS / HTTP/1.1"),
        b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 4\r\n",
    ),
    "Via of others": (head(b"Via: 1.1 other"), b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 other\r\n"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_forwarded(name):
    """Everything stays as it was sent, but for what concerns one connection alone; however the bytes were cut."""
    data, forwarded = ACCEPTED[name]
    request = read(data)
    assert request.head == forwarded
    assert request.size == len(data)
    assert read_bytewise(data).head == forwarded
    assert read(data + b"GET /next HTTP/1.1\r\n").size == len(data)


@pytest.mark.parametrize(
    ("fields", "line", "persistent"),
    [
        ([], b"GET / HTTP/1.1", True),
        ([b"Connection: close"], b"GET / HTTP/1.1", False),
        ([b"Connection: x, Close"], b"GET / HTTP/1.1", False),
        ([], b"GET / HTTP/1.0", False),
        ([b"Connection: keep-alive"], b"GET / HTTP/1.0", True),
    ],
)
def test_persistence(fields, line, persistent):
    """HTTP/1.1 keeps a connection unless told not to, HTTP/1.0 only if asked to."""
    assert read(head(*fields, line=line)).persistent is persistent


def test_lengths():
    """Of a body: none, a number, or chunked."""
    assert read(head()).length == 0
    assert read(head(b"Content-Length: 0012")).length == 12
    assert read(head(b"Transfer-Encoding: Chunked", line=b"POST / HTTP/1.1")).length == CHUNKED


def test_a_loop_is_seen():
    """A request that carries our own name in Via has been here before."""
    assert read(head(b"Via: 1.1 us, 1.1 other"), via=b"us") == (508, "loop")
    assert read(head(b"Via: 1.1 them"), via=b"us").method == b"GET"


def test_max_forwards_runs_out():
    """The proxy at which Max-Forwards is 0 answers itself."""
    assert read(head(b"Max-Forwards: 0", line=b"OPTIONS / HTTP/1.1"))[0] == 200


DECIDING = st.sampled_from(
    [b"Host: a", b"host:b:1", b"Host: a/", b"HOST: a ", b"Content-Length: 5", b"content-length:5",
     b"Content-Length: 05",
     b"Content-Length:\t5", b"CONTENT-LENGTH: 5", b"Content-Length: 5 ", b"Content-Length: 0", b"Content_Length: 5",
     b"Transfer-Encoding: chunked", b"transfer-encoding:chunked", b"Transfer-Encoding: Chunked",
     b"Transfer-Encoding: gzip", b"Connection: keep-alive", b"Connection: Keep-Alive", b"connection:keep-alive",
     b"Connection: keep-alive ", b"Connection: close", b"Connection: X", b"X: Connection: keep-alive", b"X: y",
     b"Keep-Alive: 5", b"TE: trailers", b"Expect: 100-continue", b"Via: 1.1 x", b"Host: [::1]:80", b"Host: %41",
     b"Host:", b"X-Request-Id: 1", b"x-request-ID:", b"X-Request: 1", b"Hosts: a", b"Cont: 1", b"Transfer_Encoding: a",
     b"Upgrade: websocket"]
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.lists(DECIDING, max_size=12), st.sampled_from([b"GET", b"POST", b"DELETE", b"OPTIONS", b"get"]))
def test_what_is_usual_is_read_as_completely_as_the_rest(fields, method):
    """The short ways through a head come to what the complete reading comes to: the same request, or the same
    refusal."""
    data = head(*fields, line=method + b" /a HTTP/1.1", host=None)

    def everything(reading):
        try:
            request = reading()
        except Refused as error:
            return error.status, error.reason
        return request.head, request.host, request.length, request.size, request.persistent, request.identified

    def complete():
        return _unusual(data, REQUEST.match(data), LIMITS, b"")

    assert everything(lambda: read_request(data, LIMITS)) == everything(complete)


WORDS = st.sampled_from(
    [b"GET", b"POST", b" ", b"/", b"/a", b"http://h/", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\n", b"\r",
     b":", b"Host", b"Host: h\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
     b"Content-Length: 3\r\n", b"\r\n\r\n", b"\x00", b"\t", b"a", b"PRI * HTTP/2.0\r\n\r\n", b"\xff",
     b"GET / HTTP/1.1\r\n"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=14).map(b"".join), st.integers(20, 80))
def test_cuts_make_no_difference(data, limit):
    """Whatever the stream is: whole and byte by byte, the same request or the same status."""
    limits = Limits(head=limit, fields=4)
    whole, cut = read(data, limits), read_bytewise(data, limits)
    if whole is None or isinstance(whole, tuple):
        assert (cut and cut[0]) == (whole and whole[0])
    else:
        assert (cut.head, cut.size, cut.length) == (whole.head, whole.size, whole.length)


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=14).map(b"".join))
def test_what_is_forwarded_is_well_formed(data):
    """What comes out is read the same way again: a second reader cannot see another request in it."""
    request = read(b"GET / HTTP/1.1\r\nHost: a\r\n" + data)
    if request is None or isinstance(request, tuple):
        return
    again = read(request.head + b"\r\n", Limits())
    assert (again.method, again.target, again.host, again.length) == (
        request.method,
        request.target,
        request.host,
        request.length,
    )


def test_reading_takes_linear_time():
    """No head makes the expressions backtrack: four times the bytes take nowhere near sixteen times as long."""
    from time import process_time

    def seconds(size):
        bad = [
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * (size // 6) + b"\x00\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a" + b" " * size + b"\x00\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection:" + b" ," * (size // 2) + b"\r\n\r\n",
        ]
        start = process_time()
        for data in bad:
            read(data, Limits(head=1 << 30, fields=1 << 30))
        return process_time() - start

    small = min(seconds(50_000) for _ in range(5))
    large = min(seconds(200_000) for _ in range(5))
    assert large < small * 12 + 0.01
