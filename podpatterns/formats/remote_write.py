"""Prometheus remote write 1.0: families to WriteRequest messages, and back. Compression is the caller's.

    writer = Writer({"job": "shop"})
    bodies = writer.write(families, now)

Series that are gone since the last call get a stale marker, so that queries do not show them for five more minutes.
Source: prometheus.io/docs/specs/prw/remote_write_spec; prometheus/prometheus prompb/{remote,types}.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, repeat

from podpatterns.formats.families import Family, Labels, labels_of
from podpatterns.formats.points import names
from podpatterns.formats.protobuf import chunk, fields, varint

STALE = (0x7FF0000000000002).to_bytes(8, "little")
"""The NaN by which Prometheus knows that a series has ended (model/value). As bytes, for not every processor passes a
signalling NaN on as it is."""

SAMPLES = 2000
"""Samples per message: Prometheus' own `max_samples_per_send`, which every receiver takes."""

REMEMBERED = 200_000
"""Series whose labels are remembered as bytes, some 200 bytes each; beyond, it starts anew."""

_SAMPLE = struct.Struct("<Bd")


class Writer:
    """Remembers the bytes of each series' labels, and which series there were. `labels` are added where missing."""

    def __init__(self, labels: Mapping[str, str], samples: int = SAMPLES) -> None:
        self._labels, self._samples = dict(labels), samples
        self._known: dict[tuple[str, str], bytes] = {}
        self._alive: dict[bytes, None] = {}

    def write(self, families: Iterable[Family], now: float) -> list[bytes]:
        """A message for every so many samples; those without a time of their own are of `now`, in seconds."""
        clock = b"\x10" + varint(round(now * 1000))
        alive: dict[bytes, None] = {}
        parts: list[bytes] = []
        for family in families:
            stamps: Iterable[float | None] = family.stamps if family.stamps is not None else repeat(None)
            for name, text, value, stamp in zip(names(family), family.blocks, family.values, stamps, strict=False):
                labels = self._known.get((name, text)) or self._learn(name, text)
                if stamp is None:
                    alive[labels] = None
                    parts.append(_series(labels, value, clock))
                else:
                    # A source that tells its own time says nothing about the end of its series.
                    parts.append(_series(labels, value, b"\x10" + varint(round(stamp * 1000))))
        parts += [_ended(labels, clock) for labels in self._alive if labels not in alive]
        self._alive = alive
        return list(self._messages(parts))

    def end(self, now: float) -> list[bytes]:
        """The messages that end every series."""
        return self.write((), now)

    def _learn(self, name: str, text: str) -> bytes:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        labels = {**self._labels, **dict(labels_of(text)), "__name__": name}
        encoded = b"".join(
            [chunk(1, chunk(1, label.encode()) + chunk(2, labels[label].encode())) for label in sorted(labels)]
        )
        self._known[name, text] = encoded
        return encoded

    def _messages(self, parts: list[bytes]) -> Iterator[bytes]:
        rest = iter(parts)
        while some := list(islice(rest, self._samples)):
            yield b"".join(some)


def _series(labels: bytes, value: float, clock: bytes) -> bytes:
    return chunk(1, labels + chunk(2, _SAMPLE.pack(0x09, value) + clock))


def _ended(labels: bytes, clock: bytes) -> bytes:
    return chunk(1, labels + chunk(2, b"\x09" + STALE + clock))


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a message: its labels, `__name__` among them, and its samples with seconds since 1970."""

    labels: Labels
    samples: tuple[tuple[float, float], ...]


def read(message: bytes) -> list[Series]:
    """The series of a message; metadata are passed over.

    Raises:
        ValueError: it is no such message.
    """
    return [_read_series(payload) for number, payload in fields(message) if number == 1 and isinstance(payload, bytes)]


def _read_series(message: bytes) -> Series:
    labels: list[tuple[str, str]] = []
    samples: list[tuple[float, float]] = []
    for number, payload in fields(message):
        if not isinstance(payload, bytes):
            raise ValueError("a series holds labels and samples")  # noqa: TRY004 - the message is wrong, not a type
        inner = dict(fields(payload))
        if number == 1:
            name, value = inner.get(1, b""), inner.get(2, b"")
            if not isinstance(name, bytes) or not isinstance(value, bytes):
                raise ValueError("a label is two texts")
            labels.append((name.decode(), value.decode()))
        elif number == 2:
            samples.append((float(inner.get(1, 0.0)), int(inner.get(2, 0)) / 1000))
    return Series(tuple(labels), tuple(samples))
