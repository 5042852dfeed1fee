"""StatsD lines out of families that hold changes: what was added is a counter, all else a gauge."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from math import isfinite
from typing import Literal

from podpatterns.formats.families import Family, Labels, labels_of
from podpatterns.formats.points import names

Tags = Literal["dogstatsd", "librato", "influx", "signalfx", "none"]

_NOT_NAME = re.compile(r"[\s:|@#,=\[\]]")
_NOT_DOG = re.compile(r"[\s|,]")
_NOT_VALUE = re.compile(r"[\s|,#:\[\]]")


def render(families: Iterable[Family], tags: Tags, adds_up: Callable[[Family, str], bool]) -> Iterator[str]:
    """A line for each sample that says something; `adds_up` tells sums, by family and suffix."""
    style = _STYLES[tags]
    for family in families:
        suffixes = family.suffixes if family.suffixes is not None else [""] * len(family.values)
        for name, suffix, text, value in zip(names(family), suffixes, family.blocks, family.values, strict=True):
            if not isfinite(value):
                continue
            head, tail = style(_NOT_NAME.sub("_", name), labels_of(text))
            if adds_up(family, suffix):
                if value:
                    yield f"{head}:{_number(value)}|c{tail}\n"
                continue
            if value < 0 and tags != "dogstatsd":
                yield f"{head}:0|g{tail}\n"  # a sign would change the gauge by that much; DogStatsD sets it
            yield f"{head}:{_number(value)}|g{tail}\n"


def _pairs(labels: Labels, between: str) -> str:
    return ",".join([f"{name}{between}{_NOT_VALUE.sub('_', value)}" for name, value in labels])


def _dogstatsd(name: str, labels: Labels) -> tuple[str, str]:
    # Only its own separators are changed: a tag's value may hold colons.
    pairs = ",".join([f"{label}:{_NOT_DOG.sub('_', value)}" for label, value in labels])
    return name, f"|#{pairs}" if labels else ""


_STYLES: dict[Tags, Callable[[str, Labels], tuple[str, str]]] = {
    "dogstatsd": _dogstatsd,
    "librato": lambda name, labels: (f"{name}#{_pairs(labels, '=')}" if labels else name, ""),
    "influx": lambda name, labels: (f"{name},{_pairs(labels, '=')}" if labels else name, ""),
    "signalfx": lambda name, labels: (f"{name}[{_pairs(labels, '=')}]" if labels else name, ""),
    "none": lambda name, labels: (".".join([name, *(_NOT_NAME.sub("_", value) for _, value in labels)]), ""),
}
"""By style, what stands in front of the value and what behind the type."""


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")
