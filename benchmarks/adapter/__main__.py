"""How fast the adapter is: `python -m benchmarks.adapter`. Exit code 1 if a row is short of its floor.

CPU seconds of this process alone, the best of three rounds. Rows without a peer are scaled by a yardstick timed in the
same run: splitting DogStatsD lines held in memory and adding each value to a slot found in a dictionary by (name, type
and tags), which made 2.2 million lines per CPU-second on the machine where the floors were set.
"""

from __future__ import annotations

import asyncio
import gc
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.intake import Intake
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.page import compose
from podpatterns.adapter.runtime import Adapter
from podpatterns.adapter.store import Shape, Store
from podpatterns.adapter.transforms.relabel import Relabel, RuleConfig
from podpatterns.formats import prometheus
from podpatterns.formats.families import Blocks
from podpatterns.runtime.service import Context
from podpatterns.runtime.units import Address, Duration

YARDSTICK = 2.2e6
SERIES, LINES, SAMPLES = 7_500, 300_000, 20_000


class Sink:
    """Counts what must not happen here."""

    refused = 0

    def lines_taken(self, count: int) -> None:
        """Counted by the benchmark itself."""

    def line_refused(self, reason: str, detail: str) -> None:  # noqa: ARG002
        """No line is to be refused."""
        self.refused += 1

    def line_skipped(self, what: str) -> None:  # noqa: ARG002
        """No line is to be skipped."""
        self.refused += 1


def lines() -> list[bytes]:
    """Lines of all series, each series at least once, the rest drawn evenly."""
    draw = random.Random(1)
    series = [
        (f"shop.service{i % 50}.metric{i}", ("c", "g", "ms")[i % 3], f"env:prod,region:eu-{i % 4},version:1.{i % 10}")
        for i in range(SERIES)
    ]
    drawn = [*series, *(draw.choice(series) for _ in range(LINES - SERIES))]
    return [f"{name}:{draw.choice(['1', '3', '12.5', '320'])}|{kind}|#{tags}".encode() for name, kind, tags in drawn]


def cpu(work: Callable[[], object], rounds: int = 3) -> float:
    """Seconds of CPU, the best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


class Slot:
    """What the yardstick adds to."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


def yardstick(chunks: list[bytes]) -> None:
    """The least that any such program does."""
    slots: dict[tuple[bytes, bytes], Slot] = {}
    for chunk in chunks:
        for line in chunk.split(b"\n"):
            name, _, rest = line.partition(b":")
            value, _, tail = rest.partition(b"|")
            slot = slots.get((name, tail))
            if slot is None:
                slot = slots[name, tail] = Slot()
            slot.value += float(value)


SENDER = """
import socket, sys
path, size = sys.argv[1], int(sys.argv[2])
lines = open(sys.argv[3], "rb").read().split(b"\\n")
out = socket.socket(socket.AF_UNIX if path.startswith("/") else socket.AF_INET, socket.SOCK_DGRAM)
out.connect(path if path.startswith("/") else ("127.0.0.1", int(path)))
for at in range(0, len(lines), size):
    out.send(b"\\n".join(lines[at:at + size]))
"""


async def over_socket(all_lines: list[bytes], listen: str, batch: int) -> tuple[float, int]:
    """CPU seconds of the adapter per line that came through a socket from another process, and lines that came."""
    config = AdapterConfig(
        inputs=[StatsdConfig(listen=Address(listen))],
        outputs=[PrometheusConfig(listen=Address("127.0.0.1:0"), final_scrape=Duration("0s"))],
    )
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "lines"
        file.write_bytes(b"\n".join(all_lines))
        async with Adapter(config, Context()) as adapter:
            adapter.feed(b"\n".join(all_lines[:SERIES]))  # known series
            before, start = adapter.events.lines, time.process_time()
            address = adapter.inputs[0].address  # type: ignore[attr-defined]
            target = address.path or str(address.port)
            sender = await asyncio.create_subprocess_exec(sys.executable, "-c", SENDER, target, str(batch), file)
            await sender.wait()
            seen = -1
            while seen != adapter.events.lines:
                seen = adapter.events.lines
                await asyncio.sleep(0.1)
            taken = adapter.events.lines - before
            return (time.process_time() - start) / max(taken, 1), taken


def page() -> bytes:
    """An exposition page of samples with three labels."""
    rows = [f'http_requests_total{{code="200",method="GET",path="/item/{i}"}} {i * 1.5}\n' for i in range(SAMPLES)]
    return ("# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\n" + "".join(rows)).encode()


