"""Points: single samples with a name, labels and a number, for formats that know no families.

What Graphite and InfluxDB lines say, and what families are taken apart into for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from math import isfinite

from podpatterns.formats.families import Family, Labels, labels_of


@dataclass(frozen=True, slots=True)
class Point:
    """One sample; `stamp` is in seconds since 1970, None where there is none."""

    name: str
    labels: Labels
    value: float
    stamp: float | None = None


def names(family: Family) -> Iterable[str]:
    """The name of each sample: `x_bucket`, `x_count` and so on for a histogram `x`."""
    if family.suffixes is None:
        return repeat(family.name, len(family.values))
    base = family.base
    return [base + suffix if suffix else family.name for suffix in family.suffixes]


def not_finite(families: Iterable[Family]) -> int:
    """How many samples are NaN or infinite."""
    return sum(
        len(family.values) - sum(map(isfinite, family.values))
        for family in families
        if not isfinite(sum(family.values))  # which costs less than to look at each, and is true of nearly all
    )


def points(families: Iterable[Family], now: float | None) -> Iterator[Point]:
    """Every sample with a finite value; those without a time of their own are of `now`."""
    for family in families:
        stamps: Iterable[float | None] = family.stamps if family.stamps is not None else repeat(None)
        for name, text, value, stamp in zip(names(family), family.blocks, family.values, stamps, strict=False):
            if isfinite(value):
                yield Point(name, labels_of(text), value, now if stamp is None else stamp)
