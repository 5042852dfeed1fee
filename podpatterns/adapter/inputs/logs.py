"""Metrics out of log lines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import ClassVar, Literal

import msgspec

from podpatterns.adapter.framing import Lines
from podpatterns.adapter.inputs import Input, InputConfig, Wiring
from podpatterns.adapter.log_events import LogEvents
from podpatterns.adapter.log_files import LogFiles
from podpatterns.adapter.naming import check_labels
from podpatterns.adapter.receiving import Connections
from podpatterns.adapter.tallies import Measure, Rule, Tallies
from podpatterns.formats import combined, line_rows
from podpatterns.formats.families import is_metric_name
from podpatterns.runtime.regex import check_regex
from podpatterns.runtime.schema import Config, InvalidField
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.units import Address

Format = Literal["text", "combined", "json", "logfmt"]

PIECE = 64 * 1024
"""Bytes read at a time: what is made of them stays in the processor's cache. Others get their turn between two."""

EVERY = 0.25
"""Seconds between two looks at the files, for there is no portable way to be told."""


class LogMetricConfig(Config, frozen=True, kw_only=True):
    """One metric of the lines that a rule matches."""

    name: str
    """The metric's name; a counter gets `_total` where it is missing."""

    kind: Literal["counter", "gauge", "histogram"] = "counter"
    """`counter`: adds up; `gauge`: the last value; `histogram`: counts values by the buckets of `series.buckets`."""

    value: str = ""
    """The field that holds the number. Empty: each line counts one, which only a counter can do."""

    labels: dict[str, str] = {}
    """Labels, by the fields whose values they get. Few values each, please: `series.budget` bounds what comes of it."""

    scale: float = 1.0
    """What values are multiplied with, such as 0.001 for milliseconds."""

    def __post_init__(self) -> None:
        if not is_metric_name(self.name):
            raise InvalidField("name", f'"{self.name}" is no name of a metric; use letters, digits, _ and :')
        if not self.value and self.kind != "counter":
            raise InvalidField("value", f"a {self.kind} needs a value: the field that holds it")
        check_labels(self.labels)


class LogRuleConfig(Config, frozen=True, kw_only=True):
    """Which lines, and what is measured in them."""

    match: str = ""
    """With `format: text`, a regular expression that is searched for in each line. Its named groups, such as
    `(?P<status>[0-9]{3})`, are the fields."""

    where: dict[str, str] = {}
    """Fields and the values that they must have, such as `{level: error}`. All of them."""

    metrics: list[LogMetricConfig]
    """What is measured."""

    def __post_init__(self) -> None:
        if not self.metrics:
            raise InvalidField("metrics", "a rule without metrics measures nothing")
        if self.match:
            check_regex(self.match, "match")
            self.form("text")

    @property
    def fields(self) -> list[str]:
        """The fields that are read, each once."""
        return list(dict.fromkeys(field for _, field in self._uses()))

    def form(self, name: Format, place: str = "") -> line_rows.Form:
        """What reads these fields. Raises InvalidField; `place` is where the rule stands, with a dot behind it."""
        if name == "json":
            return line_rows.json(self.fields)
        if name == "logfmt":
            return line_rows.key_values(self.fields)
        try:
            form = line_rows.matching(combined.GROUPS if name == "combined" else self.match)
        except ValueError as error:
            raise InvalidField(f"{place}match", str(error)) from None
        for where, field in self._uses():
            if field not in form.places:
                hint = f"; write it as (?P<{field}>…) in `match`" if name == "text" else ""
                there = ", ".join(form.places) or "none"
                raise InvalidField(f"{place}{where}", f'there is no field "{field}"{hint}; there is: {there}')
        return form

    def _uses(self) -> Iterator[tuple[str, str]]:
        """Each field that is read, behind the place where it is said."""
        for field in self.where:
            yield f"where.{field}", field
        for number, metric in enumerate(self.metrics):
            for label, field in metric.labels.items():
                yield f"metrics[{number}].labels.{label}", field
            if metric.value:
                yield f"metrics[{number}].value", metric.value

    def rule(self, name: Format) -> Rule:
        """The same, made ready."""
        form = self.form(name)
        measures = tuple(
            Measure(
                metric.name,
                metric.kind,
                tuple((label, form.places[field]) for label, field in metric.labels.items()),
                form.places[metric.value] if metric.value else None,
                metric.scale,
            )
            for metric in self.metrics
        )
        return Rule(form.read, tuple((form.places[field], value) for field, value in self.where.items()), measures)


