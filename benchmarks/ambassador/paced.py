"""A load generator that does not wait for the proxy: `python -m benchmarks.ambassador.paced PORT RATE SECONDS`.

Requests are due at random times (a Poisson process, the same one for every proxy), and a latency is counted from the
time at which its request was due, not from when it could be sent: a proxy that stalls makes all that are due meanwhile
late, as its clients would feel it. (wrk asks again only when it has been answered, and so leaves out what it did not
send.)

One JSON object is printed: requests, seconds, failed, p50, p99, p999 (microseconds).
"""

from __future__ import annotations

import ctypes
import gc
import json
import random
import select
import socket
import sys
import time
from collections import deque

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
CONNECTIONS = 32
SIZE = 64
"""Bytes of the body that the back end sends."""
WARM = 0.3
"""Seconds before the latencies count."""
PR_SET_TIMERSLACK = 29


def connect(port: int) -> socket.socket:
    """A connection that never waits."""
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return client


def complete(data: bytes) -> bool:
    """Whether a response has come in full."""
    head, end, body = data.partition(b"\r\n\r\n")
    return bool(end) and head.startswith(b"HTTP/1.1 200") and len(body) == SIZE


def run(port: int, rate: float, seconds: float) -> tuple[list[float], int]:
    """The latencies in seconds, and how many requests were not answered as they should be."""
    dice = random.Random(1)
    clock = time.perf_counter
    due, at = [], 0.0
    while at < seconds:
        at += dice.expovariate(rate)
        due.append(at)
    clients = [connect(port) for _ in range(CONNECTIONS)]
    free = deque(clients)
    sent: dict[socket.socket, float] = {}
    latencies: list[float] = []
    failed = 0
    number, total = 0, len(due)
    start = clock() + 0.01
    while number < total or sent:
        now = clock() - start
        while number < total and due[number] <= now and free:
            client = free.popleft()  # the one that has rested longest: all of them are in use
            client.send(REQUEST)
            sent[client] = due[number]
            number += 1
        wait = due[number] - now if number < total and free else 1.0
        if wait < 0:
            wait = 0.0
        for client in select.select(sent, (), (), wait)[0] if sent else select.select((), (), (), wait)[0]:
            data = client.recv(4096)
            if not complete(data):
                failed += 1
                if not data:
                    del sent[client]
                    continue
            latencies.append(clock() - start - sent.pop(client))
            free.append(client)
        if clock() - start > seconds + 5:
            failed += total - number + len(sent)
            break
    return latencies, failed


def main() -> None:
    """Print the figures."""
    port, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)  # sleep for as long as was asked, not for 50 us more
    gc.disable()
    warm, early = run(port, rate, WARM)
    latencies, failed = run(port, rate, seconds)
    latencies.sort()
    figures = {"requests": len(warm) + len(latencies), "seconds": WARM + seconds, "failed": early + failed}
    for name, part in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
        figures[name] = latencies[int(len(latencies) * part)] * 1e6 if latencies else 0.0
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
