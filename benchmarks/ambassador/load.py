"""The load: wrk for as much as a proxy can take, and the paced generator for what its clients feel below that."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ambassador.proxies import Proxy
from benchmarks.ambassador.workloads import Workload
from benchmarks.processes import LOAD_CORE, start

DONE = """
done = function(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('\\n{"requests": %d, "seconds": %f, "failed": %d, "p50": %f, "p99": %f, "p999": %f}\\n',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50), latency:percentile(99),
    latency:percentile(99.9)))
end
"""
"""What wrk prints at its end; without a function of its own for requests it sends the same bytes over and over."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round has shown of one proxy. Microseconds, requests a second, megabytes."""

    cpu: float
    rate: float
    p50: float
    p99: float
    p999: float


def pinned(command: list[str]) -> dict[str, float]:
    """Run a load generator on its core; the figures are the last line that it prints."""
    process = start(command, LOAD_CORE, subprocess.PIPE)
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} has failed")
    figures: dict[str, float] = json.loads(output.decode().strip().rpartition("\n")[2])
    return figures


def measured(proxy: Proxy, command: list[str]) -> Round:
    """One round of a generator, with the proxy's CPU time beside it. Raises SystemExit if a request has failed."""
    before = proxy.cpu()
    figures = pinned(command)
    used = proxy.cpu() - before
    if figures["failed"] or not figures["requests"]:
        raise SystemExit(f"{proxy.name}: {figures['failed']:.0f} requests have failed: {' '.join(command)}")
    return Round(
        used / figures["requests"] * 1e6,
        figures["requests"] / figures["seconds"],
        figures["p50"],
        figures["p99"],
        figures["p999"],
    )


def full(proxy: Proxy, workload: Workload, folder: Path, seconds: int) -> Round:
    """As fast as the proxy can."""
    script = folder / "load.lua"
    script.write_text(workload.script + DONE, "utf-8")
    headers = [part for item in workload.headers.items() for part in ("-H", ": ".join(item))]
    command = ["wrk", "-t1", f"-c{workload.connections}", f"-d{seconds}s", f"-s{script}", *headers]
    return measured(proxy, [*command, f"http://127.0.0.1:{proxy.port}{workload.path}"])


def paced(proxy: Proxy, rate: float, seconds: float) -> Round:
    """At a fixed rate, whatever the proxy does."""
    command = [sys.executable, "-m", "benchmarks.ambassador.paced", str(proxy.port), f"{rate:.0f}", f"{seconds:g}"]
    return measured(proxy, command)


def idle(proxy: Proxy, count: int) -> float:
    """Kilobytes of resident memory for each of so many clients that have had one response, and now say nothing."""
    before = proxy.rss()
    request = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
    clients: list[socket.socket] = []
    try:
        for first in range(0, count, 100):
            batch = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(first, min(first + 100, count))]
            clients += batch
            for client in batch:
                client.sendall(request)
            for client in batch:
                if not client.recv(4096).startswith(b"HTTP/1.1 200"):
                    raise SystemExit(f"{proxy.name} does not serve {count} clients")
        time.sleep(0.2)
        return (proxy.rss() - before) * 1024 / count
    finally:
        for client in clients:
            client.close()


def many_files(wanted: int = 65_536) -> int:
    """Allow as many open files as wanted, or else as there may be; returns the number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (wanted, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, hard)))
        except (ValueError, OSError):  # only root may have more than the hard limit
            continue
        return limit
    return hard
