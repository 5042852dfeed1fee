"""The TCP listener beside HAProxy's `mode tcp`.

    python -m benchmarks.ambassador.tcp [--only WORKLOAD] [--rounds 3] [--seconds 2]

One process per proxy, on one core; load and back end on the other, as cheap as the system makes them: a file is sent
with sendfile(2), and what comes is thrown away with MSG_TRUNC, both without a copy, so that the proxy is what limits
the throughput. The rounds are interleaved and figures are medians. Exit status 1 if the bulk row is short.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ambassador.proxies import Proxy, Site, write
from benchmarks.processes import CORE, LOAD_CORE, free_port, program, start, stop, wait_for

FLOOR = 0.8
"""Bulk throughput beside HAProxy that is to be reached."""

FILE = 64 * 2**20
"""Bytes of the file that is sent over and over: large enough for few calls, small enough to stay in memory."""

PIECE = 2**20
MESSAGE = b"x" * 64
PARALLEL = 16
"""Connections with messages under way at the same time."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The back end's services, or a proxy's listeners in front of them."""

    source: int
    sink: int
    echo: int


# --- the back end -----------------------------------------------------------------------------------------------------


def bulk() -> int:
    """A file without a name."""
    file = os.memfd_create("bulk")
    os.ftruncate(file, FILE)
    return file


def pour(sock: socket.socket, file: int, until: Callable[[], bool]) -> int:
    """Send the file over and over; how many bytes went out."""
    count = 0
    while not until():
        count += os.sendfile(sock.fileno(), file, count % FILE, FILE - count % FILE)
    return count


def drink(sock: socket.socket, until: Callable[[], bool]) -> int:
    """Throw away what comes; how many bytes that was."""
    count, buffer = 0, bytearray(PIECE)
    while not until() and (got := sock.recv_into(buffer, PIECE, socket.MSG_TRUNC)):
        count += got
    return count


def echo(sock: socket.socket) -> None:
    """Send back what comes."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := sock.recv(65536):
        sock.sendall(data)


def backend(ports: Ports) -> None:
    """Serve for ever: a thread for each connection."""
    file = bulk()
    services: dict[int, Callable[[socket.socket], object]] = {
        ports.source: lambda sock: pour(sock, file, lambda: False),
        ports.sink: lambda sock: drink(sock, lambda: False),
        ports.echo: echo,
    }

    def serve(sock: socket.socket, service: Callable[[socket.socket], object]) -> None:
        with sock, suppress(OSError):
            service(sock)

    def accept(listening: socket.socket, service: Callable[[socket.socket], object]) -> None:
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=serve, args=(sock, service), daemon=True).start()

    for port, service in services.items():
        listening = socket.create_server(("127.0.0.1", port), backlog=1024)
        threading.Thread(target=accept, args=(listening, service)).start()


# --- the proxies ------------------------------------------------------------------------------------------------------


def podpatterns(site: Site, front: Ports, back: Ports) -> list[str]:
    """A listener for each service."""
    names = ("source", "sink", "echo")
    listeners = "".join(
        f"  - {{type: tcp, listen: '127.0.0.1:{getattr(front, name)}', to: {name}}}\n" for name in names
    )
    upstreams = "".join(f"    {name}: 127.0.0.1:{getattr(back, name)}\n" for name in names)
    text = f"ambassador:\n  listeners:\n{listeners}  upstreams:\n{upstreams}"
    file = write(site, "tcp.yaml", f"{text}runtime: {{admin: 'off', log_level: warning}}\n")
    return [sys.executable, "-m", "podpatterns", "run", file]


def haproxy(site: Site, front: Ports, back: Ports, more: str = "") -> list[str]:
    """One thread; its counters are always on."""
    text = (
        "global\n  nbthread 1\ndefaults\n  mode tcp\n  timeout connect 1s\n  timeout client 3600s\n"
        f"  timeout server 3600s\n{more}"
    )
    for name in ("source", "sink", "echo"):
        text += f"listen {name}\n  bind 127.0.0.1:{getattr(front, name)}\n  server it 127.0.0.1:{getattr(back, name)}\n"
    return [str(program("haproxy")), "-db", "-f", write(site, f"tcp-{front.echo}.cfg", text)]


def splicing(site: Site, front: Ports, back: Ports) -> list[str]:
    """HAProxy with an option that few set: bytes that nobody looks at stay in the kernel."""
    return haproxy(site, front, back, "  option splice-auto\n")


PROXIES: dict[str, Callable[[Site, Ports, Ports], list[str]]] = {
    "podpatterns": podpatterns,
    "haproxy": haproxy,
    "splicing": splicing,
}


# --- the load ---------------------------------------------------------------------------------------------------------


def timer(seconds: float) -> Callable[[], bool]:
    """True once so many seconds have passed."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def download(ports: Ports, seconds: float) -> float:
    """Megabytes that came from the source."""
    with socket.create_connection(("127.0.0.1", ports.source)) as sock:
        return drink(sock, timer(seconds)) / 1e6


