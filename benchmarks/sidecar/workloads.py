"""What the shippers are asked to do, and how well ours has to do it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

OURS = "podpatterns"

FIELDS = ("client", "user", "time", "method", "path", "protocol", "status", "bytes", "referer", "agent")
PATTERN = (
    r"(?P<client>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "
    r'"(?P<method>\S+) (?P<path>\S+) (?P<protocol>[^"]+)" '
    r'(?P<status>\d+) (?P<bytes>\S+) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"'
)
"""Ten fields of an access log, as people write such expressions; every shipper gets this one."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A log that is there at once is read, worked on and sent."""

    name: str
    log: str
    work: str
    """What is done to each line: `lines`, `json`, `regex` or `cri`."""
    protocol: str
    """`http`: NDJSON, which the far side acknowledges. `tcp`: RFC 5424 with octet counting, which nobody does."""
    check: Callable[[str], bool]
    """Whether a record of ours is what it should be."""
    least: float = 0.0
    """MB per CPU-second to reach, on the day that the yardstick was 450."""
    aim: float = 0.0
    peers: tuple[str, ...] = ("syslog-ng",)


def is_lines(record: str) -> bool:
    """The line and the pod's metadata."""
    fields = json.loads(record)
    return " HTTP/1.1" in fields["message"] and fields["pod"] == "storefront-7d9c" and fields["namespace"] == "shop"


def is_json(record: str) -> bool:
    """The application's fields and the pod's metadata."""
    fields = json.loads(record)
    return fields["customer"]["plan"] in ("free", "pro") and fields["kubernetes"]["labels"]["app"] == "storefront"


def is_regex(record: str) -> bool:
    """Ten fields and the pod's metadata."""
    fields = json.loads(record)
    return fields["status"] in ("200", "404") and {*FIELDS, "pod"} <= fields.keys()


def is_cri(record: str) -> bool:
    """Time, stream and text, in one piece."""
    fields = json.loads(record)
    return (
        fields["stream"] in ("stdout", "stderr")
        and fields["message"].startswith("INFO  ")
        and fields["time"].startswith("2026-11-23T")
        and "partial" not in fields
    )


def is_message(record: str) -> bool:
    """RFC 5424's header; nothing stands between two messages, so that a sample is many of them."""
    return "1 2026-" in record and " storefront-7d9c shop - - - " in record


LINES = Workload("lines to HTTP", "access", "lines", "http", is_lines, 260, 400)
JSON = Workload("JSON, enriched, to HTTP", "json", "json", "http", is_json, 120, 200)
REGEX = Workload("regex of 10 fields to HTTP", "access", "regex", "http", is_regex, 80, 120)
CRI = Workload("CRI to HTTP", "cri", "cri", "http", is_cri, 120, 200)
TCP_LINES = Workload("lines to syslog over TCP", "access", "lines", "tcp", is_message, peers=("rsyslog", "syslog-ng"))
TCP_JSON = Workload(
    "JSON, enriched, to syslog over TCP", "json", "json", "tcp", is_message, peers=("rsyslog", "syslog-ng")
)
WORKLOADS = (LINES, JSON, REGEX, CRI, TCP_LINES, TCP_JSON)
YARDSTICK = 450.0
"""MB per CPU-second of the yardstick on the day that the floors were set."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A figure of ours that must not be higher."""

    name: str
    unit: str
    most: float
    aim: float


RSS = Ceiling("peak RSS under all of that", "MB", 64, 48)
FILES = Ceiling("RSS with 1,000 files tailed", "MB", 80, 64)
IDLE = Ceiling("idle CPU with 100 quiet files", "% of a core", 0.2, 0.1)
BATCHED = Ceiling("written to acknowledged, p99, default batch", "ms", 1200, 1100)
PROMPT = Ceiling("written to acknowledged, p99, linger: 10ms", "ms", 50, 25)
CEILINGS = (RSS, FILES, IDLE, BATCHED, PROMPT)
