"""How an adapter is doing: its series, and everything that is missing on the page, with the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from podpatterns.runtime.service import Check, Status

if TYPE_CHECKING:
    from podpatterns.adapter.runtime import Adapter


def series(adapter: Adapter, most: int) -> dict[str, Any]:
    """The answer of `GET /adapter/series`, with so many of the largest metrics."""
    events, budget = adapter.events, adapter.store.budget
    sizes: Counter[str] = Counter()
    for name, size in chain(adapter.store.sizes(), *(source.sizes() for source in adapter.inputs)):
        sizes[name] += size
    return {
        "series": budget.taken,
        "budget": budget.total,
        "budget_per_metric": budget.per_metric,
        "metrics": len(sizes),
        "top": [{"metric": name, "series": size} for name, size in sizes.most_common(most)],
        "expired": events.expired,
        "hidden_counters": len(adapter.store.hidden),
        "dropped_by_mapping": events.unwanted,
        "overflowed_samples": events.overflow,
        "lines": events.lines,
        "lines_refused": events.refused,
        "lines_skipped": events.skipped,
        "datagrams_dropped": events.dropped,
        "deliveries_lost": events.lost,
        "deliveries_waiting": {
            output: {"bytes": size, "error": error} for output, (size, error) in events.waiting.items()
        },
        "samples_left_out": events.left_out,
        "quarantined": [
            {"family": item.family, "reason": item.reason, "samples": item.samples} for item in events.withheld
        ],
    }


def status(adapter: Adapter) -> Status:
    """Lines in, series out, and whether any was lost."""
    events, logs = adapter.events, adapter.log_events
    refused, dropped = events.refused, events.dropped
    lines, count = events.lines, adapter.store.budget.taken
    facts: dict[str, str | int | float] = {}
    checks: list[Check] = []
    if adapter.inputs:
        meant = lines == 0 or bool(events.unwanted or events.expired)  # all may be gone for a reason
        facts |= {"lines": lines, "series": count, "refused": sum(refused.values())}
        checks += [
            Check("metrics present", count > 0 or meant, f"{count} series from {lines} lines"),
            Check("no line refused", not refused, _listed(refused)),
            Check("no datagram dropped", not dropped, _listed(dropped)),
        ]
    if adapter.outputs:
        checks.append(Check("no delivery lost", not events.lost, _listed(events.lost)))
    if adapter.url:
        facts["page"] = adapter.url
    if adapter.logs:
        read, written = logs.passed_on
        facts["log lines"] = f"{read}, in {written} records"
    if adapter.logs or logs.losses:
        checks.append(Check("no log line lost", not logs.losses, _listed(logs.losses)))
    for health in adapter.health:
        facts["health"] = f"{health.overall.status}, {len(health.checks)} checks at {health.url}"
    return Status(facts, checks)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())
