"""The page of the documentation: what was measured, on what, as tables and as a plot."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version as installed

import podpatterns
from benchmarks.adapter.programs import STATSD, peer
from benchmarks.adapter.report import OURS, Results
from benchmarks.adapter.sockets import ASKED, CORPUS, LOG_LINES, PER_DATAGRAM, UDP_LINES, UNIX_LINES, WAITING, buffer
from benchmarks.adapter.workloads import (
    FIRST,
    LOGS,
    MEMORY_LINES,
    PARSE,
    RENDER,
    UDP,
    UDP_VARIED,
    VARIED,
    YARDSTICK,
)
from benchmarks.page import FOLDER, machine, number, table
from benchmarks.plot import Bar, plot

TEXT = """# The adapter beside other programs

`make bench-adapter` measures this again, on your machine, in less than nine minutes. It exits with 1 if one of the rows
at the end of this page does not hold. What counts are the ratios within one run: this was a small virtual machine
that had other work to do as well.

![The adapter's rates beside those of its peers](adapter.svg)

## Beside its peers

What each does in a second of CPU time, kernel included.

{peers}

## Scrapes

The adapter's `nginx` and `redis` inputs beside Debian's exporters, asked {scrapes} times over one connection.

{scraped}

The exporters are programs in Go, and smaller. An adapter takes the place of several at once, and has a page of its own
anyway.

## How it is measured

- What is measured has one core; senders share the other one. The rounds are interleaved, and figures are medians of
  {rounds} rounds. CPU time is that of the process's own clock.
- Lines are DogStatsD's, of 7,500 series with three tags, a third each counters, gauges and timers. Over the unix
  socket {unix:,} lines come in datagrams of {unix_size}, as fast as the receiver takes them; in each round the sums on
  the page must have grown by exactly what was sent. Over UDP {udp:,} lines come in datagrams of {udp_size}; the
  next ones as soon as no more than two thirds of the receiver's buffer are in use, so that it has work and nothing is
  dropped. That is {ours:,} bytes with the adapter, which asks for {asked:,}, and {theirs:,} with
  statsd, which takes the default; more than that would only fill the cache. statsd keeps tags as Graphite has them,
  and is not flushed meanwhile, nor is the adapter scraped. The sender has {corpus:,} lines, which it repeats: more of
  them would push out of the cache of both cores what the receiver works with. Every series has four values by turns,
  which favours the adapter: lines that come again are only counted. Where no value comes twice it takes them apart,
  which is the row below; there all {udp:,} lines are different.
- The page is one counter of 20,000 series with three labels. Scrapes come again and again, so that its series are known
  from the one before; a page that is read for the first time is a row of its own. Merging is of two such pages of half
  the size, with three rules of relabelling, from bytes to bytes.
- The log has {log:,} lines in the combined format, appended at once to a file that is followed; one expression takes
  method, status and size out of each, for two counters.

Measured {date} on {machine}: {versions}.

## What has to hold

Rows without a peer are scaled by a yardstick that is timed before each round: splitting the same lines held in memory
and adding each value to a slot found in a dictionary by name, type and tags. It did {yardstick:.1f} million lines per
CPU-second on the day the floors were set, and {today:.2f} million this time. A row with a line that is in no sum does
not hold. Memory is not scaled.

{rows}

Without a bound: {memory:,.0f} lines per CPU-second of known series from memory, {varied:,.0f} where no value comes
twice, and {first:,.0f} samples per CPU-second of a page that is read for the first time, {first_times:.1f} times
client_python's.
"""

TITLES = {UDP: "statsd", UDP_VARIED: "statsd", PARSE: "client_python", RENDER: "client_python", LOGS: "mtail"}
SHORT = {
    UDP: "StatsD over UDP",
    UDP_VARIED: "StatsD, values vary",
    PARSE: "parse a page",
    RENDER: "render a page",
    LOGS: "access log to metrics",
}
"""The rows in words that the plot has room for."""


def versions() -> list[str]:
    """What was measured."""
    statsd = json.loads((STATSD.parent / "package.json").read_text("utf-8"))["version"]
    found = [
        f"podpatterns {podpatterns.__version__}, Python {platform.python_version()}",
        f"client_python {installed('prometheus-client')}",
        f"statsd {statsd} on Node.js {_said('node', '--version')}",
        f"mtail {_said('mtail', '-version')}",
        f"nginx exporter {_said('prometheus-nginx-exporter', '-version')}",
        f"Redis exporter {_said('prometheus-redis-exporter', '-version')}",
    ]
    return [each.strip() for each in found]


def _said(name: str, argument: str) -> str:
    done = subprocess.run([str(peer(name)), argument], check=False, capture_output=True, text=True)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found[0] if found else ""


def write_page(results: Results, rounds: int) -> None:
    """Write the page and its plot."""
    beside = [
        [
            row,
            title,
            number(results.median(row)),
            number(results.median(row, title)),
            f"{results.multiple(row, title):.1f} x",
        ]
        for row, title in TITLES.items()
    ]
    scraped = [
        [target, program, f"{each.latency:.2f}", f"{each.cpu:.2f}", f"{each.rss:.1f}"]
        for (target, program), each in results.scraped.items()
    ]
    rows = []
    for row in results.rows():
        sign = "≥" if row.bound.figure == "rate" else "≤"
        if row.bound.peer:
            cells = [f"{row.multiple:.1f} x {row.bound.peer}", f"{sign} {row.least:g} x", f"{row.aim:g} x"]
        else:
            unit = row.bound.unit
            cells = [f"{number(row.figure)} {unit}", f"{sign} {number(row.least)}", number(row.aim)]
        rows.append([row.bound.row, *cells, row.verdict])
    text = TEXT.format(
        peers=table(["", "peer", OURS, "peer's", "ratio"], beside),
        scrapes=200,
        scraped=table(["", "by", "ms", "ms of CPU", "MB"], scraped),
        rounds=rounds,
        unix=UNIX_LINES,
        unix_size=PER_DATAGRAM["unix"],
        udp=UDP_LINES,
        asked=ASKED,
        ours=min(WAITING, buffer(ASKED) * 2 // 3),
        theirs=min(WAITING, buffer() * 2 // 3),
        corpus=CORPUS,
        udp_size=PER_DATAGRAM["udp"],
        log=LOG_LINES,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        machine=machine(),
        versions=", ".join(versions()),
        yardstick=YARDSTICK / 1e6,
        today=results.speed * YARDSTICK / 1e6,
        rows=table(["", "measured", "to reach", "aim", ""], rows),
        memory=results.median(MEMORY_LINES),
        varied=results.median(VARIED),
        first=results.median(FIRST),
        first_times=results.median(FIRST) / results.median(PARSE, "client_python"),
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "adapter.md").write_text(text, "utf-8")
    bars = [
        Bar(f"{SHORT[row]}, {peer}", {OURS: results.multiple(row, peer), "peer": 1.0}) for row, peer in TITLES.items()
    ]
    title = "Work per CPU-second beside the peer (= 1, more is better)"
    (FOLDER / "adapter.svg").write_text(plot(title, bars, most=32), "utf-8")