MEMORY = """
import time
def rss():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
import asyncio
from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.runtime import config, process
from podpatterns.runtime.units import Address, Duration
async def main():
    page = PrometheusConfig(listen=Address("127.0.0.1:0"), final_scrape=Duration("0s"))
    pattern = AdapterConfig(inputs=[StatsdConfig(listen=Address("127.0.0.1:0"))], outputs=[page])
    runtime = config.RuntimeConfig(admin=Address("127.0.0.1:0"), log_level="error", log_format="json")
    running = process.Process(config.of([pattern], runtime))
    async with running.supervisor:
        adapter = running.patterns["adapter"]
        idle = rss()
        for i in range(10000):
            adapter.feed(f"shop.metric{i % 50}:1|c|#env:prod,path:/item/{i}".encode())
        print(idle, rss())
import uvloop
uvloop.run(main())
"""


def rows() -> list[tuple[str, float, str, float, bool]]:
    """Name, figure, unit, floor, and whether more is better."""
    from prometheus_client import generate_latest
    from prometheus_client.parser import text_string_to_metric_families

    all_lines = lines()
    chunks = [b"\n".join(all_lines[at : at + 1000]) for at in range(0, len(all_lines), 1000)]
    scale = LINES / cpu(lambda: yardstick(chunks)) / YARDSTICK
    print(f"yardstick {scale * YARDSTICK / 1e6:.2f} million lines per CPU-second; floors are scaled by {scale:.2f}")
    found = []

    sink = Sink()
    intake = Intake(Store(Shape(), time.monotonic, lambda _name: None), sink)

    def in_memory() -> None:
        for chunk in chunks:
            intake.feed(chunk)

    in_memory()
    found.append(("DogStatsD lines in memory", LINES / cpu(in_memory), "lines/CPU-s", 700_000 * scale, True))
    assert not sink.refused
    with tempfile.TemporaryDirectory() as directory:
        rounds = [uvloop.run(over_socket(all_lines, f"unix:{directory}/s{number}", 20)) for number in range(3)]
    per_line, taken = min(rounds)
    assert taken == LINES, f"{taken} of {LINES} lines came"
    found.append(("the same, unix datagrams of 20 lines", 1 / per_line, "lines/CPU-s", 700_000 * scale, True))
    per_line, taken = uvloop.run(over_socket(all_lines, "127.0.0.1:0", 10))
    print(f"UDP: {taken} of {LINES} lines came; the kernel drops what finds no room")
    found.append(("the same, UDP datagrams of 10 lines", 1 / per_line, "lines/CPU-s", 0.0, True))

    text = page()
    blocks = Blocks()
    families = prometheus.parse(text, blocks)
    ours = cpu(lambda: prometheus.parse(text, blocks))
    first = cpu(lambda: prometheus.parse(text))
    peer_families: list[object] = []

    def peer_parse() -> None:
        peer_families[:] = text_string_to_metric_families(text.decode())

    peer = cpu(peer_parse, 2)
    found.append(("parse, beside client_python", peer / ours, "x", 8, True))
    found.append(("parse a page never seen before", peer / first, "x", 0, True))

    class Registry:
        def collect(self) -> list[object]:
            return peer_families

    peer = cpu(lambda: generate_latest(Registry()))  # type: ignore[arg-type]
    found.append(("render, beside generate_latest", peer / cpu(lambda: prometheus.render(families)), "x", 8, True))
    relabel = Relabel(
        [RuleConfig(action="labeldrop", regex="method"), RuleConfig(source_labels=["code"], target_label="c")]
    )

    def end_to_end() -> None:
        merged = compose(prometheus.parse(text, blocks), [("relabel", relabel)], blocks)
        prometheus.render(merged.families)

    end_to_end()
    found.append(("merge and relabel 20,000 samples", cpu(end_to_end) * 1000, "ms CPU", 60 / scale, False))
    out = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout.split()
    idle, full = int(out[0]), int(out[1])
    found.append(("memory per series", (full - idle) * 1024 / 10_000, "bytes", 400, False))
    found.append(("RSS idle", idle / 1024, "MiB", 50, False))
    found.append(("RSS with 10,000 series", full / 1024, "MiB", 55, False))
    return found


def main() -> int:
    """Print the table; 1 if a row is short."""
    short = 0
    table = rows()
    print(f"{'':40}{'figure':>14} {'unit':12}{'floor':>12}{'ratio':>8}")
    for name, figure, unit, floor, more in table:
        ratio = (figure / floor if more else floor / figure) if floor else 0.0
        verdict = "" if not floor else "ok" if ratio >= 1 else "short"
        short += verdict == "short"
        limit, shown = (f"{floor:,.0f}", f"{ratio:.2f}") if floor else ("-", "-")
        print(f"{name:40}{figure:>14,.1f} {unit:12}{limit:>12}{shown:>8}  {verdict}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
