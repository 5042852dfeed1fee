"""Counts, over real processes: what clients see while services are killed, and where requests go."""

import asyncio
import json
import math
import random
from collections import Counter
from random import Random

import pytest

from podpatterns.ambassador.route import RouteConfig
from tests.ambassador.strict.processes import Asking, kill_at_random

SECONDS = 3.0
"""How long services are killed for; `make soak` does the same for as long as you like."""

CLIENTS = 8


@pytest.mark.holds("RFC 9110 9.2.2")
@pytest.mark.parametrize("grouped", [True, False], ids=["two addresses", "two versions"])
async def test_services_are_killed(service, launched, grouped):
    """No idempotent request fails, and no other one is ever carried out twice, while a service dies every 0.3 s."""
    services = [await service("one"), await service("two")]
    ports = [f"127.0.0.1:{each.port}" for each in services]
    addresses = {"both": ports} if grouped else {"one": ports[:1], "two": ports[1:]}
    upstreams = {name: {"addresses": each} for name, each in addresses.items()}
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
    assert kills > 2
    assert set(reads) == {200}, asking.errors
    assert reads[200] > 100
    assert asking.broken == 0
    writes = Counter(line for each in services for line in each.seen if line.startswith("POST"))
    assert len(writes) > 100
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
        # Four where the result is another one in each run: three would be too few once in 200 runs.
        share = weight / sum(weights.values())
        deviation = math.sqrt(total * share * (1 - share))
        assert abs(answers[b"200" + name.encode()] - total * share) < (4 if gone else 3) * deviation, json.dumps(
            {key.decode(): value for key, value in answers.items()}
        )
