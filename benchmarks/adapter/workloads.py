"""What is measured, and how well the adapter has to do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

YARDSTICK = 2.2e6
"""Lines per CPU-second that the yardstick did on the day on which the floors were set."""

UNIX = "DogStatsD lines, unix datagrams"
MEMORY_LINES = "DogStatsD lines, in memory"
VARIED = "the same in memory, no value twice"
UDP = "DogStatsD lines, UDP, 10 per datagram"
UDP_VARIED = "the same over UDP, no value twice"
CACHED = "100 mapping rules, known names"
UNCACHED = "100 mapping rules, new names"
PARSE = "parse a page of 20,000 samples"
FIRST = "parse such a page for the first time"
RENDER = "render 20,000 samples"
MERGE = "merge and relabel 20,000 samples"
LOGS = "access log to metrics"
SERIES = "memory for a series"
RSS = "memory with 10,000 series"
NGINX = "nginx, scraped"
REDIS = "Redis, scraped"


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure of ours, and what it has to be: by itself, or as a multiple of a peer's.

    Rates must be at least that, costs at most. With `scaled`, the bound is for a machine on which the yardstick does
    2.2 million lines, and follows it.
    """

    row: str
    unit: str
    figure: Literal["rate", "cost"]
    bound: float
    aim: float
    peer: str = ""
    scaled: bool = False


BOUNDS = (
    Bound(UNIX, "lines per CPU-second", "rate", 700_000, 1_000_000, scaled=True),
    Bound(UDP, "lines per CPU-second", "rate", 4, 8, peer="statsd"),
    Bound(CACHED, "names per CPU-second", "rate", 600_000, 600_000, scaled=True),
    Bound(UNCACHED, "names per CPU-second", "rate", 100_000, 100_000, scaled=True),
    Bound(PARSE, "samples per CPU-second", "rate", 8, 15, peer="client_python"),
    Bound(RENDER, "samples per CPU-second", "rate", 8, 20, peer="client_python"),
    Bound(MERGE, "ms of CPU", "cost", 60, 30, scaled=True),
    Bound(LOGS, "lines per CPU-second", "rate", 4, 8, peer="mtail"),
    Bound(SERIES, "bytes", "cost", 400, 250),
    Bound(RSS, "MB", "cost", 55, 55),
)
"""What has to hold."""

SHOWN = {
    UDP_VARIED: ("lines per CPU-second", "statsd"),
    MEMORY_LINES: ("lines per CPU-second", ""),
    VARIED: ("lines per CPU-second", ""),
    FIRST: ("samples per CPU-second", ""),
}
"""What is measured beside it, with its unit, and the peer if there is one."""
