"""From the lines of an application's own log to records of one form. Pure: it is given lines, and the time of day.

A batch of lines at a time. What belongs together is found first, then each record is parsed, and its time, level and
message are given the names and the form that all records have.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from podpatterns.formats import combined, jsonlines, logfmt
from podpatterns.formats.layouts import LAYOUTS, WholeLines, parser, rows_of
from podpatterns.formats.multiline import Patterns, Traces
from podpatterns.formats.parsers import PARSERS, Parser
from podpatterns.formats.severity import WORDS, severity
from podpatterns.formats.tables import Row, Rows
from podpatterns.formats.wall_clock import WallClock

if TYPE_CHECKING:
    from podpatterns.adapter.logs import LogConfig

TIMES = ("time", "timestamp", "ts", "@timestamp", "datetime", "date", "asctime")
LEVELS = ("level", "severity", "lvl", "levelname", "log.level", "loglevel")
MESSAGES = ("message", "msg", "text", "event")
"""Names that fields have by custom, the most usual first."""
UNPARSED = "unparsed"
"""The field that marks a record whose line is not written in the format."""
OWN = frozenset({"time", "level", "message", UNPARSED})
LONGEST = 256 * 1024
"""Characters that lines may be joined to; what comes after them is a record of its own."""
_SHAPES = 1000
"""Sets of fields that are remembered: few in a log that is written by a program."""


@dataclass(slots=True)
class Normalised:
    """Records, how many lines each stands for, and how many lines at the end are kept back for now."""

    found: list[dict[str, Any]] | Rows
    """A dictionary for each, or a table where all have the same fields: that takes half the time."""
    lines: list[int]
    held: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    """How many lines are not in the format (`unparsed`, `joined`), and what could not be read (`time`, `level`)."""
    added: Mapping[str, Any] = field(default_factory=dict)
    """What belongs to each record of a table beside what is in it."""

    @property
    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each."""
        if isinstance(self.found, list):
            return self.found
        return [{**record, **self.added} for record in self.found.records()]


