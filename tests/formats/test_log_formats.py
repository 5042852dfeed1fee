"""Laws of the log formats: every line gives a record or None, never an exception, and every record can be shipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from podpatterns.formats import combined, cri, jsonlines, logfmt

PARSERS: dict[str, Callable[[bytes], dict[str, Any] | None]] = {
    "json": jsonlines.parse,
    "combined": combined.parse,
    "logfmt": logfmt.parse,
    "cri": cri.parse,
}

TEXT = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)
RECORDS = st.dictionaries(TEXT, VALUES, max_size=5)

# What lines are made of where they nearly are in one of the formats.
PIECES = st.sampled_from(
    [
        b"\x00", b"\x1c", b"\x7f", b"\x80", b"\xff", b"\\", b'"', b"'", b"=", b" ", b"\t", b"\r", b"-", b"[", b"]",
        b"{", b"}", b":", b",", b"a", b"9", "é".encode(), "\u2028".encode(), "\u0663".encode(), b"P", b"F",
        b" stdout F ", b' - - [t] "', b'" 200 5', b"\\ud800", b'{"a":', b"1e999", b"null", b"9" * 5000,
    ]
)  # fmt: skip
LINES = st.lists(PIECES, max_size=12).map(b"".join) | st.binary(max_size=60).map(lambda line: line.replace(b"\n", b""))


@pytest.mark.parametrize("name", PARSERS)
@given(line=LINES)
@example(b"")
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'h - - [t] "GET / HTTP/1.1" 200 ' + b"9" * 5000)
@example(b'k="' + b"\\" * 50_000)
@example(b'h - - [t] "' + b"\\" * 50_001 + b'" 200 1')
def test_every_line_gives_a_record_or_none(name: str, line: bytes) -> None:
    """Whatever an application writes costs that one line its fields, and the sidecar nothing; a record is JSON."""
    record = PARSERS[name](line)
    if record is None:
        return
    assert all(isinstance(key, str) for key in record)
    encoded = jsonlines.from_records([record])
    assert encoded.count(b"\n") == 1
    assert json.loads(encoded).keys() == record.keys()


# --- NDJSON -----------------------------------------------------------------------------------------------------------


AWKWARD = [
    b"",
    b"plain",
    b"with \x7f DEL",
    b'a "quote" and a \\ backslash',
    b"\x00\x01\x08\x0b\x0c\x1b\x1f control",
    b"tab\tand\rreturn",
    "é\u2028\u2029\U0001f600".encode(),
    b'{"already": "json"}',
    b'"},{"message":"injected',
]


@pytest.mark.parametrize("line", AWKWARD)
def test_each_line_comes_back(line: bytes) -> None:
    """`json.loads` of the record gives the line as it was, and so it does between two others."""
    end = jsonlines.ending({"pod": "p"})
    assert json.loads(jsonlines.from_text(line, end)) == {"message": line.decode(), "pod": "p"}
    three = jsonlines.from_text(b"\n".join((b"before", line, b"after")), end).split(b"\n")
    assert [json.loads(each)["message"] for each in three[:-1]] == ["before", line.decode(), "after"]
    assert three[-1] == b""


@given(st.lists(TEXT | st.sampled_from(["\x7f", "a\x7fb"]), min_size=1, max_size=6), RECORDS, TEXT)
def test_lines_come_back_whatever_the_fields(lines: list[str], fields: dict[str, Any], key: str) -> None:
    """One record per line, in order, with every fixed field; a fixed field wins over the line's own."""
    encoded = jsonlines.from_text("\n".join(lines).encode(), jsonlines.ending(fields), key)
    assert encoded.endswith(b"\n")
    assert [json.loads(each) for each in encoded.split(b"\n")[:-1]] == [{key: line, **fields} for line in lines]


def test_fixed_fields_of_any_type_are_written() -> None:
    """What JSON does not know, such as an exception, is written as its text."""
    end = jsonlines.ending({"why": ValueError("no")})
    assert json.loads(jsonlines.from_text(b"x", end)) == {"message": "x", "why": "no"}
    assert jsonlines.ending({}) == b"}"


