"""The batch: what flows from an input through the transforms to the outputs.

A batch is a run of lines from one source. It starts as one piece of bytes, is split into lines when somebody asks
for lines, parsed into a table when a transform parses it, and into records (dictionaries) when somebody asks for
fields; each is made at most once, and what nobody asks for is never made. Every record keeps the position of its line
in the source, whatever becomes of it, so that a record's id is the same however often it is delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import compress
from typing import Any, Self

from podpatterns.formats import jsonlines
from podpatterns.formats.lines import line_count, line_offsets
from podpatterns.formats.tables import Table

MESSAGE = "message"
"""The field that holds a line's text, unless a transform has parsed it into others."""

OBJECTS = 1024
"""Bytes of a batch without contents, with what the input and the pipeline note on it; measured, and rounded up."""
POSITION = 40
"""Bytes of a number in a list."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where lines come from: one file in one generation (it starts anew when the file is truncated), or a stream.

    `identity` is unique for ever; `fields` are added to each record, such as the path of the file.
    """

    name: str
    identity: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    """16 hex digits, the first half of the ids of this source's events."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", blake2b(self.identity.encode(), digest_size=8).hexdigest())


NOBODY: frozenset[str] = frozenset()
NOTHING: frozenset[int] = frozenset()


class Batch:
    """Lines of one source, from byte `start` to byte `end` of it; lines are valid UTF-8 without their newline."""

    __slots__ = (
        "_decoded",
        "_lines",
        "_ndjson",
        "_offsets",
        "_records",
        "_table",
        "_text",
        "_weights",
        "dead",
        "dropped",
        "end",
        "failed",
        "fields",
        "gone",
        "mark",
        "merged",
        "notes",
        "read",
        "refused",
        "source",
        "start",
        "taken",
    )

    def __init__(
        self,
        source: Source,
        text: bytes | None,
        start: int,
        end: int,
        *,
        lines: list[bytes] | None = None,
        decoded: str | None = None,
        offsets: Sequence[int] | None = None,
        fields: Mapping[str, Any] | None = None,
        mark: Any = None,
        read: int | None = None,
    ) -> None:
        self.source = source
        self.start, self.end = start, end
        self.fields = fields or {}
        """Added to each record of this batch, beside those of the source."""
        self.mark = mark
        """The input's own note, handed back to it when the batch has been acknowledged."""
        self.notes: dict[str, int] = {}
        """What transforms have to say in numbers: how many lines could not be parsed, how many secrets were removed."""
        self._text = text
        self._decoded = decoded
        self._lines = lines
        self._records: list[dict[str, Any]] | None = None
        self._table: Table | None = None
        self._offsets = offsets
        self._ndjson: bytes | None = None
        self._weights: list[int] | None = None
        self.read = read if read is not None else line_count(text) if text is not None else len(lines or ())
        """Lines that were read from the source."""
        self.dropped = 0
        """Lines that a transform has left out on purpose."""
        self.failed = 0
        """Lines that a transform has failed on; they have become dead letters."""
        self.merged = 0
        """Lines that have become part of another line's record, and share its fate."""
        self.refused = 0
        """Lines that an output has refused without saying which; set when the batch is settled."""
        self.gone = 0
        """Lines that an output which was behind did not get, because their file was truncated meanwhile."""
        self.taken: frozenset[str] = NOBODY
        """Outputs that have had it before a restart."""
        self.dead: frozenset[int] = NOTHING
        """Offsets of records that one of these has refused."""

    @classmethod
    def of(cls, lines: Iterable[str | bytes], *, source: str = "sample") -> Self:
        """A batch of some lines, to try a transform with."""
        encoded = [line.encode() if isinstance(line, str) else line for line in lines]
        return cls(Source(source, source), None, 0, sum(len(line) + 1 for line in encoded), lines=encoded)

    def __len__(self) -> int:
        return self.read - self.dropped - self.failed - self.merged - self.gone

    def __repr__(self) -> str:
        return f"<Batch {self.source.name} {self.start}-{self.end}: {len(self)} of {self.read} lines>"

    # --- what it holds ---------------------------------------------------------------------------------------------

    @property
    def text(self) -> bytes:
        """The lines joined by newlines."""
        if self._text is None:
            self._text = b"\n".join(self.lines)
        return self._text

    @property
    def decoded(self) -> str:
        """The same as a `str`."""
        if self._decoded is None:
            self._decoded = self.text.decode()
        return self._decoded

    @property
    def lines(self) -> list[bytes]:
        """The lines, as they are before they have been parsed. Not to be changed in place: see `with_lines`."""
        if self._lines is None:
            if self.merged:
                self._lines = [str(record.get(MESSAGE, "")).replace("\n", " ").encode() for record in self.records]
            else:
                self._lines = self._text.split(b"\n") if self._text is not None and len(self) else []
        return self._lines

    @property
    def parsed(self) -> bool:
        """Whether lines have become records."""
        return self._records is not None or self._table is not None

    @property
    def records(self) -> list[dict[str, Any]]:
        """A dictionary per line: `{"message": line}` until a transform has parsed it. May be changed in place."""
        if self._records is None:
            if self._table is not None:
                self._records, self._table = self._table.records(), None
            else:
                self._records = [{MESSAGE: line.decode()} for line in self.lines]
        return self._records

    @property
    def table(self) -> Table | None:
        """What a parser has made, until somebody asks for the records."""
        return self._table

    @property
    def offsets(self) -> Sequence[int]:
        """The position of each record's line in the source, in bytes."""
        if self._offsets is None:
            self._offsets = line_offsets(self.lines, self.start)
        return self._offsets

    @property
    def ids(self) -> list[str]:
        """The event ids, 32 hex digits each: a hash of the source's identity, and the position. Always the same."""
        key = self.source.key
        return [f"{key}{offset:016x}" for offset in self.offsets]

    def unchanged(self) -> Self:
        """Another batch of the same lines, as they were read, to go back to when a transform fails on this one."""
        same = {
            "lines": self._lines,
            "decoded": self._decoded,
            "offsets": self._offsets,
            "fields": self.fields,
            "mark": self.mark,
        }
        batch = type(self)(self.source, self._text, self.start, self.end, read=self.read, **same)
        batch.taken, batch.dead = self.taken, self.dead
        if self._records is not None:  # it was never lines: they cannot be made from those
            batch._records = deepcopy(self._records)  # noqa: SLF001 - its own class
        return batch

    # --- what transforms make of it --------------------------------------------------------------------------------

    def with_lines(self, lines: list[bytes]) -> Self:
        """As many lines as before, with other text; valid UTF-8."""
        self._same_length(lines)
        self.offsets  # noqa: B018 - computed from the lengths of the lines as they were read
        self._lines, self._text, self._decoded, self._records, self._table = lines, None, None, None, None
        return self

    def with_text(self, text: bytes) -> Self:
        """The same for the joined text."""
        return self.with_lines(text.split(b"\n")) if len(self) else self

    def with_records(self, records: list[dict[str, Any]]) -> Self:
        """As many records as there were lines, with other fields."""
        self._same_length(records)
        self._records, self._table = records, None
        return self

    def with_table(self, table: Table) -> Self:
        """As many records as there were lines, which nobody has looked into yet."""
        self._records, self._table = None, table
        return self

    def map(self, function: Callable[[dict[str, Any]], dict[str, Any]]) -> Self:
        """Each record replaced by what the function makes of it."""
        return self.with_records([function(record) for record in self.records])

    def filter(self, function: Callable[[dict[str, Any]], Any]) -> Self:
        """Only the records for which the function is true; the others are counted as filtered."""
        return self.keep([bool(function(record)) for record in self.records])

    def keep(self, wanted: Sequence[bool]) -> Self:
        """Only the records with True at their place; the others are counted as filtered."""
        self._same_length(wanted)
        if all(wanted):
            return self
        self._offsets = list(compress(self.offsets, wanted))
        self._lines, self._text, self._decoded = list(compress(self.lines, wanted)), None, None
        if self._records is not None:
            self._records = list(compress(self._records, wanted))
        if self._table is not None:
            self._table = self._table.keep(wanted)
        gone = len(wanted) - len(self._lines)
        lines = gone
        if self._weights is not None:
            lines = sum(weight for weight, stays in zip(self._weights, wanted, strict=True) if not stays)
            self._weights = list(compress(self._weights, wanted))
        self.dropped += lines
        self.merged -= lines - gone
        return self

    def merge(self, members: Sequence[Sequence[int]], records: list[dict[str, Any]] | Table) -> Self:
        """One record in place of several: `members` are the places of what each is made of, the first one first.

        Every place stands in one of them, and they are in the order of their first one.
        """
        if len(members) == len(self):
            return self
        weights, offsets = self._weights, self.offsets
        self._offsets = [offsets[places[0]] for places in members]
        if weights is None:
            self._weights = list(map(len, members))
        else:
            self._weights = [sum(weights[place] for place in places) for places in members]
        self.merged += len(self) - len(members)
        self._lines = self._text = self._decoded = None
        return self.with_table(records) if isinstance(records, Table) else self.with_records(records)

    def place(self, offsets: Sequence[int]) -> None:
        """Give the lines other positions than their lengths say."""
        self._offsets = offsets

    def piece(self, place: int, end: int) -> Self:
        """One record as a batch of its own, up to byte `end` of the source; the record is a copy."""
        offset = self.offsets[place]
        weight = self._weights[place] if self._weights is not None else 1
        more = {"offsets": [offset], "fields": self.fields, "mark": self.mark}
        piece = type(self)(self.source, None, offset, end, lines=[self.lines[place]], **more)
        if self.parsed:
            piece._records = [deepcopy(self.records[place])]  # noqa: SLF001 - its own class
        piece.taken, piece.dead = self.taken, self.dead
        piece.read, piece.merged, piece._weights = weight, weight - 1, [weight]  # noqa: SLF001 - as above
        return piece

    def lines_of(self, places: Iterable[int]) -> int:
        """How many lines some records stand for."""
        places = list(places)
        return len(places) if self._weights is None else sum(self._weights[place] for place in places)

    def fail(self) -> None:
        """Leave all of it out, as failed."""
        self.failed = len(self) + self.merged
        self.merged, self._weights = 0, None
        self._text = self._decoded = self._records = self._table = None
        self._lines, self._offsets, self._ndjson = [], [], b""

    def note(self, what: str, count: int) -> None:
        """Count something that the operator should see as a metric."""
        if count:
            self.notes[what] = self.notes.get(what, 0) + count

    def _same_length(self, items: Sequence[Any]) -> None:
        if len(items) != len(self):
            raise ValueError(
                f"a transform made {len(items)} records of {len(self)}; use `filter` or `keep` to drop some"
            )

    @property
    def overhead(self) -> int:
        """Bytes of memory beside its contents: the objects that make it up, and the positions."""
        return OBJECTS + (POSITION * len(self) if isinstance(self._offsets, list) else 0)

    # --- what outputs take from it ---------------------------------------------------------------------------------

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """The records as NDJSON, with these fields added to each (they win over fields of the same name in a record).

        After this the lines and records are let go, so that a batch that waits for its output is as small as its bytes.
        """
        if self._ndjson is None:
            added = {**self.source.fields, **self.fields, **fields}
            if not len(self):
                self._ndjson = b""
            elif self._table is not None:
                self._ndjson = self._table.encode(added)
                self._table = None
            elif self._records is None:
                self._ndjson = jsonlines.from_text(self.text, jsonlines.ending(added), MESSAGE)
            else:
                for record in self._records:
                    record.update(added)
                self._ndjson = jsonlines.from_records(self._records)
                self.offsets  # noqa: B018 - made while the lines are still here
                self._lines = self._records = None
            self._decoded = None
            if self._text is not None:
                self._lines = None  # can be made again
            if self._offsets is not None or not len(self):
                self._text = self._lines = None
        return self._ndjson

    @property
    def ndjson(self) -> bytes:
        """The records as encoded; each ends with a newline."""
        assert self._ndjson is not None, "the pipeline encodes a batch before it reaches an output"
        return self._ndjson
