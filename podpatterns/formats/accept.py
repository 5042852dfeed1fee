"""Which form of the page a scraper gets: content negotiation over its Accept header (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from podpatterns.formats import openmetrics, prometheus
from podpatterns.formats.families import Family


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the page."""

    content_type: str
    render: Callable[[Iterable[Family]], bytes]


TEXT = Form(prometheus.CONTENT_TYPE, prometheus.render)
OPENMETRICS = Form(openmetrics.CONTENT_TYPE, openmetrics.render)

_FORMS: dict[tuple[str, str], Form] = {
    ("application/openmetrics-text", "1.0.0"): OPENMETRICS,
    ("application/openmetrics-text", "0.0.1"): OPENMETRICS,
    ("application/openmetrics-text", ""): OPENMETRICS,
    ("text/plain", "0.0.4"): TEXT,
    ("text/plain", ""): TEXT,
    ("text/*", ""): TEXT,
    ("*/*", ""): TEXT,
}


@lru_cache(maxsize=256)
def negotiate(accept: str) -> Form:
    """The form with the highest q, the first of equals; text where nothing fits, for every scraper reads it."""
    best, highest = TEXT, 0.0
    for item in accept.split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        given = dict(_parameter(parameter) for parameter in parameters if "=" in parameter)
        form = _FORMS.get((kind.lower(), given.get("version", "")))
        weight = _weight(given.get("q", "1"))
        if form is not None and weight > highest:
            best, highest = form, weight
    return best


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
