"""Prometheus remote write 1.0 and 2.0: families to messages, and back. Compression is the caller's.

    writer = Writer({"job": "shop"}, version=2)
    bodies = writer.write(families, now)

Series that are gone since the last call get a stale marker, so that queries do not show them for five more minutes.
2.0 says each text once per message, and the type, help and unit of every series.
Sources: prometheus.io/docs/specs/prw/{remote_write_spec,remote_write_spec_2_0}; prometheus/prometheus
prompb/{remote,types}.proto and prompb/io/prometheus/write/v2/types.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Annotated, Literal, NamedTuple

import msgspec

from podpatterns.formats.families import Family, Kind, Labels, labels_of
from podpatterns.formats.points import names
from podpatterns.formats.protobuf import chunk, fields, varint, whole
from podpatterns.formats.protobuf_messages import Field, decode

Version = Literal[1, 2]

STALE = (0x7FF0000000000002).to_bytes(8, "little")
"""The NaN by which Prometheus knows that a series has ended (model/value). As bytes, for not every processor passes a
signalling NaN on as it is."""

SAMPLES = 2000
"""Samples per message: Prometheus' own `max_samples_per_send`, which every receiver takes."""

REMEMBERED = 200_000
"""Series whose labels are remembered, some 200 bytes each; beyond, it starts anew."""

_VALUE = struct.Struct("<d")

_TYPES: dict[Kind, int] = {
    "unknown": 0,
    "counter": 1,
    "gauge": 2,
    "histogram": 3,
    "gaugehistogram": 4,
    "summary": 5,
    "info": 6,
    "stateset": 7,
}
"""The numbers of 2.0's MetricType."""


class _Identity(NamedTuple):
    """What is remembered of a series: names and values of its labels in turn, sorted by name; and as 1.0 has them."""

    texts: tuple[str, ...]
    encoded: bytes


class _Row(NamedTuple):
    """One sample on its way into a message: the value in eight bytes, the time as a field, where it belongs."""

    series: _Identity
    value: bytes
    clock: bytes
    family: Family | None


class Writer:
    """Remembers the labels of each series, and which series there were. `labels` are added where missing."""

    def __init__(self, labels: Mapping[str, str], samples: int = SAMPLES, version: Version = 1) -> None:
        self._labels, self._samples = dict(labels), samples
        self.version: Version = version
        """May be changed between two messages."""
        self._known: dict[tuple[str, str], _Identity] = {}
        self._alive: dict[_Identity, Family | None] = {}

    def write(self, families: Iterable[Family], now: float) -> list[bytes]:
        """A message for every so many samples; those without a time of their own are of `now`, in seconds."""
        clock = whole(2, round(now * 1000))
        alive: dict[_Identity, Family | None] = {}
        rows: list[_Row] = []
        for family in families:
            about = Family(family.name, family.kind, family.help, family.unit)  # without its samples
            stamps: Iterable[float | None] = family.stamps if family.stamps is not None else repeat(None)
            for name, text, value, stamp in zip(names(family), family.blocks, family.values, stamps, strict=False):
                series = self._known.get((name, text)) or self._learn(name, text)
                if stamp is None:
                    alive[series] = about
                    rows.append(_Row(series, _VALUE.pack(value), clock, about))
                else:
                    # A source that tells its own time says nothing about the end of its series.
                    rows.append(_Row(series, _VALUE.pack(value), whole(2, round(stamp * 1000)), about))
        rows += [_Row(series, STALE, clock, about) for series, about in self._alive.items() if series not in alive]
        self._alive = alive
        write = _first if self.version == 1 else _second
        rest = iter(rows)
        return [write(some) for some in iter(lambda: list(islice(rest, self._samples)), [])]

    def end(self, now: float) -> list[bytes]:
        """The messages that end every series."""
        return self.write((), now)

    def _learn(self, name: str, text: str) -> _Identity:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        labels = sorted({**self._labels, **dict(labels_of(text)), "__name__": name}.items())
        self._known[name, text] = series = _identity(labels)
        return series


def _identity(labels: Iterable[tuple[str, str]]) -> _Identity:
    pairs = list(labels)
    encoded = b"".join([chunk(1, chunk(1, label.encode()) + chunk(2, value.encode())) for label, value in pairs])
    return _Identity(tuple(text for pair in pairs for text in pair), encoded)


def _sample(row: _Row) -> bytes:
    return chunk(2, b"\x09" + row.value + row.clock)


