"""One page out of many sources: merged, transformed, and never spoilt by a single bad family.

What cannot stand on a page (a name with two types, a sample that is there twice, labels that are not well formed, a
counter that is NaN) is *quarantined*: left out, and named with the reason in `podpatterns_adapter_quarantined_samples`.
A gauge may be NaN or infinite: Prometheus takes that for what it is. Pure: no clock, no sockets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from typing import Protocol

from podpatterns.formats.families import SUFFIXES, Blocks, Family, InvalidLabels, is_utf8_name


class Transform(Protocol):
    """Changes families on their way to the page; synchronous and pure. May change what it is given, in place."""

    def apply(self, families: list[Family]) -> list[Family]:
        """The families, changed."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """What was left out: of which family, why, and how many samples; `detail` is for people, and tells none apart."""

    family: str
    reason: str
    samples: int
    detail: str = field(default="", compare=False)

    @property
    def said(self) -> str:
        """The reason, with the detail if there is one."""
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


@dataclass(slots=True)
class Page:
    """What is shown: families that do not contradict each other, and what had to be left out for that."""

    families: list[Family] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)

    def quarantine(self, family: Family, reason: str, samples: int | None = None, detail: str = "") -> None:
        """Leave out a family, or some of its samples."""
        count = len(family.values) if samples is None else samples
        self.quarantined.append(Quarantined(family.name, reason, count, detail))


def compose(families: Iterable[Family], transforms: Sequence[tuple[str, Transform]], blocks: Blocks) -> Page:
    """Transform, merge and check. `transforms` come with the names by which their failures are called."""
    page = Page()
    found = list(families)
    for name, transform in transforms:
        found = transformed(found, name, transform, page)
    merged: dict[str, Family] = {}
    for family in found:
        reason = _defect(family, blocks)
        if reason is not None:
            page.quarantine(family, reason)
            continue
        first = merged.get(family.name)
        if first is None:
            merged[family.name] = family
        elif first.kind != family.kind:
            page.quarantine(family, f"type_conflict_{first.kind}_{family.kind}")
        else:
            if first.help and family.help and first.help != family.help:
                page.quarantine(family, "help_conflict", 0)  # a name has one text; the samples stay
            first.help = first.help or family.help
            first.extend(family)
    _reserve(merged, page)
    found = [_unique(_sound(family, page), page) for family in merged.values()]
    page.families = [family for family in found if family.values]
    return page


def transformed(families: list[Family], name: str, transform: Transform, page: Page) -> list[Family]:
    """The whole at once; if that fails, one by one, so that only the families that make it fail are lost."""
    try:
        return list(transform.apply(list(families)))
    except Exception:  # noqa: BLE001 - an operator's function may raise anything; what it fails on is named below
        kept: list[Family] = []
        for family in families:
            try:
                kept += transform.apply([family])
            except Exception as error:  # noqa: BLE001
                page.quarantine(family, f"{name}_raised_{type(error).__name__}", detail=_raised(error))
        return kept


def _raised(error: Exception) -> str:
    """What an error says, and the line of the operator's function: the first one that is not ours."""
    frames = [each for each in extract_tb(error.__traceback__) if not Path(each.filename).is_relative_to(_OURS)]
    place = f" ({Path(frames[0].filename).name}, line {frames[0].lineno})" if frames else ""
    return f"{str(error)[:200]}{place}"


_OURS = Path(__file__).parents[1]


def _defect(family: Family, blocks: Blocks) -> str | None:
    """Why a family cannot stand on any page; its blocks are put in canonical form on the way."""
    if not is_utf8_name(family.name):
        return "invalid_name"
    if family.kind not in SUFFIXES:
        return "unknown_type"
    count = len(family.values)
    if len(family.blocks) != count or any(
        column is not None and len(column) != count for column in (family.suffixes, family.stamps, family.starts)
    ):
        return "uneven_columns"
    if family.suffixes is not None and not set(family.suffixes) <= set(SUFFIXES[family.kind]):
        return "invalid_suffix"
    try:
        family.blocks = list(map(blocks.__getitem__, family.blocks))
        family.values = list(map(float, family.values))
    except InvalidLabels:
        return "invalid_labels"
    except (TypeError, ValueError):
        return "not_a_number"
    return None


def _reserve(merged: dict[str, Family], page: Page) -> None:
    """A histogram `x` owns the names `x_bucket`, `x_count` and `x_sum`; another family of that name gives way."""
    for family in list(merged.values()):
        if family.kind in ("histogram", "summary", "gaugehistogram") and family.name in merged:
            for suffix in SUFFIXES[family.kind]:
                other = merged.get(family.name + suffix) if suffix else None
                if other is not None:
                    page.quarantine(other, f"suffix_conflict_{family.kind}")
                    del merged[other.name]


_SUMS = ("_sum", "_gsum")
"""May be negative, where what is observed may be."""


def _sound(family: Family, page: Page) -> Family:
    """A family without counts that are negative or NaN: a rate over them would be nonsense for ever."""
    if family.kind in ("gauge", "unknown") or all(value >= 0 for value in family.values):
        return family
    suffixes = family.suffixes if family.suffixes is not None else [""] * len(family.values)
    if family.kind == "summary":
        exempt: tuple[str, ...] = ("", *_SUMS)
    else:
        exempt = () if family.kind == "counter" else _SUMS
    pairs = zip(suffixes, family.values, strict=True)
    kept = [index for index, (suffix, value) in enumerate(pairs) if value >= 0 or suffix in exempt]
    if len(kept) == len(family.values):
        return family
    page.quarantine(family, f"negative_or_nan_{family.kind}", len(family.values) - len(kept))
    return family.keep(kept)


def _unique(family: Family, page: Page) -> Family:
    keys = family.keys()
    if family.stamps is not None or len(set(keys)) == len(keys):
        return family  # the same series at several times is no contradiction
    first = dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))
    page.quarantine(family, "duplicate_series", len(keys) - len(first))
    return family.keep(sorted(first.values()))