class Normaliser:
    """Compiled once from a log's configuration."""

    def __init__(self, config: LogConfig, now: Callable[[], float]) -> None:
        from podpatterns.adapter.logs import zone_of

        self._parse = _parser(config.format, config.pattern)
        self._then = None if config.then is None else _parser(config.then, None)
        self._join = config.unparsed == "join"
        self._groups: Traces | Patterns | None = None
        if config.traces:
            self._groups = Traces(config.traces)
        elif config.start is not None or config.more is not None:
            start, more = (re.compile(each) if each is not None else None for each in (config.start, config.more))
            self._groups = Patterns(start, more)
        self._cut = config.format in ("cri", "docker")
        """Whether long lines come in parts, as container runtimes cut them."""
        self._clock = WallClock(zone_of(config.zone), now, config.time_format)
        self._named = tuple(
            (name,) if name is not None else usual
            for name, usual in ((config.time, TIMES), (config.level, LEVELS), (config.message, MESSAGES))
        )
        self._rename, self._fields = config.rename, config.fields
        words = {**_layout_levels(config.format), **_layout_levels(config.then), **config.levels}
        self._levels: dict[Any, str | None] = {}
        self._words = {word.lower(): level for word, level in words.items()}
        self._shapes: dict[tuple[str, ...], tuple[str | None, str | None, str | None, bool]] = {}
        self._logfmt = config.output.form == "logfmt"
        self._whole = None if self._logfmt or self._then is not None else _whole_parser(config.format, config.pattern)
        self.holds = self._join or self._cut or self._groups is not None
        """Whether the last lines may have to wait for those to come."""

    def render(self, normalised: Normalised) -> bytes:
        """The records in the form of the output, a line each."""
        found = normalised.found
        if isinstance(found, Rows):
            return found.encode(normalised.added)
        return logfmt.render(found) if self._logfmt else jsonlines.from_records(found)

    def normalise(self, lines: Sequence[bytes], *, final: bool = False) -> Normalised:
        """The records of some lines of valid UTF-8. `final`: nothing is kept back, for more does not come."""
        whole, weights, held = self._gathered(lines, final=final)
        if weights is None and (table := self._tabled(whole, final=final)) is not None:
            return table
        notes: Counter[str] = Counter()
        last: Counter[str] = Counter()  # what was noted of the last record, which may be kept back
        records: list[dict[str, Any]] = []
        counts: list[int] = []
        every: Sequence[dict[str, Any] | None] = list(map(self._parse, whole))
        if self._cut and any(each is not None and "partial" in each for each in every):
            every, weights, held = _unbroken(every, final=final)
        for place, found in enumerate(every):
            weight = 1 if weights is None else weights[place]
            parsed, rest = found, ""
            if parsed is None and weight > 1:
                # Of lines that belong together the first one is written in the format.
                head, _, tail = whole[place].partition(b"\n")
                parsed, rest = self._parse(head), tail.decode()
            if parsed is None and self._join and records and self._joined(records[-1], whole[place].decode()):
                counts[-1] += weight
                last["joined"] += weight
                continue
            if last:
                notes.update(last)
                last.clear()
            if parsed is None:
                records.append({"message": whole[place].decode(), UNPARSED: True, **self._fields})
                last[UNPARSED] += weight
            else:
                records.append(self._usual(parsed, last))
                if rest:
                    self._joined(records[-1], rest)
            counts.append(weight)
        if self._join and records and not final:
            held += counts.pop()  # more may belong to it
            records.pop()
        else:
            notes.update(last)
        return Normalised(records, counts, held, notes)

    def _tabled(self, lines: Sequence[bytes], *, final: bool) -> Normalised | None:
        """The same by columns, if all lines are alike; None if one has to be looked at alone."""
        table = self._whole(lines) if self._whole is not None and lines else None
        if table is None:
            return None
        names, columns = table
        time, level, message, more = self._shapes.get(names) or self._shaped(names)
        if more:
            return None
        by_name = dict(zip(names, columns, strict=True))
        first: dict[str, Sequence[Any]] = {}
        if time is not None:
            first["time"] = list(map(self._clock, by_name.pop(time)))
        if level is not None:
            try:
                first["level"] = [self._levels[value] for value in by_name.pop(level)]
            except (KeyError, TypeError):
                return None  # a word that is new, or means nothing
        if message is not None:
            first["message"] = by_name.pop(message)
        if any(None in first[name] for name in ("time", "level") if name in first):
            return None
        found = {**first, **by_name}
        rows: list[Row] = list(zip(*found.values(), strict=True))
        held = 1 if self._join and not final else 0  # more may belong to the last one
        del rows[len(rows) - held :]
        return Normalised(Rows(tuple(found), rows), [1] * len(rows), held, added=self._fields)

    @staticmethod
    def _joined(record: dict[str, Any], text: str) -> bool:
        """Add lines to a record's message, unless that is too long already."""
        message = record.get("message")
        if message is not None and len(message) + len(text) >= LONGEST:
            return False
        record["message"] = text if message is None else f"{message}\n{text}"
        return True

    # --- what belongs together ------------------------------------------------------------------------------------

    def _gathered(self, lines: Sequence[bytes], *, final: bool) -> tuple[Sequence[bytes], list[int] | None, int]:
        """Lines that belong together as one, how many each was (None: one), and how many of the last ones wait."""
        groups = self._groups
        if groups is None or not lines:
            return lines, None, 0
        text = b"\n".join(lines).decode()
        if not groups.concerns(text):
            return lines, None, 0
        starts, open_from = groups.groups(text.split("\n"))
        held = 0 if final else len(lines) - open_from
        starts = [start for start in starts if start < len(lines) - held]
        ends = [*starts[1:], len(lines) - held] if starts else []
        whole = [b"\n".join(lines[start:end]) for start, end in zip(starts, ends, strict=True)]
        return whole, [end - start for start, end in zip(starts, ends, strict=True)], held

    # --- one form for all -----------------------------------------------------------------------------------------

    def _usual(self, parsed: dict[str, Any], notes: Counter[str]) -> dict[str, Any]:
        """The record with its time, level and message in the usual form, in front."""
        if self._then is not None:
            parsed = self._unwrapped(parsed, notes)
        shape = tuple(parsed)
        names = self._shapes.get(shape) or self._shaped(shape)
        time, level, message, more = names
        record: dict[str, Any] = {}
        if time is not None:
            value = parsed.pop(time)
            record["time"] = written = self._clock(value)
            if written is None:
                record["time"] = value
                notes["time"] += 1
        if level is not None:
            value = parsed.pop(level)
            try:
                word = self._levels[value]
            except (KeyError, TypeError):
                word = self._word(value)
            record["level"] = value if word is None else word
            if word is None:
                notes["level"] += 1
        if message is not None:
            value = parsed.pop(message)
            record["message"] = value if isinstance(value, str) else _text(value)
        if more:
            rename = self._rename
            for name, value in parsed.items():
                new = rename.get(name, name)
                record[f"{new}_" if new in OWN else new] = value
        else:
            record.update(parsed)
        if self._fields:
            record.update(self._fields)
        return record

    def _shaped(self, shape: tuple[str, ...]) -> tuple[str | None, str | None, str | None, bool]:
        """Which fields of a record hold time, level and message, and whether others have to be renamed."""
        present = set(shape)
        time, level, message = (next((name for name in names if name in present), None) for names in self._named)
        others = present - {time, level, message}
        if len(self._shapes) >= _SHAPES:
            self._shapes.clear()
        found = self._shapes[shape] = (time, level, message, bool(others & (OWN | self._rename.keys())))
        return found

    def _unwrapped(self, parsed: dict[str, Any], notes: Counter[str]) -> dict[str, Any]:
        """What stands in the message, if it is written as is said, in the place of the message."""
        assert self._then is not None
        name = next((name for name in self._named[2] if name in parsed), None)
        text = parsed[name] if name is not None else None
        inner = self._then(text.encode("utf-8", "replace")) if isinstance(text, str) else None
        if inner is None:
            notes["inner"] += 1
            return parsed
        # The application knows better than who has wrapped it.
        outer = {key: value for key, value in parsed.items() if key != name}
        for names in self._named[:2]:
            if any(key in inner for key in names):
                outer = {key: value for key, value in outer.items() if key not in names}
        return {**outer, **inner}

    def _word(self, value: Any) -> str | None:
        """The word for a level in whatever way it is written."""
        own = self._words.get(str(value).strip().lower())
        meant = severity(value)
        word = own or (None if meant is None else WORDS[meant])
        if isinstance(value, (str, int)) and not isinstance(value, bool) and len(self._levels) < _SHAPES:
            self._levels[value] = word
        return word


