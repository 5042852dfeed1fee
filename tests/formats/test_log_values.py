"""Times, levels and columns of log records, in whatever way they are written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats import jsonlines
from podpatterns.formats.otlp_logs import any_value
from podpatterns.formats.severity import severity
from podpatterns.formats.timestamps import nanoseconds, resolution, rfc3339

AT = 1795426576 * 10**9  # 2026-11-23T09:36:16Z


@pytest.mark.parametrize(
    ("value", "nanos"),
    [
        ("2026-11-23T09:36:16Z", AT),
        ("2026-11-23t09:36:16z", AT),
        ("2026-11-23 09:36:16", AT),
        ("2026-11-23 09:36:16,250", AT + 250_000_000),
        ("2026-11-23T09:36:16.123456789+00:00", AT + 123_456_789),
        ("2026-11-23T09:36:16.1234567891234Z", AT + 123_456_789),
        ("2026-11-23T11:06:16+0130", AT),
        ("23/Nov/2026:09:36:16 +0000", AT),
        ("23/Nov/2026:10:36:16 +0100", AT),
        (1795426576, AT),
        (1795426576123, AT + 123_000_000),
        (1795426576123456, AT + 123_456_000),
        (1795426576123456789, AT + 123_456_789),
        (1795426576.5, AT + 500_000_000),
        *((text, None) for text in ("", "soon", "2026-13-23T09:36:16Z", "1969-12-31T23:59:59Z")),
        *((text, None) for text in ("9999-01-01T00:00:00Z", "٢٠٢٦-11-23T09:36:16Z")),
        *((text, None) for text in ("23/Foo/2026:09:36:16 +0000", "32/Nov/2026:09:36:16 +0000")),
        *((value, None) for value in (None, True, -1, float("nan"), float("inf"), 2**64, 9223372036854776, [], {})),
    ],
)  # fmt: skip
def test_a_time_is_read(value: Any, nanos: int | None) -> None:
    """To the nanosecond, in UTC unless it says otherwise; what is no time of 1970 to 2262 is none."""
    assert nanoseconds(value) == nanos


@given(st.datetimes(datetime(1970, 1, 2), datetime(2262, 1, 1)))  # noqa: DTZ001 - made aware below
def test_what_is_written_is_read(moment: datetime) -> None:
    """A time written as RFC 3339 is the same time, to the microsecond; and its resolution divides it."""
    nanos = nanoseconds(moment.replace(tzinfo=UTC).isoformat())
    assert nanos is not None
    assert nanoseconds(rfc3339(nanos)) == nanos
    assert nanos % resolution(nanos) == 0


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.lists(st.integers()))
def test_nothing_is_too_odd_for_a_time(value: Any) -> None:
    """Whatever a record holds there: a time that stores can hold, or None."""
    nanos = nanoseconds(value)
    assert nanos is None or 0 <= nanos < 2**63


@pytest.mark.parametrize(
    ("level", "syslog", "otlp"),
    [
        ("WARN", 4, 13),
        ("warning", 4, 13),
        (" Error ", 3, 17),
        ("fatal", 0, 21),
        ("debug", 7, 5),
        (30, 6, 9),
        ("I", 6, 9),
    ],
)
def test_a_level_is_known(level: Any, syslog: int, otlp: int) -> None:
    """In any case, as a word, a letter or a logger's number."""
    assert severity(level) == (syslog, otlp)


@pytest.mark.parametrize("level", [None, "", "loud", True, 3.0, [], {}, 31])
def test_a_level_is_not_guessed(level: Any) -> None:
    """What is no known level is none."""
    assert severity(level) is None


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from(["time", "x", "a b", 'q"']), VALUES), max_size=8))
def test_a_column_is_what_the_records_say(records: list[dict[str, Any]]) -> None:
    """One value for each record, whatever else is in it; `missing` where there is none."""
    ndjson = jsonlines.from_records(records)
    for name in ("time", "a b", 'q"'):
        assert jsonlines.column(ndjson, name, missing=...) == [record.get(name, ...) for record in records]
    assert [json.loads(line) for line in jsonlines.split(ndjson)] == records


@given(VALUES)
def test_an_any_value_is_what_it_was(value: Any) -> None:
    """The JSON encoding of OTLP keeps a value and its kind."""

    def back(made: dict[str, Any]) -> Any:
        if not made:
            return None
        ((kind, inner),) = made.items()
        if kind == "kvlistValue":
            return {pair["key"]: back(pair["value"]) for pair in inner["values"]}
        if kind == "arrayValue":
            return [back(item) for item in inner["values"]]
        return int(inner) if kind == "intValue" else inner

    assert back(any_value(value)) == value
