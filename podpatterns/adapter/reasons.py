"""Why a metric fares as it does, for people: what was tried with it, what happened, and the reason. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from podpatterns.formats.families import Family, is_metric_name
from podpatterns.formats.sample_lines import quoted_series

MOST = 10
"""Outcomes of the samples of one family that are told apart; more of them say no more."""

SHOWN = 80
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried, such as `rule 2 (drop __name__ go_.*)`, whether it applies, and why."""

    happened: Literal["matched", "no match", "dropped", "failed", "samples"]
    what: str
    why: str = ""


def quoted(value: str) -> str:
    """A value in quotes, if it is long the beginning of it."""
    return f'"{value}"' if len(value) <= SHOWN else f'"{value[:SHOWN]}…"'


def by_outcome(family: Family, tried: Callable[[str, str], Iterator[Tried]]) -> Iterator[Tried]:
    """What `tried` says of the name and block of each sample, once for all samples of which it says the same."""
    groups: dict[Sequence[Tried], list[str]] = {}
    suffixes = family.suffixes if family.suffixes is not None else [""] * len(family.values)
    for suffix, text in zip(suffixes, family.blocks, strict=True):
        name = family.base + suffix if suffix else family.name
        series = name + text if is_metric_name(name) else quoted_series(name, text)
        groups.setdefault(tuple(tried(name, text)), []).append(series)
    for outcome, samples in list(groups.items())[:MOST]:
        if len(groups) > 1:
            more = f" and {len(samples) - 1} more" if len(samples) > 1 else ""
            yield Tried("samples", f"{samples[0]}{more}")
        yield from outcome
    if len(groups) > MOST:
        yield Tried("samples", f"that fare in {len(groups) - MOST} more ways are not shown")
