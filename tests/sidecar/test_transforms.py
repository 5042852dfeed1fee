"""Transforms on batches: what they make of lines, and that positions and ids survive it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.errors import ConfigError
from podpatterns.formats.lines import line_offsets
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.sidecar.batch import Batch, Source
from podpatterns.sidecar.transforms import Transform, TransformConfig

SOURCE = Source("app.log", "1-2-3/0", {"file": "app.log"})


def built(*items: str) -> list[Transform]:
    return [decode(parse(item)[0], TransformConfig).build() for item in items]


def whole(lines: Sequence[str], start: int = 0) -> Batch:
    """As the tail input makes it: one piece of text."""
    text = "\n".join(lines).encode()
    return Batch(SOURCE, text, start, start + len(text) + 1)


def singly(lines: Sequence[str], start: int = 0) -> list[Batch]:
    """As the pipeline makes them after a failure: a batch per line, with its position."""
    encoded = [line.encode() for line in lines]
    return [
        Batch(SOURCE, None, offset, offset + len(line) + 1, lines=[line], offsets=[offset])
        for line, offset in zip(encoded, line_offsets(encoded, start), strict=True)
    ]


def applied(transforms: Sequence[Transform], batch: Batch) -> Batch:
    for transform in transforms:
        batch = transform.apply(batch)
    return batch


def shipped(batch: Batch) -> list[dict[str, Any]]:
    """What outputs get: the records with their ids."""
    ids = batch.ids
    records = [json.loads(line) for line in batch.encode({}).split(b"\n")[:-1]]
    return [{"id": name, **record} for name, record in zip(ids, records, strict=True)]


def after(lines: Sequence[str], *items: str) -> list[dict[str, Any]]:
    """The records, without ids and file."""
    records = shipped(applied(built(*items), whole(lines)))
    return [{name: value for name, value in record.items() if name not in ("id", "file")} for record in records]


LINE = '::1 - - [t] "GET /a HTTP/1.1" 200 7'
CLIENT = {"client": "::1", "user": None, "time": "t", "method": "GET", "path": "/a", "protocol": "HTTP/1.1"}


@pytest.mark.parametrize(
    ("items", "line", "record"),
    [
        (["{type: parse, format: json}"], '{"a": 1, "b": [2]}', {"a": 1, "b": [2]}),
        (["{type: parse, format: json}"], "no json", {"message": "no json"}),
        (["{type: parse, format: json}"], "[1]", {"message": "[1]"}),
        (["{type: parse, format: logfmt}"], 'a=1 b="x y" c', {"a": "1", "b": "x y", "c": True}),
        (["{type: parse, format: combined}"], LINE, {**CLIENT, "status": 200, "bytes": 7}),
        (["{type: parse, format: cri}"], "t stdout P x",
         {"time": "t", "stream": "stdout", "message": "x", "partial": True}),
        (["{type: parse, format: regex, pattern: '(?P<a>.)(?P<b>.)?'}"], "x", {"a": "x", "b": None}),
        (["{type: parse, format: regex, pattern: '(?P<a>.)(?P<b>.)?'}"], "xyz", {"message": "xyz"}),
        (["{type: parse, format: json, on_error: drop}"], "no json", None),
        (["{type: parse, format: cri}", "{type: parse, format: json}"],
         't stdout F {"a": 1}', {"time": "t", "stream": "stdout", "a": 1}),
        (["{type: parse, format: cri}", "{type: parse, format: json}"],
         "t stdout F x", {"time": "t", "stream": "stdout", "message": "x"}),
        (["{type: parse, format: json}", "{type: parse, format: logfmt}"], '{"n": 1}', {"n": 1}),
        (["{type: filter, drop: health}"], "GET /healthz", None),
        (["{type: filter, drop: health}"], "GET /", {"message": "GET /"}),
        (["{type: filter, keep: '^GET'}"], "POST GET", None),
        (["{type: filter, keep: GET, drop: health}"], "GET /health", None),
        (["{type: filter, keep: GET, drop: health}"], "GET /", {"message": "GET /"}),
        (["{type: parse, format: json}", "{type: filter, field: n, keep: '^1'}"], '{"n": 12}', {"n": 12}),
        (["{type: parse, format: json}", "{type: filter, field: n, keep: '^1'}"], '{"m": 1}', None),
        (["{type: parse, format: json}", "{type: filter, field: n, drop: '^1'}"], '{"m": 1}', {"m": 1}),
        (["{type: filter, field: n, drop: x}"], "x", {"message": "x"}),
        (["{type: redact, kinds: [email]}"], "to ann@example.org.", {"message": "to [redacted]."}),
        (["{type: redact}"], "Authorization: Bearer abcdefgh12345=", {"message": "Authorization: [redacted]"}),
        (["{type: redact}"], 'x "password": "a b"', {"message": 'x "[redacted] b"'}),
        (["{type: redact}"], "key AKIAABCDEFGHIJKLMNOP", {"message": "key [redacted]"}),
        (["{type: redact, kinds: [card]}"], "card 4111 1111-1111 1111 ok 12345",
         {"message": "card [redacted] ok 12345"}),
        (["{type: redact, kinds: [], patterns: ['\\d+'], replacement: '\\1'}"], "a1b22", {"message": r"a\1b\1"}),
        (["{type: redact, kinds: [], patterns: ['^s\\w+']}"], "secret s", {"message": "[redacted] s"}),
        (["{type: parse, format: json}", "{type: redact, kinds: [email]}"], '{"a": ["x@y.zz", {"b": "x@y.zz"}, 1]}',
         {"a": ["[redacted]", {"b": "[redacted]"}, 1]}),
        (["{type: python, function: 'podpatterns.sidecar.transforms.python:unchanged'}"], "x", {"message": "x"}),
    ],
)  # fmt: skip
def test_what_becomes_of_a_line(items: list[str], line: str, record: dict[str, Any] | None) -> None:
    """A line becomes this record, alone and between others; None: it is left out."""
    assert after([line], *items) == ([] if record is None else [record])
    among = after(["zzz", line, "zzz"], *items)
    assert [each for each in among if each not in after(["zzz"], *items)] == (
        [] if record is None or record == {"message": "zzz"} else [record]
    )


@pytest.mark.parametrize(
    ("item", "lines", "notes", "dropped"),
    [
        ("{type: parse, format: json}", ["{}", "x", "y"], {"parse_failed": 2}, 0),
        ("{type: parse, format: json, on_error: drop}", ["{}", "x", "y"], {"parse_failed": 2}, 2),
        ("{type: parse, format: json}", ["{}"], {}, 0),
        ("{type: filter, drop: x}", ["x", "y", "x"], {}, 2),
        ("{type: filter, keep: z}", ["x", "y"], {}, 2),
        ("{type: redact, kinds: [email]}", ["a@b.cc d@e.ff", "", "g@h.ii"], {"redacted": 3}, 0),
    ],
)
def test_transforms_say_what_they_did(item: str, lines: list[str], notes: dict[str, int], dropped: int) -> None:
    """Lines that could not be parsed, secrets and dropped lines are counted; the books of the batch balance."""
    batch = applied(built(item), whole(lines))
    assert (batch.notes, batch.dropped) == (notes, dropped)
    assert batch.read == len(lines) == len(batch) + batch.dropped == len(batch.ids) + batch.dropped


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("{type: parse, format: regex}", "stands with format: regex, and only there"),
        ("{type: parse, format: json, pattern: '(?P<a>.)'}", "stands with format: regex, and only there"),
        ("{type: parse, format: regex, pattern: '(.)'}", "has no named group"),
        ("{type: parse, format: regex, pattern: '('}", "is not a regular expression"),
        ("{type: filter}", "needs a pattern: keep or drop"),
        ("{type: filter, drop: '['}", "is not a regular expression"),
        ("{type: filter, drop: '(a+)+$'}", 'drop: "(a+)+$" can take forever'),
        ("{type: parse, format: regex, pattern: '(?P<a>(x*)*)'}", "can take forever"),
        ("{type: multiline, more: '(\\s+)+x'}", "can take forever"),
        ("{type: sample, share: 10%, always: '(.+)+!'}", "can take forever"),
        ("{type: redact, patterns: ['ok', '([a-z]+)+@']}", "1:33: patterns[1]: "),
        ("{type: redact, kinds: []}", "needs something to look for"),
        ("{type: redact, patterns: ['x*']}", "matches nothing at all, and so everywhere"),
        ("{type: redact, patterns: ['(']}", "is not a regular expression"),
        ('{type: redact, replacement: "a\\nb"}', "must be one line"),
        ("{type: python, function: 'no.such:thing'}", "cannot be imported"),
    ],
)
def test_what_makes_no_sense_is_refused(item: str, said: str) -> None:
    """Before anything runs, with the reason."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        built(item)


