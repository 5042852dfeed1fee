"""Counts, over real processes: what clients see while services are killed, and where requests go."""

import asyncio
import json
import math
import random
from collections import Counter
from random import Random

import pytest

from podpatterns.ambassador.route import RouteConfig

SECONDS = 6.0
"""How long services are killed for; `python -m tests.ambassador.strict.soak` does the same for as long as you like."""

CLIENTS = 8


class Asking:
    """Clients that ask without a pause, each on a connection that it keeps; every request has a number of its own."""

    def __init__(self, port):
        self.port = port
        self.over = False
        self.statuses = Counter()
        self.bodies = Counter()
        self.broken = 0
        self.errors = Counter()
        self._number = 0

    async def client(self, method, path):
        reader = writer = None
        while not self.over:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            self._number += 1
            length = "Content-Length: 0\r\n" if method == "POST" else ""
            writer.write(f"{method} {path}/{self._number} HTTP/1.1\r\nHost: a\r\n{length}\r\n".encode())
            try:
                async with asyncio.timeout(20):
                    head = await reader.readuntil(b"\r\n\r\n")
                    size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                    body = await reader.readexactly(size)
            except (OSError, asyncio.IncompleteReadError):
                self.broken += 1
                writer.close()
                writer = None
                continue
            status = int(head.split()[1])
            if status != 200:
                self.errors[method, body] += 1
            self.statuses[method, status] += 1
            if status == 200:
                self.bodies[body.decode()] += 1
            if b"connection: close" in head.lower():
                writer.close()
                writer = None
        if writer is not None:
            writer.close()


async def kill_at_random(services, seconds, dice):
    """Kill one service after the other, and start it again; all but one are always alive."""
    loop = asyncio.get_running_loop()
    end, kills = loop.time() + seconds, 0
    while loop.time() < end:
        victim = dice.choice(services)
        await asyncio.sleep(dice.uniform(0.3, 0.5))
        await victim.kill()
        kills += 1
        await asyncio.sleep(dice.uniform(0.0, 0.2))
        await victim.start()
    return kills


@pytest.mark.parametrize("grouped", [True, False], ids=["two addresses", "two versions"])
async def test_services_are_killed(service, launched, grouped):
    """No idempotent request fails, and no other one is ever carried out twice, while a service dies every 0.3 s."""
    services = [await service("one"), await service("two")]
    ports = [f"127.0.0.1:{each.port}" for each in services]
    upstreams = {"both": ports} if grouped else {"one": ports[0], "two": ports[1]}
    route = {"to": "both"} if grouped else {"split": {"one": 50, "two": 50}}
    config = {"listeners": [{"listen": "127.0.0.1:0", "routes": [route]}], "upstreams": upstreams}
    async with launched(config) as process:
        asking = Asking(process.port)
        clients = [
            asyncio.create_task(asking.client("POST" if number % 2 else "GET", "/slow" if number % 4 > 1 else ""))
            for number in range(CLIENTS)
        ]
        kills = await kill_at_random(services, SECONDS, Random(7))
        asking.over = True
        await asyncio.gather(*clients)
    reads = {status: count for (method, status), count in asking.statuses.items() if method == "GET"}
    assert kills > SECONDS
    assert set(reads) == {200}, asking.errors
    assert reads[200] > 100 * SECONDS
    assert asking.broken == 0
    writes = Counter(line for each in services for line in each.seen if line.startswith("POST"))
    assert len(writes) > 50 * SECONDS
    assert set(writes.values()) == {1}


@pytest.mark.parametrize("gone", [False, True], ids=["all there", "one gone"])
async def test_shares(upstream, running, connect, gone, unused_tcp_port):
    """Of 10,000 requests each version gets its share within three standard deviations; also of what one leaves."""
    random.seed(7)  # what is drawn is the same in each run, and so is the result where nothing else draws
    weights, total = {"a": 60, "b": 30, "c": 10}, 10_000
    ports = {name: await upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + name.encode()) for name in weights}
    if gone:
        ports["a"] = unused_tcp_port
        del weights["a"]
    routes = (RouteConfig(split={"a": 60, "b": 30, "c": 10}),)
    async with running(ports, routes=routes) as proxy:
        answers = Counter()

        async def ask(count):
            client = await connect(proxy)
            for _ in range(count):
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                answers[(await client.until(b"\r\n\r\n"))[9:12] + await client.exactly(1)] += 1

        await asyncio.gather(*(ask(total // 10) for _ in range(10)))
    assert sum(answers.values()) == total
    assert answers.keys() == {b"200" + name.encode() for name in weights}
    for name, weight in weights.items():
        share = weight / sum(weights.values())
        deviation = math.sqrt(total * share * (1 - share))
        assert abs(answers[b"200" + name.encode()] - total * share) < (4 if gone else 3) * deviation, json.dumps(
            {key.decode(): value for key, value in answers.items()}
        )
