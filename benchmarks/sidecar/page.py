"""The page of the documentation: what was measured, on what, as tables and as a plot."""

from __future__ import annotations

import platform
import re
import subprocess
from datetime import UTC, datetime

import podpatterns
from benchmarks.page import FOLDER, machine, number, table
from benchmarks.plot import Bar, plot
from benchmarks.sidecar.measure import IDLE_SECONDS, PACE
from benchmarks.sidecar.report import Results
from benchmarks.sidecar.shippers import unpacked
from benchmarks.sidecar.workloads import OURS, WORKLOADS, YARDSTICK

NAMES = (OURS, "syslog-ng", "rsyslog")

TEXT = """# The log-shipping sidecar beside other shippers

`make bench-sidecar` measures this again, on your machine, in nine minutes. It exits with 1 if one of the rows at the
end of this page does not hold. What counts are the ratios within one run: this was a small virtual machine that had
other work to do as well.

![Megabytes per CPU-second of each shipper beside syslog-ng](sidecar.svg)

## Megabytes of log per CPU-second

Bytes of the log that have arrived at the receiver, for each second of CPU time that the shipper took, kernel included.
This is what a sidecar costs each pod.

{rate}

## Memory

The largest resident set of each, in MB.

{rss}

## Lost, and delivered twice

Each line has a number, and the receiver looks at all of them. Lines lost and lines that came twice, over all rounds:

{lines}

## How it is measured

- The shipper has one core; a process that writes the log and one that receives share the other one. The shipper runs
  and has delivered a first line when the log, {size:.0f} MB of it, appears at once; CPU time counts from there until
  the receiver has everything. What it takes to start is not in it: {startup:.2f} s of CPU time for podpatterns, next
  to nothing for the others.
- HTTP means NDJSON that the receiver acknowledges. TCP means syslog messages of RFC 5424 with their length in front,
  which nobody acknowledges; rsyslog, as Debian packages it, has no output for plain HTTP.
- The work: the line as it is, with the pod's name and namespace; JSON with the pod's name, node and labels added; an
  access log taken apart by a regular expression with ten groups; the CRI format of container runtimes, with cut lines
  joined. All shippers get the same expression. Files in which one line of two hundred is not ASCII, and one of 20,000
  is 20 KB long; the access log is plain.
- Every shipper remembers on disk how far it has come, and waits when the far side is slow. Beyond that each has what it
  does by itself: podpatterns its admin endpoint, metrics, the ledger and event positions; it makes no JSON out of JSON
  that only gets fields added, and keeps numbers as they are written. syslog-ng turns numbers into text. Joining the
  parts of a cut line is beyond what was configured for syslog-ng.
- The rounds are interleaved and rates are medians: {rounds} rounds of podpatterns, {peer_rounds} of the others.

Measured {date} on {machine}: {versions}.

## What has to hold

The floors of throughput are those of a day on which a yardstick did {yardstick:.0f} MB per CPU-second: a bare loop in
Python that reads the access log, splits lines, wraps each as JSON and joins them, and sends nothing. It is timed before
each round, and floors and aims are scaled by it. This time it did {today:.0f}. A row with a line lost or repeated
does not hold. Latencies are those of a log that grows by {pace:.0f} lines a second; the idle figure is of {idle:.0f}
seconds.

{rows}
"""


def figures(results: Results, figure: str, digits: int = 0) -> str:
    """One figure of every workload and shipper; of memory the most."""
    take = results.most if figure == "rss" else results.median
    rows = [[each.name, *(number(take(each, name, figure), digits) for name in NAMES)] for each in WORKLOADS]
    return table(["", *NAMES], rows)


def lines(results: Results) -> str:
    """Lines lost and repeated."""
    rows = []
    for workload in WORKLOADS:
        row = [workload.name]
        for name in NAMES:
            rounds = results.rounds.get((workload.name, name), [])
            row.append(f"{sum(r.lost for r in rounds)} / {sum(r.duplicated for r in rounds)}" if rounds else "")
        rows.append(row)
    return table(["", *NAMES], rows)


def version(name: str, program: str, argument: str) -> str:
    """What a program says of itself."""
    path, environment = unpacked(program)
    done = subprocess.run([path, argument], check=False, capture_output=True, text=True, env=environment)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return f"{name} {found[0]}" if found else name


def write_page(results: Results) -> None:
    """Write the page and its plot."""
    ours = [each for (_, name), rounds in results.rounds.items() if name == OURS for each in rounds]
    peers = [len(rounds) for (_, name), rounds in results.rounds.items() if name != OURS]
    rows = [
        [row.name, number(row.figure, 1), f"{row.sign} {number(row.bound, 1)}", number(row.aim, 1), row.verdict]
        for row in results.rows()
    ]
    versions = [
        f"podpatterns {podpatterns.__version__}, Python {platform.python_version()}",
        version("syslog-ng", "syslog-ng", "--version"),
        version("rsyslog", "rsyslogd", "-v"),
    ]
    text = TEXT.format(
        rate=figures(results, "rate"),
        rss=figures(results, "rss", 1),
        lines=lines(results),
        size=max(each.size for each in ours),
        startup=sorted(each.startup for each in ours)[len(ours) // 2],
        rounds=max(len(rounds) for (_, name), rounds in results.rounds.items() if name == OURS),
        peer_rounds=max(peers, default=0),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        machine=machine(),
        versions=", ".join(versions),
        yardstick=YARDSTICK,
        today=results.speed * YARDSTICK,
        pace=PACE,
        idle=IDLE_SECONDS,
        rows=table(["", "measured", "to reach", "aim", ""], rows),
    )
    bars = []
    for workload in WORKLOADS:
        base = results.median(workload, "syslog-ng", "rate")
        bars.append(Bar(workload.name, {name: results.median(workload, name, "rate") / base for name in NAMES}))
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "sidecar.md").write_text(text, "utf-8")
    title = "MB per CPU-second beside syslog-ng (= 1, more is better)"
    (FOLDER / "sidecar.svg").write_text(plot(title, bars, most=12), "utf-8")
