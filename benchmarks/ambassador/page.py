"""The page of the documentation: what was measured, on what, as tables and as a plot."""

from __future__ import annotations

import platform
import re
import subprocess
from datetime import UTC, datetime

import podpatterns
from benchmarks.ambassador.proxies import PROXIES
from benchmarks.ambassador.report import Results
from benchmarks.ambassador.workloads import FLOORS, IDLE, MEMORY, PACED, WORKLOADS
from benchmarks.page import FOLDER, machine, number, table
from benchmarks.plot import Bar, plot
from benchmarks.processes import program

TITLES = {"podpatterns": "podpatterns", "envoy": "Envoy", "haproxy": "HAProxy", "nginx": "nginx", "aiohttp": "aiohttp"}

TEXT = """# The ambassador beside other proxies

`make bench-ambassador` measures this again, on your machine, in ten minutes. It exits with 1 if one of the ratios at
the end of this page does not hold. What counts is the ratio between proxies in the same run: the absolute figures,
latencies above all, are those of one small virtual machine that had other work to do as well.

![CPU time of each proxy beside that of Envoy](ambassador.svg)

## CPU time for a request

Microseconds of the proxy's process, kernel included. This is what a proxy in every pod costs; it decides how many
requests fit on a core as well.

{cpu}

## Requests a second on one core

{rate}

## Latency

Small requests at a fixed rate, half of what the slower of podpatterns and Envoy can do ({paced_rate} a second here).
They are due at random times, and a latency is counted from the time at which its request was due.

{paced}

## Memory

{memory}

## TCP

The TCP listener beside HAProxy, with and without its `splice-auto`; `bulk` is one connection.

```text
{tcp}
```

## How it is measured

- One process for each proxy, pinned to one core; the load (wrk, one thread, {connections} connections unless the row
  says otherwise) and the back end share the other one. Only one proxy has work at a time. The rounds are interleaved,
  and each figure is the median of the rounds.
- All split 90/10 between two versions, keep connections on both sides, have timeouts, and retry once where that is
  safe. No access log. Otherwise each proxy has what it has by default: podpatterns its metrics, limits, outlier
  detection, request ids and strict reading of every message; Envoy (`--concurrency 1`) its statistics, request ids,
  circuit breakers, and outlier detection. HAProxy and nginx do less by themselves: no histograms, no request ids.
- The back end answers from memory. For HTTPS it is an nginx, and every proxy verifies its certificate.
- `aiohttp` is the reverse proxy of fifty lines that people write with its server and client.
- CPU time is that of the process's own clock; memory is the largest resident set seen after any round.

Measured {date} on {machine}: {versions}.

## What has to hold

{floors}
"""


def figures(results: Results, figure: str, digits: int = 0) -> str:
    """One figure of every workload and proxy."""
    rows = []
    for workload in WORKLOADS:
        values = [results.median(workload.name, name, figure) for name in PROXIES]
        rows.append([workload.name, *(number(value, digits) for value in values)])
    return table(["", *TITLES.values()], rows)


def version(command: str, pattern: str) -> str:
    """What a program says of itself."""
    argument = "--version" if command == "envoy" else "-v"
    done = subprocess.run([str(program(command)), argument], check=False, capture_output=True, text=True)
    found = re.search(pattern, done.stdout + done.stderr)
    return f"{TITLES.get(command, command)} {found[1]}" if found else command


def bars(results: Results) -> list[Bar]:
    """Everything beside Envoy."""
    rows = [(f"CPU, {each.name}", each.name, "cpu") for each in WORKLOADS]
    rows += [("p99 at half load", PACED, "p99"), ("memory", MEMORY, "rss")]
    found = []
    for title, workload, figure in rows:
        base = results.median(workload, "envoy", figure)
        values = {TITLES[name]: results.median(workload, name, figure) / base for name in list(PROXIES)[:4]}
        found.append(Bar(title, values))
    return found


def write_page(results: Results, tcp: str) -> None:
    """Write the page and its plot."""
    names = list(PROXIES)
    paced = [
        [TITLES[name], *(number(results.median(PACED, name, figure)) for figure in ("p50", "p99", "p999"))]
        for name in names[:-1]
    ]
    memory = [
        ["resident, MB", *(number(results.median(MEMORY, name, "rss"), 1) for name in names)],
        ["for an idle connection, KB", *(number(results.median(IDLE, name, "rss"), 1) for name in names)],
    ]
    floors = [
        [floor.row, f"{results.ratio(floor):.2f}", f"≤ {floor.most:.2f}", f"≤ {floor.aim:.2f}"] for floor in FLOORS
    ]
    versions = [
        f"podpatterns {podpatterns.__version__}, Python {platform.python_version()}",
        version("envoy", r"/(\d+\.\d+\.\d+)/"),
        version("haproxy", r"version (\d+\.\d+\.\d+)"),
        version("nginx", r"nginx/(\S+)"),
        version("wrk", r"wrk \S*?/?(\d+\.\d+\.\d+)"),
    ]
    text = TEXT.format(
        cpu=figures(results, "cpu", 1),
        rate=figures(results, "rate"),
        paced_rate=number(results.median(PACED, "podpatterns", "rate")),
        paced=table(["µs", "p50", "p99", "p99.9"], paced),
        memory=table(["", *TITLES.values()], memory),
        tcp=tcp.strip(),
        connections=WORKLOADS[0].connections,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        machine=machine(),
        versions=", ".join(versions),
        floors=table(["", "measured", "to reach", "aim"], floors),
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "ambassador.md").write_text(text, "utf-8")
    (FOLDER / "ambassador.svg").write_text(plot("Beside Envoy (= 1, less is better)", bars(results)), "utf-8")
