"""What can be measured without a socket, in this process: the yardstick, and formats beside client_python.

Each function returns CPU seconds of one round, or for memory what was asked for.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache

from benchmarks.adapter.corpus import SAMPLES, lines, page
from podpatterns.adapter.intake import Intake
from podpatterns.adapter.mapping import Mapper
from podpatterns.adapter.mapping_config import MappingRuleConfig
from podpatterns.adapter.page import compose
from podpatterns.adapter.store import Shape, Store
from podpatterns.adapter.transforms.relabel import Relabel, RuleConfig
from podpatterns.formats import prometheus
from podpatterns.formats.families import Blocks, Family

LINES = 300_000


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU; garbage of earlier work is not its."""
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


@cache
def chunks(corpus: Callable[[int], list[bytes]] = lines) -> list[bytes]:
    """The lines in pieces of a thousand, as a busy socket gives them."""
    found = corpus(LINES)
    return [b"\n".join(found[at : at + 1000]) for at in range(0, len(found), 1000)]


class Slot:
    """What the yardstick adds to."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


def yardstick() -> float:
    """The least that any such program does: split, find a slot by name, type and tags, add. Lines per CPU-second."""

    def work() -> None:
        slots: dict[tuple[bytes, bytes], Slot] = {}
        for chunk in chunks():
            for line in chunk.split(b"\n"):
                name, _, rest = line.partition(b":")
                value, _, tail = rest.partition(b"|")
                slot = slots.get((name, tail))
                if slot is None:
                    slot = slots[name, tail] = Slot()
                slot.value += float(value)

    return LINES / cpu(work)


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


@cache
def _intake(corpus: Callable[[int], list[bytes]]) -> Intake:
    intake = Intake(Store(Shape(), time.monotonic, lambda _name: None), Sink())
    for chunk in chunks(corpus):
        intake.feed(chunk)
    return intake


def in_memory(corpus: Callable[[int], list[bytes]] = lines) -> float:
    """Lines of known series, per CPU-second, until their sums can be read."""
    intake = _intake(corpus)

    def work() -> None:
        for chunk in chunks(corpus):
            intake.feed(chunk)
        intake.store.settle()

    seconds = cpu(work)
    assert not intake.sink.refused  # type: ignore[attr-defined]
    return LINES / seconds


# --- mapping ----------------------------------------------------------------------------------------------------------

NAMES = [f"shop.service{i % 100}.host{i % 40}.request{i % 75}.time" for i in range(7_500)]
RULES = [
    MappingRuleConfig(
        match=f"shop.service{i}.*.*.time", name=f"shop_service{i}_seconds", labels={"host": "$1", "request": "$2"}
    )
    for i in range(100)
]


def mapped() -> tuple[float, float]:
    """Names per CPU-second: when they were seen before, and when they are new."""
    mapper = Mapper(RULES)

    def work() -> None:
        for name in NAMES:
            mapper.find(name, "c")

    new = len(NAMES) / cpu(work)
    assert mapper.find(NAMES[3], "c") is not None
    return 20 * len(NAMES) / cpu(lambda: [work() for _ in range(20)]), new


# --- pages ------------------------------------------------------------------------------------------------------------


@cache
def _known() -> tuple[Blocks, list[Family]]:
    blocks = Blocks()
    return blocks, prometheus.parse(page(), blocks)


@cache
def _theirs() -> list[object]:
    from prometheus_client.parser import text_string_to_metric_families

    found: list[object] = list(text_string_to_metric_families(page().decode()))
    gc.collect()
    gc.freeze()  # their objects would slow down our collections
    return found


def parsed() -> tuple[float, float]:
    """Samples per CPU-second: of a page whose series stood on an earlier one, and of the first page."""
    blocks, _ = _known()
    again = SAMPLES / cpu(lambda: prometheus.parse(page(), blocks))
    return again, SAMPLES / cpu(lambda: prometheus.parse(page()))


def rendered() -> float:
    """Samples per CPU-second."""
    _, families = _known()
    return SAMPLES / cpu(lambda: prometheus.render(families))


def parsed_by_client() -> float:
    """The same by client_python."""
    from prometheus_client.parser import text_string_to_metric_families

    return SAMPLES / cpu(lambda: list(text_string_to_metric_families(page().decode())))


def rendered_by_client() -> float:
    """The same by client_python's generate_latest."""
    from prometheus_client import generate_latest

    families = _theirs()

    class Registry:
        def collect(self) -> list[object]:
            return families

    return SAMPLES / cpu(lambda: generate_latest(Registry()))  # type: ignore[arg-type]


RELABEL = [
    RuleConfig(action="labeldrop", regex="method"),
    RuleConfig(source_labels=["code"], target_label="status"),
    RuleConfig(action="drop", source_labels=["__name__"], regex="debug_.*"),
]


@cache
def _relabel() -> Relabel:
    return Relabel(RELABEL)


def merged() -> float:
    """Milliseconds of CPU for two pages of 10,000 samples: read, merged, relabelled, checked, written."""
    blocks, _ = _known()
    halves = [page(SAMPLES // 2, source) for source in ("a", "b")]

    def work() -> None:
        families = [family for half in halves for family in prometheus.parse(half, blocks)]
        found = compose(families, [("relabel", _relabel())], blocks)
        assert sum(len(family.values) for family in found.families) == SAMPLES
        prometheus.render(found.families)

    if not _relabel()._known:  # noqa: SLF001 - the first scrape is not like the others
        work()
    return cpu(work) * 1000


# --- memory -----------------------------------------------------------------------------------------------------------

MEMORY = """
import uvloop
from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.runtime import config, process
from podpatterns.runtime.units import Address, Duration

def rss():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))

async def main():
    page = PrometheusConfig(listen=Address("127.0.0.1:0"), final_scrape=Duration("0s"))
    pattern = AdapterConfig(inputs=[StatsdConfig(listen=Address("127.0.0.1:0"))], outputs=[page])
    runtime = config.RuntimeConfig(admin=Address("127.0.0.1:0"), log_level="error", log_format="json")
    running = process.Process(config.of([pattern], runtime))
    async with running.supervisor:
        adapter = running.patterns["adapter"]
        idle = rss()
        for again in range(3):
            for i in range(10000):
                adapter.feed(f"shop.metric{i % 50}:1|c|#env:prod,path:/item/{i}".encode())
            if not again:
                once = rss()
            await adapter.page()
        print(idle, once, rss())

uvloop.run(main())
"""


def memory() -> tuple[float, float]:
    """Bytes for each of 10,000 series; and MB of the whole process with them, when they came and were shown thrice.

    In a process of its own.
    """
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    idle, once, often = map(int, done.stdout.split())
    return (once - idle) * 1024 / 10_000, often / 1024
