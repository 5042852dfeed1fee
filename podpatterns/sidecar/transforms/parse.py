"""Fields out of lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from podpatterns.formats import cri, docker, jsonlines
from podpatterns.formats.parsers import PARSERS, TABLES, Parser, WholeParser
from podpatterns.formats.tables import Asked, Objects, Row, Rows
from podpatterns.runtime.regex import check_regex
from podpatterns.runtime.schema import InvalidField
from podpatterns.sidecar.batch import MESSAGE, Batch
from podpatterns.sidecar.transforms import Gathered, Gathering, TransformConfig

PARTS: Mapping[str, Callable[[bytes], object]] = {
    "cri": cri.open_ended,
    "docker": docker.PART.search,
}
"""Whether a text ends in a part of a line, by the format that cuts them: a quick look, never a wrong no."""


class ParseConfig(TransformConfig, frozen=True, kw_only=True):
    """Parses each line into fields."""

    EXAMPLE: ClassVar[str] = "{type: parse, format: combined}"

    format: Literal["json", "logfmt", "combined", "cri", "docker", "syslog", "regex"]
    """How the lines are written: `json` objects, `logfmt` pairs, `combined` access logs of Apache and nginx (also
    common ones), `cri` as container runtimes write, `docker` as its json-file driver does, `syslog` messages of
    RFC 5424 and RFC 3164, or `regex` for a pattern of your own."""

    pattern: str | None = None
    """With `format: regex`: an expression whose named groups, `(?P<name>…)`, become fields. It must match the whole
    line."""

    on_error: Literal["keep", "drop"] = "keep"
    """What happens to a line that cannot be parsed: `keep` ships it as it is, in the field `message`, so that
    nothing is
    lost; `drop` filters it. Both are counted as `parse_failed`."""

    def __post_init__(self) -> None:
        """Check the pattern."""
        if (self.format == "regex") != (self.pattern is not None):
            raise InvalidField("pattern", "stands with format: regex, and only there")
        if self.pattern is None:
            return
        check_regex(self.pattern, "pattern", text=True)
        if not re.compile(self.pattern).groupindex:
            raise InvalidField("pattern", "has no named group, (?P<name>…), to make a field of")

    def build(self) -> Parse:
        """The transform."""
        return Parse(self)


class Parse(Gathering):
    """Calls the parser on each line: the first work per line in a pipeline, because fields were asked for.

    With `format: cri` or `docker` it also joins the parts into which the container runtime has cut long lines.
    """

    def __init__(self, config: ParseConfig) -> None:
        self._drop = config.on_error == "drop"
        self._whole: WholeParser | None
        if config.pattern is not None:
            self._parse, self._whole = _regex(config.pattern)
        else:
            self._parse, self._whole = PARSERS[config.format], TABLES.get(config.format)
        self._objects = config.format == "json"
        self._asked = Asked()
        self._part = PARTS.get(config.format)
        self.gathers = self._part is not None

    def prepare(self, batch: Batch) -> Batch:
        """Records in place of lines; after another parser, what that left in `message` is parsed further."""
        if len(batch) and not batch.parsed:
            if self._objects:
                return self._of_objects(batch)
            table = self._whole(batch.decoded, len(batch)) if self._whole is not None else None
            if table is not None:
                return batch.with_table(table)
        parsed = (
            [self._parse(_line(record)) for record in batch.records]
            if batch.parsed
            else list(map(self._parse, batch.lines))
        )
        failed = parsed.count(None)
        if batch.parsed:
            parsed = [
                new if new is None else {**_without_message(old), **new}
                for old, new in zip(batch.records, parsed, strict=True)
            ]
        if failed:
            batch.note("parse_failed", failed)
            if self._drop:
                batch = batch.keep([record is not None for record in parsed])
                parsed = [record for record in parsed if record is not None]
            else:
                parsed = [old if new is None else new for old, new in zip(batch.records, parsed, strict=True)]
        return batch.with_records([record for record in parsed if record is not None])

    def _of_objects(self, batch: Batch) -> Batch:
        """JSON is checked, and kept as it is written."""
        bodies, having = jsonlines.bodies(batch.text, self._asked.names)
        failed = bodies.count(None)
        if not failed:
            return batch.with_table(Objects(bodies, self._asked, having))  # type: ignore[arg-type]  # none is None
        batch.note("parse_failed", failed)
        lines = batch.lines
        kept = [
            jsonlines.body({MESSAGE: lines[at].decode()}) if each is None else each for at, each in enumerate(bodies)
        ]
        batch = batch.with_table(Objects(kept))
        return batch.keep([each is not None for each in bodies]) if self._drop else batch

    def concerns(self, text: bytes) -> bool:
        """Whether it ends in a part of a line."""
        return self._part is not None and bool(self._part(text))

    def gather(self, batch: Batch) -> Gathered | None:
        """The parts of a line of the same stream, up to the one that is its end."""
        table = batch.table
        if isinstance(table, Rows):
            if not table.mixed:
                return None
            parts = [(row["stream"], True) if isinstance(row, dict) else (row[1], False) for row in table.rows]
        else:
            parts = [(record.get("stream"), bool(record.get("partial"))) for record in batch.records]
        members: list[Sequence[int]] = list(zip(range(len(parts)), strict=True))
        gone: list[int] = []
        begun: dict[Any, list[int]] = {}
        for place, (stream, partial) in enumerate(parts):
            line = begun.get(stream) if begun else None
            if line is not None:
                line.append(place)
                gone.append(place)
                if not partial:
                    del begun[stream]
            elif partial:
                members[place] = begun[stream] = [place]
        for place in reversed(gone):
            del members[place]
        open_from = min((line[0] for line in begun.values()), default=len(parts))
        return Gathered(members, open_from) if gone or begun else None

    def join(self, batch: Batch, members: Sequence[Sequence[int]]) -> Batch:
        """The texts of the parts, one behind the other; a line whose end is missing stays `partial`."""
        table = batch.table
        if not isinstance(table, Rows):
            return batch.merge(members, [_joined([batch.records[place] for place in places]) for places in members])
        rows = table.rows
        joined = [_whole_row(table, places) if len(places) > 1 else rows[places[0]] for places in members]
        return batch.merge(members, Rows(table.names, joined, mixed=dict in map(type, joined)))


def _whole_row(table: Rows, places: Sequence[int]) -> Row:
    record = _joined([table.record(table.rows[place]) for place in places])
    return record if "partial" in record else tuple(record.values())


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if len(parts) == 1:
        return parts[0]
    record = {**parts[0], MESSAGE: "".join(str(part[MESSAGE]) for part in parts)}
    if not parts[-1].get("partial"):
        del record["partial"]
    return record


def _line(record: Mapping[str, Any]) -> bytes:
    message = record.get(MESSAGE)
    return message.encode("utf-8", "replace") if isinstance(message, str) else b""


def _without_message(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != MESSAGE}


def _regex(pattern: str) -> tuple[Parser, WholeParser]:
    """For one line, and for a whole text."""
    expression = re.compile(pattern)
    names, places = tuple(expression.groupindex), tuple(expression.groupindex.values())
    values: Callable[[re.Match[str]], tuple[Any, ...]] = re.Match.groups
    if expression.groups > len(names):  # some have no name

        def values(match: re.Match[str]) -> tuple[Any, ...]:
            return tuple(map(match.group, places))

    def parse(line: bytes) -> dict[str, Any] | None:
        match = expression.fullmatch(line.decode())
        return match.groupdict() if match is not None else None

    def rows(text: str, _count: int) -> Rows | None:
        matches = list(map(expression.fullmatch, text.split("\n")))
        return Rows(names, list(map(values, matches))) if all(matches) else None  # type: ignore[arg-type]  # none is None

    return parse, rows
