"""What a worker has counted, and how the figures of several are added up. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from podpatterns.runtime.telemetry import Counter, Gauge, Histogram, Telemetry

if TYPE_CHECKING:
    from podpatterns.ambassador.runtime import Ambassador

Labels = tuple[str, ...]
Key = tuple[str, str, str]
"""Listener, route, version."""

PREFIX = "podpatterns_ambassador_"
"""Of the families that are added up; those of the process itself are the parent's own."""

RAMPS = PREFIX + "ramp_"
"""Of the families about ramps, which the parent leads."""

ALIKE = frozenset({PREFIX + "weight", PREFIX + "certificate_seconds_left"})
"""Gauges that are the same in every worker; all others are amounts, of which each worker has its part."""


@dataclass(slots=True)
class Figures:
    """Everything that is counted, as plain data."""

    counters: dict[str, dict[Labels, float]] = field(default_factory=dict)
    gauges: dict[str, dict[Labels, float]] = field(default_factory=dict)
    histograms: dict[str, dict[Labels, tuple[dict[float, int], float]]] = field(default_factory=dict)
    """Counts by the upper bound of their bucket, and the sum of the values. A series may have bounds of its own."""
    outcomes: dict[Key, tuple[int, ...]] = field(default_factory=dict)
    """Broken responses, retried attempts and clients that left, as in Tally."""
    picks: dict[Key, int] = field(default_factory=dict)
    disturbed: set[tuple[str, str]] = field(default_factory=set)
    """Routes, by listener and name, whose shares are not the weights because a version could not be reached."""
    dropped: int = 0
    upstreams: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def past(self) -> Figures:
        """What remains of a worker that has gone: what has happened, not how things are.

        Picks are not among it, for they are counted since the last change of the weights, which may come later.
        """
        return Figures(counters=self.counters, histograms=self.histograms, outcomes=self.outcomes, dropped=self.dropped)


def taken(ambassador: Ambassador, telemetry: Telemetry) -> Figures:
    """The figures of an ambassador at work."""
    figures = Figures(dropped=ambassador.events.dropped)
    for name, family in telemetry.families.items():
        if not name.startswith(PREFIX) or name.startswith(RAMPS):
            continue
        if isinstance(family, Histogram):
            figures.histograms[name] = {
                labels: (dict(zip((*each.bounds, inf), each.counts, strict=True)), each.total)
                for labels, each in family.distributions.items()
            }
        elif isinstance(family, Gauge):
            figures.gauges[name] = dict(family.series)
        else:
            figures.counters[name] = dict(family.series)
    for key, tally in ambassador.events.tallies.items():
        figures.outcomes[key] = tally.broken, tally.retried, tally.gone
    for route in ambassador.all_routes():
        for version, target in route.targets.items():
            figures.picks[route.listener, route.name, version] = target.picks
        if not route.undisturbed:
            figures.disturbed.add((route.listener, route.name))
    figures.upstreams = {name: dict(each.describe()) for name, each in ambassador.upstreams.items()}
    return figures


def total(all_figures: Iterable[Figures]) -> Figures:
    """The sum."""
    result = Figures()
    for each in all_figures:
        for name, series in each.counters.items():
            _add(result.counters.setdefault(name, {}), series)
        for name, series in each.gauges.items():
            if name in ALIKE:
                result.gauges[name] = series
            else:
                _add(result.gauges.setdefault(name, {}), series)
        for name, distributions in each.histograms.items():
            known = result.histograms.setdefault(name, {})
            for labels, (counts, amount) in distributions.items():
                before, so_far = known.get(labels, ({}, 0.0))
                together = dict(before)
                _add(together, counts)
                known[labels] = together, so_far + amount
        for key, numbers in each.outcomes.items():
            others = result.outcomes.get(key, (0,) * len(numbers))
            result.outcomes[key] = tuple(a + b for a, b in zip(others, numbers, strict=True))
        _add(result.picks, each.picks)
        result.disturbed |= each.disturbed
        result.dropped += each.dropped
        for name, state in each.upstreams.items():
            result.upstreams[name] = merged(result.upstreams[name], state) if name in result.upstreams else state
    return result


def _add(known: dict[Any, Any], series: Mapping[Any, Any]) -> None:
    for labels, value in series.items():
        known[labels] = known.get(labels, 0) + value


def merged(one: Any, other: Any) -> Any:
    """Two states of the same thing as one: amounts are added, what is true for one is true, words stand once."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {
            key: merged(one[key], other[key]) if key in one and key in other else one.get(key, other.get(key))
            for key in {**one, **other}
        }
    if isinstance(one, bool) or isinstance(other, bool):
        return bool(one or other)
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one + other
    if one == other or other is None:
        return one
    return other if one is None else f"{one} / {other}"


def written(figures: Figures, ambassador: Ambassador, telemetry: Telemetry) -> None:
    """Make an ambassador that is not at work show these figures."""
    events = ambassador.events
    for name, series in figures.counters.items():
        family = telemetry.families[name]
        assert isinstance(family, Counter)
        for labels, value in series.items():
            family.cell(*labels).value = value
    for name, series in figures.gauges.items():
        gauge = telemetry.families[name]
        assert isinstance(gauge, Gauge)
        gauge.show(series)
    for name, distributions in figures.histograms.items():
        histogram = telemetry.families[name]
        assert isinstance(histogram, Histogram)
        for labels, (counts, amount) in distributions.items():
            distribution = histogram.series(*labels)
            for bound in counts.keys() - {inf}:
                distribution.refine(bound)
            distribution.counts[:] = [counts.get(bound, 0) for bound in (*distribution.bounds, inf)]
            distribution.total = amount
    for key, (broken, retried, gone) in figures.outcomes.items():
        tally = events.tallies.get(key) or events.tally(*key)
        tally.broken, tally.retried, tally.classes[0].value = broken, retried, gone
    events.recall_flags()
    events.dropped = figures.dropped
    for route in ambassador.all_routes():
        route.undisturbed = (route.listener, route.name) not in figures.disturbed
        for version, target in route.targets.items():
            target.picks = figures.picks.get((route.listener, route.name, version), 0)