# --- a batch as a whole and line by line ------------------------------------------------------------------------------

CHAINS = [
    ["{type: parse, format: json}"],
    ["{type: parse, format: logfmt, on_error: drop}"],
    ["{type: parse, format: cri}", "{type: parse, format: json}", "{type: redact, kinds: [email]}"],
    ["{type: parse, format: regex, pattern: '(?P<a>\\w+)=(?P<b>.*)'}", "{type: filter, field: a, drop: ^p}"],
    ["{type: filter, keep: '[a-z]$', drop: '^t'}"],
    ["{type: filter, drop: x}", "{type: redact, kinds: [email, bearer, jwt, password, card, aws_key]}"],
    ["{type: redact, kinds: [], patterns: ['^\\w+']}"],
    ["{type: redact, kinds: [], patterns: ['\\w+$']}"],
    ["{type: redact, kinds: [], patterns: ['\\At', 'x\\Z']}"],
    ["{type: redact, kinds: [], patterns: ['x(?=[^=]*=)', '(?<!\\s)a']}"],
    ["{type: redact, kinds: [], patterns: ['a\\s+', '=[^@]+@']}", "{type: filter, keep: redacted}"],
    ["{type: redact, kinds: [], patterns: ['(?m)^x', '(?s)a.+x']}"],
]
WORDS = st.sampled_from(
    ["", "x", "a", "token", "=", "@", " ", "x@y.zz", "password=1", "{", "}", '{"a": 1}', "a=b", "t stdout F ", "é",
     "\x7f", "\r", "\x0b", "\u2028", "4111111111111111"]
)  # fmt: skip
LINES = st.lists(st.lists(WORDS, max_size=4).map("".join), min_size=1, max_size=6)


