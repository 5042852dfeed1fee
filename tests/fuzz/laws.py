"""What must hold for any bytes at all: for a connection from a client, and for an answer from an upstream.

Property tests and fuzzers call the same functions; they raise AssertionError.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.fuzz import cuts, oracle
from tests.fuzz.wire import Outcome, Wire, outcome

FORBIDDEN = frozenset(
    {b"connection", b"content-length", b"transfer-encoding", b"trailer", b"host", b"te", b"upgrade", b"keep-alive",
     b"proxy-connection", b"via", b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"cache-control",
     b"expect", b"max-forwards", b"content-type", b"content-encoding", b"content-range"}
)  # fmt: skip
"""Trailers that are not passed on."""


def summary(got: Outcome) -> tuple[Any, ...]:
    """What may not depend on cuts: the framing of chunks may, and what a refusal says to people; messages may not."""
    requests = [(each.first, each.end_to_end, each.payload, each.trailers) for each in got.requests]
    answers, _ = oracle.responses(got.client, [b"GET"] * (len(requests) + 1), closed=False)
    return requests, [each.first[1] for each in answers], got.refused, got.closed, got.reset


def connection(data: bytes, places: Iterable[int]) -> None:
    """Of what a client sends the upstream gets a part, from its start on: whole requests that the oracle reads, too."""
    got = outcome([data])
    whole = summary(got)
    for pieces in (cuts.at(data, places), *([cuts.bytewise(data)] if len(data) < 1500 else [])):
        assert summary(outcome(pieces)) == whole, pieces
    read, flaw = oracle.requests(data)
    # Max-Forwards is answered here when it is used up, and that answer ends the connection.
    assert len(got.requests) <= len(read)
    for sent, theirs in zip(got.requests, read, strict=False):
        assert theirs.complete
        same(sent, theirs)
    assert len(got.refused) <= 1
    methods = [message.first[0] for message in read] + [b"HEAD" if flaw and flaw.data.startswith(b"HEAD ") else b"GET"]
    answers, error = oracle.responses(got.client, methods, closed=False)
    assert error is None
    assert all(each.complete for each in answers)
    assert len(answers) == len(got.requests) + len(got.refused)


def same(sent: oracle.Message, theirs: oracle.Message) -> None:
    """The request that was sent is the one that came, but for what concerns one connection alone."""
    method, target, _ = theirs.first
    assert sent.first[0] == method
    assert target.endswith(sent.first[1]) or (b"://" in target and sent.first[1].startswith((b"/?", b"/")))
    assert sent.first[2] == b"HTTP/1.1"
    gone = {b"max-forwards"}
    assert [each for each in sent.end_to_end if each[0] not in gone] == [
        each for each in theirs.end_to_end if each[0] not in gone
    ]
    assert sent.payload == theirs.payload
    dropped = FORBIDDEN | theirs.options
    assert sent.trailers == [each for each in theirs.trailers if each[0] not in dropped]
    assert sent.values(b"via")[-1] == b"1.1 us"
    assert not sent.options - {b"upgrade"}


def answer(data: bytes, places: Iterable[int], method: bytes = b"GET") -> None:
    """Of what an upstream sends the client gets whole responses that the oracle reads, or a reset."""
    request = method + b" / HTTP/1.1\r\nHost: a\r\n\r\n"

    def got(pieces: list[bytes]) -> Outcome:
        return Wire(lambda _: pieces, closes=True).run([request])

    whole = got([data])
    messages, error = oracle.responses(whole.client, [method], closed=not whole.reset)
    assert error is None or whole.reset, error
    described = view(whole, method)
    for pieces in (cuts.at(data, places), cuts.bytewise(data)):
        assert view(got(pieces), method) == described, pieces
    if not whole.reset:
        assert messages
        assert messages[-1].complete
        assert not messages[-1].first[1].startswith(b"1")


def view(got: Outcome, method: bytes) -> tuple[Any, ...]:
    """What a client makes of it; our own words, and how far a response came before it was reset, depend on cuts."""
    messages, _ = oracle.responses(got.client, [method], closed=not got.reset)
    bodies = [(each.first, each.end_to_end, b"" if got.flags else each.payload) for each in messages]
    return bodies, got.reset, got.flags
