"""The series that pushed samples add up to.

A series is a *slot* whose number is changed directly; an input remembers slots by the bytes around the value (see
`intake`). Families are built when a page is rendered, never while samples come in.

A sampled line (`@0.1`) adds to a slot of its own with a weight, linked from the first slot of its series: the hot
path then adds plain numbers, and the weights are multiplied once, when read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from podpatterns.adapter.budget import OVERFLOW_LABEL, Budget
from podpatterns.adapter.mapping import Mapper, Target
from podpatterns.adapter.metric import Metric
from podpatterns.adapter.natives import Native
from podpatterns.adapter.slots import Counter, Discard, Distribution, Gauge, Scaled, Set, Slot, Way
from podpatterns.formats.families import Family, Kind, block, metric_name
from podpatterns.formats.refusal import Refused
from podpatterns.formats.statsd import Line

OVERFLOW = block([OVERFLOW_LABEL])
"""The labels of the series that takes what has no room in the budget."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How samples become metrics; the fields are those of the configuration."""

    buckets: tuple[float, ...] = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
    histograms: bool = True
    units: bool = True
    set_window: float = 60.0
    budget: int = 20_000
    budget_per_metric: int = 5_000


_KINDS: dict[str, tuple[Kind, str, str]] = {
    "c": ("counter", "_total", "StatsD counter"),
    "g": ("gauge", "", "StatsD gauge"),
    "ms": ("histogram", "_seconds", "StatsD timer"),
    "h": ("histogram", "", "StatsD histogram"),
    "d": ("histogram", "", "StatsD distribution"),
    "s": ("gauge", "", "Distinct members of the StatsD set"),
}
"""By StatsD type: kind, the suffix that Prometheus' conventions ask for, what the help text calls it."""

_OVERFLOWS: dict[str, str] = {
    "c": "podpatterns_overflow_counters",
    "g": "podpatterns_overflow_gauges",
    "ms": "podpatterns_overflow_timers",
    "h": "podpatterns_overflow_histograms",
    "d": "podpatterns_overflow_distributions",
    "s": "podpatterns_overflow_sets",
}
"""By StatsD type, the metric that takes the samples of those whose names are new and have no room."""

_OBSERVERS = {"histogram", "summary"}
"""What timers and their kin become."""

_DIVISORS: dict[str, float] = {"ms": 1000.0}
"""By StatsD type, what its values are divided by."""