def upload(ports: Ports, seconds: float) -> float:
    """Megabytes that the sink has taken."""
    with socket.create_connection(("127.0.0.1", ports.sink)) as sock:
        return pour(sock, bulk(), timer(seconds)) / 1e6


def messages(ports: Ports, seconds: float) -> float:
    """Small messages that came back, on connections that have one under way each."""
    socks = [socket.create_connection(("127.0.0.1", ports.echo)) for _ in range(PARALLEL)]
    over, count = timer(seconds), 0
    while not over():
        for sock in socks:
            sock.sendall(MESSAGE)
        for sock in socks:
            sock.recv(len(MESSAGE), socket.MSG_WAITALL)
        count += len(socks)
    for sock in socks:
        sock.close()
    return count


def connections(ports: Ports, seconds: float) -> float:
    """Connections that were opened, used for one message, and closed."""
    over, count = timer(seconds), 0
    while not over():
        with socket.create_connection(("127.0.0.1", ports.echo)) as sock:
            sock.sendall(MESSAGE)
            sock.recv(len(MESSAGE), socket.MSG_WAITALL)
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class Workload:
    """What is done, and in what it is counted."""

    run: Callable[[Ports, float], float]
    unit: str
    cost: str
    scale: float
    """From seconds of CPU for one unit to the unit of the cost."""


WORKLOADS = {
    "bulk to the client": Workload(download, "MB/s", "ms/GB", 1e6),
    "bulk from the client": Workload(upload, "MB/s", "ms/GB", 1e6),
    "64-byte messages": Workload(messages, "messages/s", "us each", 1e6),
    "connections": Workload(connections, "connections/s", "us each", 1e6),
}


def measure(proxies: dict[str, tuple[Proxy, Ports]], chosen: list[str], rounds: int, seconds: float) -> bool:
    """Run, print, and say whether bulk is fast enough."""
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    costs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for title in chosen:
            workload = WORKLOADS[title]
            for name, (proxy, ports) in proxies.items():
                before, begun = proxy.cpu(), time.monotonic()
                done = workload.run(ports, seconds)
                rates[title, name].append(done / (time.monotonic() - begun))
                costs[title, name].append((proxy.cpu() - before) / done * workload.scale)
    print(f"\n{'workload':22} {'proxy':12} {'rate':>10} {'':14} {'CPU':>8}")
    for title in chosen:
        for name in proxies:
            rate, cost = statistics.median(rates[title, name]), statistics.median(costs[title, name])
            print(f"{title:22} {name:12} {rate:10,.0f} {WORKLOADS[title].unit:14} {cost:8.1f} {WORKLOADS[title].cost}")
    good = True
    if len(proxies) < len(PROXIES):
        return good
    for title in chosen:
        ratio = statistics.median(rates[title, "podpatterns"]) / statistics.median(rates[title, "haproxy"])
        floored = title.startswith("bulk")
        verdict = ("ok" if ratio >= FLOOR else "short") if floored else ""
        good = good and verdict != "short"
        print(f"{title + ', rate beside haproxy':44} {ratio:6.2f} {f'>= {FLOOR}' if floored else '':8} {verdict}")
    return good


def main() -> int:
    """Start everything, measure, stop everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ambassador.tcp", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(WORKLOADS))
    parser.add_argument("--proxy", action="append", choices=list(PROXIES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--backend", nargs=3, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.backend:
        backend(Ports(*options.backend))
        return 0
    os.sched_setaffinity(0, {LOAD_CORE})
    processes: list[subprocess.Popen[bytes]] = []
    proxies: dict[str, tuple[Proxy, Ports]] = {}
    back = Ports(free_port(), free_port(), free_port())
    with tempfile.TemporaryDirectory() as folder:
        try:
            arguments = ["--backend", str(back.source), str(back.sink), str(back.echo)]
            processes.append(start([sys.executable, "-m", "benchmarks.ambassador.tcp", *arguments], LOAD_CORE))
            wait_for(back.echo, processes[-1])
            for name in options.proxy or PROXIES:
                front = Ports(free_port(), free_port(), free_port())
                site = Site(Path(folder), front.source, 0, back.source, back.sink, 1000)
                processes.append(start(PROXIES[name](site, front, back), CORE))
                wait_for(front.echo, processes[-1])
                proxies[name] = Proxy(name, front.source, processes[-1]), front
            good = measure(proxies, options.only or list(WORKLOADS), options.rounds, options.seconds)
        finally:
            stop(processes)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
