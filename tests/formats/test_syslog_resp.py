"""Syslog messages and Redis' protocol: what is written is read, and nothing is too odd to be read."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats import syslog
from podpatterns.formats.resp import BadReply, ErrorReply, Replies, command


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \ufeff'su root' failed",
            {"facility": "auth", "level": "critical", "time": "2003-10-11T22:14:15.003Z",
             "host": "mymachine.example.com", "app": "su", "message_id": "ID47", "message": "'su root' failed"},
        ),
        (
            '<165>1 2003-10-11T22:14:15.003Z host app 12 - [ex@32473 iut="3" s="A\\"p\\]\\\\ \\x"][q class="high"]',
            {"facility": "local4", "level": "notice", "time": "2003-10-11T22:14:15.003Z", "host": "host",
             "app": "app", "process": "12", "message": "",
             "data": {"ex@32473": {"iut": "3", "s": 'A"p]\\ \\x'},
                      "q": {"class": "high"}}},
        ),
        ("<0>1 - - - - - -", {"facility": "kern", "level": "emergency", "message": ""}),
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
            {"facility": "auth", "level": "critical", "time": "Oct 11 22:14:15", "host": "mymachine", "app": "su",
             "message": "'su root' failed for lonvick on /dev/pts/8"},
        ),
        (
            "<13>Nov  3 09:36:16 ann[123]: hello",
            {"facility": "user", "level": "notice", "time": "Nov  3 09:36:16", "app": "ann", "process": "123",
             "message": "hello"},
        ),
        ("<13>ann: hello", {"facility": "user", "level": "notice", "app": "ann", "message": "hello"}),
        ("<13>no header at all", {"facility": "user", "level": "notice", "message": "no header at all"}),
        ("<13>", {"facility": "user", "level": "notice", "message": ""}),
        (
            "<13>1 2003-10-11T22:14:15.003Z host app 1 - [broken x",
            {"facility": "user", "level": "notice",
             "message": "1 2003-10-11T22:14:15.003Z host app 1 - [broken x"},
        ),
        *((line, None) for line in ("", "<", "<192>x", "<1234>x", "<x>", "plain text", "<-1>x")),
    ],
)  # fmt: skip
def test_syslog_is_read(line: str, record: dict[str, Any] | None) -> None:
    """The RFCs' own examples, and what is found in the wild; a line without a priority is none."""
    assert syslog.parse(line.encode()) == record


@given(st.binary(max_size=80) | st.from_regex(rb"<\d{1,3}>1? ?[!-~ ]{0,60}", fullmatch=True))
def test_syslog_loses_nothing(line: bytes) -> None:
    """Whatever comes: the text behind the priority is in the record, or there is none."""
    record = syslog.parse(line)
    if record is not None:
        text = line.partition(b">")[2].decode("utf-8", "replace")
        assert text.endswith(record["message"]) or "\ufeff" in text


WORD = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


@given(st.integers(0, 191), WORD, WORD, st.text(max_size=60))
def test_what_is_written_is_read(priority: int, host: str, app: str, text: str) -> None:
    """A message in its frame: the length is the bytes behind the space, and its fields come back."""
    framed = syslog.framed([syslog.head(priority, "2026-11-23T09:36:16Z", f"{host} {app} - - -")], [text.encode()])
    length, _, whole = framed.partition(b" ")
    assert int(length) == len(whole)
    record = syslog.parse(whole)
    assert record is not None
    names = (syslog.FACILITIES[priority // 8], syslog.SEVERITIES[priority % 8])
    assert (record["facility"], record["level"]) == names
    assert (record.get("host", "-"), record.get("app", "-")) == (host, app)
    assert record["message"] == text.removeprefix("\ufeff")


@given(st.text(max_size=60))
def test_a_word_is_a_word(text: str) -> None:
    """A header field never holds anything but printable ASCII, and is never empty."""
    assert re.fullmatch(r"[!-~]{1,20}", syslog.word(text, 20))


VALUES = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20), lambda inner: st.lists(inner, max_size=4)
)


def encoded(value: Any) -> bytes:
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(map(encoded, value))
    return b"$%d\r\n%s\r\n" % (len(value), value)


@given(st.lists(VALUES, max_size=5), st.integers(1, 7))
def test_values_come_whole_or_in_pieces(values: list[Any], step: int) -> None:
    """However the bytes are cut, the values are the same."""
    data = b"".join(map(encoded, values)) + b"-OOM no\r\n+OK\r\n"
    parser, found = Replies(), []
    for start in range(0, len(data), step):
        found += parser.feed(data[start : start + step])
    assert found == [*values, "OOM no", b"OK"]
    assert isinstance(found[-2], ErrorReply)
    assert found[-2].code == "OOM"
    assert Replies().feed(data) == found


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_a_command_is_an_array(words: list[bytes]) -> None:
    """Of its words, whatever is in them."""
    assert Replies().feed(command(*words)) == [words]


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400\r\n", b":x\r\n", b"$99999999999\r\n", b"$-2\r\n", b"$1\r\nabc", b"\r\n"]
)
def test_what_is_no_reply_is_said(data: bytes) -> None:
    """Not RESP, or beyond what is taken: an error, never a wait for ever."""
    with pytest.raises(BadReply):
        Replies().feed(data)
