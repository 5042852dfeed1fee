"""Fewer series: labels are taken away, and what then is the same series is added up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import ClassVar, Literal

from podpatterns.adapter.reasons import Tried
from podpatterns.adapter.selection import Selection, check_selection
from podpatterns.adapter.transforms import Transform, TransformConfig
from podpatterns.formats.families import Family, Rewritten, block, labels_of
from podpatterns.runtime.schema import InvalidField

_BOUNDS = ("le", "quantile")


class AggregateConfig(TransformConfig, frozen=True, kw_only=True):
    """Takes labels away and adds up what then is the same series: one series per route instead of one per user.

    Counters, histograms and the counts and sums of summaries are added up; a summary's quantiles, which cannot be, are
    left out, as are times of samples, exemplars and native histograms. Histograms must have the same buckets.
    """

    EXAMPLE: ClassVar[str] = """
    type: aggregate
    metrics: ["shop_.*"]
    without: [user, session]
    """

    metrics: list[str] = []
    """Which metrics: regular expressions that match a name as a whole, as the page has it without `_bucket`, `_count`
    and `_sum`. None named: all."""

    without: list[str] = []
    """The labels that go; all others stay."""

    by: list[str] = []
    """The labels that stay; all others go. Either this or `without`."""

    gauges: Literal["sum", "max", "min", "avg"] = "sum"
    """What becomes of gauges, which may be amounts (`sum`) or levels (`max`, `min`, `avg`)."""

    def __post_init__(self) -> None:
        if bool(self.without) == bool(self.by):
            raise InvalidField("without", "exactly one of `without` and `by` must name labels")
        for field, names in (("without", self.without), ("by", self.by)):
            for name in names:
                if name in _BOUNDS:
                    raise InvalidField(field, f'"{name}" is part of a histogram or summary; relabelling can drop it')
        check_selection("metrics", self.metrics)

    def build(self) -> Transform:
        """The transform."""
        return Aggregate(self)


Combine = Callable[[Sequence[float]], float]
_COMBINE: dict[str, Combine] = {
    "sum": sum,
    "max": max,
    "min": min,
    "avg": lambda values: sum(values) / len(values),
}


class Aggregate:
    """Remembers what becomes of each label text."""

    def __init__(self, config: AggregateConfig) -> None:
        self._wanted = Selection(config.metrics)
        self._without, self._by = frozenset(config.without), frozenset((*config.by, *_BOUNDS)) if config.by else None
        self._gauges = _COMBINE[config.gauges]
        self._config = config
        self._known = Rewritten(self._text)

    def apply(self, families: list[Family]) -> list[Family]:
        """The families, those that are wanted with fewer series."""
        return [self._family(each) if each.name in self._wanted else each for each in families]

    def tried(self, family: Family) -> Iterator[Tried]:
        """For people: whether the metric is wanted, and how many series are left."""
        if family.name not in self._wanted:
            yield Tried("no match", f"metrics {self._wanted}", f"the name is {family.name}")
            return
        config, kind = self._config, family.kind
        what = f"without {', '.join(config.without)}" if config.without else f"by {', '.join(config.by)}"
        how = config.gauges if kind in ("gauge", "unknown") else "max" if kind in ("info", "stateset") else "sum"
        why = f"samples: {len(family.values)}, then {len(self._family(family).values)} by their {how}"
        if kind == "summary":
            why += "; quantiles, which cannot be added up, are left out"
        yield Tried("matched", what, why)

    def _text(self, text: str) -> str:
        labels = labels_of(text)
        if self._by is not None:
            return block(pair for pair in labels if pair[0] in self._by)
        return block(pair for pair in labels if pair[0] not in self._without)

    def _family(self, family: Family) -> Family:
        groups: dict[tuple[str, str], list[float]] = {}
        begun: dict[tuple[str, str], float] = {}
        suffixes = family.suffixes if family.suffixes is not None else [""] * len(family.values)
        starts = family.starts if family.starts is not None else repeat(None)
        for suffix, text, value, start in zip(suffixes, family.blocks, family.values, starts, strict=False):
            if family.kind == "summary" and not suffix:
                continue
            key = suffix, self._known[text]
            groups.setdefault(key, []).append(value)
            if start is not None:
                begun[key] = min(start, begun.get(key, start))  # the whole began with the first
        result = Family(family.name, family.kind, family.help, family.unit, source=family.source)
        result.blocks = [text for _, text in groups]
        combine = self._combine(family.kind)
        result.values = [combine(values) for values in groups.values()]
        if family.suffixes is not None:
            result.suffixes = [suffix for suffix, _ in groups]
        if begun:
            result.starts = list(map(begun.get, groups))
        return result

    def _combine(self, kind: str) -> Combine:
        if kind in ("gauge", "unknown"):
            return self._gauges
        return max if kind in ("info", "stateset") else sum
