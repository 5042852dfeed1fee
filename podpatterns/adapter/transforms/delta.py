"""Counters as what was added since the last time."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import ClassVar

from podpatterns.adapter.deltas import Deltas
from podpatterns.adapter.reasons import Tried
from podpatterns.adapter.selection import Selection, check_selection
from podpatterns.adapter.transforms import Transform, TransformConfig
from podpatterns.formats.families import Family


class DeltaConfig(TransformConfig, frozen=True, kw_only=True):
    """Counters become gauges of what was added since the last delivery, for stores that want changes and not sums.

    For one output that pushes: a page that two scrapers read would give each of them a part. The outputs `statsd` and
    `cloudwatch` send changes by themselves. A series shows nothing the first time; one that begins anew shows what it
    has come to since. The name loses `_total`. Histograms and summaries stay sums.
    """

    EXAMPLE: ClassVar[str] = """
    type: delta
    metrics: ["shop_.*"]
    """
    REMEMBERS: ClassVar[bool] = True

    metrics: list[str] = []
    """Which counters: regular expressions that match a name as a whole. None named: all."""

    def __post_init__(self) -> None:
        check_selection("metrics", self.metrics)

    def build(self) -> Transform:
        """The transform."""
        return Delta(self.metrics)


class Delta:
    """Remembers the last value of each counter."""

    def __init__(self, metrics: list[str]) -> None:
        self._wanted = Selection(metrics)
        self._deltas = Deltas(inf)  # whatever begins now has begun before: nobody looked

    def apply(self, families: list[Family]) -> list[Family]:
        """The families, counters with their changes; those of which no change is known are left out."""
        chosen = [each for each in families if self._wants(each)]
        rest = [each for each in families if not any(each is other for other in chosen)]
        changed = self._deltas.changes(chosen, inf)
        for family in changed:
            family.kind, family.name = "gauge", family.name.removesuffix("_total")
        return [*rest, *changed]

    def tried(self, family: Family) -> Iterator[Tried]:
        """For people: whether it is a counter that is wanted."""
        if self._wants(family):
            why = "what was added since the time before, which the first time is not known: so nothing is shown here"
            yield Tried("matched", f"metrics {self._wanted}", why)
        else:
            yield Tried("no match", f"metrics {self._wanted}", f"{family.name} is a {family.kind}")

    def _wants(self, family: Family) -> bool:
        return family.kind == "counter" and family.name in self._wanted
