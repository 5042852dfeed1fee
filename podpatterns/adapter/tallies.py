"""Metrics out of log lines: rows of fields are counted and added up, a whole piece of a log at a time.

A counter of lines costs one count per row, in C; what is looked up by its labels is looked up once for all rows that
are alike. Nothing here reads a clock or a file.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import nan
from operator import itemgetter
from typing import Any, Literal, Protocol

from podpatterns.adapter.intake import Intake
from podpatterns.adapter.slots import Distribution, Way
from podpatterns.formats.json_text import text
from podpatterns.formats.line_rows import Row
from podpatterns.formats.numbers import floats, scaled
from podpatterns.formats.refusal import Refused, number
from podpatterns.formats.statsd import Line

Kind = Literal["counter", "gauge", "histogram"]

_TYPES: dict[Kind, Literal["c", "g", "h"]] = {"counter": "c", "gauge": "g", "histogram": "h"}


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric of a rule: `labels` by the places of their values in a row, and the place of its own value.

    `value` is None where each row counts one.
    """

    name: str
    kind: Kind
    labels: tuple[tuple[str, int], ...]
    value: int | None
    scale: float

    @property
    def key(self) -> bytes:
        """What stands for it in the intake's memory."""
        return "\n".join(("", "logs", self.kind, self.name, *(label for label, _ in self.labels))).encode()


@dataclass(frozen=True, slots=True)
class Rule:
    """Which rows count, and what is measured in them. `where` has the texts that fields must have, by their places."""

    read: Callable[[str], list[Row]]
    where: tuple[tuple[int, str], ...]
    measures: tuple[Measure, ...]


Ways = dict[Row, Way | None]
"""Where the values of each series go, by the values of its labels; None where there is no place for it."""


class Sink(Protocol):
    """What is told of rows; the adapter's events are one."""

    def lines_taken(self, count: int) -> None:
        """So many lines came in."""

    def lines_matched(self, rule: int, count: int) -> None:
        """So many lines had the form of a rule."""

    def line_refused(self, reason: str, detail: str) -> None:
        """A value was refused."""