@given(st.lists(RECORDS, max_size=5))
def test_records_come_back(records: list[dict[str, Any]]) -> None:
    """`from_records`, then `json.loads` or `parse` of each line, gives the records."""
    encoded = jsonlines.from_records(records)
    lines = encoded.split(b"\n")[:-1]
    assert encoded.count(b"\n") == len(records)
    assert [json.loads(line) for line in lines] == records
    assert [jsonlines.parse(line) for line in lines] == records


@given(st.lists(st.dictionaries(TEXT.filter(lambda name: name != "id"), VALUES, max_size=3), max_size=5))
def test_an_id_is_the_first_field(records: list[dict[str, Any]]) -> None:
    """`with_ids` changes nothing else, also of a record without fields."""
    ids = [f"{number:032x}" for number in range(len(records))]
    lines = jsonlines.with_ids(jsonlines.from_records(records), ids).split(b"\n")[:-1]
    assert [json.loads(line) for line in lines] == [
        {"id": name, **record} for name, record in zip(ids, records, strict=True)
    ]
    assert all(line.startswith(b'{"id":') for line in lines)


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (b'{"a": 1, "b": {"c": [true, null, 2.5]}}', {"a": 1, "b": {"c": [True, None, 2.5]}}),
        (b"{}", {}),
        (b' \t{"a": "\\u00e9\\n"} \r', {"a": "é\n"}),
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"", None),
        (b"[1]", None),
        (b'"text"', None),
        (b"null", None),
        (b"{'a': 1}", None),
        (b'{"a": NaN}', None),
        (b'{"a": 1} {"b": 2}', None),
        (b'{"a": "\xff"}', None),
        (b'{"\xff": 1}', None),
        (b'{"a": "\\ud800"}', None),
        (b'{"a": "raw\ttab"}', None),
        (b'{"a": 1', None),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, None),
    ],
)
def test_json_lines(line: bytes, record: dict[str, Any] | None) -> None:
    """An object gives its fields; anything else, or anything that is not UTF-8, gives None."""
    assert jsonlines.parse(line) == record


# --- combined ---------------------------------------------------------------------------------------------------------

HEAD = '10.0.0.7 - ann [23/Nov/2026:09:36:16 +0000] "{}" 200 5120'
FIELDS = {"client": "10.0.0.7", "user": "ann", "time": "23/Nov/2026:09:36:16 +0000", "status": 200, "bytes": 5120}
GET = {"method": "GET", "path": "/a?b=c", "protocol": "HTTP/1.1"}


@pytest.mark.parametrize(
    ("request_line", "tail", "more"),
    [
        ("GET /a?b=c HTTP/1.1", "", GET),
        ("GET /a?b=c HTTP/1.1", ' "-" "-"', {**GET, "referer": None, "agent": None}),
        ("GET /a?b=c HTTP/1.1", ' "http://x/" "curl/8"', {**GET, "referer": "http://x/", "agent": "curl/8"}),
        ("GET /a?b=c HTTP/1.1", r' "" "say \"hi\" \\"', {**GET, "referer": "", "agent": r"say \"hi\" \\"}),
        ("GET /old", "", {"method": "GET", "path": "/old", "protocol": None}),
        ("-", "", {"request": "-"}),
        ("", "", {"request": ""}),
        (r"\x16\x03\x01", "", {"request": r"\x16\x03\x01"}),
        ("GET /a b HTTP/1.1", "", {"request": "GET /a b HTTP/1.1"}),
    ],
)
def test_access_log_lines(request_line: str, tail: str, more: dict[str, Any]) -> None:
    """Common and combined lines, quotes escaped as the servers do, and requests that are none."""
    assert combined.parse((HEAD.format(request_line) + tail).encode()) == {**FIELDS, **more}


