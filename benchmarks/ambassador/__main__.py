"""The ambassador beside a reverse proxy on aiohttp, and HAProxy where it is installed.

CPU time of the proxy's process per request, its memory, requests per second, p99. One process per proxy on one core,
load and back end on the other; rounds are interleaved, figures are medians, so that a busy machine hits all alike.

    python -m benchmarks.ambassador [--rounds 3] [--seconds 4]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
HEADERS = [f"X-Header-{number}: {'v' * 62}" for number in range(11)]
WORKLOADS = {"small GET": [], "small GET, 11 headers": HEADERS}
FLOOR = 0.35
"""CPU per request beside the aiohttp proxy, at most."""
RSS_FLOOR = 50.0
"""Megabytes, at most."""


@dataclass
class Proxy:
    """One proxy under test and what was measured of it: per workload, one figure a round."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    cpu: dict[str, list[float]] = field(default_factory=dict)
    rate: dict[str, list[float]] = field(default_factory=dict)
    p99: dict[str, list[str]] = field(default_factory=dict)
    rss: float = 0.0

    def seconds(self) -> float:
        """CPU time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> float:
        """Resident megabytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        found = re.search(r"VmRSS:\s+(\d+)", text)
        return int(found[1]) / 1024 if found else 0.0


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Return when something listens. Raises SystemExit after ten seconds."""
    for _ in range(200):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def pinned(core: int) -> list[str]:
    """The command that keeps a process on one core."""
    return ["taskset", "-c", str(core)]


def ours(where: Path, stable: int, test: int) -> tuple[int, list[str]]:
    """`podpatterns run` with metrics, limits, timeouts and retries as they are by default."""
    port = free_port()
    file = where / "ambassador.yaml"
    file.write_text(
        f"""
ambassador:
  listeners:
  - listen: 127.0.0.1:{port}
    routes: [{{split: {{stable: 90, test: 10}}}}]
  upstreams:
    stable: 127.0.0.1:{stable}
    test: 127.0.0.1:{test}
runtime: {{admin: 127.0.0.1:{free_port()}, log_level: warning}}
""",
        "utf-8",
    )
    return port, [sys.executable, "-m", "podpatterns", "run", str(file)]


def haproxy(where: Path, stable: int, test: int) -> tuple[int, list[str]]:
    """One thread, the same weights."""
    port = free_port()
    file = where / "haproxy.cfg"
    file.write_text(
        f"""
global
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  http-reuse safe
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server stable 127.0.0.1:{stable} weight 90
  server test 127.0.0.1:{test} weight 10
""",
        "utf-8",
    )
    return port, ["haproxy", "-db", "-f", str(file)]


def measure(proxy: Proxy, workload: str, seconds: float) -> None:
    """One round."""
    headers = [part for header in WORKLOADS[workload] for part in ("-H", header)]
    before = proxy.seconds()
    output = subprocess.run(
        [*pinned(1), "wrk", "-t1", "-c32", f"-d{seconds:g}s", "--latency", *headers, f"http://127.0.0.1:{proxy.port}/"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    used = proxy.seconds() - before
    if re.search(r"Non-2xx|Socket errors", output):
        raise SystemExit(f"{proxy.name} has failed requests:\n{output}")
    count = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    p99 = re.search(r"99%\s+(\S+)", output)
    if count is None or rate is None or p99 is None:
        raise SystemExit(f"wrk's output has changed:\n{output}")
    proxy.cpu.setdefault(workload, []).append(used / int(count[1]) * 1e6)
    proxy.rate.setdefault(workload, []).append(float(rate[1]))
    proxy.p99.setdefault(workload, []).append(p99[1])
    proxy.rss = max(proxy.rss, proxy.memory())


def report(proxies: list[Proxy]) -> bool:
    """Print the table and the verdicts; True if every row is as it should be."""
    print(f"\n{'workload':24} {'proxy':12} {'CPU us/req':>10} {'req/s':>8} {'p99':>9} {'RSS MB':>7}")
    for workload in WORKLOADS:
        for proxy in proxies:
            figures = (statistics.median(proxy.cpu[workload]), statistics.median(proxy.rate[workload]))
            p99 = sorted(proxy.p99[workload])[len(proxy.p99[workload]) // 2]
            print(f"{workload:24} {proxy.name:12} {figures[0]:10.1f} {figures[1]:8.0f} {p99:>9} {proxy.rss:7.1f}")
    mine, aiohttp = proxies[0], proxies[1]
    print(f"\n{'row':40} {'figure':>8} {'ratio':>6} {'floor':>6}")
    good = True
    for workload in WORKLOADS:
        figure = statistics.median(mine.cpu[workload])
        ratio = figure / statistics.median(aiohttp.cpu[workload])
        good &= ratio <= FLOOR
        verdict = "ok" if ratio <= FLOOR else "short"
        print(f"{'CPU beside aiohttp, ' + workload:40} {figure:8.1f} {ratio:6.2f} {FLOOR:6.2f} {verdict}")
    good &= mine.rss <= RSS_FLOOR
    verdict = "ok" if mine.rss <= RSS_FLOOR else "short"
    print(f"{'RSS in MB':40} {mine.rss:8.1f} {mine.rss / aiohttp.rss:6.2f} {RSS_FLOOR:6.1f} {verdict}")
    return good


def main() -> int:
    """Run the rounds; 1 if a row is short."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ambassador", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            print(f"{tool} is missing; on Debian: apt-get install wrk util-linux", file=sys.stderr)
            return 2
    if (os.cpu_count() or 1) < 2:
        print("two cores are needed: one for the proxy, one for the load", file=sys.stderr)
        return 2
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        stable, test, port = free_port(), free_port(), free_port()
        peers = [sys.executable, "-m", "benchmarks.ambassador.peers"]
        try:
            processes.append(subprocess.Popen([*pinned(1), *peers, "backend", str(stable), str(test)]))
            wait_for(test)
            wanted = [
                ("podpatterns", *ours(where, stable, test)),
                ("aiohttp", port, [*peers, "aiohttp", str(port), str(stable), str(test)]),
            ]
            if shutil.which("haproxy"):
                wanted.append(("haproxy", *haproxy(where, stable, test)))
            proxies = []
            for name, listen, command in wanted:
                processes.append(subprocess.Popen([*pinned(0), *command]))
                wait_for(listen)
                proxies.append(Proxy(name, listen, processes[-1]))
            for number in range(options.rounds + 1):
                for workload in WORKLOADS:
                    for proxy in proxies:
                        measure(proxy, workload, options.seconds if number else 1.0)
                if not number:  # the first round warms up
                    for proxy in proxies:
                        proxy.cpu.clear()
                        proxy.rate.clear()
                        proxy.p99.clear()
            return 0 if report(proxies) else 1
        finally:
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()


if __name__ == "__main__":
    sys.exit(main())
