"""Which form of the page a scraper gets: content negotiation over its Accept header (RFC 9110, 12.5.1).

Beside the form it names the scheme by which names in UTF-8 are escaped, `escaping=`; without one they become
underscores, as they do in every Prometheus client. Source: prometheus/common expfmt (NegotiateAccept).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from podpatterns.formats import openmetrics, prometheus, prometheus_protobuf
from podpatterns.formats.escaping import SCHEMES, Scheme
from podpatterns.formats.families import Family
from podpatterns.formats.preferences import preferences


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the page, and how names are escaped in it."""

    media_type: str
    write: Callable[[Iterable[Family], Scheme], bytes]
    escaping: Scheme = "underscores"

    @property
    def content_type(self) -> str:
        """The Content-Type of a page in this form."""
        return f"{self.media_type}; escaping={self.escaping}"

    def render(self, families: Iterable[Family]) -> bytes:
        """The page."""
        return self.write(families, self.escaping)


TEXT = Form(prometheus.CONTENT_TYPE, prometheus.render)
TEXT_1 = Form(prometheus.CONTENT_TYPE_1, prometheus.render)
OPENMETRICS = Form(openmetrics.CONTENT_TYPE, openmetrics.render)
PROTOBUF = Form(prometheus_protobuf.CONTENT_TYPE, prometheus_protobuf.render)

_FORMS: dict[tuple[str, str], Form] = {
    ("application/openmetrics-text", "1.0.0"): OPENMETRICS,
    ("application/openmetrics-text", "0.0.1"): OPENMETRICS,
    ("application/openmetrics-text", ""): OPENMETRICS,
    ("text/plain", "1.0.0"): TEXT_1,
    ("text/plain", "0.0.4"): TEXT,
    ("text/plain", ""): TEXT,
    ("text/*", ""): TEXT,
    ("*/*", ""): TEXT,
}
_PROTOBUF = {"proto": "io.prometheus.client.MetricFamily", "encoding": "delimited"}


@lru_cache(maxsize=256)
def negotiate(accept: str) -> Form:
    """The form with the highest q, the first of equals; text where nothing fits, for every scraper reads it."""
    best, highest = TEXT, 0.0
    for kind, given, weight in preferences(accept):
        form = _form(kind, given)
        if form is not None and weight > highest:
            best, highest = form, weight
    return best


def _form(kind: str, given: dict[str, str]) -> Form | None:
    if kind == "application/vnd.google.protobuf":
        form = PROTOBUF if _PROTOBUF.items() <= given.items() else None
    else:
        form = _FORMS.get((kind, given.get("version", "")))
    scheme = next((scheme for scheme in SCHEMES if scheme == given.get("escaping")), None)
    return form if form is None or scheme is None else replace(form, escaping=scheme)
