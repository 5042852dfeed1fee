"""OpenTelemetry: metrics by OTLP over HTTP, in JSON."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.outputs import Output, Source
from podpatterns.adapter.pushing import Post, PostConfig
from podpatterns.formats import otlp_metrics
from podpatterns.formats.families import Family

CONTENT_TYPE = "application/json"


class OtlpConfig(PostConfig, frozen=True, kw_only=True):
    """Exports metrics by OTLP/HTTP in JSON: to an OpenTelemetry Collector, and everything that takes its protocol.

    Counters become monotonic sums, timers histograms, all of them cumulative; names stay as they are. Samples that are
    not finite are left out.
    """

    EXAMPLE: ClassVar[str] = """
    type: otlp
    url: http://collector.monitoring:4318/v1/metrics
    resource: {service.name: shop}
    """

    resource: dict[str, str] = {}
    """Attributes of the resource that all of it belongs to; `service.name` is what most stores ask for."""

    def build(self, source: Source, events: AdapterEvents) -> Output:
        """The output."""
        return Otlp(self, source, events)


class Otlp(Post):
    """One request for each interval."""

    def __init__(self, config: OtlpConfig, source: Source, events: AdapterEvents) -> None:
        super().__init__("otlp", config, {"Content-Type": CONTENT_TYPE}, source, events)
        self._resource = config.resource
        self._began = time.time()

    def encode(self, families: Sequence[Family], now: float) -> list[bytes]:
        """One body, or none where there is nothing to say."""
        request = otlp_metrics.request(families, self._resource, now, min(self._began, now))
        metrics = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
        return [msgspec.json.encode(request)] if metrics else []

    def render(self, families: Sequence[Family], accept: str) -> tuple[bytes, str]:  # noqa: ARG002 - it has one form
        """The same."""
        request = otlp_metrics.request(families, self._resource, time.time(), self._began)
        return msgspec.json.encode(request), CONTENT_TYPE
