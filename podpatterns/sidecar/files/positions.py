"""Where each of several outputs is in a file."""

from __future__ import annotations

from collections.abc import Sequence

from podpatterns.sidecar.batch import NOBODY
from podpatterns.sidecar.files.identity import Entry, Position


class Positions:
    """The position of each output, by its key.

    After a restart reading begins where the slowest was, and batches end where others were, so that none of them gets a
    part of a batch again.
    """

    def __init__(self, outputs: Sequence[str], entry: Entry) -> None:
        here = Position(entry.offset, entry.open_line)
        self.reached = {output: entry.outputs.get(output, here) for output in outputs}
        self._stops = sorted({place.offset for place in self.reached.values() if place.offset > entry.offset})

    def stop_at(self, offset: int) -> None:
        """Let no batch reach across an offset."""
        self._stops = [offset]

    @property
    def stop(self) -> int | None:
        """Where the next batch has to end at the latest."""
        return self._stops[0] if self._stops else None

    def taken(self, end: int) -> frozenset[str]:
        """The outputs that had the batch with this end before the restart; reading goes on behind it."""
        if not self._stops:
            return NOBODY
        while self._stops and self._stops[0] <= end:
            del self._stops[0]
        return frozenset(output for output, place in self.reached.items() if place.offset >= end)

    def reach(self, output: str, place: Position) -> bool:
        """An output has come there; False if it was there before the restart."""
        if place.offset <= self.reached[output].offset:
            return False
        self.reached[output] = place
        return True

    def beyond(self, offset: int) -> dict[str, Position]:
        """Those of the outputs that are further than an offset."""
        return {output: place for output, place in self.reached.items() if place.offset > offset}
