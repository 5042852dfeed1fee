"""Changes added up to counters."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import ClassVar

from podpatterns.adapter.budget import OVERFLOW_LABEL
from podpatterns.adapter.reasons import Tried
from podpatterns.adapter.selection import Selection, check_selection
from podpatterns.adapter.transforms import Transform, TransformConfig
from podpatterns.formats.families import Family, block
from podpatterns.runtime.schema import InvalidField

MOST = 200_000
"""Series whose sums are kept, some 200 bytes each; what comes beyond is added up in one per metric."""

_OVERFLOW = block([OVERFLOW_LABEL])


class CumulativeConfig(TransformConfig, frozen=True, kw_only=True):
    """Gauges that tell what was added since they were last asked become counters: each value is added to a sum.

    For sources that are reset by being read, and an adapter with one output, which must be their only reader. What
    comes by OTLP or StatsD as changes is added up without this. After 200,000 series all others go to one series
    `{overflow="true"}` per metric.
    """

    EXAMPLE: ClassVar[str] = """
    type: cumulative
    metrics: [shop_orders_since_last_read]
    """
    REMEMBERS: ClassVar[bool] = True

    metrics: list[str]
    """Which metrics: regular expressions that match a name as a whole. The name gets `_total`."""

    def __post_init__(self) -> None:
        if not self.metrics:
            raise InvalidField("metrics", "name the metrics that tell changes; others would become nonsense")
        check_selection("metrics", self.metrics)

    def build(self) -> Transform:
        """The transform."""
        return Cumulative(self.metrics)


class Cumulative:
    """Keeps the sums."""

    def __init__(self, metrics: list[str]) -> None:
        self._wanted = Selection(metrics)
        self._sums: dict[tuple[str, str], float] = {}

    def apply(self, families: list[Family]) -> list[Family]:
        """The families, those that are wanted as counters of all that has been added so far."""
        return [self._family(each) if self._wants(each) else each for each in families]

    def tried(self, family: Family) -> Iterator[Tried]:
        """For people: whether it is wanted."""
        if self._wants(family):
            yield Tried("matched", f"metrics {self._wanted}", "each value is added to a sum, which begins at 0 here")
        else:
            yield Tried("no match", f"metrics {self._wanted}", f"{family.name} is a {family.kind}")

    def _wants(self, family: Family) -> bool:
        plain = family.kind in ("gauge", "unknown", "counter") and family.suffixes is None
        return plain and family.name in self._wanted

    def _family(self, family: Family) -> Family:
        name = f"{family.name.removesuffix('_total')}_total"
        summed = Family(name, "counter", family.help, family.unit, source=family.source)
        totals: dict[str, float] = {}
        for text, change in zip(family.blocks, family.values, strict=True):
            key = name, text
            if key not in self._sums and len(self._sums) >= MOST:
                key = name, _OVERFLOW
            total = self._sums.get(key, 0.0) + (change if isfinite(change) and change > 0 else 0.0)
            self._sums[key] = totals[key[1]] = total
        summed.blocks, summed.values = list(totals), list(totals.values())
        return summed
