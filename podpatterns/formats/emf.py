"""CloudWatch's embedded metric format: log events in JSON that CloudWatch makes metrics of.

An event has the metrics of one set of labels: at most 100, more make further events, and at most 30 labels, which are
its dimensions. Source: docs.aws.amazon.com, "Specification: Embedded metric format".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

import msgspec

from podpatterns.formats.families import Family, Labels, labels_of
from podpatterns.formats.points import names

METRICS = 100
"""Metrics of one directive."""

DIMENSIONS = 30
"""Labels of one event."""

_LARGEST = 2.0**360
"""CloudWatch's own bound on values, either way."""

_UNITS = {
    "seconds": "Seconds",
    "milliseconds": "Milliseconds",
    "microseconds": "Microseconds",
    "bytes": "Bytes",
    "kilobytes": "Kilobytes",
    "megabytes": "Megabytes",
    "gigabytes": "Gigabytes",
    "percent": "Percent",
}
"""By how a name ends, in front of `_total`, `_sum` and `_max`."""


def render(
    families: Iterable[Family],
    namespace: str,
    now: float,
    adds_up: Callable[[Family, str], bool],
    *,
    labels: Mapping[str, str] | None = None,
    about: Mapping[str, str] | None = None,
) -> tuple[list[bytes], dict[str, int]]:
    """A line for each event, and how many samples were left out by the reason.

    Args:
        families: sums as what was added; see `adds_up`, which tells them by family and suffix.
        namespace: where CloudWatch shows them.
        now: seconds since 1970; for samples without a time of their own.
        adds_up: what is counted.
        labels: dimensions that every event gets.
        about: more fields of `_aws`, such as LogGroupName.

    Buckets have no place in it: a histogram is its count and sum. Where nothing was added there is nothing to say.
    """
    events: dict[tuple[Labels, int], dict[str, tuple[float, str]]] = {}
    left_out: dict[str, int] = {}
    for family in families:
        suffixes = family.suffixes if family.suffixes is not None else [""] * len(family.values)
        stamps = family.stamps if family.stamps is not None else [None] * len(family.values)
        rows = zip(names(family), suffixes, family.blocks, family.values, stamps, strict=True)
        for name, suffix, text, value, stamp in rows:
            summed = adds_up(family, suffix)
            if suffix == "_bucket" or (summed and not value):
                continue
            if not isfinite(value) or abs(value) > _LARGEST:
                left_out["not_finite"] = left_out.get("not_finite", 0) + 1
                continue
            dimensions = tuple({**(labels or {}), **dict(labels_of(text))}.items())
            if len(dimensions) > DIMENSIONS:
                left_out["too_many_labels"] = left_out.get("too_many_labels", 0) + 1
                continue
            when = round((now if stamp is None else stamp) * 1000)
            unit = _unit(name, family.unit) or ("Count" if summed else "None")
            events.setdefault((dimensions, when), {})[name] = value, unit
    lines = []
    for (dimensions, when), metrics in events.items():
        items = list(metrics.items())
        lines += [
            _event(namespace, when, dimensions, items[at : at + METRICS], about or {})
            for at in range(0, len(items), METRICS)
        ]
    return lines, left_out


def _event(
    namespace: str,
    when: int,
    dimensions: Labels,
    metrics: Iterable[tuple[str, tuple[float, str]]],
    about: Mapping[str, str],
) -> bytes:
    directive: dict[str, Any] = {
        "Namespace": namespace,
        "Dimensions": [[name for name, _ in dimensions]],
        "Metrics": [{"Name": name, "Unit": unit} for name, (_, unit) in metrics],
    }
    # A label of the same name as a metric would be one target for both; the metric is what it is about.
    event: dict[str, Any] = {"_aws": {"Timestamp": when, "CloudWatchMetrics": [directive], **about}}
    event |= dict(dimensions)
    event |= {name: value for name, (value, _) in metrics}
    return msgspec.json.encode(event) + b"\n"


def _unit(name: str, unit: str) -> str:
    base = name
    for ending in ("_total", "_sum", "_max"):
        base = base.removesuffix(ending)
    return _UNITS.get(unit) or _UNITS.get(base.rpartition("_")[2], "") if not name.endswith("_count") else ""
