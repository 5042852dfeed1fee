"""What is fuzzed: each target takes any bytes, and raises only if a law is broken. Beside each, what to start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from podpatterns.ambassador.http1.body import CHUNKED
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import Request, read_request
from podpatterns.ambassador.http1.response import Response, read_response
from tests.fuzz import cuts, laws, measures, oracle
from tests.fuzz.answers import ANSWERS
from tests.fuzz.payloads import PAYLOADS, TE, post

LIMITS = Limits(head=2048, fields=20, chunk_line=64, extensions=100, trailers=256)
"""Small ones, so that inputs of a size that is quick to try reach them."""

CHUNKED_HEAD = post(TE)


def places(data: bytes) -> list[int]:
    """Where to cut: some places that follow from the bytes themselves, so that a finding can be repeated."""
    random = Random(data)
    return [random.randrange(len(data) + 1) for _ in range(4)]


def request(data: bytes) -> None:
    """Heads of requests: what is accepted, the oracle reads as the same request, and so it does what is sent."""

    def described(found: Any) -> tuple[Any, ...]:
        assert isinstance(found, Request)
        return found.method, found.host, found.head, found.length, found.size, found.persistent

    found = cuts.agree(cuts.head(lambda data: read_request(data, LIMITS, b"us"), described), data, places(data))
    if isinstance(found, str):
        return
    method, host, head, length, size, _ = found
    (theirs,) = oracle.requests(data[:size])[0]
    (sent,), error = oracle.requests(head + b"\r\n")
    assert error is None, error
    assert theirs.first[0] == sent.first[0] == method
    assert sent.values(b"host") == [host]
    assert oracle.request_length(theirs) == oracle.request_length(sent) == (None if length == CHUNKED else length)
    gone = {b"max-forwards"}
    assert [each for each in sent.end_to_end if each[0] not in gone] == [
        each for each in theirs.end_to_end if each[0] not in gone
    ]


def response(data: bytes) -> None:
    """Heads of responses: what is accepted is passed on as a head that the oracle reads, with the same length."""
    for method in (b"GET", b"HEAD"):

        def described(found: Any) -> tuple[Any, ...]:
            assert isinstance(found, Response)
            return found.status, found.head, found.length, found.size, found.persistent

        def read(data: bytes, method: bytes = method) -> Response | None:
            return read_response(data, method, LIMITS)

        found = cuts.agree(cuts.head(read, described), data, places(data))
        if isinstance(found, str):
            assert found in {"incomplete", "refused with 502"}
            continue
        status, head, length, _, _ = found
        messages, error = oracle.responses(head + b"\r\n", [method], closed=False)
        assert messages, error
        assert int(messages[0].first[1]) == status
        assert oracle.response_length(messages[0], method) == (None if length == CHUNKED else length)


def chunked(data: bytes) -> None:
    """Chunked bodies: payload and end are where the oracle sees them."""
    found = cuts.agree(cuts.body(CHUNKED, LIMITS), data, places(data))
    if isinstance(found, str):
        return
    payload, _, complete, rest = found
    read = oracle.requests(CHUNKED_HEAD + data)[0][0]
    assert read.complete == complete
    if complete:
        assert read.payload == payload
        assert data.endswith(rest)
    else:
        assert read.payload.startswith(payload)


def connection(data: bytes) -> None:
    """A client's connection, with an upstream that answers everything."""
    laws.connection(data, places(data))


def answer(data: bytes) -> None:
    """An upstream's answer, and its close."""
    laws.answer(data, places(data), b"HEAD" if len(data) % 3 == 0 else b"GET")


class Target(NamedTuple):
    """One of them."""

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]


_REQUESTS = [payload.data for payload in PAYLOADS.values() if len(payload.data) < LIMITS.head]
_ANSWERS = [each.data for each in ANSWERS.values() if len(each.data) < LIMITS.head]

TARGETS = {
    "request": Target(request, _REQUESTS),
    "response": Target(response, _ANSWERS),
    "chunked": Target(chunked, [data.partition(b"\r\n\r\n")[2] for data in _REQUESTS if TE in data]),
    "connection": Target(connection, _REQUESTS),
    "answer": Target(answer, _ANSWERS),
    **{name: Target(run, seeds) for name, (run, seeds) in measures.SEEDS.items()},
}

WORDS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\x0b", b"\x7f", b"\xff", b":", b",", b";", b"0", b"1",
    b"5", b"f", b"-", b"+", b"_", b"0x", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n",
    b"Connection: close\r\n", b"Connection: x\r\n", b"HTTP/1.0", b"HTTP/1.1", b"GET ", b"POST ", b"HEAD ", b"chunked",
    b"0\r\n\r\n", b"5\r\nhello\r\n", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n", b"Max-Forwards: 1\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No Content\r\n", b"http://b/", b"*", *measures.WORDS,
)  # fmt: skip
"""What matters in HTTP/1.1 and in the formats of metrics: a fuzzer that knows them gets further."""
