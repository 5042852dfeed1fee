"""Where each of several outputs is in a file."""

from __future__ import annotations

from collections.abc import Sequence

from podpatterns.sidecar.batch import NOBODY, NOTHING
from podpatterns.sidecar.files.identity import Entry, Position

REMEMBERED = 1000
"""Refused records that a checkpoint holds for each file. Of more than those a restart does not know: they count as what
the outputs say that were behind, though they stay in the dead-letter file."""


class Positions:
    """The position of each output, by its key.

    After a restart reading begins where the slowest was, and batches end where others were, so that none of them gets a
    part of a batch again.
    """

    def __init__(self, outputs: Sequence[str], entry: Entry) -> None:
        here = Position(entry.offset, entry.open_line)
        self.reached = {output: entry.outputs.get(output, here) for output in outputs}
        self._dead = set(entry.dead)
        self._stops = sorted({place.offset for place in self.reached.values() if place.offset > entry.offset})

    def stop_at(self, offset: int) -> None:
        """Let no batch reach across an offset."""
        self._stops = [offset]

    @property
    def stop(self) -> int | None:
        """Where the next batch has to end at the latest."""
        return self._stops[0] if self._stops else None

    def taken(self, start: int, end: int) -> tuple[frozenset[str], frozenset[int]]:
        """The outputs that had a batch before the restart, and what one has refused of it; reading goes on behind."""
        if not self._stops:
            return NOBODY, NOTHING
        while self._stops and self._stops[0] <= end:
            del self._stops[0]
        outputs = frozenset(output for output, place in self.reached.items() if place.offset >= end)
        return outputs, frozenset(offset for offset in self._dead if start <= offset < end)

    def remember(self, dead: Sequence[int]) -> None:
        """One of the outputs has refused these records, and another one is still to have them."""
        if dead and len(self._dead) < REMEMBERED:
            self._dead.update(dead)

    def dead_beyond(self, offset: int) -> list[int]:
        """Those that lie behind an offset; the others are in the books, and forgotten."""
        if self._dead:
            self._dead = {each for each in self._dead if each >= offset}
        return sorted(self._dead)

    def reach(self, output: str, place: Position) -> bool:
        """An output has come there; False if it was there before the restart."""
        if place.offset <= self.reached[output].offset:
            return False
        self.reached[output] = place
        return True

    def beyond(self, offset: int) -> dict[str, Position]:
        """Those of the outputs that are further than an offset."""
        return {output: place for output, place in self.reached.items() if place.offset > offset}
