"""The ambassador beside Envoy, HAProxy, nginx, and a reverse proxy on aiohttp.

    python -m benchmarks.ambassador [--only WORKLOAD] [--rounds 3] [--seconds 2] [--write]

One process per proxy, all on one core; load and back end on the other. The rounds are interleaved (each proxy in turn,
then the next round) and figures are medians, so that a machine with other work to do hits all alike. Exit status 1 if a
row is short.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.ambassador.load import full, idle, many_files, paced
from benchmarks.ambassador.proxies import (
    CORE,
    LOAD_CORE,
    PROXIES,
    WHERE_FROM,
    Proxy,
    Site,
    free_port,
    program,
    start,
    stop,
    wait_for,
)
from benchmarks.ambassador.report import Results, print_rows, print_table
from benchmarks.ambassador.workloads import IDLE, MEMORY, PACED, WORKLOADS

IDLE_CLIENTS = 10_000


class Run:
    """The proxies, running, and what has been measured of them."""

    def __init__(self, folder: Path, names: list[str], connections: int) -> None:
        self.folder = folder
        self.connections = connections
        self.names = names
        self.processes: list[subprocess.Popen[bytes]] = []
        self.proxies: dict[str, Proxy] = {}
        self.results = Results()

    def start(self) -> None:
        """Back end first."""
        stable, test = free_port(), free_port()
        backend = [sys.executable, "-m", "benchmarks.ambassador.backend", str(stable), str(test)]
        self.processes.append(start(backend, LOAD_CORE))
        wait_for(test, self.processes[-1])
        for name in self.names:
            site = Site(self.folder, free_port(), free_port(), stable, test, self.connections)
            self.processes.append(start(PROXIES[name](site), CORE))
            wait_for(site.port, self.processes[-1])
            self.proxies[name] = Proxy(name, site.port, self.processes[-1])

    def closed(self, chosen: list[str], rounds: int, seconds: int) -> None:
        """What wrk does; a second before the rounds warms up whatever is made at the first request."""
        workloads = [each for each in WORKLOADS if each.name in chosen]
        for workload in workloads[:1]:
            for proxy in self.proxies.values():
                full(proxy, workload, self.folder, 1)
        for _ in range(rounds):
            for workload in workloads:
                for name, proxy in self.proxies.items():
                    if name in workload.proxies:
                        self.results.add(workload.name, name, full(proxy, workload, self.folder, seconds))
                        self.results.memory(MEMORY, name, proxy.rss())

    def paced(self, rounds: int, seconds: int) -> None:
        """At half of what the slower of ours and Envoy can do."""
        small = WORKLOADS[0]
        rates = []
        for name in {"podpatterns", "envoy"} & set(self.names):
            if not self.results.rounds(small.name, name):
                self.results.add(small.name, name, full(self.proxies[name], small, self.folder, seconds))
            rates.append(self.results.median(small.name, name, "rate"))
        rate = min(rates) / 2
        for _ in range(rounds):
            for name, proxy in self.proxies.items():
                if name != "aiohttp":  # half of the others' rate is more than it can do
                    self.results.add(PACED, name, paced(proxy, rate, seconds))

    def idle(self, count: int) -> None:
        """Memory of clients that say nothing; last, because it leaves its traces."""
        for name, proxy in self.proxies.items():
            self.results.memory(IDLE, name, idle(proxy, count))


def missing(names: list[str]) -> list[str]:
    """What has to be installed first, and how."""
    wanted = [name for name in [*names, "wrk", "taskset"] if name in WHERE_FROM and program(name) is None]
    return [f"{name} is missing: {WHERE_FROM[name]}" for name in wanted]


def main() -> int:
    """Run the rounds; 1 if a row is short, 2 if they cannot be run."""
    known = [*(each.name for each in WORKLOADS), PACED, IDLE]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ambassador", description=__doc__)
    parser.add_argument("--only", action="append", choices=known, help="one workload; may be given several times")
    parser.add_argument("--proxy", action="append", choices=list(PROXIES), help="one proxy; may be given several times")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="length of a round")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/ambassador.md and its plot")
    options = parser.parse_args()
    chosen = options.only or known
    names = options.proxy or list(PROXIES)
    lacking = missing(names)
    if (os.cpu_count() or 1) < 2:
        lacking.append("two cores are needed: one for the proxy, one for the load")
    if lacking:
        print("\n".join(lacking), file=sys.stderr)
        return 2
    connections = min(IDLE_CLIENTS + 1000, (many_files() - 500) // 2)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), names, connections)
        try:
            run.start()
            run.closed(chosen, options.rounds, options.seconds)
            if PACED in chosen:
                run.paced(options.rounds, options.seconds)
            if IDLE in chosen:
                run.idle(min(IDLE_CLIENTS, connections - 100))
        finally:
            stop(run.processes)
    print_table(run.results, names)
    good = print_rows(run.results)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
