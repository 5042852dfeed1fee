"""How long a scrape takes, and what it costs: the adapter's inputs beside Debian's exporters."""

from __future__ import annotations

import http.client
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.adapter.programs import Running, adapter, nginx, nginx_exporter, redis, redis_exporter

SCRAPES = 200


@dataclass(frozen=True, slots=True)
class Scraped:
    """Median milliseconds, milliseconds of CPU for each scrape, resident megabytes."""

    latency: float
    cpu: float
    rss: float


def scraped(running: Running) -> Scraped:
    """Scrapes one after the other over one connection, as Prometheus has it."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)

    def once() -> float:
        begin = time.perf_counter()
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert b"_up 1" in response.read()
        return time.perf_counter() - begin

    for _ in range(20):
        once()
    start = running.cpu()
    taken = [once() for _ in range(SCRAPES)]
    spent = running.cpu() - start
    connection.close()
    return Scraped(statistics.median(taken) * 1000, spent / SCRAPES * 1000, running.rss())


def exporters(folder: Path) -> dict[tuple[str, str], Scraped]:
    """By what is asked and who asks."""
    found = {}
    with ExitStack() as stack:
        web, store = stack.enter_context(nginx(folder)), stack.enter_context(redis(folder))
        url = f'  - {{type: nginx, url: "http://127.0.0.1:{web.port}/stub_status"}}'
        address = f'  - {{type: redis, address: "127.0.0.1:{store.port}"}}'
        for who, running in (
            (("nginx", "podpatterns"), adapter(folder, url)),
            (("nginx", "exporter"), nginx_exporter(folder, web.port)),
            (("redis", "podpatterns"), adapter(folder, address)),
            (("redis", "exporter"), redis_exporter(folder, store.port)),
        ):
            with running as each:
                found[who] = scraped(each)
    return found