class Tallies:
    """Takes in lines; what it makes of them goes to the store by way of the intake, with its budget and mapping."""

    def __init__(self, rules: Sequence[Rule], intake: Intake, sink: Sink) -> None:
        self._rules, self._intake, self._sink = rules, intake, sink

    def feed(self, data: bytes) -> None:
        """Take in whole lines; a line end may be missing at the very end."""
        lines = data.decode("utf-8", "replace")
        if not lines.endswith("\n"):
            lines += "\n"
        if "\r" in lines:
            lines = lines.replace("\r\n", "\n")
        for number_, rule in enumerate(self._rules, 1):
            rows = rule.read(lines)
            for place, wanted in rule.where:
                rows = [row for row in rows if text(row[place]) == wanted]
            if rows:
                self._sink.lines_matched(number_, len(rows))
                for measure in rule.measures:
                    self._measure(measure, rows)
        self._sink.lines_taken(lines.count("\n"))

    def _measure(self, measure: Measure, rows: Sequence[Row]) -> None:
        places = [place for _, place in measure.labels]
        if measure.value is None:
            for key, count in _counted(places, rows).items():
                self._take(self._way(measure, key), count * measure.scale, measure)
            return
        rows, values = self._values(measure, rows)
        keys, distinct = _keys(places, rows)
        ways = {key: self._way(measure, key) for key in distinct}
        _BY_KIND[measure.kind](self, measure, ways, keys, values)

    def _add(self, measure: Measure, ways: Ways, keys: Sequence[Row], values: Sequence[float]) -> None:
        """Counters: one sum for each series."""
        if min(values, default=0.0) < 0:
            for key, value in zip(keys, values, strict=True):
                self._take(ways[key], value, measure)  # refuses the negative ones
            return
        for key, total in _totals(ways, keys, values).items():
            self._take(ways[key], total, measure)

    def _set(self, measure: Measure, ways: Ways, keys: Sequence[Row], values: Sequence[float]) -> None:
        """Gauges: of several values in a piece the last one stays."""
        for key, value in dict(zip(keys, values, strict=True)).items():
            self._take(ways[key], value, measure)

    def _observe(self, measure: Measure, ways: Ways, keys: Sequence[Row], values: Sequence[float]) -> None:
        """Histograms: how many in each bucket, and one sum for each series."""
        first = next((way for way in ways.values() if isinstance(way, Distribution)), None)
        alike = (
            all(type(way) is Distribution and way.bounds is first.bounds for way in ways.values()) if first else False
        )
        if first is None or first.divisor != 1.0 or not alike:  # left out by a mapping, or changed by it
            for key, value in zip(keys, values, strict=True):
                self._take(ways[key], value, measure)
            return
        found: dict[Row, dict[int, int]] = {}
        buckets = map(bisect_left, repeat(first.bounds), values)
        for (key, bucket), count in Counter(zip(keys, buckets, strict=False)).items():
            found.setdefault(key, {})[bucket] = count
        for key, total in _totals(ways, keys, values).items():
            way = ways[key]
            if isinstance(way, Distribution):
                try:
                    way.merge(found[key], total)
                except Refused as refused:
                    self._sink.line_refused(refused.reason, f"{measure.name}: {total}")

    def _take(self, way: Way | None, value: float, measure: Measure) -> None:
        if way is None:
            return
        try:
            way.take(value, b"=")  # set, whatever the sign
        except Refused as refused:
            self._sink.line_refused(refused.reason, f"{measure.name}: {value}")

    def _values(self, measure: Measure, rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[float]]:
        """The rows that have a value, and their values, scaled."""
        assert measure.value is not None
        texts = list(map(itemgetter(measure.value), rows))
        try:
            # Fields of JSON may be numbers already.
            values = floats(texts) if isinstance(texts[0], str) else list(map(float, texts))
            total = sum(values)
        except (ValueError, TypeError, OverflowError):
            total = nan
        if total - total != 0.0:  # NaN or infinity is among them, or what is no number
            found = [(row, self._value(measure, each)) for row, each in zip(rows, texts, strict=True)]
            rows = [row for row, value in found if value is not None]
            values = [value for _, value in found if value is not None]
        return rows, scaled(values, measure.scale)

    def _value(self, measure: Measure, value: Any) -> float | None:
        try:
            return number(text(value))
        except Refused as refused:
            self._sink.line_refused(refused.reason, f"{measure.name}: {str(value)[:60]!r}")
            return None

    def _way(self, measure: Measure, key: Any) -> Way | None:
        def read(key: Any) -> Line:
            tags = tuple((label, text(value)) for (label, _), value in zip(measure.labels, key, strict=True))
            return Line(measure.name, _TYPES[measure.kind], (), tags=tags)

        try:
            return self._intake.way((measure.key, key), "Measured in log lines:", read)
        except Refused as refused:
            self._sink.line_refused(refused.reason, refused.detail or measure.name)
            return None


def _counted(places: Sequence[int], rows: Sequence[Row]) -> Mapping[Row, int]:
    """How many rows have each combination of values of the labels."""
    if len(places) < 2:
        return Counter(_keys(places, rows)[0])
    try:
        return Counter(map(itemgetter(*places), rows))
    except TypeError:  # objects and arrays of JSON
        return Counter(_keys(places, rows)[0])


def _keys(places: Sequence[int], rows: Sequence[Row]) -> tuple[list[Row], dict[Row, None]]:
    """The values of the labels of each row, and each of them once."""
    if not places:
        return [()] * len(rows), {(): None} if rows else {}
    pick = itemgetter(*places)
    keys = list(zip(map(pick, rows), strict=True)) if len(places) == 1 else list(map(pick, rows))
    try:
        return keys, dict.fromkeys(keys)
    except TypeError:  # objects and arrays of JSON
        keys = [tuple(map(text, key)) for key in keys]
        return keys, dict.fromkeys(keys)


def _totals(ways: Ways, keys: Sequence[Row], values: Sequence[float]) -> dict[Row, float]:
    if len(ways) == 1:
        return dict.fromkeys(ways, sum(values))
    totals = dict.fromkeys(ways, 0.0)
    for key, value in zip(keys, values, strict=True):
        totals[key] += value
    return totals


_BY_KIND = {"counter": Tallies._add, "gauge": Tallies._set, "histogram": Tallies._observe}  # noqa: SLF001 - its own
