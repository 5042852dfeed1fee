"""A cardinality bomb: very many names, and very many values of a tag, sent to an intake; what it costs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from podpatterns.adapter.budget import Budget
from podpatterns.adapter.intake import Intake
from podpatterns.adapter.store import Shape, Store
from podpatterns.adapter.streams import Streams
from podpatterns.formats import otlp_messages, otlp_points, prometheus
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


def explode_otlp(count: int, budget: Budget) -> tuple[Streams, Counter[str], int, float]:
    """One counter of OTLP with so many values of an attribute; what came of it, memory and CPU seconds as above."""
    overflowed: Counter[str] = Counter()
    streams = Streams(budget, None, lambda metric: overflowed.update([metric]))
    before, began = resident(), time.process_time()
    for start in range(0, count, PIECE):
        users = range(start, min(count, start + PIECE))
        points = [_POINT % (user, start + 1) for user in users]
        request = otlp_messages.read(_REQUEST % b",".join(points), json=True)
        for point in otlp_points.points(request, otlp_points.Naming()):
            assert isinstance(point, otlp_points.Point)
            streams.take(point, 0.0)
    seconds = time.process_time() - began
    prometheus.render(streams.families(0.0))
    return streams, overflowed, resident() - before, seconds


_REQUEST = (
    b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"bomb","sum":'
    b'{"isMonotonic":true,"aggregationTemporality":1,"dataPoints":[%s]}}]}]}]}'
)
_POINT = b'{"asInt":"1","attributes":[{"key":"user","value":{"stringValue":"%d"}}],"timeUnixNano":"%d"}'
