"""Response heads: what is passed on, and what becomes a 502."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podpatterns.ambassador.http1.body import CHUNKED, UNTIL_CLOSE
from podpatterns.ambassador.http1.grammar import RESPONSE
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.response import _unusual, read_response
from podpatterns.formats.http1 import Refused

LIMITS = Limits(head=1024, fields=10)


def head(*fields, line=b"HTTP/1.1 200 OK"):
    return b"\r\n".join([line, *fields]) + b"\r\n\r\n"


def bytewise(data, method=b"GET"):
    for size in range(1, len(data) + 1):
        result = read_response(data[:size], method, LIMITS)
        if result is not None:
            return result
    return None


BROKEN = {
    "bare LF": head(b"A: b\nC: d"),
    "bare CR": head(b"A: b\rC: d"),
    "NUL": head(b"A: \x00"),
    "folding": head(b"A: b\r\n c"),
    "Content-Length beside Transfer-Encoding": head(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "two Content-Lengths": head(b"Content-Length: 5", b"Content-Length: 5"),
    "bad Content-Length": head(b"Content-Length: 5x"),
    "negative Content-Length": head(b"Content-Length: -5"),
    "unknown coding": head(b"Transfer-Encoding: gzip"),
    "coding before chunked": head(b"Transfer-Encoding: gzip, chunked"),
    "chunked in HTTP/1.0": head(b"Transfer-Encoding: chunked", line=b"HTTP/1.0 200 OK"),
    "HTTP/2": head(line=b"HTTP/2 200"),
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "two-digit status": head(line=b"HTTP/1.1 20 OK"),
    "status beyond 599": head(line=b"HTTP/1.1 600 What"),
    "too large": head(b"A: " + b"b" * 1100),
    "too many fields": head(*[b"A: b"] * 11),
    "Connection lists Content-Length": head(b"Connection: content-length", b"Content-Length: 5"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_ambiguous_is_a_502(name):
    """A response that two readers could read differently never reaches the client, at once or byte by byte."""
    for read in (lambda data: read_response(data, b"GET", LIMITS), bytewise):
        with pytest.raises(Refused) as caught:
            read(BROKEN[name])
        assert caught.value.status == 502


PASSED = [
    (head(b"Content-Length: 5"), b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", 5, True),
    (head(b"Content-Length: 5"), b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", 0, True),
    (head(b"Transfer-Encoding: chunked"), b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", CHUNKED, True),
    (head(), b"GET", b"HTTP/1.1 200 OK\r\n", UNTIL_CLOSE, False),
    (head(line=b"HTTP/1.0 200 OK"), b"GET", b"HTTP/1.1 200 OK\r\n", UNTIL_CLOSE, False),
    (head(b"Content-Length: 1", line=b"HTTP/1.0 200 -"), b"GET", b"HTTP/1.1 200 -\r\nContent-Length: 1\r\n", 1, False),
    (head(b"Content-Length: 1", b"Connection: close"), b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n", 1, False),
    (
        head(b"Connection: keep-alive, X", b"Keep-Alive: timeout=5", b"X: 1", b"Y: 2", b"Content-Length: 1"),
        b"GET", b"HTTP/1.1 200 OK\r\nY: 2\r\nContent-Length: 1\r\n", 1, True,
    ),
    (head(b"Content-Length: 7", line=b"HTTP/1.1 304 -"), b"GET", b"HTTP/1.1 304 -\r\nContent-Length: 7\r\n", 0, True),
    (head(b"Content-Length: 0", line=b"HTTP/1.1 204 No Content"), b"GET", b"HTTP/1.1 204 No Content\r\n", 0, True),
    (head(b"Link: a", line=b"HTTP/1.1 103 Early Hints"), b"GET", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n", 0, True),
    (head(b"Content-Length: 1", line=b"HTTP/1.1 200"), b"GET", b"HTTP/1.1 200\r\nContent-Length: 1\r\n", 1, True),
    (head(b"A\t : b", b"Content-Length : 1"), b"GET", b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 1\r\n", 1, True),
]  # fmt: skip


@pytest.mark.parametrize(("data", "method", "forwarded", "length", "persistent"), PASSED)
def test_what_is_passed_on(data, method, forwarded, length, persistent):
    """Our own version, hop-by-hop fields gone, all the rest as it was; however the bytes were cut."""
    for response in (read_response(data + b"x", method, LIMITS), bytewise(data, method)):
        assert (response.head, response.length, response.persistent) == (forwarded, length, persistent)
        assert response.size == len(data)


DECIDING = st.sampled_from(
    [b"Content-Length: 5", b"content-length:5", b"CONTENT-LENGTH: 5", b"Content-Length: x", b"Content-Length: 0",
     b"Transfer-Encoding: chunked", b"transfer-encoding:chunked", b"Transfer-Encoding: Chunked",
     b"Transfer-Encoding: gzip", b"Connection: keep-alive", b"Connection: Keep-Alive", b"connection:keep-alive",
     b"Connection: keep-alive, x", b"Connection: close", b"Keep-Alive: timeout=5", b"keep-alive:", b"Upgrade: h2c",
     b"X: Keep-Alive: timeout=5", b"X: y", b"Date: today"]
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(
    st.lists(DECIDING, max_size=5),
    st.sampled_from([200, 204, 304, 404, 500]),
    st.sampled_from([b"GET", b"HEAD", b"PUT"]),
)
def test_what_is_usual_is_read_as_completely_as_the_rest(fields, status, method):
    """The short ways through a head come to what the complete reading comes to: the same response, or the same
    failure."""
    data = head(*fields, line=b"HTTP/1.1 %d OK" % status)

    def everything(reading):
        try:
            response = reading()
        except Refused as error:
            return error.status, error.reason
        return response.head, response.status, response.length, response.size, response.persistent

    def complete():
        return _unusual(RESPONSE.match(data), method, LIMITS, len(data))

    assert everything(lambda: read_response(data, method, LIMITS)) == everything(complete)


@pytest.mark.parametrize("fields", [[b"Content-Length: 5"], [b"Date: x", b"content-length: 5", b"A: b"]])
def test_a_head_that_needs_no_change_is_verbatim(fields):
    """What is passed on as it came is said to be so; what lost a field is not."""
    assert read_response(head(*fields), b"GET", LIMITS).verbatim
    assert not read_response(head(*fields, b"Connection: keep-alive"), b"GET", LIMITS).verbatim
