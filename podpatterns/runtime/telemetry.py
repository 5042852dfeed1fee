"""Logs and metrics of one process: a logger, a registry, and counters that are plain numbers.

A hot path holds a `Cell` and adds to `cell.value`; the registry reads the cells when it is scraped. prometheus_client's
own counters take a lock for each increment, which costs more than the work that is counted.

Each pattern's `events.py` has one method per happening that logs *and* counts, so that no counter is
without its log line. There are no module globals: two runtimes in one process do not mix.
"""

from __future__ import annotations

import json
import logging
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, TypeVar

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

LEVELS = ("debug", "info", "warning", "error")


class Cell:
    """One series of a counter or gauge: a number that its owner changes directly."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Counter(Collector):
    """A family of cells that only grow; exposed with the suffix `_total`."""

    _family: Any = CounterMetricFamily

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name, self.text, self.labels = name, text, tuple(labels)
        self._cells: dict[tuple[str, ...], Cell] = {}

    def cell(self, *values: str) -> Cell:
        """The series with these label values, in the order of the labels; keep it, to count without a look-up."""
        cell = self._cells.get(values)
        if cell is None:
            if len(values) != len(self.labels):
                raise ValueError(f"{self.name} has the labels {self.labels}, not {len(values)}")
            cell = self._cells[values] = Cell()
        return cell

    def add(self, *values: str, by: float = 1) -> None:
        """Count, where it happens seldom enough for a look-up."""
        self.cell(*values).value += by

    @property
    def series(self) -> Mapping[tuple[str, ...], float]:
        """Every value by its label values; those of a gauge that is computed as they are now."""
        self._compute()
        return {values: cell.value for values, cell in self._cells.items()}

    def _compute(self) -> None:
        """Bring the cells up to date, if somebody else knows the values."""

    @property
    def total(self) -> float:
        """The sum of all series."""
        return sum(cell.value for cell in self._cells.values())

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        self._compute()
        family = self._family(self.name, self.text, labels=self.labels)
        for values, cell in self._cells.items():
            family.add_metric(values, cell.value)
        return [family]

    def describe(self) -> Iterable[Metric]:
        """For the registry's check of duplicate names."""
        return [self._family(self.name, self.text, labels=self.labels)]


class Gauge(Counter):
    """A family of cells that go up and down; with `read`, computed when scraped, by label values."""

    _family = GaugeMetricFamily

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        read: Callable[[], Mapping[tuple[str, ...], float]] | None = None,
    ) -> None:
        super().__init__(name, text, labels)
        self._read = read

    def show(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Have these values from now on, whatever it was computed from."""
        self._read = lambda: values

    def _compute(self) -> None:
        if self._read is not None:
            self._cells.clear()  # what is no longer there has no value
            for values, number in self._read().items():
                self.cell(*values).value = number


class Distribution:
    """One series of a histogram."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value into its bucket (upper bounds are inclusive, as in Prometheus)."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def refine(self, bound: float) -> None:
        """Tell values up to `bound` from larger ones from now on; a scrape shows the family's bounds as before.

        What has been counted between the neighbours of a new bound counts as larger.
        """
        index = bisect_left(self.bounds, bound)
        if self.bounds[index : index + 1] != (bound,):
            self.bounds = (*self.bounds[:index], bound, *self.bounds[index:])
            self.counts.insert(index, 0)

    def above(self, bound: float) -> int:
        """How many values were larger than one of the bounds."""
        return sum(self.counts[bisect_left(self.bounds, bound) + 1 :])

    def quantile(self, q: float) -> float | None:
        """An estimate, as Prometheus' histogram_quantile makes it; the last bound if it lies beyond, None if empty."""
        rank, running, low = q * sum(self.counts), 0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count and running + count >= rank:
                return low + (bound - low) * (rank - running) / count
            running, low = running + count, bound
        return self.bounds[-1] if sum(self.counts) else None


class Histogram(Collector):
    """A family of distributions with fixed bounds."""

    LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), bounds: Sequence[float] = LATENCY) -> None:
        self.name, self.text, self.labels, self.bounds = name, text, tuple(labels), tuple(bounds)
        self._series: dict[tuple[str, ...], Distribution] = {}

    def series(self, *values: str) -> Distribution:
        """The distribution with these label values; keep it."""
        return self._series.setdefault(values, Distribution(self.bounds))

    @property
    def distributions(self) -> Mapping[tuple[str, ...], Distribution]:
        """Every distribution by its label values."""
        return self._series

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        for values, series in self._series.items():
            running = list(accumulate(series.counts))
            buckets = [(_bound(bound), float(running[bisect_left(series.bounds, bound)])) for bound in self.bounds]
            family.add_metric(values, [*buckets, ("+Inf", float(running[-1]))], series.total)
        return [family]

    def describe(self) -> Iterable[Metric]:
        """For the registry's check of duplicate names."""
        return [HistogramMetricFamily(self.name, self.text, labels=self.labels)]


