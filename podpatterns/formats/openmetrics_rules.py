"""What OpenMetrics 1.0 asks of a metric family: which labels, values, exemplars and times its samples have.

Each rule yields what is wrong and the index of the sample that shows it, or None where it is the family as a whole.
Source: the OpenMetrics 1.0 specification, "Metric Types" and "Text format".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf, isfinite, isnan

from podpatterns.formats.bounds import BOUNDS
from podpatterns.formats.families import Family, InvalidLabels, Labels, labels_of, parsed

Mistake = tuple[str, int | None]

EXEMPLAR_SIZE = 128
"""Characters of an exemplar's labels, names and values together."""

REAL = re.compile(r"[-+]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][-+]?[0-9]++)?")
"""A number that is finite."""

_NATURAL = {"counter": ("",), "histogram": ("_bucket", "_count", "_sum"), "gaugehistogram": ("_bucket", "_gcount")}
_EXEMPLARS = {"counter": "", "histogram": "_bucket", "gaugehistogram": "_bucket"}
_TOTALS = {"histogram": ("_count", "_sum"), "gaugehistogram": ("_gcount", "_gsum")}
_EXEMPLAR = re.compile(r"(\{.*\}) ([^ ]++)(?: ([^ ]++))?", re.DOTALL)


def mistakes(name: str, family: Family, created: Mapping[str, float]) -> Iterator[Mistake]:
    """Everything that is wrong with a family; `created` has the values of its `_created` samples, by block."""
    if family.unit and not name.endswith(f"_{family.unit}"):
        yield f'the name must end with its unit, "_{family.unit}"', None
    if family.unit and family.kind in ("info", "stateset"):
        yield f"a {family.kind} has no unit", None
    yield from _needed_labels(name, family)
    yield from _values(family)
    yield from _exemplars(family)
    series = _series(name, family)
    yield from _order(family, series)
    if family.kind in _TOTALS:
        yield from _histograms(family, series)
    elif family.kind == "counter" and not created.keys() <= set(family.blocks):
        yield "a _created without a _total", None
    if not all(map(isfinite, created.values())):
        yield "_created is a time, in seconds since 1970", None


def _needed_labels(name: str, family: Family) -> Iterator[Mistake]:
    """A quantile has its label, a state has its name."""
    if family.kind == "stateset":
        for index, text in enumerate(family.blocks):
            if not any(pair[0] == name for pair in labels_of(text)):
                yield f'a state has a label "{name}"', index
    elif family.kind == "summary":
        suffixes = family.suffixes or [""] * len(family.blocks)
        for index, suffix in enumerate(suffixes):
            quantile = dict(labels_of(family.blocks[index])).get("quantile")
            if not suffix and not (quantile and REAL.fullmatch(quantile) and 0 <= float(quantile) <= 1):
                yield "a summary's own sample has a quantile between 0 and 1", index


def _values(family: Family) -> Iterator[Mistake]:
    kind, suffixes = family.kind, family.suffixes
    natural = _NATURAL.get(kind, ())
    if kind == "counter" and all(value >= 0 for value in family.values):
        return
    for index, value in enumerate(family.values):
        suffix = suffixes[index] if suffixes is not None else ""
        if suffix in natural and not value >= 0:
            yield f"the {suffix or '_total'} of a {kind} cannot be negative or NaN", index
        elif suffix == "_gsum" and isnan(value):
            yield "a sum cannot be NaN", index
        elif kind == "summary" and (value < 0 or (suffix and isnan(value))):
            yield "what a summary holds cannot be negative, nor its count or sum NaN", index
        elif kind == "info" and value != 1:
            yield "an info is always 1", index
        elif kind == "stateset" and value not in (0, 1):
            yield "a state is 0 or 1", index


