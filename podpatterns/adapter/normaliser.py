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

from podpatterns.adapter.log_form import UNPARSED, UsualForm
from podpatterns.adapter.log_formats import parser_of, whole_parser_of
from podpatterns.formats import jsonlines, logfmt
from podpatterns.formats.multiline import Patterns, Traces
from podpatterns.formats.tables import Rows

if TYPE_CHECKING:
    from podpatterns.adapter.logs import LogConfig

LONGEST = 256 * 1024
"""Characters that lines may be joined to; what comes after them is a record of its own."""


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
        self._form = UsualForm(config, now)
        self._parse = parser_of(config.format, config.pattern)
        self._join = config.unparsed == "join"
        self._groups: Traces | Patterns | None = None
        if config.traces:
            self._groups = Traces(config.traces)
        elif config.start is not None or config.more is not None:
            start, more = (re.compile(each) if each is not None else None for each in (config.start, config.more))
            self._groups = Patterns(start, more)
        self._cut = config.format in ("cri", "docker")
        """Whether long lines come in parts, as container runtimes cut them."""
        self._logfmt = config.output.form == "logfmt"
        alone = self._logfmt or config.then is not None
        self._whole = None if alone else whole_parser_of(config.format, config.pattern)
        """What parses many lines at once, to columns."""
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
                records.append(self._form.unparsed(whole[place].decode()))
                last[UNPARSED] += weight
            else:
                records.append(self._form.record(parsed, last))
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
        found = self._form.table(*table)
        if found is None:
            return None
        held = 1 if self._join and not final else 0  # more may belong to the last one
        del found.rows[len(found.rows) - held :]
        return Normalised(found, [1] * len(found.rows), held, added=self._form.fields)

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
