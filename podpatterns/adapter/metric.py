"""One metric: its series, and what the page shows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from podpatterns.adapter.mapping_config import Observer, Summary
from podpatterns.adapter.natives import Native, Resolution
from podpatterns.adapter.slots import Counter, Distribution, Slot
from podpatterns.formats.families import Family, Kind
from podpatterns.formats.numbers import number


@dataclass(slots=True)
class Metric:
    """Every series of one name, by their blocks."""

    name: str
    kind: Kind
    help: str
    source: str
    series: dict[str, Slot] = field(default_factory=dict)
    bounds: tuple[float, ...] = ()
    """Of a histogram's buckets."""
    native: Resolution | None = None
    """Of a histogram that has a native one beside its buckets."""
    summary: Summary | None = None
    """Of a summary that shows quantiles."""
    ttl: float | None = None
    """Seconds after which its series expire; None where the configuration of all series says it."""

    def observe(self, observed: Observer) -> None:
        """Put in force what the mapping says of it."""
        self.ttl = observed.ttl
        if self.kind == "histogram":
            self.bounds = self.bounds if observed.bounds is None else observed.bounds
            self.native = observed.native
        if self.kind == "summary":
            self.summary = observed.summary

    def family(self, hidden: Mapping[Counter, float], *, starts: bool) -> Family:
        """As it is now, and since when.

        `hidden` are counters that are left out while they have the value beside them.
        """
        family = Family(self.name, self.kind, self.help, source=self.source)
        if self.kind in ("histogram", "summary"):
            self._distributions(family, starts=starts)
            return family
        series = self.series
        if hidden and self.kind == "counter":
            series = {text: slot for text, slot in series.items() if slot not in hidden or slot.read() != hidden[slot]}  # type: ignore[index]
        family.blocks = list(series)
        family.values = [slot.read() for slot in series.values()]  # type: ignore[misc]
        if self.kind == "counter" and starts:
            family.starts = [slot.since for slot in series.values()]  # type: ignore[union-attr]
        return family

    def _distributions(self, family: Family, *, starts: bool) -> None:
        suffixes: list[str] = []
        since: list[float | None] = []
        endings, shape = self._numbered()
        unsaid: list[float | None] = [None] * len(endings)
        for labels, slot in self.series.items():
            assert isinstance(slot, Distribution)
            counts, total = slot.read()
            start = f"{labels[:-1]}," if labels else "{"
            family.blocks += [start + ending for ending in endings]
            if self.kind == "histogram":
                family.values += counts
            elif self.summary is not None:
                family.values += slot.quantiles(self.summary.quantiles)  # type: ignore[attr-defined]
            if isinstance(slot, Native) and (native := slot.exponential().native()) is not None:
                family.natives[len(family.values)] = native
            family.blocks += (labels, labels)
            family.values += (counts[-1], total)
            suffixes += shape
            since += (*unsaid, slot.since, slot.since)
        family.suffixes = suffixes
        family.starts = since if starts else None

    def _numbered(self) -> tuple[list[str], list[str]]:
        """How the blocks of a series' numbered samples end, and the suffixes of all its samples."""
        if self.kind == "histogram":
            endings = [f'le="{number(bound)}"}}' for bound in (*self.bounds, inf)]
            return endings, ["_bucket"] * len(endings) + ["_count", "_sum"]
        quantiles = self.summary.quantiles if self.summary is not None else ()
        endings = [f'quantile="{number(each)}"}}' for each in quantiles]
        return endings, [""] * len(endings) + ["_count", "_sum"]
