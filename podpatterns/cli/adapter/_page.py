"""The series of an adapter as lines for a terminal. Pure: the answer of `GET /adapter/series` comes in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

BAR = 20
"""Characters of a bar for 100 %."""

_LOSSES = (
    ("lines_refused", "lines refused", "by reason"),
    ("lines_skipped", "lines skipped", "by what they are"),
    ("overflowed_samples", "samples beyond the budget", "by metric; one without a name is new"),
    ("dropped_by_mapping", "samples dropped by the mapping", "by rule"),
    ("expired", "series expired", "by kind"),
    ("datagrams_dropped", "datagrams dropped by the kernel", "by input"),
    ("deliveries_lost", "deliveries lost", "by output and reason"),
    ("samples_left_out", "samples that an output's format has no place for", "by output and reason"),
)
"""What may be missing on the page: field, title, and what the rows are."""


def lines(answer: Mapping[str, Any], *, plain: bool = False) -> Iterator[str]:
    """The whole page. `plain` keeps to ASCII."""
    series, budget = answer["series"], answer["budget"]
    share = f"{series / budget:.0%}".replace("%", " %")
    yield f"series {series:,} of {budget:,} ({share}), metrics {answer['metrics']:,}, lines {answer['lines']:,}"
    if answer["hidden_counters"]:
        yield f"{answer['hidden_counters']:,} counters are idle and off the page until they grow"
    if answer["top"]:
        yield f"largest metrics; each may have {answer['budget_per_metric']:,} series"
        yield from _table(
            [
                (f"{each['series']:,}", each["metric"], _bar(each["series"] / answer["budget_per_metric"], plain=plain))
                for each in answer["top"]
            ]
        )
    if answer["deliveries_waiting"]:
        yield "bytes that wait to be delivered, by output, and what was wrong the last time"
        waiting = answer["deliveries_waiting"].items()
        yield from _table([(f"{each['bytes']:,}", output, each["error"]) for output, each in waiting])
    missing = False
    for field, title, by in _LOSSES:
        counts = answer.get(field) or {}
        if counts:
            missing = True
            yield f"{title}, {by}"
            ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
            yield from _table([(f"{count:,}", name or '""', "") for name, count in ordered])
    if answer["quarantined"]:
        missing = True
        yield "samples left out of the last page, by family and reason"
        yield from _table(
            [(f"{each['samples']:,}", f"{each['family']}: {each['reason']}", "") for each in answer["quarantined"]]
        )
    if not missing:
        yield "nothing was refused, dropped or left out"


def _table(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    wide = max(len(number) for number, _, _ in rows)
    long = max(len(name) for _, name, _ in rows)
    for number, name, more in rows:
        yield f"  {number.rjust(wide)}  {name.ljust(long)}  {more}".rstrip()


def _bar(share: float, *, plain: bool) -> str:
    return ("#" if plain else "█") * min(BAR, round(share * BAR))
