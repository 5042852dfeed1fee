"""The adapter beside npm's statsd, mtail, client_python and Debian's exporters.

    python -m benchmarks.adapter [--rounds 5] [--only inside|sockets|exporters] [--write]

What is measured has a core of its own; senders share the other one. The rounds are interleaved and figures are
medians. Exit status 1 if a row is short, 2 if nothing can be measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.adapter import corpus, inside, workloads
from benchmarks.adapter.exporters import exporters
from benchmarks.adapter.page import write_page
from benchmarks.adapter.programs import missing
from benchmarks.adapter.report import OURS, Results, print_rows
from benchmarks.adapter.sockets import Corpus, Fed, Setting, setting
from benchmarks.processes import CORE

PARTS = ("inside", "sockets", "exporters")


def within(results: Results) -> None:
    """One round of what needs no socket."""
    results.add(workloads.MEMORY_LINES, inside.in_memory())
    results.add(workloads.VARIED, inside.in_memory(corpus.varied))
    cached, uncached = inside.mapped()
    results.add(workloads.CACHED, cached)
    results.add(workloads.UNCACHED, uncached)
    again, first = inside.parsed()
    results.add(workloads.PARSE, again)
    results.add(workloads.FIRST, first)
    results.add(workloads.PARSE, inside.parsed_by_client(), "client_python")
    results.add(workloads.RENDER, inside.rendered())
    results.add(workloads.RENDER, inside.rendered_by_client(), "client_python")
    results.add(workloads.MERGE, inside.merged())
    series, rss = inside.memory()
    results.add(workloads.SERIES, series)
    results.add(workloads.RSS, rss)


def over_sockets(results: Results, programs: Setting) -> None:
    """One round of lines from other processes; what ours has lost is told, too."""
    for row, peer, ours, theirs in (
        (workloads.UNIX, "", programs.unix, None),
        (workloads.LOGS, "mtail", programs.our_log, programs.mtail_log),
        (workloads.UDP, "statsd", *_over_udp(programs, corpus.lines)),
        (workloads.UDP_VARIED, "statsd", *_over_udp(programs, corpus.varied)),
    ):
        fed = ours()
        results.add(row, fed.rate)
        results.lost[row] += fed.lost
        if theirs is not None:
            results.add(row, theirs().rate, peer)


def _over_udp(programs: Setting, some: Corpus) -> tuple[Callable[[], Fed], Callable[[], Fed]]:
    return partial(programs.over_udp, some, OURS), partial(programs.over_udp, some, "statsd")


def main() -> int:
    """Run the rounds; 1 if a row is short, 2 if they cannot be run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adapter", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=PARTS, help="one part; may be given several times")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/adapter.md and its plot")
    options = parser.parse_args()
    parts = options.only or PARTS
    lacking = [f"{name} is missing: benchmarks/adapter/peers.sh gets it" for name in missing()]
    if (os.cpu_count() or 1) < 2:
        lacking.append("two cores are needed: one for what is measured, one for the load")
    if lacking:
        print("\n".join(lacking), file=sys.stderr)
        return 2
    os.sched_setaffinity(0, {CORE})
    results = Results()
    with tempfile.TemporaryDirectory(prefix="bench-adapter-") as name:
        folder = Path(name)
        if "sockets" in parts:
            with setting(folder) as programs:
                for number in range(options.rounds):
                    _round(results, parts, number)
                    over_sockets(results, programs)
        else:
            for number in range(options.rounds):
                _round(results, parts, number)
        if "exporters" in parts:
            results.scraped = exporters(folder)
    good = print_rows(results)
    if options.write:
        write_page(results, options.rounds)
    return 0 if good else 1


def _round(results: Results, parts: tuple[str, ...], number: int) -> None:
    print(f"round {number + 1}", file=sys.stderr)
    results.yardsticks.append(inside.yardstick())
    if "inside" in parts:
        within(results)


if __name__ == "__main__":
    sys.exit(main())