def _exemplars(family: Family) -> Iterator[Mistake]:
    for index, text in family.exemplars.items():
        suffix = family.suffixes[index] if family.suffixes is not None else ""
        if _EXEMPLARS.get(family.kind) != suffix:
            yield "exemplars stand at counters and buckets only", index
            continue
        match = _EXEMPLAR.fullmatch(text)
        try:
            labels = parsed(match[1]) if match else ()
        except InvalidLabels as error:
            yield f"the exemplar's labels: {error}", index
            continue
        if match is None or not (REAL.fullmatch(match[2]) or match[2] in ("+Inf", "-Inf", "NaN")):
            yield "the exemplar's value is not a number", index
        elif match[3] is not None and not REAL.fullmatch(match[3]):
            yield "the exemplar's time is not a number of seconds", index
        elif sum(len(part) for pair in labels for part in pair) > EXEMPLAR_SIZE:
            yield f"the exemplar's labels have more than {EXEMPLAR_SIZE} characters", index


def _series(name: str, family: Family) -> Sequence[Labels | str]:
    """What tells the series apart: the labels without those that number the samples of one."""
    own = BOUNDS.get(family.kind, name if family.kind == "stateset" else "")
    if not own:
        return family.blocks
    return [tuple(pair for pair in labels_of(text) if pair[0] != own) for text in family.blocks]


def _order(family: Family, series: Sequence[Labels | str]) -> Iterator[Mistake]:
    """The samples of a series stand together, each once, and their times do not fall."""
    keys = family.keys()
    if family.stamps is None and len(set(keys)) == len(keys) and series is family.blocks:
        return
    gone: set[Labels | str] = set()
    seen: set[str] = set()
    stamps = family.stamps or [None] * len(keys)
    for index, one in enumerate(series):
        fresh = index == 0 or series[index - 1] != one
        if fresh:
            if one in gone:
                yield "the samples of a series must stand together", index
            gone.add(one)
        before, stamp = stamps[index - 1] if not fresh else None, stamps[index]
        if not fresh and (before is None) != (stamp is None):
            yield "either all samples of a series have times, or none", index
        elif before is not None and stamp is not None and before > stamp:
            yield "the times of a series must not fall", index
        if stamp is None:
            if keys[index] in seen:
                yield "a sample stands there twice", index
            seen.add(keys[index])


def _histograms(family: Family, series: Sequence[Labels | str]) -> Iterator[Mistake]:
    count_suffix, sum_suffix = _TOTALS[family.kind]
    groups: dict[tuple[Labels | str, float | None], dict[str, list[int]]] = {}
    stamps = family.stamps or [None] * len(series)
    for index, suffix in enumerate(family.suffixes or ()):
        groups.setdefault((series[index], stamps[index]), {}).setdefault(suffix, []).append(index)
    for parts in groups.values():
        buckets = parts.get("_bucket", [])
        first = min(index for part in parts.values() for index in part)
        try:
            bounds = [_bound(dict(labels_of(family.blocks[index])).get("le")) for index in buckets]
        except ValueError as error:
            yield str(error), buckets[0]
            continue
        counts = [family.values[index] for index in buckets]
        if not bounds or bounds[-1] != inf:
            yield 'the last bucket must be le="+Inf"', buckets[-1] if buckets else first
            continue
        if any(after <= before for before, after in pairwise(bounds)):
            yield "the buckets must stand in ascending order", buckets[0]
        elif any(after < before for before, after in pairwise(counts)):
            yield "the counts of the buckets must not fall", buckets[0]
        totals, sums = parts.get(count_suffix, []), parts.get(sum_suffix, [])
        if bool(totals) != bool(sums):
            yield f"{count_suffix} and {sum_suffix} stand together or not at all", first
        if totals and family.values[totals[0]] != counts[-1]:
            yield f'{count_suffix} must be the bucket le="+Inf"', totals[0]
        if sums and bounds[0] < 0 and family.kind == "histogram":
            yield "a histogram with a bucket below 0 has no sum", sums[0]
        if sums and bounds[0] >= 0 and family.values[sums[0]] < 0:
            yield "a sum without buckets below 0 cannot be negative", sums[0]


def _bound(text: str | None) -> float:
    if text is None:
        raise ValueError("a bucket has no le")
    if text == "+Inf":
        return inf
    if not REAL.fullmatch(text):
        raise ValueError(f'le="{text}" is not a number')
    return float(text)
