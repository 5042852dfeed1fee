"""Laws of normalising: one form for all, every line accounted for, and the same result however the lines arrive."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.logs import Format, LogConfig
from podpatterns.adapter.normaliser import LONGEST, Normaliser
from podpatterns.errors import ConfigError
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse


def configured(**more: Any) -> LogConfig:
    return decode(parse(json.dumps({"type": "stdin", **more}))[0], LogConfig)


def normaliser(**more: Any) -> Normaliser:
    return Normaliser(configured(**more), lambda: 1795858000.0)


def records(text: str, **more: Any) -> list[dict[str, Any]]:
    return normaliser(**more).normalise(text.encode().split(b"\n"), final=True).records


PYTHON = """\
2026-11-28 09:36:16,123 - shop.orders - INFO - order 7 placed
2026-11-28 09:36:17,001 - shop.orders - ERROR - order 8 failed
Traceback (most recent call last):
  File "x.py", line 1, in f
KeyError: 8
2026-11-28 09:36:18,000 - shop.stock - WARNING - low"""


@pytest.mark.parametrize(
    ("line", "more", "expected"),
    [
        ('{"ts": 1795858000, "severity": "WARN", "msg": "low", "n": 1}', {"format": "json"},
         {"time": "2026-11-28T09:26:40Z", "level": "warning", "message": "low", "n": 1}),
        ('{"level": 50, "time": 1795858000123, "msg": "no"}', {"format": "json"},  # pino
         {"time": "2026-11-28T09:26:40.123Z", "level": "error", "message": "no"}),
        ('{"a": {"b": [1]}, "message": {"k": "v"}}', {"format": "json"},
         {"message": '{"k":"v"}', "a": {"b": [1]}}),
        ('{"when": "28.11.2026 10:00:00", "sev": "LOUD", "what": "x"}',
         {"format": "json", "time": "when", "time_format": "%d.%m.%Y %H:%M:%S", "zone": "+02:00", "level": "sev",
          "levels": {"loud": "alert"}, "message": "what"},
         {"time": "2026-11-28T08:00:00Z", "level": "alert", "message": "x"}),
        ('{"ts": "2026-11-28T09:36:16Z", "time": "12 ms", "level": "info"}', {"format": "json", "time": "ts"},
         {"time": "2026-11-28T09:36:16Z", "level": "info", "time_": "12 ms"}),
        ('{"msg": "x", "user_id": 7, "message": "y"}', {"format": "json", "rename": {"user_id": "user", "msg": "text"}},
         {"message": "y", "text": "x", "user": 7}),
        ("low", {"format": "text", "fields": {"service": "shop", "n": 1}},
         {"message": "low", "service": "shop", "n": 1}),
        ("7 low", {"format": "regex", "pattern": r"(?P<n>\d) (?P<message>.*)"}, {"message": "low", "n": "7"}),
        ('<11>1 2026-11-28T09:36:16Z h shopd 7 - - {"level":"debug","msg":"x","k":1}',
         {"format": "syslog", "then": "json"},
         {"time": "2026-11-28T09:36:16Z", "level": "debug", "message": "x", "facility": "user", "host": "h",
          "app": "shopd", "process": "7", "k": 1}),
        ("<11>1 2026-11-28T09:36:16Z h shopd 7 - - plain", {"format": "syslog", "then": "json"},
         {"time": "2026-11-28T09:36:16Z", "level": "error", "message": "plain", "facility": "user", "host": "h",
          "app": "shopd", "process": "7"}),
        ("not json", {"format": "json"}, {"message": "not json", "unparsed": True}),
        ('{"level": "LOUD", "time": "noon"}', {"format": "json"}, {"time": "noon", "level": "LOUD"}),
        ('{"level": ["x"], "time": {}}', {"format": "json"}, {"time": {}, "level": ["x"]}),
    ],
)  # fmt: skip
def test_one_form_for_all(line, more, expected):
    """Time, level and message first, in that order, and all the rest as it was."""
    (record,) = records(line, **more)
    assert record == expected
    assert list(record)[: len(expected)] == [name for name in ("time", "level", "message") if name in expected] + [
        name for name in record if name not in ("time", "level", "message")
    ]


def test_lines_that_are_not_written_in_the_format():
    """Marked, or joined to the record before; and counted either way."""
    found = normaliser(format="python", zone="Europe/Zurich").normalise(PYTHON.encode().split(b"\n"))
    assert [record.get("unparsed", False) for record in found.records] == [False, False, True, True, True, False]
    assert found.notes == {"unparsed": 3}
    found = normaliser(format="python", unparsed="join").normalise(PYTHON.encode().split(b"\n"), final=True)
    assert found.lines == [1, 4, 1]
    assert found.notes == {"joined": 3}
    assert found.records[1]["message"].splitlines()[-1] == "KeyError: 8"
    found = normaliser(format="python", traces=["python"]).normalise(PYTHON.encode().split(b"\n"), final=True)
    assert found.lines == [1, 1, 3, 1]
    assert found.records[2] == {
        "message": 'Traceback (most recent call last):\n  File "x.py", line 1, in f\nKeyError: 8',
        "unparsed": True,
    }
    found = normaliser(format="python", start=r"^\d{4}-").normalise(PYTHON.encode().split(b"\n"), final=True)
    assert found.lines == [1, 4, 1]
    assert found.records[1]["message"].startswith("order 8 failed\nTraceback")
    assert not found.notes


def test_what_comes_first_has_nothing_to_be_joined_to():
    """It is marked."""
    found = normaliser(format="python", unparsed="join").normalise([b"  at x", b"  at y"], final=True)
    assert found.records == [{"message": "  at x\n  at y", "unparsed": True}]
    assert found.notes == {"unparsed": 1, "joined": 1}


def test_a_record_does_not_grow_for_ever():
    """Beyond a bound its lines are records of their own."""
    lines = [b"INFO:x:begin", *[b"x" * 1000] * 1000]
    found = normaliser(format="python", unparsed="join").normalise(lines, final=True)
    assert sum(found.lines) == 1001
    assert max(len(record["message"]) for record in found.records) < LONGEST


LINES = st.lists(
    st.sampled_from(
        [
            b"2026-11-28 09:36:16,123 - a - INFO - one",
            b"INFO:b:two",
            b"Traceback (most recent call last):",
            b'  File "x.py", line 1, in f',
            b"KeyError: 8",
            b"",
            b"odd",
        ]
    ),
    min_size=1,
    max_size=30,
)
WAYS = st.sampled_from([{"unparsed": "join"}, {"traces": ["python"]}, {"start": "^(2026|INFO)"}, {"more": r"^\s"}, {}])


@given(LINES, WAYS, st.data())
def test_it_does_not_matter_how_lines_arrive(lines, way, data):
    """In pieces, with what is kept back handed over again: the records are those of all lines at once."""
    whole = normaliser(format="python", **way).normalise(lines, final=True)
    assert sum(whole.lines) == len(lines)
    pieces = normaliser(format="python", **way)
    found, waiting, rest, notes = [], [], list(lines), whole.notes.copy()
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        waiting, rest = waiting + rest[:size], rest[size:]
        part = pieces.normalise(waiting)
        assert sum(part.lines) + part.held == len(waiting)
        waiting = waiting[len(waiting) - part.held :]
        found += part.records
        notes.subtract(part.notes)
    last = pieces.normalise(waiting, final=True) if waiting else None
    found += last.records if last else []
    notes.subtract(last.notes if last else {})
    assert found == whole.records
    assert not any(notes.values())


FORMATS = [name for name in get_args(Format) if name != "regex"]
PIECES = st.sampled_from(
    [sample.encode() for name in FORMATS for sample in configured(format=name).sample.splitlines()]
    + [
        b"",
        b" ",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b'{"level":',
        b'"time":',
        b"=",
        b"Traceback",
        b"\x7f",
        "é".encode(),
        b"9" * 40,
    ]
)


@given(st.sampled_from(FORMATS), st.sampled_from(["mark", "join"]), st.data())
def test_no_line_is_too_odd(name, unparsed, data):
    """Whatever a line holds, it is in some record, once; and each record is a line of JSON, and of logfmt."""
    unparsed = "mark" if name == "text" else unparsed
    text = st.lists(PIECES, max_size=4).map(b"".join)
    cut = st.tuples(text, st.integers(0, 200)).map(lambda pair: pair[0][: pair[1]].decode("utf-8", "replace").encode())
    lines = data.draw(st.lists(text | cut, min_size=1, max_size=8))
    for form in ("json", "logfmt"):
        made = normaliser(format=name, unparsed=unparsed, output={"form": form})
        found = made.normalise(lines, final=True)
        assert sum(found.lines) == len(lines)
        assert len(found.records) == len(found.lines)
        rendered = made.render(found)
        assert rendered.count(b"\n") == len(found.lines)
        if form == "json":
            assert [json.loads(line) for line in rendered.splitlines()] == json.loads(json.dumps(found.records))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "format"),
        ({"format": "regex"}, "is needed by format: regex"),
        ({"format": "json", "pattern": "x"}, "json has one of its own"),
        ({"format": "regex", "pattern": "("}, "not a regular expression"),
        ({"format": "regex", "pattern": "x"}, "no named group"),
        ({"format": "regex", "pattern": "(?P<x>(a+)+)b"}, "can take forever"),
        ({"format": "json", "start": "("}, "not a regular expression"),
        ({"format": "json", "traces": ["java"], "more": "x"}, "stands alone"),
        ({"format": "text", "unparsed": "join"}, "every line is text"),
        ({"format": "json", "zone": "Zurich"}, 'write "Europe/Zurich"'),
        ({"format": "json", "zone": "../../etc/passwd"}, "not a time zone"),
        ({"format": "json", "then": "text"}, "cannot be text"),
        ({"format": "json", "levels": {"x": "loud"}}, "loud"),
        ({"format": "json", "max_line": "1MiB"}, "256KiB"),
        ({"format": "json", "output": {"max_size": "1KiB"}}, "at least 64KiB"),
    ],
)
def test_what_is_refused(more, message):
    """With what to do about it."""
    with pytest.raises(ConfigError, match=message):
        configured(**more)


def test_standard_input_is_read_by_one_log():
    """Each of two would get a part of it."""
    log = configured(format="json")
    with pytest.raises(ValueError, match="second one on standard input"):
        AdapterConfig(logs=[log, log])


@pytest.mark.parametrize(
    ("first", "second", "blamed"),
    [
        ({"position": "/p"}, {"position": "/p"}, "logs[1].position"),
        ({"output": {"path": "/p"}}, {"output": {"path": "/p"}}, "logs[1].output.path"),
        ({"output": {"path": "/p"}}, {"position": "/p"}, "logs[1].position"),
    ],
)
def test_no_two_logs_write_one_file(first, second, blamed):
    """A position would be that of the other log, and a rotation would take its file away."""
    logs = [configured(type="file", path=path, format="json", **more) for path, more in (("/a", first), ("/b", second))]
    with pytest.raises(ValueError, match=r"/p is also logs\[0\]") as caught:
        AdapterConfig(logs=logs)
    assert caught.value.field == blamed


def test_logfmt_as_output():
    """The same records, in the other form."""
    made = normaliser(format="json", output={"form": "logfmt"})
    found = made.normalise([b'{"ts": 1795858000, "level": "warn", "msg": "stock is low", "item": 7}'])
    assert made.render(found) == b'time=2026-11-28T09:26:40Z level=warning message="stock is low" item=7\n'


CUT = b"""\
2026-11-28T09:36:16.1Z stdout P one,
2026-11-28T09:36:16.2Z stderr F other
2026-11-28T09:36:16.3Z stdout P two,
2026-11-28T09:36:16.4Z stdout F three
2026-11-28T09:36:16.5Z stdout F {"level":"warn","msg":"low"}
2026-11-28T09:36:16.6Z stdout P never""".split(b"\n")


def test_lines_that_a_runtime_has_cut():
    """Their parts are one line, of each stream; what has no end yet waits for it, and at the end is what there is."""
    made = normaliser(format="cri", then="json")
    found = made.normalise(CUT, final=True)
    assert [record["message"] for record in found.records] == ["one,two,three", "other", "low", "never"]
    assert found.lines == [3, 1, 1, 1]
    assert [record.get("partial", False) for record in found.records] == [False, False, False, True]
    assert found.records[2]["level"] == "warning"
    assert made.normalise(CUT).held == 1
    for size in range(1, len(CUT)):
        first = made.normalise(CUT[:size])
        rest = made.normalise(CUT[size - first.held :], final=True)
        assert first.records + rest.records == found.records
