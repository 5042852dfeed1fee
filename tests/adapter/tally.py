"""A sink that counts what an intake tells it."""

from __future__ import annotations

from collections import Counter

from podpatterns.formats.refusal import REASONS


class Tally:
    """Lines, and what became of those that are no samples; `overflowed` is for whoever makes the store."""

    def __init__(self) -> None:
        self.lines = 0
        self.matched = 0
        self.refused: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.overflowed: Counter[str] = Counter()

    def lines_taken(self, count: int) -> None:
        self.lines += count

    def lines_matched(self, rule: int, count: int) -> None:
        assert rule >= 1
        assert count > 0
        self.matched += count

    def line_refused(self, reason: str, detail: str) -> None:
        assert reason in REASONS, reason
        assert len(detail) < 10_000
        self.refused[reason] += 1

    def line_skipped(self, what: str) -> None:
        self.skipped[what] += 1