def _bound(bound: float) -> str:
    return str(float(bound))


class LevelGate:
    """A structlog processor that drops what is below a level which can be changed while running."""

    def __init__(self, level: str) -> None:
        self.level = level

    def __call__(self, _logger: Any, method: str, event: Any) -> Any:
        """Pass the event on, or drop it."""
        if _severity(method) < _severity(self.level):
            raise structlog.DropEvent
        return event


_SEVERITIES = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50, "exception": 40}


def _severity(method: str) -> int:
    return _SEVERITIES.get(method, 20)


F = TypeVar("F", Counter, Gauge, Histogram)


class Telemetry:
    """What an `events.py` needs: a logger and a place to register metrics."""

    def __init__(self, log: Any = None, gate: LevelGate | None = None) -> None:
        self.registry = CollectorRegistry()
        self.families: dict[str, Counter | Histogram] = {}
        """Everything that is registered here, by its name."""
        self.gate = gate or LevelGate("info")
        # In an application the application's own structlog configuration applies.
        self.log = log if log is not None else structlog.stdlib.get_logger("podpatterns")

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """A counter in this process's registry; `name` without `_total`."""
        return self._registered(Counter(name, text, labels))

    def gauge(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        read: Callable[[], Mapping[tuple[str, ...], float]] | None = None,
    ) -> Gauge:
        """A gauge in this process's registry."""
        return self._registered(Gauge(name, text, labels, read))

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), bounds: Sequence[float] = Histogram.LATENCY
    ) -> Histogram:
        """A histogram in this process's registry."""
        return self._registered(Histogram(name, text, labels, bounds))

    def _registered(self, family: F) -> F:
        self.registry.register(family)
        self.families[family.name] = family
        return family

    def exposition(self) -> bytes:
        """The registry in Prometheus' text format."""
        from prometheus_client.exposition import generate_latest

        return generate_latest(self.registry)


def for_process(level: str, style: Literal["auto", "json", "console"]) -> Telemetry:
    """The telemetry of a process of its own: events to standard error, as JSON or for people."""
    if style == "auto":
        style = "console" if sys.stderr.isatty() else "json"
    gate = LevelGate(level)
    renderer: Any = structlog.processors.JSONRenderer(serializer=_json)
    if style == "console":
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    log = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),  # each line in one write: workers share the stream
        processors=[
            gate,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if style == "json" else _unchanged,
            renderer,
        ],
        wrapper_class=structlog.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    return Telemetry(log.bind(), gate)  # what is not bound is bound for each event, dropped ones included


def _unchanged(_logger: Any, _method: str, event: Any) -> Any:
    return event


def _json(event: Any, **_options: Any) -> str:
    import msgspec

    try:
        return msgspec.json.encode(event, enc_hook=str).decode()
    except UnicodeEncodeError:  # the name of a file that is not UTF-8: escaped, as a log line must never fail
        return json.dumps(event, default=str)
