"""The logs that are shipped: made by a seeded generator, the same ones on every machine.

Each line has a number of its own, written `req-0000000042`, by which the receiver tells which lines came, and how
often. A few texts are longer than others and a few are not ASCII, as it is in life.
"""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

MARK = b"req-"
"""Stands in front of a line's number, once in each record."""
SEED = 4
LONG = 20_000
"""One line of so many is as long as a dump: 20 KB. A container runtime cuts it in two."""
PART = 16 * 1024
"""Bytes of text after which a container runtime cuts."""

_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "kube-probe/1.30",
)
_PEOPLE = ("ann", "bob", "carla", "dmitri", "eve", "faruk", "grace", "heidi")


def _clock(number: int) -> str:
    return f"{9 + number // 3_600_000 % 12:02}:{number // 60_000 % 60:02}:{number // 1000 % 60:02}"


def access(dice: random.Random, number: int) -> str:
    """A line of an access log in the combined format; 223 bytes on average."""
    pick = dice.random
    return (
        f"10.{int(pick() * 256)}.{int(pick() * 256)}.{int(pick() * 256)} - - [23/Nov/2026:{_clock(number)} +0000] "
        f'"GET /api/products/{int(pick() * 9e4)}?request=req-{number:010} HTTP/1.1" {200 if pick() < 0.97 else 404} '
        f'{int(pick() * 90000)} "https://shop.example/catalog" "{_AGENTS[int(pick() * pick() * 3)]}"'
    )


def application(dice: random.Random, number: int) -> str:
    """A line of an application that logs JSON: flat, with one object inside; 290 bytes on average."""
    pick = dice.random
    name = _PEOPLE[int(pick() * 8)] if pick() < 0.995 else "J\u00fcrgen \u0141"
    record = {
        "time": f"2026-11-23T{_clock(number)}.{number % 1000:03}Z",
        "level": "info" if pick() < 0.9 else "warning",
        "logger": "shop.orders.checkout",
        "message": "order placed" if number % LONG else "dump " + "0123456789abcdef " * 1200,
        "request_id": f"req-{number:010}",
        "customer": {"name": name, "plan": "free" if pick() < 0.8 else "pro", "orders": int(pick() * 50)},
        "duration_ms": int(pick() * 1e6) / 1e3,
        "items": [int(pick() * 9000), int(pick() * 9000)],
        "path": f"/api/orders/{int(pick() * 1e5)}",
        "cached": pick() < 0.5,
    }
    return json.dumps(record, ensure_ascii=False)


def container(dice: random.Random, number: int) -> str:
    """What a container runtime makes of an application's text (two lines of one that is long); 190 bytes on average."""
    pick = dice.random
    head = f"2026-11-23T{_clock(number)}.{int(pick() * 1e9):09}Z {'stdout' if pick() < 0.9 else 'stderr'}"
    name = _PEOPLE[int(pick() * 8)] if pick() < 0.995 else "J\u00fcrgen \u0141"
    text = (
        f'INFO  shop.orders.checkout [worker-{int(pick() * 16)}] order {int(pick() * 1e5)} of "{name}" placed in '
        f"{int(pick() * 1e6) / 1e3} ms, {int(pick() * 9)} items, req-{number:010}"
    )
    if number % LONG:
        return f"{head} F {text}"
    text += " " + "0123456789abcdef " * 1200
    return f"{head} P {text[:PART]}\n{head} F {text[PART:]}"


KINDS: dict[str, Callable[[random.Random, int], str]] = {"access": access, "json": application, "cri": container}


@dataclass(frozen=True, slots=True)
class Log:
    """A file of one kind of log."""

    kind: str
    path: Path
    sizes: array[int]
    """Bytes of each record in the file, newlines included."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(self.sizes)


def lines(kind: str) -> Iterator[str]:
    """Lines without end."""
    dice, line = random.Random(SEED), KINDS[kind]
    return (line(dice, number) for number in count())


def write(kind: str, path: Path, size: int) -> Log:
    """Write a log of at least so many bytes."""
    sizes, left = array("L"), size
    with path.open("wb", 1 << 20) as file:
        for line in lines(kind):
            left -= file.write(line.encode() + b"\n")
            sizes.append(len(line.encode()) + 1)
            if left <= 0:
                break
    return Log(kind, path, sizes)