class LogsConfig(InputConfig, frozen=True, kw_only=True):
    """Counts and measures what log lines say: `paths` are followed through rotation, or lines come in by a socket.

    A line may match several rules; one that matches none is only counted as received. Times in lines are not used: a
    line counts when it is read. What is counted begins anew with the process, and with it the files at their ends.
    """

    EXAMPLE: ClassVar[str] = r"""
    type: logs
    paths: [/var/log/shop/access.log]
    rules:
    - match: '"(?P<method>[A-Z]+) \S+ [^"]*" (?P<status>\d{3}) (?P<bytes>\d+)'
      metrics:
      - {name: shop_requests_total, labels: {method: method, status: status}}
      - {name: shop_response_bytes_total, value: bytes}
    """

    READS: ClassVar[frozenset[str]] = frozenset({"paths"})

    paths: list[str] = []
    """Files that are followed; `*` and `**` are allowed. Either these or `listen`."""

    listen: Address | None = None
    """Where lines come in, one by one: `unix:/path` for a stream socket, or `host:port` for TCP."""

    start: Literal["end", "beginning"] = "end"
    """Where files that are there at the start are read from. Files that come later are read as a whole."""

    format: Format = "text"
    """`text`: lines that rules match with an expression. `combined`: the access log of nginx and Apache, with the
    fields client, user, time, method, path, protocol, status, bytes, referer and agent. `json` and `logfmt`: fields by
    name."""

    rules: list[LogRuleConfig]
    """What is counted and measured, in which lines."""

    def __post_init__(self) -> None:
        if bool(self.paths) == (self.listen is not None):
            raise InvalidField("paths", "name files in `paths`, or an address in `listen`; one of the two")
        if not self.rules:
            raise InvalidField("rules", "without a rule nothing is counted")
        for number, rule in enumerate(self.rules):
            if bool(rule.match) != (self.format == "text"):
                says = "needs a regular expression" if self.format == "text" else "has fields already; use `where`"
                raise InvalidField(f"rules[{number}].match", f'format "{self.format}" {says}')
            if self.format == "combined":
                rule.form("combined", f"rules[{number}].")

    def lines(self, wiring: Wiring) -> Lines:
        """Those of the log."""
        return Tallies([rule.rule(self.format) for rule in self.rules], wiring.intake, wiring.events)

    def alone(self) -> Iterator[tuple[str, LogsConfig]]:
        """Each rule as people know it, and a configuration with it alone."""
        for number, rule in enumerate(self.rules, 1):
            wanted = rule.match or ", ".join(f"{field} = {value}" for field, value in rule.where.items())
            yield f"rule {number} ({wanted or 'every line'})", msgspec.structs.replace(self, rules=[rule])

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        tallies = self.lines(wiring)
        if self.listen is not None:
            return Connections("logs", self.listen, tallies, wiring.events)
        return Logs(self, tallies, wiring.logs)


class Logs(Input):
    """Feeds what is appended to files. What is counted lives in memory, so no position is kept."""

    def __init__(self, config: LogsConfig, lines: Lines, events: LogEvents) -> None:
        self.name = f"logs input from {', '.join(config.paths)}"
        self._at_end = config.start == "end"
        self._lines, self._events = lines, events
        self._files = LogFiles("logs", config.paths, piece=PIECE, every=EVERY, events=events)
        self._drained = False

    async def start(self) -> None:
        """Open what is there; files may also come later."""
        self._files.start(at_end=self._at_end)

    async def run(self) -> None:
        """Look, read, and wait, until cancelled."""
        while True:
            await self._read(final=False)
            await asyncio.sleep(EVERY)

    async def drain(self, deadline: Deadline) -> None:
        """Read to the end of every file, lines without an end included."""
        self._drained = True
        if deadline.remaining:
            await self._read(final=True)

    async def stop(self) -> None:
        """Close every file; where there was no drain, another input goes on from here, at the end."""
        if not self._drained:
            await self._read(final=True)
        self._files.close()

    async def _read(self, *, final: bool) -> None:
        for piece in self._files.pieces(final=final):
            self._lines.feed(piece.data)
            piece.take(len(piece.data))
            if len(piece.data) == PIECE and not piece.data.endswith(b"\n"):
                self._events.noted_lines("logs", "truncated", 1)
            await asyncio.sleep(0)
