"""The form that all records of a log have: time, level and message under their names, in front, and all else behind.

A record at a time, or by columns where many lines have the same fields: that takes half the time. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from podpatterns.adapter.log_formats import levels_of, parser_of
from podpatterns.formats import jsonlines
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
_SHAPES = 1000
"""Sets of fields that are remembered: few in a log that is written by a program."""


class UsualForm:
    """Compiled once from a log's configuration."""

    def __init__(self, config: LogConfig, now: Callable[[], float]) -> None:
        from podpatterns.adapter.logs import zone_of

        self._then = None if config.then is None else parser_of(config.then)
        self._clock = WallClock(zone_of(config.zone), now, config.time_format)
        self._named = tuple(
            (name,) if name is not None else usual
            for name, usual in ((config.time, TIMES), (config.level, LEVELS), (config.message, MESSAGES))
        )
        self._rename = config.rename
        self.fields: Mapping[str, Any] = config.fields
        """What every record has beside what is in it."""
        words = {**levels_of(config.format), **levels_of(config.then), **config.levels}
        self._levels: dict[Any, str | None] = {}
        self._words = {word.lower(): level for word, level in words.items()}
        self._shapes: dict[tuple[str, ...], tuple[str | None, str | None, str | None, bool]] = {}

    def unparsed(self, line: str) -> dict[str, Any]:
        """The record of a line that is not written in the format."""
        return {"message": line, UNPARSED: True, **self.fields}

    def table(self, names: tuple[str, ...], columns: Sequence[Sequence[Any]]) -> Rows | None:
        """The same for many records with the same fields, by columns; None if one has to be looked at alone."""
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
        return Rows(tuple(found), rows)

    def record(self, parsed: dict[str, Any], notes: Counter[str]) -> dict[str, Any]:
        """The record with its time, level and message in front; `notes` counts what could not be read."""
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
        if self.fields:
            record.update(self.fields)
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


def _text(value: Any) -> str:
    return jsonlines.from_records([{"": value}]).decode()[4:-2]
