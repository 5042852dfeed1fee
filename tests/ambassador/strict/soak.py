"""Hours in one process: `python -m tests.ambassador.strict.soak [SECONDS]`, or `make soak`; an hour if nothing is said.

Two versions, of which one is killed and started again all the time, and clients that ask without a pause, come and go.
At the end: no idempotent request has failed, no other one was carried out twice, and the process holds no more memory
than it did after a quarter of the time.
"""

import asyncio
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from tests.ambassador.strict.processes import Asking, Service, kill_at_random, launched

CLIENTS = 8
GROWTH = 2 << 20
"""Bytes that the middle of the last quarter may lie above that of the second one: what the allocator does by itself."""


class Report:
    """What has happened, and what of it is wrong."""

    def __init__(self, asking, services, memory):
        quarter = len(memory) // 4
        self.before = statistics.median(memory[quarter : 2 * quarter])
        self.after = statistics.median(memory[3 * quarter :])
        self.requests = asking.statuses.total()
        reads = Counter({status: count for (method, status), count in asking.statuses.items() if method == "GET"})
        writes = Counter(line for each in services for line in each.seen if line.startswith("POST"))
        twice = [line for line, count in writes.items() if count > 1]
        self.wrong = []
        if set(reads) != {200} or asking.broken:
            self.wrong.append(f"idempotent requests failed: {dict(reads)}, {asking.broken} broken off: {asking.errors}")
        if twice:
            self.wrong.append(f"{len(twice)} requests that are not idempotent were carried out twice: {twice[:3]}")
        if self.after > self.before + GROWTH:
            self.wrong.append(f"memory grew from {self.before / 2**20:.1f} to {self.after / 2**20:.1f} MiB")

    def __str__(self):
        memory = f"{self.before / 2**20:.1f} MiB after a quarter, {self.after / 2**20:.1f} at the end"
        return "\n".join([f"{self.requests} requests; {memory}", *(self.wrong or ["all well"])])


async def soak(seconds, folder):
    """Run for so long; the report."""
    services = [Service("one", folder), Service("two", folder)]
    memory = []
    try:
        for each in services:
            await each.start()
        upstreams = {each.name: {"addresses": [f"127.0.0.1:{each.port}"]} for each in services}
        routes = [{"split": {"one": 50, "two": 50}, "sticky": {"header": "x-user"}}]
        config = {"listeners": [{"listen": "127.0.0.1:0", "routes": routes}], "upstreams": upstreams}
        async with launched(folder, config) as process:
            asking = Asking(process.port, leave_after=200)
            clients = [
                asyncio.create_task(asking.client("POST" if number % 2 else "GET", "/slow" if number % 4 > 1 else ""))
                for number in range(CLIENTS)
            ]
            killing = asyncio.create_task(kill_at_random(services, seconds, Random(7)))
            while not killing.done():
                memory.append(process.resident)
                process.logs.clear()
                await asyncio.wait([killing], timeout=0.25)
            await killing
            asking.over = True
            await asyncio.gather(*clients)
    finally:
        for each in services:
            await each.close()
    return Report(asking, services, memory)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(soak(seconds, Path(folder)))
    sys.stdout.write(f"{report}\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
