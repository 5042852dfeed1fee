"""The ambassador beside Envoy, HAProxy, nginx, and a reverse proxy on aiohttp.

    python -m benchmarks.ambassador [--only WORKLOAD] [--rounds 5] [--seconds 1] [--write]

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ambassador.backend import secure
from benchmarks.ambassador.load import full, idle, many_files, paced
from benchmarks.ambassador.page import write_page
from benchmarks.ambassador.proxies import PROXIES, WHERE_FROM, Proxy, Site
from benchmarks.ambassador.report import Results, print_rows, print_table
from benchmarks.ambassador.workloads import IDLE, MEMORY, PACED, TCP, WORKLOADS
from benchmarks.processes import CORE, LOAD_CORE, free_port, program, start, stop, wait_for

IDLE_CLIENTS = 10_000


class Run:
    """Proxies, running, in front of a plain back end or of one that speaks TLS."""

    def __init__(self, folder: Path, results: Results, *, secure: bool) -> None:
        self.folder = folder
        self.results = results
        self.secure = secure
        self.processes: list[subprocess.Popen[bytes]] = []
        self.proxies: dict[str, Proxy] = {}

    def start(self, names: list[str], connections: int) -> None:
        """Back end first."""
        stable, test = free_port(), free_port()
        command, ca = [sys.executable, "-m", "benchmarks.ambassador.backend", str(stable), str(test)], ""
        if self.secure:
            command, ca = secure(self.folder, str(program("nginx")), [stable, test])
        self.processes.append(start(command, LOAD_CORE))
        wait_for(test, self.processes[-1])
        for name in names:
            site = Site(self.folder, free_port(), free_port(), stable, test, connections, ca)
            self.processes.append(start(PROXIES[name](site), CORE))
            wait_for(site.port, self.processes[-1])
            self.proxies[name] = Proxy(name, site.port, self.processes[-1])

    def closed(self, chosen: list[str], rounds: int, seconds: int) -> None:
        """What wrk does; a second before the rounds warms up whatever is made at the first request."""
        workloads = [each for each in WORKLOADS if each.name in chosen and each.secure is self.secure]
        for workload in workloads[:1]:
            for proxy in self.proxies.values():
                full(proxy, workload, self.folder, 1)
        for _ in range(rounds):
            for workload in workloads:
                for name, proxy in self.proxies.items():
                    if name in workload.proxies:
                        self.results.add(workload.name, name, full(proxy, workload, self.folder, seconds))
                        if not self.secure:
                            self.results.memory(MEMORY, name, proxy.rss())

    def paced(self, rounds: int, seconds: int) -> None:
        """At half of what the slower of ours and Envoy can do."""
        small = WORKLOADS[0]
        rates = []
        for name in {"podpatterns", "envoy"} & set(self.proxies):
            if not self.results.rounds(small.name, name):
                self.results.add(small.name, name, full(self.proxies[name], small, self.folder, seconds))
            rates.append(self.results.median(small.name, name, "rate"))
        rate = min(rates) / 2
        for _ in range(rounds):
            for name, proxy in self.proxies.items():
                if name != "aiohttp":  # half of the others' rate is more than it can do
                    self.results.add(PACED, name, paced(proxy, rate, seconds))

    def idle(self, count: int) -> None:
        """Memory of clients that say nothing; on fresh processes, which have no free memory from earlier work."""
        for name, proxy in self.proxies.items():
            idle(proxy, 10)
            self.results.memory(IDLE, name, idle(proxy, count))


def missing(names: list[str]) -> list[str]:
    """What has to be installed first, and how."""
    wanted = [name for name in [*names, "wrk", "taskset"] if name in WHERE_FROM and program(name) is None]
    return [f"{name} is missing: {WHERE_FROM[name]}" for name in wanted]


def main() -> int:
    """Run the rounds; 1 if a row is short, 2 if they cannot be run."""
    known = [*(each.name for each in WORKLOADS), PACED, IDLE, TCP]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ambassador", description=__doc__)
    parser.add_argument("--only", action="append", choices=known, help="one workload; may be given several times")
    parser.add_argument("--proxy", action="append", choices=list(PROXIES), help="one proxy; may be given several times")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=1, help="length of a round")
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
    results = Results()
    if {PACED, *(each.name for each in WORKLOADS if not each.secure)} & set(chosen):
        with running(results, names, connections, secure=False) as plain:
            plain.closed(chosen, options.rounds, options.seconds)
            if PACED in chosen:
                plain.paced(options.rounds, options.seconds)
    if {each.name for each in WORKLOADS if each.secure} & set(chosen):
        with running(results, [name for name in names if name != "aiohttp"], connections, secure=True) as secured:
            secured.closed(chosen, options.rounds, options.seconds)
    if IDLE in chosen:
        with running(results, names, connections, secure=False) as fresh:
            fresh.idle(min(IDLE_CLIENTS, connections - 100))
    print_table(results, names)
    good = print_rows(results)
    tcp = ""
    if TCP in chosen:
        command = [
            sys.executable,
            "-m",
            "benchmarks.ambassador.tcp",
            "--rounds",
            str(options.rounds),
            "--seconds",
            str(options.seconds),
        ]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
        tcp = done.stdout
        print(tcp)
        good &= done.returncode == 0
    if options.write:
        write_page(results, tcp)
    return 0 if good else 1


@contextmanager
def running(results: Results, names: list[str], connections: int, *, secure: bool) -> Iterator[Run]:
    """Proxies that are stopped in the end."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), results, secure=secure)
        try:
            run.start(names, connections)
            yield run
        finally:
            stop(run.processes)


if __name__ == "__main__":
    sys.exit(main())
