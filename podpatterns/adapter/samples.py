"""What becomes of a sample of metrics: line by line, or page by page, by the very code that runs.

Each line goes through the inputs of the configuration that take lines, into an empty store: so a gauge's change starts
from zero here. The first input that does not refuse it is the one that is shown. A sample of which no line can be read
is tried as a page by the inputs that fetch one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.fetching import Fetch, FetchConfig, Unusable
from podpatterns.adapter.inputs import InputConfig, Wiring
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.intake import Intake, shown
from podpatterns.adapter.log_events import LogEvents
from podpatterns.adapter.mapping import Mapper
from podpatterns.adapter.page import Transform, compose
from podpatterns.adapter.slots import Way
from podpatterns.adapter.store import Shape, Store
from podpatterns.formats import prometheus
from podpatterns.formats.families import Blocks, Family
from podpatterns.formats.statsd import REASONS, Line
from podpatterns.runtime.schema import component_type
from podpatterns.runtime.telemetry import Telemetry

SAMPLE = """\
shop.orders:1|c|#country:ch
shop.orders:1|c|@0.1|#country:ch
shop.basket.size:3|g
shop.basket.size:+1|g
shop.checkout.time:320|ms|#step:pay
shop.visitors:ada|s
shop.orders:NaN|c
"""
"""What is explained where no sample is given."""

_NO_RULE = "its expression is found nowhere in the line, or a field is missing or has another value"

_NOUN = {"c": "counter", "g": "gauge", "ms": "timer (ms)", "h": "histogram", "d": "distribution", "s": "set"}


class _Seen(AdapterEvents):
    """Keeps what is told about lines, instead of counting it."""

    def __init__(self) -> None:
        super().__init__(Telemetry())
        self.notes: list[str] = []

    def line_refused(self, reason: str, detail: str) -> None:
        """A line or value was refused."""
        self.notes.append(f"refused   {reason}: {REASONS.get(reason, reason)}" + (f': "{detail}"' if detail else ""))

    def line_skipped(self, what: str) -> None:
        """A line is no metric."""
        self.notes.append(f"skipped   {what.replace('_', ' ')}s are no metrics; this one is counted and skipped")

    def sample_dropped(self, match: str) -> None:  # noqa: ARG002 - the rule stands there already
        """A rule of the mapping drops it."""
        self.notes.append("dropped   by the rule")

    def collect_failed(self, source: str, error: str) -> None:
        """A page has mistakes."""
        self.notes.append(f"refused   {source}: {error}")


class _Watched(Store):
    """Remembers which lines asked for a series."""

    def __init__(self, shape: Shape, events: AdapterEvents, mapper: Mapper) -> None:
        super().__init__(shape, lambda: 0.0, events.overflowed, mapper, events.sample_dropped)
        self.asked: list[Line] = []

    def slot(self, line: Line, noun: str = "") -> tuple[Way, bool]:
        """As in any store."""
        self.asked.append(line)
        return super().slot(line, noun)


@dataclass(slots=True)
class _Trial:
    """One line or page, tried by one input."""

    called: str
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    families: list[Family] = field(default_factory=list)

    @property
    def read(self) -> bool:
        """Whether the input understood it."""
        return bool(self.lines or self.families) or any(not note.startswith("refused") for note in self.notes)


@dataclass(frozen=True, slots=True)
class _Bench:
    """What every trial needs."""

    config: AdapterConfig
    mapper: Mapper
    transforms: list[tuple[str, Transform]]

    def wiring(self) -> tuple[Wiring, _Watched, _Seen]:
        """An empty store, and what is told."""
        events = _Seen()
        store = _Watched(self.config.series.shape, events, self.mapper)
        return Wiring(store, Intake(store, events), Blocks(), events, LogEvents(Telemetry())), store, events

    def line(self, each: InputConfig, raw: bytes) -> _Trial:
        """One line through an input that takes lines."""
        wiring, store, events = self.wiring()
        lines = each.lines(wiring)
        assert lines is not None
        lines.feed(raw)
        # The line stands above its notes.
        notes = [note.replace(f' in {shown(raw)}"', '"') for note in events.notes]
        return _Trial(component_type(type(each)), store.asked, notes, list(store.families()))

    def page(self, each: FetchConfig, body: str) -> _Trial:
        """A page through an input that fetches some."""
        wiring, _, events = self.wiring()
        source = each.build(wiring)
        assert isinstance(source, Fetch)
        kind = "application/openmetrics-text" if body.rstrip().endswith("# EOF") else "text/plain"
        try:
            families = source.read(body.encode(), kind)
        except (ValueError, RecursionError, Unusable) as error:
            return _Trial(source.name, notes=[f"refused   {error}"])
        return _Trial(source.name, notes=events.notes, families=[family for family in families if family.values])


def explain(config: AdapterConfig, sample: str | None) -> Iterator[str]:
    """Each line or page with what was read, the rules that were tried, and what comes of it."""
    transforms = [(component_type(type(each)), each.build()) for each in config.transforms]
    bench = _Bench(config, Mapper(config.mapping, config.mapping_defaults), transforms)
    wiring, _, _ = bench.wiring()
    takers = [each for each in config.inputs if each.lines(wiring) is not None]
    pages = [each for each in config.inputs if isinstance(each, FetchConfig)]
    if not takers and not pages:
        takers = [StatsdConfig()]
    if sample is None:
        sample = SAMPLE if any(isinstance(each, StatsdConfig) for each in takers) else ""
        if not sample:
            yield "give a sample of what the inputs take with --sample, such as lines or a page"
    raws = [raw for raw in sample.splitlines() if raw.strip()]
    trials = [[bench.line(each, raw.encode("utf-8", "replace")) for each in takers] for raw in raws]
    if pages and not any(trial.read for tried in trials for trial in tried):
        for source in pages:
            yield from _page(bench, bench.page(source, sample))
        return
    for raw, tried in zip(raws, trials, strict=True):
        yield shown(raw.encode("utf-8", "replace"))
        chosen = next((trial for trial in tried if trial.read), None)
        if chosen is None:
            yield from _unread(config, tried, raw)
        else:
            yield from _line(bench, chosen, raw, name=len(takers) > 1)


def _unread(config: AdapterConfig, tried: list[_Trial], raw: str) -> Iterator[str]:
    """Why no input takes a line."""
    for trial in tried:
        where = f"{trial.called}: " if len(tried) > 1 else ""
        for note in trial.notes:
            kind, _, text = note.partition("   ")
            yield f"    {kind}   {where}{text}"
    for rule, _ in _rules_of_logs(config, raw):
        yield f"    no match  {rule}: {_NO_RULE}"
    if not tried or not any(trial.notes for trial in tried):
        yield "    nothing   comes of it"


def _rules_of_logs(config: AdapterConfig, raw: str) -> Iterator[tuple[str, bool]]:
    """Each rule for log lines, and whether it matches."""
    for each in config.inputs:
        alone: Callable[[], Iterable[tuple[str, InputConfig]]] | None = getattr(each, "alone", None)
        if alone is not None:
            for rule, single in alone():
                trial = _Bench(config, Mapper(()), []).line(single, raw.encode("utf-8", "replace"))
                yield rule, bool(trial.lines)


def _line(bench: _Bench, trial: _Trial, raw: str, *, name: bool) -> Iterator[str]:
    if name:
        yield f"    input     {trial.called}"
    if trial.called == "logs":
        for rule, matches in _rules_of_logs(bench.config, raw):
            yield f"    matched   {rule}" if matches else f"    no match  {rule}: {_NO_RULE}"
    for line in trial.lines:
        yield f"    read as   {_described(line)}"
        for text in bench.mapper.tried(line.name, line.type):
            yield f"    {text}"
    for note in trial.notes:
        yield f"    {note}"
    if trial.families:
        yield from _becomes(bench, trial.families)


def _page(bench: _Bench, trial: _Trial) -> Iterator[str]:
    yield trial.called
    for note in trial.notes:
        yield f"    {note}"
    for family in trial.families:
        yield f"    read as   {family.kind} {family.name}, {len(family.values)} sample{'s'[: len(family.values) != 1]}"
        yield from _becomes(bench, [family])


def _becomes(bench: _Bench, families: list[Family]) -> Iterator[str]:
    page = compose(families, bench.transforms, Blocks())
    for item in page.quarantined:
        yield f"    left out  {item.family}: {item.reason}"
    if not page.families and not page.quarantined:
        yield "    dropped   by the transforms"
    for text in prometheus.render(page.families).decode().splitlines():
        if not text.startswith("# HELP"):
            yield f"    becomes   {text}"


def _described(line: Line) -> str:
    parts = [f"{_NOUN[line.type]} {line.name}"]
    if line.values:
        parts.append(f"value {', '.join(line.values)}")
    if line.rate != 1:
        parts.append(f"rate {line.rate:g}, so each counts {line.weight:g}")
    if line.tags:
        parts.append("tags " + ", ".join(f"{name}={value}" for name, value in line.tags))
    if line.stamp is not None:
        parts.append("its timestamp is not used: the value counts from when it is read")
    return "; ".join(parts)
