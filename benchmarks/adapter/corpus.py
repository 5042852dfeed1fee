"""What the adapter is given: StatsD lines, an exposition page, an access log. The same on each day."""

from __future__ import annotations

import random
from functools import cache

SERIES, SAMPLES = 7_500, 20_000
VALUES = ("1", "3", "12.5", "320")


@cache
def lines(count: int) -> list[bytes]:
    """DogStatsD lines of 7,500 series, counters, gauges and timers; each at least once, the rest drawn evenly."""
    draw = random.Random(1)
    series = [
        (f"shop.service{i % 50}.metric{i}", ("c", "g", "ms")[i % 3], f"env:prod,region:eu-{i % 4},version:1.{i % 10}")
        for i in range(SERIES)
    ]
    drawn = [*series, *(draw.choice(series) for _ in range(count - SERIES))]
    return [f"{name}:{draw.choice(VALUES)}|{kind}|#{tags}".encode() for name, kind, tags in drawn]


@cache
def varied(count: int) -> list[bytes]:
    """Lines of the same series in which hardly a value comes twice."""
    draw = random.Random(3)
    cut = (line.split(b":", 1) for line in lines(count))
    return [b"%b:%.3f|%b" % (name, draw.uniform(0, 1000), rest.split(b"|", 1)[1]) for name, rest in cut]


def counted(some: list[bytes]) -> float:
    """What the counters among some lines add up to."""
    return sum(float(line.split(b":", 1)[1].split(b"|", 1)[0]) for line in some if b"|c|" in line)


@cache
def page(samples: int = SAMPLES, source: str = "a") -> bytes:
    """An exposition page of samples with three labels."""
    rows = [f'http_requests_total{{code="200",method="GET",path="/{source}/{i}"}} {i * 1.5}\n' for i in range(samples)]
    return ("# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\n" + "".join(rows)).encode()


@cache
def access(count: int) -> bytes:
    """Lines of an access log in the combined format."""
    draw = random.Random(2)
    return "".join(
        f"10.0.{draw.randrange(256)}.{draw.randrange(256)} - - [28/Nov/2026:10:{i // 60 % 60:02}:{i % 60:02} +0000] "
        f'"{draw.choice(("GET", "GET", "GET", "POST"))} /catalog/items/{draw.randrange(5000)} HTTP/1.1" '
        f"{draw.choice((200, 200, 200, 200, 304, 404, 500))} {draw.randrange(50, 20000)} "
        '"-" "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0"\n'
        for i in range(count)
    ).encode()
