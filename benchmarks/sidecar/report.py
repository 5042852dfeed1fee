"""The figures: as a table for people, and as rows that hold or are short."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.sidecar.measure import Round
from benchmarks.sidecar.workloads import CEILINGS, OURS, WORKLOADS, YARDSTICK, Workload


@dataclass(frozen=True, slots=True)
class Row:
    """A figure beside what it has to be. `ratio` is the figure in parts of that."""

    name: str
    figure: float
    unit: str
    ratio: float
    bound: float
    aim: float
    least: bool
    """True if the figure must not be lower, False if it must not be higher."""
    lost: int = 0
    """Lines that were lost or came twice: with any of them the row does not hold."""

    @property
    def verdict(self) -> str:
        """`ok` or `short`."""
        return "ok" if (self.ratio >= 1 if self.least else self.ratio <= 1) and not self.lost else "short"

    @property
    def sign(self) -> str:
        """How the figure has to stand to the bound."""
        return "≥" if self.least else "≤"


@dataclass(slots=True)
class Results:
    """What was measured, by workload and shipper."""

    rounds: dict[tuple[str, str], list[Round]] = field(default_factory=lambda: defaultdict(list))
    yardsticks: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By workload, one for each of our rounds."""
    figures: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Of the ceilings."""

    def median(self, workload: Workload, shipper: str, figure: str) -> float:
        """Over the rounds; NaN if there were none."""
        rounds = self.rounds.get((workload.name, shipper))
        return statistics.median(getattr(each, figure) for each in rounds) if rounds else math.nan

    def most(self, workload: Workload, shipper: str, figure: str) -> float:
        """The highest of the rounds; NaN if there were none."""
        return max((getattr(each, figure) for each in self.rounds.get((workload.name, shipper), ())), default=math.nan)

    @property
    def speed(self) -> float:
        """How fast this machine was, beside the day on which the floors were set."""
        found = [each for several in self.yardsticks.values() for each in several]
        return statistics.median(found) / YARDSTICK if found else math.nan

    def rows(self) -> Iterator[Row]:
        """What was measured and has a bound. Floors of throughput are scaled by the yardstick beside the same round."""
        for workload in WORKLOADS:
            rounds = self.rounds.get((workload.name, OURS))
            if not workload.least or not rounds:
                continue
            scales = [each / YARDSTICK for each in self.yardsticks[workload.name]]
            ratios = [each.rate / (workload.least * scale) for each, scale in zip(rounds, scales, strict=True)]
            scale = statistics.median(scales)
            yield Row(
                f"{workload.name}, MB per CPU-second",
                statistics.median(each.rate for each in rounds),
                "MB",
                statistics.median(ratios),
                workload.least * scale,
                workload.aim * scale,
                least=True,
                lost=sum(each.lost + each.duplicated for each in rounds),
            )
        for ceiling in CEILINGS:
            if ceiling.name in self.figures:
                figure = statistics.median(self.figures[ceiling.name])
                yield Row(
                    f"{ceiling.name}, {ceiling.unit}",
                    figure,
                    ceiling.unit,
                    figure / ceiling.most,
                    ceiling.most,
                    ceiling.aim,
                    least=False,
                )


def print_table(results: Results) -> None:
    """Everything that was measured with a log."""
    print(
        f"\n{'workload':38} {'shipper':12} {'MB/CPU-s':>8} {'MB/s':>6}"
        f" {'RSS MB':>7} {'lost':>6} {'twice':>6} {'start s':>8}"
    )
    for workload in WORKLOADS:
        for name in (OURS, *workload.peers):
            rounds = results.rounds.get((workload.name, name))
            if not rounds:
                continue
            wall = statistics.median(each.size / each.seconds for each in rounds)
            print(
                f"{workload.name:38} {name:12} {results.median(workload, name, 'rate'):8.0f} {wall:6.0f} "
                f"{results.most(workload, name, 'rss'):7.1f} {sum(each.lost for each in rounds):6} "
                f"{sum(each.duplicated for each in rounds):6} {results.median(workload, name, 'startup'):8.2f}"
            )
    if not math.isnan(results.speed):
        print(
            f"\nyardstick: {results.speed * YARDSTICK:.0f} MB per CPU-second; floors and aims times {results.speed:.2f}"
        )


def print_rows(results: Results) -> bool:
    """Each bound; True if all that were measured hold."""
    print(f"\n{'row':58} {'figure':>8} {'ratio':>6} {'bound':>9} {'aim':>6}")
    rows = list(results.rows())
    for row in rows:
        print(
            f"{row.name:58} {row.figure:8.1f} {row.ratio:6.2f} {row.sign} {row.bound:7.1f} {row.aim:6.1f} {row.verdict}"
        )
    return all(row.verdict == "ok" for row in rows)
