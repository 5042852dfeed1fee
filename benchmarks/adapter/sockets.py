"""Lines that come from another process: over sockets beside npm's statsd, out of a log beside mtail."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.adapter.corpus import SERIES, access, counted, lines, varied
from benchmarks.adapter.programs import Running, adapter, mtail, statsd, sum_of
from benchmarks.adapter.report import OURS
from benchmarks.processes import LOAD_CORE, free_port
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.runtime.units import Address

UNIX_LINES, UDP_LINES, LOG_LINES = 300_000, 240_000, 300_000
PER_DATAGRAM = {"unix": 20, "udp": 10}
CORPUS = 60_000
"""Different lines; they are sent as often as it takes. All 15 MB of a round would push what the receiver works with
out of the cache that both cores share, and it would be the sender's memory that is measured."""
WAITING = 1_000_000
"""Bytes that may wait in the kernel before another 25 datagrams are sent over UDP, or two thirds of the receiver's
buffer if that is less: so that nothing is dropped and the receiver is never without work."""

ASKED = int(StatsdConfig(listen=Address("127.0.0.1:0")).buffer)
"""Bytes that the adapter asks for; statsd takes what it is given."""

SENDER = """
import socket, sys, time
target, size, waiting, rounds, file = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
lines = open(file, "rb").read().split(b"\\n")
out = socket.socket(socket.AF_UNIX if target.startswith("/") else socket.AF_INET, socket.SOCK_DGRAM)
out.connect(target if target.startswith("/") else ("127.0.0.1", int(target)))
def queued():
    port = f":{int(target):04X}"
    for row in open("/proc/net/udp"):
        fields = row.split()
        if fields[1].endswith(port):
            return int(fields[4].split(":")[1], 16)
datagrams = [b"\\n".join(lines[at:at + size]) for at in range(0, len(lines), size)]
del lines
for at in list(range(0, len(datagrams), 25)) * rounds:
    while waiting and queued() > waiting:
        time.sleep(0.0002)
    for datagram in datagrams[at:at + 25]:
        out.send(datagram)
"""


@dataclass(slots=True)
class Fed:
    """What one round did: lines a CPU-second, and lines that did not arrive."""

    rate: float
    lost: int


Corpus = Callable[[int], list[bytes]]


@dataclass(slots=True)
class Listener:
    """A program that takes lines over UDP, and how many it says it has taken."""

    program: Running
    port: int
    taken: Callable[[Running], int]
    buffer: int = 0
    """Bytes of its receive buffer, as the kernel counts them."""