@pytest.mark.parametrize("chain", CHAINS, ids=" ".join)
@given(lines=LINES, start=st.integers(0, 2**40))
def test_line_by_line_is_the_same(chain: list[str], lines: list[str], start: int) -> None:
    """How lines were gathered into batches changes neither records nor ids nor counts."""
    transforms = built(*chain)
    batch = applied(transforms, whole(lines, start))
    parts = [applied(transforms, part) for part in singly(lines, start)]
    assert sum(part.dropped for part in parts) == batch.dropped
    assert sum(sum(part.notes.values()) for part in parts) == sum(batch.notes.values())
    assert [record for part in parts for record in shipped(part)] == shipped(batch)


@pytest.mark.parametrize("chain", CHAINS, ids=" ".join)
@given(lines=LINES, start=st.integers(0, 2**40))
def test_ids_stay_with_their_lines(chain: list[str], lines: list[str], start: int) -> None:
    """Whatever is dropped or rewritten, what is left has the ids that its lines had before."""
    before = whole(lines, start).ids
    batch = applied(built(*chain), whole(lines, start))
    assert len(set(before)) == len(lines)
    remaining = iter(before)
    assert all(name in remaining for name in batch.ids), "a subsequence, in order"
    assert len(batch.ids) == len(batch)


def test_the_id_is_source_and_position() -> None:
    """The same line at the same place has the same id for ever; another file, generation or place another."""
    assert whole(["a", "bc"], 10).ids == [f"{SOURCE.key}{10:016x}", f"{SOURCE.key}{12:016x}"]
    other = Source("app.log", "1-2-3/1")
    assert other.key != SOURCE.key == Source("renamed.log", "1-2-3/0").key


