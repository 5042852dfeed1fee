"""What the proxies are asked to do, and how well ours has to do it beside the others."""

from __future__ import annotations

from dataclasses import dataclass, field

EVERYBODY = ("podpatterns", "envoy", "haproxy", "nginx", "aiohttp")
FAST = EVERYBODY[:-1]

HEADERS = {f"X-Header-{number}": "v" * 62 for number in range(11)}
"""Eleven fields, 900 bytes: what a browser or a tracing client sends."""


def chunks(size: int, count: int) -> str:
    """A body in chunks, as Lua writes it: the framing is done once, not for each request."""
    return f'string.rep("{size:x}\\r\\n" .. string.rep("x", {size}) .. "\\r\\n", {count}) .. "0\\r\\n\\r\\n"'


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of request, sent over and over by wrk: as soon as a response is complete, the next one."""

    name: str
    path: str = "/"
    connections: int = 32
    headers: dict[str, str] = field(default_factory=dict)
    script: str = ""
    """Lua for wrk, where the request is more than a path and headers."""
    proxies: tuple[str, ...] = FAST
    secure: bool = False
    """True if the upstreams speak TLS."""


WORKLOADS = (
    Workload("small GET", proxies=EVERYBODY),
    Workload("small GET, 11 headers", headers=HEADERS, proxies=EVERYBODY),
    Workload("small GET, keep-alive header", headers={"Connection": "keep-alive"}),
    Workload("small GET, 1 connection", connections=1),
    Workload("small GET, 512 connections", connections=512),
    Workload("GET 16 KB", "/16k", proxies=EVERYBODY),
    Workload("GET 1 MB", "/1m", 8),
    Workload("GET 16 KB chunked", "/chunked"),
    Workload("POST 4 KB", script='wrk.method, wrk.body = "POST", string.rep("x", 4096)', proxies=EVERYBODY),
    Workload("POST 1 MB", connections=8, script='wrk.method, wrk.body = "POST", string.rep("x", 1048576)'),
    Workload(
        "POST 16 KB chunked",
        script='local raw = "POST / HTTP/1.1\\r\\nHost: bench\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n" .. '
        + chunks(4096, 4)
        + "\nrequest = function() return raw end",
    ),
    Workload("small GET, HTTPS upstream", secure=True),
    Workload("GET 16 KB, HTTPS upstream", "/16k", secure=True),
)
TCP = "TCP"
PACED = "small GET at half load"
IDLE = "10,000 idle connections"
MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Floor:
    """How a figure of ours may stand beside a peer's: their ratio, at most `most`; `aim` is where we want to be."""

    figure: str
    workload: str
    peer: str
    most: float
    aim: float

    @property
    def row(self) -> str:
        """What a reader calls it."""
        return f"{FIGURES[self.figure]} beside {self.peer}, {self.workload}"


FIGURES = {"cpu": "CPU us/req", "p99": "p99 us", "rss": "RSS in MB"}


SMALL = ("small GET", "small GET, 11 headers")
BODIES = ("GET 16 KB", "GET 1 MB", "GET 16 KB chunked", "POST 4 KB", "POST 1 MB", "POST 16 KB chunked")

FLOORS = (
    *(Floor("cpu", name, "envoy", 0.75, 0.55) for name in SMALL),
    *(Floor("cpu", name, "haproxy", 1.8, 1.3) for name in SMALL),
    *(Floor("cpu", name, "aiohttp", 0.35, 0.25) for name in SMALL),
    *(Floor("cpu", name, "envoy", 1.0, 0.7) for name in BODIES),
    Floor("p99", PACED, "envoy", 1.0, 0.7),
    Floor("rss", MEMORY, "envoy", 0.65, 0.5),
)
