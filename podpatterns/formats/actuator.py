"""What Spring Boot's actuator says: its health, and meters under the names that Micrometer gives them in Prometheus.

Source: docs.spring.io, "Actuator Web API" (health, metrics); Micrometer's PrometheusNamingConvention.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

import msgspec

from podpatterns.formats.families import Family, Kind, metric_name

_HEALTH = "spring_health"


class _Measurement(msgspec.Struct):
    statistic: str
    value: float | None = None


class _Tag(msgspec.Struct):
    tag: str
    values: list[str] = []


class Meter(msgspec.Struct):
    """The document of one meter, for all values of its tags or for some."""

    name: str
    measurements: list[_Measurement]
    description: str | None = None
    baseUnit: str | None = None  # noqa: N815 - the document's own name
    availableTags: list[_Tag] = []  # noqa: N815


def names(body: bytes) -> list[str]:
    """The names of all meters, out of the document `metrics`. Raises ValueError."""
    try:
        return msgspec.json.decode(body, type=dict[str, list[str]]).get("names", [])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"this is not the actuator's list of metrics: {error}") from None


def read_meter(body: bytes) -> Meter:
    """The document `metrics/<name>`. Raises ValueError."""
    try:
        return msgspec.json.decode(body, type=Meter)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"this is not a metric of the actuator: {error}") from None


def meters(found: Iterable[tuple[Mapping[str, str], Meter]]) -> list[Family]:
    """Families of meters, each with the tags that it was asked for.

    What is counted and added up becomes a summary with `_count` and `_sum`; a maximum becomes a gauge of its own.
    """
    families: dict[str, Family] = {}

    def family(name: str, kind: Kind, meter: Meter) -> Family:
        return families.setdefault(name, Family(name, kind, meter.description or f"Micrometer's {meter.name}."))

    for tags, meter in found:
        values = {each.statistic: each.value for each in meter.measurements if _finite(each.value)}
        base = _named(meter.name, meter.baseUnit)
        total = values.get("TOTAL_TIME", values.get("TOTAL"))
        if total is not None:
            summary = family(base, "summary", meter)
            summary.add(values.get("COUNT") or 0.0, tags.items(), "_count")
            summary.add(total, tags.items(), "_sum")
        elif (count := values.get("COUNT")) is not None:
            family(f"{base.removesuffix('_total')}_total", "counter", meter).add(count, tags.items())
        for statistic, suffix in (("MAX", "_max"), ("ACTIVE_TASKS", "_active"), ("DURATION", "_duration")):
            if (value := values.get(statistic)) is not None:
                family(base + suffix, "gauge", meter).add(value, tags.items())
        for statistic in ("VALUE", "UNKNOWN"):
            if (value := values.get(statistic)) is not None:
                family(base, "gauge", meter).add(value, tags.items())
    return list(families.values())


def _finite(value: float | None) -> bool:
    return value is not None and isfinite(value)


def _named(name: str, unit: str | None) -> str:
    base = metric_name(name)
    unit = metric_name(unit or "")
    return f"{base}_{unit}" if unit and not base.endswith(f"_{unit}") else base


def health(body: bytes) -> list[Family]:
    """The document `health`: 1 for what is UP, 0 for all else; components of components by their path.

    Raises:
        ValueError: it is no such document.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"this is not JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("status"), str):
        raise ValueError("this is not the actuator's health")  # noqa: TRY004 - a value in a document
    family = Family(_HEALTH, "gauge", "Whether a component, or with an empty one the application, is UP.")
    for path, status in _components(document, ""):
        family.add(float(status == "UP"), [("component", path)])
    return [family]


def _components(document: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    yield path, document.get("status")
    inner = document.get("components")
    for name, component in inner.items() if isinstance(inner, dict) else ():
        if isinstance(component, dict):
            yield from _components(component, f"{path}/{name}" if path else name)
