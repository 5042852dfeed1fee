"""The figures: as a table for people, and as rows that are long enough or short."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks.ambassador.load import Round
from benchmarks.ambassador.workloads import FLOORS, IDLE, MEMORY, PACED, WORKLOADS, Floor


@dataclass(slots=True)
class Results:
    """What was measured, by workload and proxy."""

    _rounds: dict[tuple[str, str], list[Round]] = field(default_factory=lambda: defaultdict(list))
    _memory: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, workload: str, proxy: str, found: Round) -> None:
        """One round."""
        self._rounds[workload, proxy].append(found)

    def memory(self, workload: str, proxy: str, figure: float) -> None:
        """The highest figure counts."""
        key = (workload, proxy)
        self._memory[key] = max(figure, self._memory.get(key, 0.0))

    def rounds(self, workload: str, proxy: str) -> int:
        """How many there have been."""
        return len(self._rounds.get((workload, proxy), ()))

    def median(self, workload: str, proxy: str, figure: str) -> float:
        """The median over the rounds; NaN if there were none."""
        if workload in (MEMORY, IDLE):
            return self._memory.get((workload, proxy), float("nan"))
        rounds = self._rounds.get((workload, proxy))
        return statistics.median(getattr(each, figure) for each in rounds) if rounds else float("nan")

    def ratio(self, floor: Floor) -> float:
        """Ours beside a peer's; NaN if one of them has not been measured."""
        mine, peer = (self.median(floor.workload, name, floor.figure) for name in ("podpatterns", floor.peer))
        return mine / peer


def print_table(results: Results, names: list[str]) -> None:
    """Everything that was measured."""
    print(f"\n{'workload':28} {'proxy':12} {'CPU us/req':>10} {'req/s':>8} {'p50 us':>8} {'p99 us':>8} {'p99.9':>8}")
    for workload in [*(each.name for each in WORKLOADS), PACED]:
        for name in names:
            if results.rounds(workload, name):
                cpu, *others = (results.median(workload, name, each) for each in ("cpu", "rate", "p50", "p99", "p999"))
                print(f"{workload:28} {name:12} {cpu:10.1f} " + " ".join(f"{each:8.0f}" for each in others))
    print(f"\n{'memory':28} " + " ".join(f"{name:>12}" for name in names))
    for row, title in ((MEMORY, "RSS in MB"), (IDLE, "KB for an idle connection")):
        print(f"{title:28} " + " ".join(f"{results.median(row, name, 'rss'):12.1f}" for name in names))


def print_rows(results: Results) -> bool:
    """Each floor; True if all that were measured hold."""
    print(f"\n{'row':48} {'figure':>9} {'ratio':>6} {'floor':>6} {'aim':>5}")
    good = True
    for floor in FLOORS:
        ratio = results.ratio(floor)
        if math.isnan(ratio):  # not measured in this run
            continue
        good &= ratio <= floor.most
        figure = results.median(floor.workload, "podpatterns", floor.figure)
        verdict = "ok" if ratio <= floor.most else "short"
        print(f"{floor.row:48} {figure:9.1f} {ratio:6.2f} {floor.most:6.2f} {floor.aim:5.2f} {verdict}")
    return good
