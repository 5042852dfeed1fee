"""The figures: as a table for people, and as rows that hold or are short."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.adapter.exporters import Scraped
from benchmarks.adapter.workloads import BOUNDS, SHOWN, YARDSTICK, Bound

OURS = "podpatterns"


@dataclass(frozen=True, slots=True)
class Row:
    """A figure beside what it has to be; for a row with a peer, all three are multiples of the peer's."""

    bound: Bound
    figure: float
    """Of ours, in the row's unit."""
    ratio: float
    """The figure in parts of what it has to be, so that more is better."""
    least: float
    aim: float
    multiple: float
    """Of the peer; NaN without one."""
    lost: int

    @property
    def verdict(self) -> str:
        """`ok` or `short`."""
        return "ok" if self.ratio >= 1 and not self.lost else "short"


@dataclass(slots=True)
class Results:
    """What was measured, by row and program, one figure for each round."""

    rounds: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    lost: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Lines of ours that are in no sum."""
    scraped: dict[tuple[str, str], Scraped] = field(default_factory=dict)
    yardsticks: list[float] = field(default_factory=list)
    """One for each round."""

    def add(self, row: str, figure: float, program: str = OURS) -> None:
        """One round."""
        self.rounds[row, program].append(figure)

    def median(self, row: str, program: str = OURS) -> float:
        """Over the rounds; NaN if there were none."""
        found = self.rounds.get((row, program))
        return statistics.median(found) if found else math.nan

    def multiple(self, row: str, peer: str) -> float:
        """Ours as a multiple of a peer's: the median of those within each round; NaN without a peer."""
        pairs = zip(self.rounds.get((row, OURS), ()), self.rounds.get((row, peer), ()), strict=False)
        found = [mine / theirs for mine, theirs in pairs]
        return statistics.median(found) if found else math.nan

    @property
    def speed(self) -> float:
        """How fast this machine was, beside the day on which the floors were set."""
        return statistics.median(self.yardsticks) / YARDSTICK if self.yardsticks else math.nan

    def rows(self) -> Iterator[Row]:
        """What was measured and has a bound. Ratios are those of the same round, and medians of them."""
        for bound in BOUNDS:
            ours = self.rounds.get((bound.row, OURS))
            if not ours:
                continue
            speeds = [each / YARDSTICK for each in self.yardsticks] if bound.scaled else [1.0] * len(ours)
            multiple = self.multiple(bound.row, bound.peer)
            if bound.peer:
                ratio, least, aim = multiple / bound.bound, bound.bound, bound.aim
            elif bound.figure == "rate":
                ratio = statistics.median(
                    mine / (bound.bound * speed) for mine, speed in zip(ours, speeds, strict=False)
                )
                scale = statistics.median(speeds)
                least, aim = bound.bound * scale, bound.aim * scale
            else:
                ratio = statistics.median(bound.bound / speed / mine for mine, speed in zip(ours, speeds, strict=False))
                scale = statistics.median(speeds)
                least, aim = bound.bound / scale, bound.aim / scale
            yield Row(bound, statistics.median(ours), ratio, least, aim, multiple, self.lost[bound.row])


def print_rows(results: Results) -> bool:
    """Everything; True if what has a bound holds."""
    speed = results.speed
    print(f"\nyardstick: {speed * YARDSTICK / 1e6:.2f} million lines per CPU-second; scaled rows times {speed:.2f}")
    print(f"\n{'row':40} {'figure':>12} {'unit':24} {'peer x':>7} {'bound':>12} {'aim':>12} {'ratio':>6}")
    rows = list(results.rows())
    for row in rows:
        sign = ">=" if row.bound.figure == "rate" else "<="
        many = "" if math.isnan(row.multiple) else f"{row.multiple:.1f}"
        lost = f", {row.lost} lost" if row.lost else ""
        print(
            f"{row.bound.row:40} {row.figure:12,.0f} {row.bound.unit:24} {many:>7} {sign} {row.least:9,.0f} "
            f"{row.aim:12,.0f} {row.ratio:6.2f} {row.verdict}{lost}"
        )
    for name, (unit, peer) in SHOWN.items():
        many = results.multiple(name, peer)
        times = "" if math.isnan(many) else f" {many:7.1f}"
        print(f"{name:40} {results.median(name):12,.0f} {unit:24}{times}")
    for (target, program), found in results.scraped.items():
        print(
            f"{target + ', ' + program:40} scrape {found.latency:6.2f} ms, CPU {found.cpu:5.2f} ms, {found.rss:5.1f} MB"
        )
    return all(row.verdict == "ok" for row in rows)
