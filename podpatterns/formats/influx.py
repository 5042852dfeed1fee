r"""InfluxDB's line protocol: `measurement,tag=value field=1.5,other=2i 1700000000000000000`.

    for row in parse(text): ...
    lines = render(points)

Backslashes escape commas, equals signs and blanks; strings stand in quotes, and may hold line ends. Source:
docs.influxdata.com, "Line protocol".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from podpatterns.formats.points import Point
from podpatterns.formats.refusal import Refused, number

PRECISIONS = {"ns": 1e-9, "n": 1e-9, "us": 1e-6, "u": 1e-6, "µ": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
"""Seconds of a timestamp's unit, by the names that `precision` has in both versions of the HTTP interface."""

_KEY = r"(?:[^\\,= \n]|\\[^\n])++"
_FIELD = rf'({_KEY})=(?:"((?:[^"\\]|\\.)*+)"|([^", \r\n]++))'
_SERIES = re.compile(rf"((?:[^\\, \n#]|\\[^\n])(?:[^\\, \n]|\\[^\n])*+)((?:,{_KEY}={_KEY})*+)(?=[ ])", re.DOTALL)
_TAG = re.compile(rf",({_KEY})=({_KEY})")
_ONE_FIELD = re.compile(_FIELD, re.DOTALL)
_FIELDS = re.compile(rf"[ ]++({_FIELD}(?:,{_FIELD})*+)", re.DOTALL)
_END = re.compile(r"(?:[ ]++(-?[0-9]{1,19}))?[ ]*+\r?(?:\n|\Z)")
_IDLE = re.compile(r"[ \t\r]*+(?:#[^\n]*+)?(?:\n|\Z)")
_ESCAPED = re.compile(r"\\([,= ])")
_NEVER = re.compile(r"[\\\n\r]|^#")
_NEVER_IN_A_TAG = re.compile(r"[\\\n\r]")
_MEASURED = re.compile(r"\\([, ])")
_BEFORE_TAGS = re.compile(r"([, ])")
_SPECIAL = re.compile(r"([,= ])")

_TRUTH = dict.fromkeys(("t", "T", "true", "True", "TRUE"), 1.0) | dict.fromkeys(
    ("f", "F", "false", "False", "FALSE"), 0.0
)
_WHOLE = re.compile(r"-?[0-9]+[iu]")


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `series` is its text up to the fields; `strings` counts fields that are text and no numbers.

    `stamp` is in the unit that the sender has, None for now.
    """

    series: str
    fields: tuple[tuple[str, float], ...]
    strings: int = 0
    stamp: int | None = None


def parse(text: str) -> Iterator[Row | Refused]:
    """The rows of a text, and in place of each line that is none, why; the rest is read all the same."""
    at = 0
    while at < len(text):
        idle = _IDLE.match(text, at)
        if idle is not None:
            at = idle.end()
            continue
        series = _SERIES.match(text, at)
        fields = _FIELDS.match(text, series.end()) if series is not None else None
        end = _END.match(text, fields.end()) if fields is not None else None
        if series is None or fields is None or end is None:
            stop = text.find("\n", at)
            stop = len(text) if stop < 0 else stop
            yield Refused("bad_line", text[at : min(stop, at + 80)])
            at = stop + 1
            continue
        begin, at = at, end.end()
        try:
            yield _row(series[0], fields[1], end[1])
        except Refused as refused:
            line = text[begin : min(at, begin + 80)].rstrip()
            yield Refused(refused.reason, f"{refused.detail} in {line}")


def _row(series: str, fields: str, stamp: str | None) -> Row:
    found: list[tuple[str, float]] = []
    strings = 0
    for match in _ONE_FIELD.finditer(fields):
        key, string, value = match.groups()
        if string is not None:
            strings += 1
        else:
            found.append((_plain(key), _value(value)))
    return Row(series, tuple(found), strings, None if stamp is None else int(stamp))


def _value(text: str) -> float:
    if text in _TRUTH:
        return _TRUTH[text]
    return number(text[:-1] if _WHOLE.fullmatch(text) else text)


def series(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Measurement and tags of a row's `series`, without escapes."""
    match = _SERIES.match(f"{text} ")
    if match is None:
        raise Refused("bad_line", text[:80])
    tags = {_plain(key): _plain(value) for key, value in _TAG.findall(match[2])}
    return _MEASURED.sub(r"\1", match[1]), tuple(tags.items())


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def metric(measurement: str, field: str) -> str:
    """The name of a metric: the measurement's for the field `value`, otherwise with the field's behind it."""
    return measurement if field == "value" else f"{measurement}_{field}"


def render(points: Iterable[Point]) -> Iterator[str]:
    """A line for each point, with the number as the field `value` and the time in nanoseconds."""
    for point in points:
        tags = "".join([f",{_escape(label)}={_escape(value)}" for label, value in point.labels if value])
        stamp = "" if point.stamp is None else f" {round(point.stamp * 1000) * 1_000_000}"
        name = _BEFORE_TAGS.sub(r"\\\1", _NEVER.sub("_", point.name))
        yield f"{name}{tags} value={point.value!r}{stamp}\n"


def _escape(text: str) -> str:
    # The protocol has no escape for a line end, and a backslash in front of what is escaped would be eaten. A hash in
    # front of a measurement begins a comment.
    text = _NEVER_IN_A_TAG.sub("_", text)
    return _SPECIAL.sub(r"\\\1", text)
