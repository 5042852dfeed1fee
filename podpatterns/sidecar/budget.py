"""The memory budget: what a container's limit leaves, divided among reading, batching and what is in flight. Pure.

Three things take memory beside the program itself, each in proportion to a size that can be chosen. The factors are
what was measured, rounded up: with short lines and transforms that make fields of them, which takes most.

    reading      a chunk of a file becomes lines, records (dictionaries) and JSON
    batching     what an output makes of one batch: an item for each record, a body, and that compressed
    in flight    what has been encoded and waits: the JSON, the raw text, and positions
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

CHUNK = 256 * 1024
"""Bytes in a read: large enough that the work per batch does not count, small enough for the processor's cache."""
LINES = 8192
"""Lines in a read, of the shortest ones."""
RECORDS = 16_384
"""Records in a delivery, of the shortest ones."""
LEAST = 16
"""Each share is at least this part of what it is without a limit: less of it would be nothing but overhead."""

USABLE = 0.9
"""Of the limit: the kernel counts buffers of sockets and some of its own as ours, and the allocator keeps holes."""
READING = 16
"""Bytes of memory per byte of a read."""
LINE = 1024
"""Bytes of memory per line of a read."""
BATCHING = 10
"""Bytes of memory per byte of a delivery, for each output."""
RECORD = 2048
"""Bytes of memory per record of a delivery, for each output."""
FLIGHT = 1.25
"""Bytes of memory per byte that is counted as in flight."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much there may be of everything at a time."""

    flight: int
    """Bytes in flight, raw and encoded."""
    batch: int
    """Bytes of a delivery."""
    records: int = RECORDS
    """Records of a delivery."""
    chunk: int = CHUNK
    """Bytes of a read."""
    lines: int = LINES
    """Lines of a read."""
    reading: int = sys.maxsize
    """Bytes of memory for what one input holds."""
    short: int = 0
    """Bytes that are missing even for the least of everything."""


def divided(limit: int | None, used: int, *, batch: int, flight: int, inputs: int = 1, outputs: int = 1) -> Budget:
    """The sizes that fit under a limit; never more than is asked for.

    A quarter is for reading, a quarter for batching, and half for what is in flight.

    Args:
        limit: bytes that the container may take; None for no limit.
        used: bytes that the process takes before it reads anything.
        batch: bytes of a delivery that are asked for.
        flight: bytes in flight that are asked for.
        inputs: how many read at a time.
        outputs: how many deliver at a time.
    """
    if limit is None:
        return Budget(flight, batch)
    room = max(0, int(limit * USABLE) - used)
    reading, batching = room // 4 // inputs, room // 4 // outputs

    def part(share: int, cost: int, most: int) -> int:
        return min(most, max(most // LEAST, share // cost))

    batch = part(batching, BATCHING, batch)
    budget = Budget(
        min(flight, max(2 * batch, int(room / 2 / FLIGHT))),
        batch,
        part(batching, RECORD, RECORDS),
        part(reading, READING, CHUNK),
        part(reading, LINE, LINES),
        reading,
    )
    need = (
        max(budget.chunk * READING, budget.lines * LINE) * inputs
        + max(budget.batch * BATCHING, budget.records * RECORD) * outputs
        + int(budget.flight * FLIGHT)
    )
    return replace(budget, short=max(0, need - room))