class Store:
    """All series of the push inputs.

    `overflowed` is called with a metric's name for each sample without room, `dropped` with a rule's `match` for each
    sample that the rule drops. `calendar` gives seconds since 1970, for when a series began; without it none says so.
    """

    def __init__(
        self,
        shape: Shape,
        clock: Callable[[], float],
        overflowed: Callable[[str], None],
        mapper: Mapper | None = None,
        dropped: Callable[[str], None] = lambda _match: None,
        *,
        calendar: Callable[[], float] | None = None,
    ) -> None:
        self.shape = shape
        self.metrics: dict[str, Metric] = {}
        self.budget = Budget(shape.budget, shape.budget_per_metric)
        """Shared with inputs that hold series themselves. A histogram counts as one, overflow as none."""
        self.hidden: dict[Counter, float] = {}
        """Counters that are idle, with the value at which they came to rest: shown again as soon as it has changed."""
        self.settle: Callable[[], None] = _nothing
        """Called before values are read: whoever takes samples in adds what it has only counted so far."""
        self._clock = clock
        self._overflowed = overflowed
        self._dropped = dropped
        self._calendar = calendar
        self._start: float | None = None
        self._discards: dict[str, Discard] = {}
        self.mapper = mapper or Mapper(())
        """Names of new series go through it. Exchanged when the configuration changes; series that are there stay."""

    def name_of(self, line: Line) -> str:
        """The name of the metric that a line belongs to."""
        name = metric_name(line.name)
        suffix = _KINDS[line.type][1] if self.shape.units else ""
        return name if name.endswith(suffix) else name + suffix

    def slot(self, line: Line, noun: str = "") -> tuple[Way, bool]:
        """Where a line's values go, and whether that place is the series' own (not the overflow).

        `noun` is what the help text calls it; "" for what the type is called in StatsD.

        Raises:
            Refused: type_conflict, or no_name where nothing is left of it after the mapping.
        """
        target = self.mapper.find(line.name, line.type)
        if target is None:
            return self._slot(line, self.name_of(line), line.tags, None, noun)
        if target.rule.config.action == "drop":
            match = target.rule.config.match
            return self._discards.setdefault(match, Discard(match, self._dropped)), True
        if not target.name:
            raise Refused("no_name", line.name)
        slot, own = self._slot(line, target.name, target.tags(line.tags), target, noun)
        scale = target.rule.config.scale
        return (Scaled(slot, scale) if isinstance(slot, Gauge) and scale != 1 else slot), own

    def _slot(
        self, line: Line, name: str, tags: Iterable[tuple[str, str]], target: Target | None, noun: str
    ) -> tuple[Slot, bool]:
        scale = 1.0 if target is None else target.rule.config.scale
        observed = self.mapper.unmatched if target is None else target.rule.observed
        kind, _, usual = _KINDS[line.type]
        if kind == "histogram":
            kind = observed.kind or ("histogram" if self.shape.histograms else "summary")
        metric = self.metrics.get(name)
        if metric is None and not self.budget.allows():
            return self._without_room(line, scale), False
        if metric is None:
            text = f"{noun or usual} {line.name}."
            if target is not None:
                text = target.rule.config.help or f"{noun or usual} {target.rule.config.match}."
            metric = self.metrics[name] = Metric(name, kind, text, line.name, bounds=self.shape.buckets)
            metric.observe(observed)
        elif metric.kind != kind and not {metric.kind, kind} <= _OBSERVERS:  # one of these stays what it was first
            raise Refused("type_conflict", f"{name} is a {metric.kind}")
        labels = block(tags)
        first = metric.series.get(labels)
        own = True
        if first is None:
            if not self.budget.allows(len(metric.series)):
                self._overflowed(name)
                labels, own = OVERFLOW, False
                first = metric.series.get(labels)
            else:
                self.budget.taken += 1
        if first is None:
            first = metric.series[labels] = self._new(metric, line, scale)
            return first, own
        if isinstance(first, (Gauge, Set)):
            if isinstance(first, Set) != (line.type == "s"):
                raise Refused("type_conflict", f"{name} is {'a set' if isinstance(first, Set) else 'a gauge'}")
            return first, own
        return self._weighted(metric, first, line, scale), own

    def _without_room(self, line: Line, scale: float) -> Slot:
        """Where the samples of a metric go that cannot begin: the overflow of all that are of its type."""
        self._overflowed("")
        kind, unit, noun = _KINDS[line.type]
        name = _OVERFLOWS[line.type] + (unit if self.shape.units else "")
        if kind == "histogram" and not self.shape.histograms:
            kind = "summary"
        text = f"{noun}: what came for names beyond adapter.series.budget."
        metric = self.metrics.setdefault(name, Metric(name, kind, text, name, bounds=self.shape.buckets))
        slot = metric.series.get(OVERFLOW)
        if slot is None:
            slot = metric.series[OVERFLOW] = self._new(metric, line, scale)
        return slot if isinstance(slot, (Gauge, Set)) else self._weighted(metric, slot, line, scale)

    def _new(self, metric: Metric, line: Line, scale: float) -> Slot:
        if line.type == "c":
            return Counter(line.weight * scale, self._now())
        if line.type == "g":
            return Gauge()
        if line.type == "s":
            return Set(self.shape.set_window, self._clock)
        divisor = _DIVISORS.get(line.type, 1.0) / scale
        options = metric.summary
        if options is not None:
            from podpatterns.adapter.quantiles import Quantiles

            span, steps = options.max_age, options.age_buckets
            return Quantiles(line.weight, divisor, self._now(), span=span, steps=steps, clock=self._clock)
        bounds = metric.bounds if metric.kind == "histogram" else ()
        if metric.native is not None:
            return Native(bounds, line.weight, divisor, self._now(), metric.native)
        return Distribution(bounds, line.weight, divisor, self._now())

    def _now(self) -> float | None:
        """When a series begins, in whole seconds: those that begin in the same one share the object."""
        if self._calendar is None:
            return None
        now = float(int(self._calendar()))
        if now != self._start:
            self._start = now
        return self._start

    def _weighted(self, metric: Metric, part: Counter | Distribution, line: Line, scale: float) -> Slot:
        """The part of a series for the line's sample rate; the list of parts is as short as there are rates."""
        weight = line.weight * scale if line.type == "c" else line.weight
        divisor = _DIVISORS.get(line.type, 1.0) / scale
        while part.weight != weight or (isinstance(part, Distribution) and part.divisor != divisor):
            if part.more is None:
                part.more = self._new(metric, line, scale)  # type: ignore[assignment]  # the same kind as `part`
            part = part.more  # type: ignore[assignment]
        return part

    def remove(self, metric: Metric, labels: Iterable[str]) -> None:
        """Take series off; a metric without any goes too. Who remembers their slots must forget them."""
        for each in labels:
            del metric.series[each]
            self.budget.taken -= each != OVERFLOW
        if not metric.series:
            del self.metrics[metric.name]

    # --- reading --------------------------------------------------------------------------------------------------

    def families(self) -> Iterator[Family]:
        """Every metric as it is now."""
        self.settle()
        for metric in self.metrics.values():
            family = metric.family(self.hidden, starts=self._calendar is not None)
            if family.values:
                yield family

    def sizes(self) -> Iterator[tuple[str, int]]:
        """How many series each metric has."""
        return ((name, len(metric.series)) for name, metric in self.metrics.items())


def _nothing() -> None:
    """Nobody has anything to add."""
