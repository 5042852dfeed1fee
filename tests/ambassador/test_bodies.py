"""Bodies: strict chunk framing, exact lengths, the same result at any cut."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podpatterns.ambassador.http1.body import CHUNKED, UNTIL_CLOSE, chunk, framed, last_chunk, reader
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.formats.http1 import Refused

LIMITS = Limits(chunk_line=64, extensions=100, trailers=256)


def fed(length, pieces):
    """All the payload, what followed the body (None: incomplete), and the trailers."""
    body = reader(length, LIMITS)
    payload = b""
    for index, piece in enumerate(pieces):
        more, rest = body.feed(piece)
        payload += more
        if rest is not None:
            assert body.eof()
            return payload, rest + b"".join(pieces[index + 1 :]), body.trailers
    return payload, None, body.trailers


def bytewise(data):
    return [data[at : at + 1] for at in range(len(data))]


CHUNKS = {
    "one": (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
    "two": (b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", b"abcde", b""),
    "none": (b"0\r\n\r\n", b"", b""),
    "leading zeros": (b"0005\r\nhello\r\n000\r\n\r\n", b"hello", b""),
    "hexadecimal": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2, b""),
    "extension": (b'5;a="b";c\r\nhello\r\n0;x\r\n\r\n', b"hello", b""),
    "line ends in data": (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n", b""),
    "trailers": (b"1\r\na\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nY: 2\r\n\r\n", b"a", b"X-Sum: 1\r\nY: 2\r\n"),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_chunked(name):
    """The payload comes out, framing stays behind, what follows is untouched; whole and byte by byte."""
    data, payload, trailers = CHUNKS[name]
    assert fed(CHUNKED, [data + b"NEXT"]) == (payload, b"NEXT", trailers)
    assert fed(CHUNKED, bytewise(data + b"NEXT")) == (payload, b"NEXT", trailers)
    assert fed(CHUNKED, [data[:-1]])[1] is None


BROKEN = {
    "bare LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "bare LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "bare CR after the size": b"5\rhello\r\n0\r\n\r\n" + b" " * 64,
    "data longer than the size": b"4\r\nhello\r\n0\r\n\r\n",
    "space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "space after the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "space before an extension": b"5 ;a\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "underscore": b"1_0\r\nhello\r\n0\r\n\r\n",
    "empty size": b"\r\nhello\r\n0\r\n\r\n",
    "beyond 60 bits": b"fffffffffffffffff\r\nhello\r\n",
    "control byte in an extension": b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    "long extension": b"5;" + b"a" * 100 + b"\r\nhello\r\n0\r\n\r\n",
    "many extensions": b"1;aaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n" * 5,
    "malformed trailer": b"0\r\nno colon\r\n\r\n",
    "folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "long trailers": b"0\r\nA: " + b"b" * 300 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_malformed_framing_is_refused(name):
    """Where one byte is out of place, nobody can say where the next message starts; whole and byte by byte."""
    for pieces in ([BROKEN[name]], bytewise(BROKEN[name])):
        with pytest.raises(Refused) as caught:
            fed(CHUNKED, pieces)
        assert caught.value.status in {400, 431}


def test_lengths_are_exact():
    """A body of a length ends there, and is not complete before."""
    assert fed(5, [b"he", b"llo", b"x"]) == (b"hello", b"x", b"")
    assert fed(5, [b"helloNEXT"]) == (b"hello", b"NEXT", b"")
    assert fed(5, [b"hell"]) == (b"hell", None, b"")
    assert not reader(5, LIMITS).eof()


def test_until_close():
    """Such a body may end anywhere, and only there."""
    assert fed(UNTIL_CLOSE, [b"a", b"b"]) == (b"ab", None, b"")
    assert reader(UNTIL_CLOSE, LIMITS).eof()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 400), max_size=8), st.binary(max_size=9))
def test_framing_round_trip(payloads, cuts, after):
    """What is framed anew is read as the same payload, at any cuts, with any message behind it."""
    data = b"".join(map(chunk, payloads)) + last_chunk(b"A: b\r\n") + after
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = [data[left:right] for left, right in pairwise(places)]
    assert fed(CHUNKED, pieces) == (b"".join(payloads), after, b"A: b\r\n")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"5", b"0", b"\r\n", b"\r", b"\n", b"hello", b";a", b" ", b"1\r\na\r\n", b"A: b"]), max_size=9
    )
)
def test_cuts_make_no_difference(words):
    """Any stream: whole and byte by byte give the same payload and end, or both are refused."""

    def result(pieces):
        try:
            return fed(CHUNKED, pieces)
        except Refused:
            return None

    data = b"".join(words)
    assert result([data]) == result(bytewise(data))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.binary(max_size=9))
def test_our_own_framing_is_known_again(payloads, before):
    """A body that is framed as we do it may pass as it is; not if it is cut, or anything follows."""
    body = b"".join(map(chunk, payloads)) + last_chunk()
    assert framed(before + body, len(before))
    assert not framed(before + body[:-1], len(before))
    assert not framed(before + body + b"G", len(before))


@settings(max_examples=600, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"5", b"0", b"\r\n", b"hello", b";a", b"5\r\nhello\r\n", b"05\r\n", b"A\r\n", b"0\r\n\r\n", b"T: x\r\n"]
        ),
        max_size=7,
    )
)
def test_what_passes_as_it_is_needs_nothing_done(words):
    """Only a body without extensions, trailers and odd spellings is passed on unread."""
    data = b"".join(words)
    if framed(data, 0):
        payload, rest, trailers = fed(CHUNKED, [data])
        assert (rest, trailers) == (b"", b"")
        assert payload.count(b"hello") * 5 == len(payload)
        assert not {b";", b":"} & set(map(bytes, zip(data, strict=True)))


def test_a_body_in_crumbs_is_not_passed_as_it_is():
    """Whoever sends a byte at a time does not make the other side read them so."""
    assert framed(chunk(b"a") * 50 + last_chunk(), 0)
    assert not framed(chunk(b"a") * 100 + last_chunk(), 0)