# --- functions of one's own -------------------------------------------------------------------------------------------


def wrong(function: Callable[[Batch], Any]) -> Callable[[], Batch]:
    from podpatterns import transform
    from podpatterns.sidecar.transforms.python import PythonConfig

    return lambda: PythonConfig(function=transform(function)).build().apply(whole(["a", "b"]))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda batch: None, "returned another NoneType; return the batch it was given"),
        (lambda batch: Batch.of(["a"]), "returned another Batch"),
        (lambda batch: batch.with_records([{}]), "made 1 records of 2; use `filter` or `keep`"),
        (lambda batch: batch.with_lines([b"a", b"b", b"c"]), "made 3 records of 2"),
        (lambda batch: batch.keep([True]), "made 1 records of 2"),
    ],
)
def test_a_wrong_function_is_told_what_to_do(function: Callable[[Batch], Any], said: str) -> None:
    """A function that would break the accounts raises, with what it should do instead."""
    with pytest.raises((TypeError, ValueError), match=said):
        wrong(function)()


def test_the_ways_to_change_a_batch() -> None:
    """`map`, `filter`, `with_lines` and a loop over `records`, one after the other."""
    batch = whole(["a", "bb", "ccc", "dddd"])
    first = batch.ids
    batch.filter(lambda record: record["message"] != "bb").map(lambda record: {**record, "n": len(record["message"])})
    for record in batch.records:
        record["seen"] = True
    assert [(each["message"], each["n"], each["seen"]) for each in batch.records] == [
        ("a", 1, True), ("ccc", 3, True), ("dddd", 4, True),
    ]  # fmt: skip
    batch.with_lines([b"x", b"yy", b"z"])
    assert batch.records == [{"message": "x"}, {"message": "yy"}, {"message": "z"}]
    assert batch.ids == [first[0], first[2], first[3]]
    assert (batch.read, batch.dropped, len(batch)) == (4, 1, 3)


def test_fixed_fields_win() -> None:
    """Fields of the configuration replace those of a line, parsed or not."""
    for items in ([], ["{type: parse, format: json}"]):
        batch = applied(built(*items), whole(['{"file": "forged", "pod": "forged"}']))
        record = json.loads(batch.encode({"pod": "real"}))
        assert (record["file"], record["pod"]) == ("app.log", "real")


@pytest.mark.parametrize("parsed", [False, True])
def test_what_is_gone_back_to_is_the_same_batch(parsed: bool) -> None:
    """After a transform has failed: the same lines or records, and who had or has refused them before a restart."""
    batch = whole(["one", "two"], 100)
    if parsed:
        batch = batch.with_records([{"n": [1]}, {"n": [2]}])
    batch.taken, batch.dead = frozenset({"http-1"}), frozenset({104})
    same = batch.unchanged()
    for record in batch.records:
        record["n"] = record.get("n", [])
        record["n"].append("spoilt")
    assert (same.taken, same.dead, same.ids) == (batch.taken, batch.dead, batch.ids)
    assert same.records == ([{"n": [1]}, {"n": [2]}] if parsed else [{"message": "one"}, {"message": "two"}])
    assert same.piece(1, 108).dead == batch.dead
