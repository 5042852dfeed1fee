"""A shop that was written for StatsD and Redis, years before anybody thought of Prometheus.

It sends each order's figures as StatsD lines, and keeps the baskets in Redis while that is there. Only the standard
library, so that it runs in any Python image.
"""

import contextlib
import os
import random
import signal
import socket
import sys
import time

STATSD = (os.environ.get("STATSD_HOST", "127.0.0.1"), int(os.environ.get("STATSD_PORT", "8125")))
REDIS = (os.environ.get("REDIS_HOST", "127.0.0.1"), int(os.environ.get("REDIS_PORT", "6379")))
CITIES = ("zurich", "geneva", "basel")


def keep_basket(customer: int) -> None:
    """One more item in a customer's basket, as Redis' protocol says it."""
    words = ("HINCRBY", "baskets", str(customer), "1")
    command = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    with contextlib.suppress(OSError), socket.create_connection(REDIS, timeout=0.2) as redis:
        redis.sendall(command.encode())
        redis.recv(100)


def main() -> None:
    """Sell, for ever."""
    statsd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sold = 0
    while True:
        city, customer = random.choice(CITIES), random.randrange(50)
        began = time.monotonic()
        keep_basket(customer)
        time.sleep(random.uniform(0.01, 0.05))
        took = (time.monotonic() - began) * 1000
        sold += 1
        lines = [
            f"shop.{city}.orders:1|c",
            f"shop.{city}.checkout:{took:.1f}|ms",
            f"shop.stock:{1000 - sold % 1000}|g",
            f"shop.customers:{customer}|s",
        ]
        statsd.sendto("\n".join(lines).encode(), STATSD)
        if sold % 100 == 1:
            print(f"{sold} orders so far", flush=True)


# The first process of a container has no default action for SIGTERM.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
main()
