"""The series that pushed samples add up to.

A series is a *slot* whose number is changed directly; an input remembers slots by the bytes around the value (see
`intake`). Families are built when a page is rendered, never while samples come in.

A sampled line (`@0.1`) adds to a slot of its own with a weight, linked from the first slot of its series: the hot
path then adds plain numbers, and the weights are multiplied once, when read.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf, isfinite

from podpatterns.adapter.mapping import Mapper, Target
from podpatterns.formats.families import Family, Kind, block, metric_name
from podpatterns.formats.numbers import number
from podpatterns.formats.statsd import Line, Refused

OVERFLOW = block([("overflow", "true")])
"""The labels of the series that takes what has no room in the budget."""

SET_LIMIT = 65_536
"""Members of one set that are remembered in a window, some 6 MB at most; a set beyond stays at this number."""


class Counter:
    """A sum that only grows. `additive` lets the hot path add without a call."""

    __slots__ = ("more", "value", "weight")
    additive = True

    def __init__(self, weight: float) -> None:
        self.value, self.weight, self.more = 0.0, weight, None

    more: Counter | None

    def take(self, value: float, text: bytes) -> None:  # noqa: ARG002 - one signature for all slots
        """Add one value that the hot path was not sure of."""
        if value < 0:
            raise Refused("negative_counter")
        total = self.value + value
        if not isfinite(total * self.weight):
            raise Refused("not_finite")
        self.value = total

    def read(self) -> float:
        """The sum over all sample rates."""
        part, total = self.more, self.value * self.weight
        while part is not None:
            total += part.value * part.weight
            part = part.more
        return total


class Gauge:
    """The last value; one with a sign changes it by that much, as StatsD has it."""

    __slots__ = ("value",)
    additive = False

    def __init__(self) -> None:
        self.value = 0.0

    def take(self, value: float, text: bytes) -> None:
        """Set or change."""
        if text[0] in b"+-":
            value += self.value
            if not isfinite(value):
                raise Refused("not_finite")
        self.value = value

    def read(self) -> float:
        """The value."""
        return self.value


class Scaled:
    """A way into a gauge for lines whose values are multiplied; others of the same series may not be."""

    __slots__ = ("_gauge", "_scale")
    additive = False

    def __init__(self, gauge: Gauge, scale: float) -> None:
        self._gauge, self._scale = gauge, scale

    def take(self, value: float, text: bytes) -> None:
        """Set or change."""
        value *= self._scale
        if not isfinite(value):
            raise Refused("not_finite")
        self._gauge.take(value, text)


class Discard:
    """Where lines go that a mapping rule drops: remembered like any other, they cost no more than those."""

    __slots__ = ("_dropped", "_match")
    additive = False

    def __init__(self, match: str, dropped: Callable[[str], None]) -> None:
        self._match, self._dropped = match, dropped

    def take(self, value: float, text: bytes) -> None:  # noqa: ARG002
        """Count it."""
        self._dropped(self._match)


class Distribution:
    """Counts by bucket, and the sum; upper bounds are inclusive, as in Prometheus."""

    __slots__ = ("bounds", "counts", "more", "scale", "total", "weight")
    additive = False

    def __init__(self, bounds: Sequence[float], weight: float, scale: float) -> None:
        self.bounds, self.weight, self.scale = bounds, weight, scale
        self.counts = [0.0] * (len(bounds) + 1)
        self.total = 0.0
        self.more: Distribution | None = None

    def take(self, value: float, text: bytes) -> None:  # noqa: ARG002
        """Observe one value."""
        value *= self.scale
        total = self.total + value
        if total - total != 0.0:  # true for infinity, without a call
            raise Refused("not_finite")
        self.total = total
        self.counts[bisect_left(self.bounds, value)] += 1.0

    def read(self) -> tuple[list[float], float]:
        """Cumulative counts, the last one of everything; and the sum."""
        counts, total = [count * self.weight for count in self.counts], self.total * self.weight
        part = self.more
        while part is not None:
            weight = part.weight
            counts = [mine + weight * other for mine, other in zip(counts, part.counts, strict=True)]
            total += part.total * weight
            part = part.more
        return list(accumulate(counts)), total


class Set:
    """How many different members were seen in the last whole window of time, or in the first as it grows."""

    __slots__ = ("_clock", "_last", "_members", "_since", "_window")
    additive = False

    def __init__(self, window: float, clock: Callable[[], float]) -> None:
        self._window, self._clock = window, clock
        self._since = clock()
        self._members: set[bytes] = set()
        self._last: int | None = None

    def take(self, value: float, text: bytes) -> None:  # noqa: ARG002
        """Note a member, by its digest: memory stays the same however long it is."""
        self._turn()
        if len(self._members) < SET_LIMIT:
            self._members.add(hashlib.blake2b(text, digest_size=8).digest())

    def read(self) -> float:
        """The number of members."""
        self._turn()
        return float(len(self._members) if self._last is None else self._last)

    def _turn(self) -> None:
        passed = self._clock() - self._since
        if passed >= self._window:
            self._last = len(self._members) if passed < 2 * self._window else 0
            self._members = set()
            self._since += passed // self._window * self._window


Slot = Counter | Gauge | Distribution | Set
"""What holds a series."""

Way = Slot | Scaled | Discard
"""What takes the values of a line."""


@dataclass(slots=True)
class Metric:
    """Every series of one name, by their blocks."""

    name: str
    kind: Kind
    help: str
    source: str
    series: dict[str, Slot] = field(default_factory=dict)


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

_SCALES: dict[str, float] = {"ms": 0.001}
"""By StatsD type, what its values are multiplied with."""


class Store:
    """All series of the push inputs.

    `overflowed` is called with a metric's name for each sample without room, `dropped` with a rule's `match` for each
    sample that the rule drops.
    """

    def __init__(
        self,
        shape: Shape,
        clock: Callable[[], float],
        overflowed: Callable[[str], None],
        mapper: Mapper | None = None,
        dropped: Callable[[str], None] = lambda _match: None,
    ) -> None:
        self.shape = shape
        self.metrics: dict[str, Metric] = {}
        self.count = 0
        """Series, those of overflow not included; a histogram counts as one."""
        self._clock = clock
        self._overflowed = overflowed
        self._dropped = dropped
        self._discards: dict[str, Discard] = {}
        self.mapper = mapper or Mapper(())
        """Names of new series go through it. Exchanged when the configuration changes; series that are there stay."""
        self._endings = [f'le="{number(bound)}"}}' for bound in (*shape.buckets, inf)]

    def name_of(self, line: Line) -> str:
        """The name of the metric that a line belongs to."""
        name = metric_name(line.name)
        suffix = _KINDS[line.type][1] if self.shape.units else ""
        return name if name.endswith(suffix) else name + suffix

    def slot(self, line: Line) -> tuple[Way, bool]:
        """Where a line's values go, and whether that place is the series' own (not the overflow).

        Raises:
            Refused: type_conflict, series_budget, or no_name where nothing is left of it after the mapping.
        """
        target = self.mapper.find(line.name, line.type)
        if target is None:
            return self._slot(line, self.name_of(line), line.tags, None)
        if target.rule.config.action == "drop":
            match = target.rule.config.match
            return self._discards.setdefault(match, Discard(match, self._dropped)), True
        if not target.name:
            raise Refused("no_name", line.name)
        slot, own = self._slot(line, target.name, target.tags(line.tags), target)
        scale = target.rule.config.scale
        return (Scaled(slot, scale) if isinstance(slot, Gauge) and scale != 1 else slot), own

    def _slot(self, line: Line, name: str, tags: Iterable[tuple[str, str]], target: Target | None) -> tuple[Slot, bool]:
        scale = 1.0 if target is None else target.rule.config.scale
        kind, _, noun = _KINDS[line.type]
        if kind == "histogram" and not self.shape.histograms:
            kind = "summary"
        metric = self.metrics.get(name)
        if metric is None:
            if self.count >= self.shape.budget:
                self._overflowed("")
                raise Refused("series_budget", line.name)
            text = f"{noun} {line.name}."
            if target is not None:
                text = target.rule.config.help or f"{noun} {target.rule.config.match}."
            metric = self.metrics[name] = Metric(name, kind, text, line.name)
        elif metric.kind != kind:
            raise Refused("type_conflict", f"{name} is a {metric.kind}")
        labels = block(tags)
        first = metric.series.get(labels)
        own = True
        if first is None:
            if self.count >= self.shape.budget or len(metric.series) >= self.shape.budget_per_metric:
                self._overflowed(name)
                labels, own = OVERFLOW, False
                first = metric.series.get(labels)
            else:
                self.count += 1
        if first is None:
            first = metric.series[labels] = self._new(line, scale)
            return first, own
        if isinstance(first, (Gauge, Set)):
            if isinstance(first, Set) != (line.type == "s"):
                raise Refused("type_conflict", f"{name} is {'a set' if isinstance(first, Set) else 'a gauge'}")
            return first, own
        return self._weighted(first, line, scale), own

    def _new(self, line: Line, scale: float) -> Slot:
        if line.type == "c":
            return Counter(line.weight * scale)
        if line.type == "g":
            return Gauge()
        if line.type == "s":
            return Set(self.shape.set_window, self._clock)
        bounds = self.shape.buckets if self.shape.histograms else ()
        return Distribution(bounds, line.weight, _SCALES.get(line.type, 1.0) * scale)

    def _weighted(self, part: Counter | Distribution, line: Line, scale: float) -> Slot:
        """The part of a series for the line's sample rate; the list of parts is as short as there are rates."""
        weight = line.weight * scale if line.type == "c" else line.weight
        inner = _SCALES.get(line.type, 1.0) * scale
        while part.weight != weight or (isinstance(part, Distribution) and part.scale != inner):
            if part.more is None:
                part.more = self._new(line, scale)  # type: ignore[assignment]  # the same kind as `part`
            part = part.more  # type: ignore[assignment]
        return part

    # --- reading --------------------------------------------------------------------------------------------------

    def families(self) -> Iterator[Family]:
        """Every metric as it is now."""
        for metric in self.metrics.values():
            family = Family(metric.name, metric.kind, metric.help, source=metric.source)
            if metric.kind in ("histogram", "summary"):
                self._distributions(family, metric.series.items())
            else:
                family.blocks = list(metric.series)
                family.values = [slot.read() for slot in metric.series.values()]  # type: ignore[misc]
            yield family

    def _distributions(self, family: Family, series: Iterable[tuple[str, Slot]]) -> None:
        suffixes: list[str] = []
        summary = family.kind == "summary"
        shape = ["_count", "_sum"] if summary else ["_bucket"] * len(self._endings) + ["_count", "_sum"]
        for labels, slot in series:
            assert isinstance(slot, Distribution)
            counts, total = slot.read()
            if not summary:
                start = f"{labels[:-1]}," if labels else "{"
                family.blocks += [start + ending for ending in self._endings]
                family.values += counts
            family.blocks += (labels, labels)
            family.values += (counts[-1], total)
            suffixes += shape
        family.suffixes = suffixes

    def top(self, most: int) -> list[tuple[str, int]]:
        """The metrics with the most series, and how many."""
        sizes = sorted(((len(metric.series), name) for name, metric in self.metrics.items()), reverse=True)
        return [(name, size) for size, name in sizes[:most]]
