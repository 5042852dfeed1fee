"""Names that OpenTelemetry's metrics and attributes get in Prometheus.

    metric("http.server.duration", "ms", "histogram")  # http_server_duration_milliseconds
    metric("jobs.done", "1", "counter")  # jobs_done_total
    metric("cpu.utilization", "1", "gauge")  # cpu_utilization_ratio

Source: "Prometheus and OpenMetrics Compatibility" of OpenTelemetry's specification, and what Prometheus itself does
with OTLP (prometheus/otlptranslator).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from podpatterns.formats.families import Kind

UNITS = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tebibytes",
    "kBy": "kilobytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "1": "",
    "%": "percent",
}
"""UCUM's units as Prometheus spells them out; another one stays as it is."""

_PER = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
"""The same behind a `/`."""

_TOKEN = re.compile(r"[a-zA-Z0-9:]+")
_RUN = re.compile(r"[^a-zA-Z0-9]+")


@lru_cache(maxsize=4096)
def metric(name: str, unit: str, kind: Kind) -> str:
    """The name of a metric, with its unit and what its kind asks for at the end; "" where nothing is left of it."""
    words = _TOKEN.findall(name)
    main, per = _unit(unit)
    words += [each for each in (main, per) if each and each not in words]
    last = {"counter": "total", "gauge": "ratio" if unit == "1" else ""}.get(kind, "")
    if last:
        words = [*(word for word in words if word != last), last]
    found = "_".join(words)
    return f"_{found}" if found[:1].isdigit() else found


def unit_name(unit: str) -> str:
    """A unit as it ends a metric's name."""
    return "_".join(filter(None, _unit(unit)))


def _unit(unit: str) -> tuple[str, str]:
    # What stands in braces says what is counted, and is no unit.
    main, _, per = (part.strip() for part in unit.partition("/"))
    main = "" if "{" in main or "}" in main else UNITS.get(main, main)
    per = "" if "{" in per or "}" in per else _PER.get(per, per)
    return _clean(main), f"per_{_clean(per)}" if _clean(per) else ""


def _clean(text: str) -> str:
    return _RUN.sub("_", text).strip("_")


@lru_cache(maxsize=4096)
def label(name: str) -> str:
    """The name of an attribute as a label: runs of other characters become one `_`; what cannot begin gets `key`."""
    found = _RUN.sub("_", name)
    if found[:1].isdigit():
        return f"key_{found}"
    return f"key{found}" if found[:1] == "_" and len(found) > 1 else found


def labels(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Attributes as labels; values of those that get the same name are joined by `;`, in the order of their keys."""
    found: dict[str, str] = {}
    for name, value in sorted(pairs):
        key = label(name)
        if key.strip("_"):
            found[key] = f"{found[key]};{value}" if key in found else value
    return found
