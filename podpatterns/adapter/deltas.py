"""What has been added since the last time, for those who want changes and not sums. Pure.

A series that is new counts in full if it is known to have begun since, and else from now on: what a source has counted
before anybody looked would be one great leap. A value that is smaller than before has begun anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from math import floor, inf, isfinite

from podpatterns.formats.families import Family

ROUNDS = 10
"""Rounds for which a series is remembered that is not there, since a source may miss one or two."""

_ADDED = frozenset({"_bucket", "_count", "_sum"})


def adds_up(family: Family, suffix: str) -> bool:
    """Whether the samples of that suffix are sums that only grow, unless they begin anew."""
    return family.kind == "counter" or (family.kind in ("histogram", "summary") and suffix in _ADDED)


class Deltas:
    """Remembers the last value of every sum. `since` is when counting began, in seconds since 1970."""

    def __init__(self, since: float) -> None:
        self.began = self.before = since
        """When counting began, and when `changes` was asked for the last time; in seconds since 1970."""
        self._since = _second(since)
        self._round = 0
        self._last: dict[tuple[str, str, str], tuple[float, int]] = {}

    def changes(self, families: Iterable[Family], now: float) -> list[Family]:
        """The families with changes for sums. Samples of which the change is not known are left out."""
        self._round += 1
        found = [self._family(family) for family in families]
        self._since, self.before = _second(now), now
        self._last = {key: last for key, last in self._last.items() if self._round - last[1] < ROUNDS}
        return [family for family in found if family.values]

    def _family(self, family: Family) -> Family:
        suffixes = family.suffixes if family.suffixes is not None else [""] * len(family.values)
        starts = _starts(family)
        values = list(family.values)
        kept = []
        for at, (suffix, text, value) in enumerate(zip(suffixes, family.blocks, values, strict=True)):
            if not adds_up(family, suffix):
                kept.append(at)
                continue
            if not isfinite(value):
                continue
            key = family.name, suffix, text
            last = self._last.get(key)
            self._last[key] = value, self._round
            if last is not None:
                values[at] = value - last[0] if value >= last[0] else value
            elif starts.get(_own(text), -inf) < self._since:
                continue
            kept.append(at)
        changed = family.keep(kept)
        changed.values = [values[at] for at in kept]
        changed.exemplars, changed.natives, changed.starts = {}, {}, None
        return changed


def _starts(family: Family) -> dict[str, float]:
    """Since when each series has been counting, by its labels without the bound of a bucket."""
    starts: Iterable[float | None] = family.starts if family.starts is not None else repeat(None)
    pairs: Iterator[tuple[str, float | None]] = zip(family.blocks, starts, strict=False)
    return {text: start for text, start in pairs if start is not None}


def _own(text: str) -> str:
    """A bucket's block without its bound, which stands last."""
    before, bound, _ = text.rpartition('le="')
    if not bound or before[-1:] not in ("{", ","):
        return text
    return f"{before[:-1]}}}" if before[-1] == "," else ""


def _second(time: float) -> float:
    """The second of a time: when a series began is told in whole seconds."""
    return floor(time) if isfinite(time) else time