def test_access_log_lines_with_what_is_missing() -> None:
    """`-` is no user and no bytes; a byte that is not text is replaced; IPv6 and host names are clients."""
    assert combined.parse(b'::1 - - [t] "GET /\xff H" 304 -') == {
        "client": "::1", "user": None, "time": "t", "method": "GET", "path": "/\ufffd", "protocol": "H", "status": 304,
        "bytes": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        HEAD.format("GET / HTTP/1.1") + " ",
        HEAD.format("GET / HTTP/1.1") + ' "only a referer"',
        HEAD.format("GET / HTTP/1.1") + ' "-" "-" more',
        HEAD.format('GET "/" HTTP/1.1'),
        HEAD.format("GET / HTTP/1.1").replace("200", "2000"),
        HEAD.format("GET / HTTP/1.1").replace("200", "٢٠٠"),
        HEAD.format("GET / HTTP/1.1").replace("5120", "-1"),
        HEAD.format("GET / HTTP/1.1").replace("5120", "9" * 20),
        HEAD.format("GET / HTTP/1.1").replace("[", ""),
    ],
)
def test_what_is_no_access_log_line(line: str) -> None:
    """A line that only resembles one gives None, and so is kept as it is."""
    assert combined.parse(line.encode()) is None


# --- logfmt -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (b'level=info msg="order placed" paid', {"level": "info", "msg": "order placed", "paid": True}),
        (b"  a=1   b=2  ", {"a": "1", "b": "2"}),
        (b"a= b=2", {"a": "", "b": "2"}),
        (b'a="" b', {"a": "", "b": True}),
        (rb'a="say \"hi\"\n\u00e9\\"', {"a": 'say "hi"\né\\'}),
        (rb'a="C:\dir"', {"a": r"C:\dir"}),
        (rb'a="\ud800"', {"a": r"\ud800"}),
        (b'a="raw\ttab"', {"a": "raw\ttab"}),
        (b"a=1 a=2", {"a": "2"}),
        (b"url=http://x/?y=z", {"url": "http://x/?y=z"}),
        (b"a=\xff", {"a": "\ufffd"}),
        ("schlüssel=wert".encode(), {"schlüssel": "wert"}),
        (b"a=1\r", {"a": "1"}),
        (b"", None),
        (b"   ", None),
        (b"just some prose", None),
        (b"=1", None),
        (b'a="open', None),
        (b'a="x"y', None),
        (b'a"b=1', None),
    ],
)  # fmt: skip
def test_logfmt_lines(line: bytes, record: dict[str, Any] | None) -> None:
    """Pairs give their texts, a bare key True; a line without a pair, or with a stray quote, gives None."""
    assert logfmt.parse(line) == record


KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"], exclude_characters='="'), min_size=1)


@given(st.dictionaries(KEYS, TEXT, min_size=1, max_size=5))
def test_quoted_pairs_come_back(record: dict[str, str]) -> None:
    """Values quoted and escaped as JSON come back, whatever is in them."""
    line = " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in record.items())
    assert logfmt.parse(line.encode()) == record


# --- CRI --------------------------------------------------------------------------------------------------------------

TIME = "2026-11-23T09:36:16.123456789Z"


@pytest.mark.parametrize(
    ("line", "more"),
    [
        (b"stdout F hello world", {"stream": "stdout", "message": "hello world"}),
        (b"stderr P part", {"stream": "stderr", "message": "part", "partial": True}),
        (b"stdout F ", {"stream": "stdout", "message": ""}),
        (b"stdout F", {"stream": "stdout", "message": ""}),
        (b"stdout F  two spaces", {"stream": "stdout", "message": " two spaces"}),
        (b"stdout P:extra:tags x", {"stream": "stdout", "message": "x", "partial": True}),
        (b"stdout F \xff\r", {"stream": "stdout", "message": "\ufffd\r"}),
        (b'stdout F {"a": 1}', {"stream": "stdout", "message": '{"a": 1}'}),
        (b"stdout Foo bar", None),
        (b"stdout X text", None),
        (b"stdin F text", None),
        (b"stdout", None),
        (b"", None),
    ],
)
def test_cri_lines(line: bytes, more: dict[str, Any] | None) -> None:
    """Time, stream and text; a part of a line says so; a tag that is none makes it no CRI line."""
    assert cri.parse(TIME.encode() + b" " + line) == (None if more is None else {"time": TIME, **more})


@given(st.sampled_from(["stdout", "stderr"]), st.booleans(), TEXT)
def test_cri_texts_come_back(stream: str, partial: bool, text: str) -> None:
    """Whatever the container wrote, quotes, spaces and all, is the message."""
    record = cri.parse(f"{TIME} {stream} {'P' if partial else 'F'} {text}".encode())
    assert record is not None
    assert (record["stream"], record["message"], "partial" in record) == (stream, text, partial)
