"""A cardinality bomb: very many names, and very many values of a tag, sent to an intake; what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from podpatterns.adapter.intake import Intake
from podpatterns.adapter.store import Shape, Store
from podpatterns.formats import prometheus
from tests.adapter.tally import Tally

PIECE = 5000
"""Lines at a time."""


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attack came to."""

    tally: Tally
    store: Store
    page: dict[str, float]
    grown: int
    seconds: float


def explode(lines: Iterator[bytes], shape: Shape) -> Outcome:
    """Feed the lines; memory is measured from before the first one to behind the last one, and with a page made."""
    tally = Tally()
    store = Store(shape, time.monotonic, lambda metric: tally.overflowed.update([metric]))
    intake = Intake(store, tally)
    before, began = resident(), time.process_time()
    piece: list[bytes] = []
    for line in lines:
        piece.append(line)
        if len(piece) == PIECE:
            intake.feed(b"\n".join(piece))
            piece.clear()
    intake.feed(b"\n".join(piece))
    seconds = time.process_time() - began
    assert not tally.skipped
    text = prometheus.render(store.families()).decode()
    page = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            page[name] = float(value)
    return Outcome(tally, store, page, resident() - before, seconds)


def names(count: int) -> Iterator[bytes]:
    """So many counters of different names."""
    return (b"bomb.%d:1|c" % number for number in range(count))


def tags(count: int) -> Iterator[bytes]:
    """One counter with so many values of a tag."""
    return (b"bomb:1|c|#user:%d" % number for number in range(count))
