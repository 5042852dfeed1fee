"""The log-shipping sidecar beside rsyslog and syslog-ng.

    python -m benchmarks.sidecar [--size 20MB] [--only ROW] [--rounds 4] [--peer-rounds 1] [--write]

The shipper under test has a core of its own; writer and receiver share the other one. The rounds are interleaved and
figures are medians. Exit status 1 if a row is short, 2 if nothing can be measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import LOAD_CORE
from benchmarks.sidecar import logs
from benchmarks.sidecar.measure import IDLE_SECONDS, idle, latency, many_files, throughput, yardstick
from benchmarks.sidecar.page import write_page
from benchmarks.sidecar.report import Results, print_rows, print_table
from benchmarks.sidecar.shippers import SHIPPERS, missing
from benchmarks.sidecar.workloads import BATCHED, CEILINGS, FILES, IDLE, OURS, PROMPT, RSS, WORKLOADS, Workload


def size(text: str) -> int:
    """`200MB`, or a number of megabytes."""
    return int(float(text.upper().removesuffix("MB")) * 1_000_000)


def ship(results: Results, chosen: list[Workload], names: list[str], options: argparse.Namespace) -> None:
    """The rounds of everything that ships a whole log."""
    with tempfile.TemporaryDirectory(prefix="bench-sidecar-logs-") as folder:
        kinds = {"access", *(each.log for each in chosen)}
        made = {kind: logs.write(kind, Path(folder) / f"{kind}.log", options.size) for kind in sorted(kinds)}
        for number in range(options.rounds):
            for workload in chosen:
                for name in names:
                    if name == OURS:
                        results.yardsticks[workload.name].append(yardstick(made["access"]))
                    elif name not in workload.peers or number >= options.peer_rounds:
                        continue
                    found = throughput(name, workload, made[workload.log])
                    results.rounds[workload.name, name].append(found)
                    print(f"{number + 1}. {workload.name:38} {name:12} {found.rate:6.0f}", file=sys.stderr)
    ours = [each.rss for (_, name), rounds in results.rounds.items() if name == OURS for each in rounds]
    if ours:
        results.figures[RSS.name].append(max(ours))


def main() -> int:
    """Run the rounds; 1 if a row is short, 2 if they cannot be run."""
    known = [*(each.name for each in WORKLOADS), *(each.name for each in CEILINGS if each is not RSS)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sidecar", description=__doc__)
    parser.add_argument("--size", type=size, default=size("200MB"), help="of each log; 20MB for a quick look")
    parser.add_argument("--only", action="append", choices=known, help="one row; may be given several times")
    parser.add_argument("--shipper", action="append", choices=list(SHIPPERS), help="may be given several times")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--peer-rounds", type=int, default=1, help="rounds in which the peers take part")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/sidecar.md and its plot")
    options = parser.parse_args()
    chosen = options.only or known
    names = options.shipper or list(SHIPPERS)
    lacking = [f"{name} is missing: benchmarks/sidecar/peers.sh unpacks it" for name in missing(names)]
    if (os.cpu_count() or 1) < 2:
        lacking.append("two cores are needed: one for the shipper, one for writer and receiver")
    if lacking:
        print("\n".join(lacking), file=sys.stderr)
        return 2
    os.sched_setaffinity(0, {LOAD_CORE})
    results = Results()
    ship(results, [each for each in WORKLOADS if each.name in chosen], names, options)
    seconds = IDLE_SECONDS * min(1.0, options.size / size("100MB"))
    others: dict[str, Callable[[], float]] = {
        FILES.name: many_files,
        IDLE.name: lambda: idle(seconds),
        BATCHED.name: lambda: latency("1s", seconds),
        PROMPT.name: lambda: latency("10ms", seconds),
    }
    for name, measure in others.items():
        if name in chosen and OURS in names:
            results.figures[name].append(measure())
    print_table(results)
    good = print_rows(results)
    if options.write:
        write_page(results)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