def _first(rows: Iterable[_Row]) -> bytes:
    """A WriteRequest of 1.0."""
    return b"".join([chunk(1, row.series.encoded + _sample(row)) for row in rows])


class _Symbols(dict[str, bytes]):
    """The texts of a message, and the references to them."""

    def __missing__(self, text: str) -> bytes:
        self[text] = reference = varint(len(self))
        return reference


def _second(rows: Iterable[_Row]) -> bytes:
    """A Request of 2.0."""
    symbols = _Symbols({"": b"\0"})  # the first one must be the empty text
    described: dict[int, bytes] = {}
    series = []
    for row in rows:
        parts = chunk(1, b"".join(map(symbols.__getitem__, row.series.texts))) + _sample(row)
        about = row.family
        if about is not None:
            field = described.get(id(about))
            if field is None:
                kind, help_, unit = varint(_TYPES[about.kind]), symbols[about.help], symbols[about.unit]
                field = described[id(about)] = chunk(5, b"\x08" + kind + b"\x18" + help_ + b"\x20" + unit)
            parts += field
        series.append(chunk(5, parts))
    return b"".join([*(chunk(4, symbol.encode()) for symbol in symbols), *series])


# --- reading ----------------------------------------------------------------------------------------------------------


class _Label(msgspec.Struct):
    name: Annotated[str, Field(1, "string")] = ""
    value: Annotated[str, Field(2, "string")] = ""


class _Sample(msgspec.Struct):
    value: Annotated[float, Field(1, "double")] = 0.0
    timestamp: Annotated[int, Field(2, "int64")] = 0


class _TimeSeries(msgspec.Struct):
    labels: Annotated[list[_Label], Field(1)] = []
    samples: Annotated[list[_Sample], Field(2)] = []


class _WriteRequest(msgspec.Struct):
    timeseries: Annotated[list[_TimeSeries], Field(1)] = []


class _Metadata(msgspec.Struct):
    type: Annotated[int, Field(1, "int64")] = 0
    help_ref: Annotated[int, Field(3, "uint64")] = 0
    unit_ref: Annotated[int, Field(4, "uint64")] = 0


class _TimeSeries2(msgspec.Struct):
    labels_refs: Annotated[list[int], Field(1, "uint64")] = []
    samples: Annotated[list[_Sample], Field(2)] = []
    metadata: Annotated[_Metadata | None, Field(5)] = None


class _Request2(msgspec.Struct):
    symbols: Annotated[list[str], Field(4, "string")] = []
    timeseries: Annotated[list[_TimeSeries2], Field(5)] = []


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a message: its labels, `__name__` among them, and its samples with seconds since 1970.

    2.0 adds what the metric is.
    """

    labels: Labels
    samples: tuple[tuple[float, float], ...]
    kind: Kind | None = None
    help: str = ""
    unit: str = ""


def read(message: bytes, version: Version = 1) -> list[Series]:
    """The series of a message; metadata of 1.0 are passed over.

    Raises:
        ValueError: it is no such message.
    """
    if version == 1:
        found = decode(message, _WriteRequest).timeseries
        return [Series(tuple((label.name, label.value) for label in each.labels), _times(each)) for each in found]
    return list(_read_second(decode(message, _Request2)))


def _read_second(request: _Request2) -> Iterator[Series]:
    kinds = {number: kind for kind, number in _TYPES.items()}
    symbols = request.symbols
    if symbols[:1] != [""]:
        raise ValueError("the first symbol is not the empty text")
    try:
        for each in request.timeseries:
            texts = [symbols[ref] for ref in each.labels_refs]
            labels = tuple(zip(texts[::2], texts[1::2], strict=True))
            about = each.metadata or _Metadata()
            yield Series(labels, _times(each), kinds.get(about.type), symbols[about.help_ref], symbols[about.unit_ref])
    except IndexError:
        raise ValueError("a series refers to a symbol that is not there") from None


def _times(series: _TimeSeries | _TimeSeries2) -> tuple[tuple[float, float], ...]:
    return tuple((sample.value, sample.timestamp / 1000) for sample in series.samples)


def count(message: bytes) -> int:
    """How many samples a message of 2.0 has: one in each of its series, as they are written here."""
    return sum(number == 5 for number, _ in fields(message))


def downgraded(message: bytes) -> bytes:
    """What a message of 2.0 says, as one of 1.0."""
    return _first(
        _Row(_identity(labels), _VALUE.pack(value), whole(2, round(stamp * 1000)), None)
        for labels, samples in ((each.labels, each.samples) for each in read(message, 2))
        for value, stamp in samples
    )
