"""OpenTelemetry's metrics, in the JSON encoding of OTLP: families to metrics.

Sums and histograms are cumulative, as ours are. Names stay as they are, `_total` included, so that what comes back as
Prometheus bears the same. Source: opentelemetry.io/docs/specs/otlp, the metrics data model, and "Prometheus and
OpenMetrics Compatibility".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise, repeat
from math import inf, isfinite
from typing import Any

from podpatterns.formats.families import Family, Labels, labels_of
from podpatterns.formats.numbers import floats
from podpatterns.formats.otlp_messages import CUMULATIVE

Json = dict[str, Any]


def attributes(labels: Iterable[tuple[str, str]]) -> list[Json]:
    """Labels as a list of KeyValue."""
    return [{"key": name, "value": {"stringValue": value}} for name, value in labels]


def request(
    families: Iterable[Family],
    resource: Mapping[str, str],
    now: float,
    start: float,
    temporality: int = CUMULATIVE,
    *,
    left_out: Counter[str] | None = None,
) -> Json:
    """An ExportMetricsServiceRequest. `now` and `start`, when counting began, are in seconds since 1970.

    Values that are not finite are left out. So are histograms whose buckets do not fit together, and summaries without
    a count: `left_out` is told how many, by the reason.
    """
    left_out = Counter() if left_out is None else left_out
    metrics = [found for family in families for found in _metrics(family, now, start, left_out)]
    for metric in metrics:
        for data in ("sum", "histogram"):
            if data in metric:
                metric[data]["aggregationTemporality"] = temporality
    scope = {"scope": {"name": "podpatterns.adapter"}, "metrics": metrics}
    return {"resourceMetrics": [{"resource": {"attributes": attributes(resource.items())}, "scopeMetrics": [scope]}]}


def _metrics(family: Family, now: float, start: float, left_out: Counter[str]) -> Iterable[Json]:
    if family.kind == "gaugehistogram" and family.suffixes is not None:
        return [found for part in _apart(family) for found in _metrics(part, now, start, left_out)]
    found: Json = {"name": family.name}
    if family.help:
        found["description"] = family.help
    if family.unit:
        found["unit"] = family.unit
    series = _series(family)
    clock = {"timeUnixNano": _nanoseconds(now)}
    begun = {**clock, "startTimeUnixNano": _nanoseconds(start)}
    if family.kind == "histogram":
        points = [each for labels, parts in series.items() if (each := _histogram(labels, parts, begun))]
        left_out["bad_buckets"] += len(series) - len(points)
        found["histogram"] = {"dataPoints": points}
    elif family.kind == "summary":
        points = [each for labels, parts in series.items() if (each := _summary(labels, parts, begun))]
        left_out["no_count"] += len(series) - len(points)
        found["summary"] = {"dataPoints": points}
    else:
        times = begun if family.kind == "counter" else clock
        points = [
            {
                "attributes": attributes(labels),
                **times,
                **_created(parts, times),
                **_own_time(each),
                "asDouble": each[1],
            }
            for labels, parts in series.items()
            for each in parts.get("", ())
            if isfinite(each[1])
        ]
        if family.kind == "counter":
            found["sum"] = {"isMonotonic": True, "dataPoints": points}
        else:
            found["gauge"] = {"dataPoints": points}
    data = found.get("histogram") or found.get("summary") or found.get("sum") or found["gauge"]
    return [found] if data["dataPoints"] else []


def _apart(family: Family) -> Iterable[Family]:
    """A gauge for each suffix, for a kind that OTLP does not have."""
    for suffix in sorted(set(family.suffixes or ())):
        part = family.keep([at for at, each in enumerate(family.suffixes or ()) if each == suffix])
        part.name, part.kind, part.suffixes = family.base + suffix, "gauge", None
        yield part


Sample = tuple[str, float, float | None, float | None]
"""The bound in `le` or `quantile`, "" where there is none; value; time of its own; when its series began."""


def _series(family: Family) -> dict[Labels, dict[str, list[Sample]]]:
    """Samples by the labels of their series, then by suffix."""
    bound = {"histogram": "le", "summary": "quantile"}.get(family.kind, "")
    suffixes = family.suffixes if family.suffixes is not None else repeat("")
    stamps: Iterable[float | None] = family.stamps if family.stamps is not None else repeat(None)
    found: dict[Labels, dict[str, list[Sample]]] = {}
    starts: Iterable[float | None] = family.starts if family.starts is not None else repeat(None)
    for suffix, text, value, stamp, start in zip(suffixes, family.blocks, family.values, stamps, starts, strict=False):
        labels = labels_of(text)
        limit = dict(labels).get(bound, "")
        rest = tuple(pair for pair in labels if pair[0] != bound)
        found.setdefault(rest, {}).setdefault(suffix, []).append((limit, value, stamp, start))
    return found


def _histogram(labels: Labels, parts: Mapping[str, list[Sample]], times: Json) -> Json | None:
    """One point; None where its buckets make no histogram."""
    buckets = parts.get("_bucket", [])
    try:
        bounds = floats([limit for limit, _, _, _ in buckets])
    except ValueError:
        return None
    counts = [value for _, value, _, _ in buckets]
    if not bounds or bounds[-1] != inf or not all(map(isfinite, counts)):
        return None
    steps = [after - before for before, after in pairwise([0.0, *counts])]
    if min(steps) < 0 or any(after <= before for before, after in pairwise(bounds)):
        return None
    # Counts are whole numbers there; ours may be fractions, where lines were sampled.
    whole = [round(count) for count in counts]
    found = {"attributes": attributes(labels), **times, **_created(parts, times), **_own_time(buckets[-1])}
    found["count"] = str(whole[-1])
    found["bucketCounts"] = [str(after - before) for before, after in pairwise([0, *whole])]
    found["explicitBounds"] = bounds[:-1]
    for _, total, _, _ in parts.get("_sum", ()):
        if isfinite(total):
            found["sum"] = total
    return found


def _summary(labels: Labels, parts: Mapping[str, list[Sample]], times: Json) -> Json | None:
    counts, sums = parts.get("_count", ()), parts.get("_sum", ())
    if not counts or not isfinite(counts[0][1]):
        return None
    found = {"attributes": attributes(labels), **times, **_created(parts, times), **_own_time(counts[0])}
    found["count"] = str(round(counts[0][1]))
    if sums and isfinite(sums[0][1]):
        found["sum"] = sums[0][1]
    found["quantileValues"] = [
        {"quantile": float(limit), "value": value}
        for limit, value, _, _ in parts.get("", ())
        if limit and isfinite(value)
    ]
    return found


def _created(parts: Mapping[str, list[Sample]], times: Json) -> Json:
    """When the series itself began, where it says so."""
    began = next((sample[3] for samples in parts.values() for sample in samples if sample[3] is not None), None)
    return {"startTimeUnixNano": _nanoseconds(began)} if began is not None and "startTimeUnixNano" in times else {}


def _own_time(sample: Sample) -> Json:
    return {} if sample[2] is None else {"timeUnixNano": _nanoseconds(sample[2])}


def _nanoseconds(seconds: float) -> str:
    # Through microseconds: more of a float's seconds would be noise.
    return str(round(seconds * 1_000_000) * 1000)
