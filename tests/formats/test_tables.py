"""Laws of tables: what a parser makes for a whole text is what it makes of each line, and costs nobody a field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from podpatterns.formats import combined, cri, jsonlines
from podpatterns.formats.tables import Objects, Rows, Table

TEXT = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=8)
NAMES = st.sampled_from(["pod", "file", "message", "é", 'a "quoted" name', "back\\slash", "del\x7f", "a/b", ""]) | TEXT
VALUES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXT | st.just({"labels": {"app": "shop"}})
ADDED = st.dictionaries(NAMES, VALUES, max_size=3)


def shipped(ndjson: bytes) -> list[dict[str, Any]]:
    assert ndjson == b"" or ndjson.endswith(b"\n")
    return [json.loads(line) for line in ndjson.split(b"\n")[:-1]]


def same(table: Table, expected: list[dict[str, Any]], added: dict[str, Any]) -> None:
    """Encoded, and as dictionaries, it is those records; what is added wins."""
    assert shipped(table.encode(added)) == [{**record, **added} for record in expected]
    assert table.records() == expected
    wanted = [number % 3 != 1 for number in range(len(expected))]
    kept = [record for record, stays in zip(expected, wanted, strict=True) if stays]
    assert shipped(table.keep(wanted).encode(added)) == [{**record, **added} for record in kept]


# --- rows -------------------------------------------------------------------------------------------------------------


@given(
    names=st.lists(NAMES, unique=True, max_size=4),
    values=st.lists(st.lists(VALUES | st.just("a\x7fb"), min_size=4, max_size=4), min_size=1, max_size=5),
    others=st.dictionaries(st.integers(0, 4), ADDED),
    added=ADDED,
)
def test_rows_are_their_dictionaries(
    names: list[str], values: list[list[Any]], others: dict[int, dict[str, Any]], added: dict[str, Any]
) -> None:
    """Whatever the names and values are, the separators among them too, and whatever some records have of their own."""
    rows: list[Any] = [tuple(row[: len(names)]) for row in values]
    expected = [dict(zip(names, row, strict=True)) for row in rows]
    for place, other in others.items():
        if place < len(rows):
            rows[place] = expected[place] = other
    same(Rows(tuple(names), rows, mixed=any(isinstance(row, dict) for row in rows)), expected, added)


# --- objects ----------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        "{", "}", "{}", "{ }", '{"a":1}', '{"a":1', ',"b":2}', '"pod":', '"p\\u006fd":', "1", " ", "\t", '{"pod":"x"}',
        '{"pod":{"a":"}"}}', '{"b":[1,2]}', "[1]", '"x"', "null", '{"a":1e999}', '{"n":"\\n"}', '{"x":"\x7f"}', "\r",
        '{"a":' + "9" * 5000 + "}", '{"a":"\\ud800"}', '{"a":1,"a":2}', '{"a":1e99999999999999999999}',
        '{"a":1.50}', "é", ",",
    ]
)  # fmt: skip
LINES = st.lists(st.lists(PIECES, max_size=4).map("".join), min_size=1, max_size=6)


@given(lines=LINES, added=st.dictionaries(st.sampled_from(["pod", "a", "é", "back\\slash", "z"]), VALUES, max_size=3))
@example(lines=['{"a":1', ',"b":2}'], added={})
@example(lines=['{"a":1}{"b":2}', '{"c":{}', '}{"d":1}'], added={})
@example(lines=['{"a":{}', ',"b":{}}', "{}{}"], added={"z": 1})
@example(lines=["{}", '{"a":1}'], added={"z": 1})
def test_json_is_passed_on_as_it_is_written(lines: list[str], added: dict[str, Any]) -> None:
    """`bodies` takes the lines that `parse` takes, whatever stands on the others; nothing of an object is changed."""
    encoded = [line.encode() for line in lines]
    parsed = [jsonlines.parse(line) for line in encoded]
    bodies, having = jsonlines.bodies(b"\n".join(encoded), tuple(added))
    assert having is None or having == [place for place, record in enumerate(parsed) if (record or {}).keys() & added]
    assert [body is None for body in bodies] == [record is None for record in parsed]
    taken = [body for body in bodies if body is not None]
    objects = Objects(taken)
    assert objects.records() == [record for record in parsed if record is not None]
    expected = [{**json.loads(b"{%b}" % body), **added} for body in taken]
    assert shipped(objects.encode(added)) == expected
    assert all(line.strip(" \t\r")[1:-1].encode() in taken for line, body in zip(lines, bodies, strict=True) if body)


@given(
    records=st.lists(st.dictionaries(NAMES, VALUES, max_size=4), min_size=1, max_size=5),
    escaped=st.booleans(),
    added=ADDED,
)
def test_objects_are_their_dictionaries(records: list[dict[str, Any]], escaped: bool, added: dict[str, Any]) -> None:
    """A field that is added wins over one in the object, however either writes its name."""
    bodies = [json.dumps(record, ensure_ascii=escaped).encode()[1:-1] for record in records]
    same(Objects(bodies), records, added)


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=3), min_size=1, max_size=5), st.lists(NAMES, max_size=3))
def test_who_has_a_field(records: list[dict[str, Any]], names: list[str]) -> None:
    """`having` finds those that have one of the names at their top, and no others."""
    text = "\n".join(json.dumps(record) for record in records).encode()
    expected = [place for place, record in enumerate(records) if record.keys() & set(names)]
    assert jsonlines.having(text, tuple(dict.fromkeys(names))) == expected


def test_a_number_stays_as_it_is_written() -> None:
    """Also one that no float can hold: it goes through, and is taken for no mistake of the application."""
    line = b'{"big":1e999,"exact":0.10}'
    assert Objects([line[1:-1]]).encode({}) == line + b"\n"
    record = jsonlines.parse(line)
    assert record is not None
    assert b'"big":1E+999' in jsonlines.from_records([record])


# --- formats ----------------------------------------------------------------------------------------------------------

GET = '10.0.0.7 - ann [23/Nov/2026:09:36:16 +0000] "GET /a?b HTTP/1.1" 200 5120 "-" "curl/8 (x) é"'
ACCESS = st.sampled_from(
    [GET, GET.replace("ann", "-"), GET.replace("5120", "-"), GET.replace("curl", "\x7f"), GET.replace(" (x)", "")]
)
ODD_ACCESS = st.sampled_from(
    [
        "", "hello", GET + " ", GET.replace("curl", r"\""), GET.replace("ann", "a\tn"), GET.replace('"-"', '""'),
        GET.rpartition(' "-"')[0], GET.replace(" HTTP/1.1", ""), GET.replace("GET /a?b", "GET /a b"), '"', "[", " " * 9,
        GET.replace("200", "٢٠٠"), GET.replace("ann", "a" * 300), GET.replace("é", "\u2028"),
    ]
)  # fmt: skip
TIME = "2026-11-23T09:36:16.123456789Z"
FULL = st.sampled_from(
    ["hello", "", " two", 'a "quoted" \\ text', "é\u2028", "x stdout F y", "stderr P z", "\x7f"]
).map(lambda text: f"{TIME} stdout F {text}")
PART = st.sampled_from([f"{TIME} stdout P part ", f"{TIME} stderr P {TIME} stderr F ", f"{TIME} stderr F end"])
ODD = (
    st.sampled_from(["", "x", TIME, f"{TIME} stdout F", f"{TIME} stdout P:a b", " stdout F x", "t\tt stderr F x"])
    | FULL
)


FORMATS = {
    "combined": (combined.parse, combined.rows, ACCESS, ODD_ACCESS),
    "cri": (cri.parse, cri.rows, FULL | PART, ODD),
}


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data(), added=ADDED)
def test_a_text_is_its_lines(name: str, data: st.DataObject, added: dict[str, Any]) -> None:
    """Usual lines make a table, with others among them they may; its records are those of the lines, each alone."""
    parse, rows, usual, odd = FORMATS[name]
    lines = data.draw(st.lists(usual, min_size=1, max_size=6))
    table = rows("\n".join(lines), len(lines))
    assert table is not None
    same(table, [record for line in lines if (record := parse(line.encode())) is not None], added)
    lines = data.draw(st.lists(usual | odd, min_size=1, max_size=6))
    table = rows("\n".join(lines), len(lines))
    if table is not None:
        assert table.records() == [parse(line.encode()) for line in lines]


@given(st.lists(FULL | PART | ODD, min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]))
@example([f"{TIME} stdout P part ", "", " stdout F x"], "\n")
@example([f"{TIME} stdout P part ", f"{TIME} stdout Foo"], "\n")
@example([f"{TIME} stdout P part ", f"{TIME} stdout F"], "\r\n")
def test_an_open_line_is_seen(lines: list[str], newline: str) -> None:
    """It is open at the end if the last line of a stream is a part, whatever stands in texts and on other lines."""
    last = {record["stream"]: "partial" in record for line in lines if (record := cri.parse(line.encode())) is not None}
    assert cri.open_ended(newline.join(lines).encode()) == any(last.values())
    assert cri.open_ended((newline.join(lines) + newline).encode()) == any(last.values())