def _unbroken(
    parsed: Sequence[dict[str, Any] | None], *, final: bool
) -> tuple[list[dict[str, Any] | None], list[int], int]:
    """Parts of a line of the same stream as one, how many lines each is, and how many at the end wait for an end."""
    whole: list[dict[str, Any] | None] = []
    counts: list[int] = []
    begun: dict[Any, int] = {}  # by stream: the place in `whole`
    starts: list[int] = []
    for at, record in enumerate(parsed):
        stream = record.get("stream") if record is not None else None
        place = begun.get(stream) if record is not None else None
        if record is None or place is None:
            place = len(whole)
            whole.append(record)
            counts.append(1)
            starts.append(at)
        else:
            first = whole[place]
            assert first is not None
            first["message"] += record["message"]
            counts[place] += 1
            if not record.get("partial"):
                del first["partial"], begun[stream]
        if record is not None and record.get("partial"):
            begun[stream] = place
    open_from = min(begun.values(), default=len(whole))
    if final or open_from == len(whole):
        return whole, counts, 0
    # Whatever begins behind the first line that is not whole waits with it, and is looked at again.
    return whole[:open_from], counts[:open_from], len(parsed) - starts[open_from]


def _layout_levels(name: str | None) -> Mapping[str, str]:
    layout = LAYOUTS.get(name or "")
    return layout.levels if layout is not None else {}


def _parser(name: str, pattern: str | None) -> Parser:
    if pattern is not None:
        return parser(pattern)
    if name == "text":
        return _as_text
    layout = LAYOUTS.get(name)
    return PARSERS[name] if layout is None else parser(*layout.patterns)


def _whole_parser(name: str, pattern: str | None) -> WholeLines | None:
    """What parses many lines that are alike, to names and columns; None where there is nothing faster."""
    if pattern is not None:
        return rows_of(pattern)
    layout = LAYOUTS.get(name)
    if layout is not None:
        return rows_of(*layout.patterns)
    if name != "combined":
        return None

    def columns(lines: Sequence[bytes]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]] | None:
        text = b"\n".join(lines).decode()
        table = combined.rows(f"{text}\n", len(lines))
        return None if table is None else (table.names, list(zip(*table.rows, strict=True)))

    return columns


def _as_text(line: bytes) -> dict[str, Any]:
    return {"message": line.decode()}


def _text(value: Any) -> str:
    return jsonlines.from_records([{"": value}]).decode()[4:-2]