@dataclass(slots=True)
class Setting:
    """The programs, running, and how to feed each."""

    folder: Path
    ours: Running
    logs: Running
    mtail: Running
    udp: dict[tuple[Corpus, str], Listener]
    """By what they are sent, and the program's name. Each has one corpus, for the adapter learns from what comes."""

    def unix(self) -> Fed:
        """Lines over the unix socket; every one has to be in the sums as well."""
        before = sum_of(self.ours.get(), "shop_service[a-z0-9_]*_total")
        to = Listener(self.ours, 0, _taken)
        fed = self._sent("unix", str(self.folder / "statsd.sock"), lines, UNIX_LINES, to)
        grown = sum_of(self.ours.get(), "shop_service[a-z0-9_]*_total") - before
        sent = counted(lines(CORPUS)) * (UNIX_LINES // CORPUS)
        return Fed(fed.rate, fed.lost + round(abs(grown - sent)))

    def over_udp(self, corpus: Corpus, program: str) -> Fed:
        """Lines over UDP to the adapter or to statsd."""
        to = self.udp[corpus, program]
        return self._sent("udp", str(to.port), corpus, UDP_LINES, to)

    def our_log(self) -> Fed:
        """Lines of an access log to the adapter."""
        return self._written("ours.log", self.logs, lambda: sum_of(self.logs.get(), "bench_requests_total"))

    def mtail_log(self) -> Fed:
        """The same to mtail."""
        return self._written("mtail.log", self.mtail, lambda: sum_of(self.mtail.get(), "requests_total"))

    def _sent(self, kind: str, target: str, corpus: Corpus, count: int, to: Listener) -> Fed:
        different = count if corpus is varied else CORPUS
        file = self.folder / f"{corpus.__name__}.txt"
        if not file.exists():
            file.write_bytes(b"\n".join(corpus(different)))
        waiting = min(WAITING, to.buffer * 2 // 3)
        numbers = map(str, (PER_DATAGRAM[kind], waiting, count // different))
        command = [sys.executable, "-c", SENDER, target, *numbers, str(file)]
        before = to.taken(to.program)
        to.program.settle()
        start = to.program.cpu()
        subprocess.run(["taskset", "-c", str(LOAD_CORE), *command], check=True)
        to.program.settle()
        spent = to.program.cpu() - start
        arrived = to.taken(to.program) - before
        return Fed(arrived / spent, count - arrived)

    def _written(self, name: str, to: Running, received: Callable[[], float]) -> Fed:
        before = received()
        to.settle()
        start = to.cpu()
        with (self.folder / name).open("ab") as log:
            log.write(access(LOG_LINES))
        time.sleep(1.0)  # mtail looks every quarter of a second
        to.settle()
        spent = to.cpu() - start
        arrived = round(received() - before)
        return Fed(arrived / spent, LOG_LINES - arrived)


def buffer(asked: int = 0) -> int:
    """What the kernel gives to a UDP socket that asks for so much, or for nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if asked:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, asked)
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def _taken(ours: Running) -> int:
    page = ours.get()
    refused = sum_of(page, "podpatterns_adapter_lines_refused_total")
    return round(sum_of(page, "podpatterns_adapter_lines_total") - refused)


def _received(statsd: Running) -> int:
    found = re.search(r"'statsd\.metrics_received': (\d+)", _ask(statsd.port, "counters"))
    return int(found[1]) if found else 0


def _ask(port: int, question: str) -> str:
    """What statsd's management port answers."""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(question.encode() + b"\n")
        text = b""
        while b"END" not in text:
            part = sock.recv(1 << 20)
            if not part:
                break
            text += part
    return text.decode()


LOGS = r"""
  - type: logs
    paths: [{log}]
    rules:
    - match: '"(?P<method>[A-Z]+) \S+ [^"]*" (?P<status>\d{{3}}) (?P<bytes>\d+)'
      metrics:
      - {{name: bench_requests_total, labels: {{method: method, status: status}}}}
      - {{name: bench_bytes_total, value: bytes}}
"""


@contextmanager
def setting(folder: Path) -> Iterator[Setting]:
    """Every program started, and warm."""
    for name in ("ours.log", "mtail.log"):
        (folder / name).touch()
    with ExitStack() as stack:
        udp: dict[tuple[Corpus, str], Listener] = {}
        for corpus in (lines, varied):
            port = free_port()
            inputs = f'  - {{type: statsd, listen: "127.0.0.1:{port}"}}'
            udp[corpus, OURS] = Listener(stack.enter_context(adapter(folder, inputs)), port, _taken, buffer(ASKED))
            port = free_port()
            udp[corpus, "statsd"] = Listener(stack.enter_context(statsd(folder, port)), port, _received, buffer())
        found = Setting(
            folder,
            stack.enter_context(adapter(folder, f'  - {{type: statsd, listen: "unix:{folder}/statsd.sock"}}')),
            stack.enter_context(adapter(folder, LOGS.format(log=folder / "ours.log"))),
            stack.enter_context(mtail(folder, folder / "mtail.log")),
            udp,
        )
        # Twice, for the adapter decides after the first lines whether those that come again are worth being counted.
        for warm in (found.unix, found.our_log, found.mtail_log) * 2:
            warm()
        for corpus, program in list(udp) * 2:
            found.over_udp(corpus, program)
        assert SERIES < CORPUS
        yield found
