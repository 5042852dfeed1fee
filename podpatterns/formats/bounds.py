"""The bounds that number a series' samples: `le` of a histogram's buckets, `quantile` of a summary."""

from __future__ import annotations

from functools import lru_cache

from podpatterns.formats.families import Family, labels_of
from podpatterns.formats.numbers import floats

BOUNDS = {"histogram": "le", "gaugehistogram": "le", "summary": "quantile"}
"""The label that bears them, by kind."""


def unbounded(family: Family) -> list[int]:
    """The samples of a family whose bound is no number, which nobody could read."""
    if family.kind not in BOUNDS:
        return []
    suffixes = family.suffixes if family.suffixes is not None else [""] * len(family.blocks)
    numbered = "" if family.kind == "summary" else "_bucket"
    pairs = zip(suffixes, family.blocks, strict=True)
    return [index for index, (suffix, text) in enumerate(pairs) if suffix == numbered and not _bounded(text)]


def without(family: Family, indices: list[int]) -> Family:
    """The family without some of its samples."""
    gone = set(indices)
    return family.keep([index for index in range(len(family.values)) if index not in gone]) if gone else family


@lru_cache(maxsize=65_536)
def _bounded(text: str) -> bool:
    labels = dict(labels_of(text))
    try:
        floats([labels.get("le") or labels.get("quantile") or "none"])
    except ValueError:
        return False
    return True
