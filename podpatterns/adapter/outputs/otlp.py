"""OpenTelemetry: metrics by OTLP over HTTP."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import msgspec

from podpatterns.adapter.outputs import Output, OutputContext
from podpatterns.adapter.posting import Answer, Post, PostConfig
from podpatterns.formats import otlp_messages, otlp_metrics
from podpatterns.formats.families import Family
from podpatterns.formats.protobuf_messages import decode, encode

CONTENT_TYPES = {"json": "application/json", "protobuf": "application/x-protobuf"}


class OtlpConfig(PostConfig, frozen=True, kw_only=True):
    """Exports metrics by OTLP/HTTP: to an OpenTelemetry Collector, and everything that takes its protocol.

    Counters become monotonic sums, timers histograms; names stay as they are. Samples that are
    not finite are left out. Only 429, 502, 503 and 504 are tried again, as the protocol has it; a request of which the
    answer rejects a part is counted as lost with the reason `partly_rejected`.
    """

    EXAMPLE: ClassVar[str] = """
    type: otlp
    url: http://collector.monitoring:4318/v1/metrics
    resource: {service.name: shop}
    """

    resource: dict[str, str] = {}
    """Attributes of the resource that all of it belongs to; `service.name` is what most stores ask for."""

    encoding: Literal["json", "protobuf"] = "json"
    """How requests are written. `protobuf` is what some stores insist on, and a third shorter."""

    temporality: Literal["cumulative", "delta"] = "cumulative"
    """Whether sums and histograms tell all that was counted, or what was added since the last interval, as some stores
    ask for. What a source had counted before the adapter looked for the first time is then not sent."""

    def build(self, context: OutputContext) -> Output:
        """The output."""
        return Otlp(self, context)


class Otlp(Post):
    """One request for each interval."""

    finite = True

    def __init__(self, config: OtlpConfig, context: OutputContext) -> None:
        super().__init__(config, {"Content-Type": CONTENT_TYPES[config.encoding]}, context)
        self._resource, self._encoding = config.resource, config.encoding
        self._deltas, self._cumulative = context.deltas, config.temporality == "cumulative"

    def encode(self, families: Sequence[Family], now: float) -> list[bytes]:
        """One body, or none where there is nothing to say."""
        left_out: Counter[str] = Counter()
        if self._cumulative:
            began = min(self._deltas.began, now)
            request = otlp_metrics.request(families, self._resource, now, began, left_out=left_out)
        else:
            summed = [each for each in families if each.kind in ("counter", "histogram")]
            others = [each for each in families if each.kind not in ("counter", "histogram")]
            began = self._deltas.before
            told = [*self._deltas.changes(summed, now), *others]
            request = otlp_metrics.request(told, self._resource, now, began, otlp_messages.DELTA, left_out=left_out)
        for reason, count in (+left_out).items():
            self.left_out(reason, count)
        metrics = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
        return [self._written(request)] if metrics else []

    def render(self, families: Sequence[Family], accept: str) -> tuple[bytes, str]:  # noqa: ARG002 - it has one form
        """Everything, as sums."""
        request = otlp_metrics.request(families, self._resource, time.time(), self._deltas.began)
        return self._written(request), CONTENT_TYPES[self._encoding]

    def again(self, status: int) -> bool:
        """What the protocol allows, and nothing else."""
        return status in (429, 502, 503, 504)

    def judge(self, answer: Answer, body: bytes) -> None:
        """Also a request that was taken may have parts that were not."""
        super().judge(answer, body)
        partial = _response(answer).partial_success
        if partial is not None and partial.rejected_data_points:
            self.lost("partly_rejected", 1)
            self.failed(f"{partial.rejected_data_points} points rejected: {partial.error_message[:300]}")

    def _written(self, request: dict[str, Any]) -> bytes:
        if self._encoding == "json":
            return msgspec.json.encode(request)
        return encode(request, otlp_messages.Request)


def _response(answer: Answer) -> otlp_messages.Response:
    """What an answer says beyond its status; nothing where it is none of OTLP's, as some stores leave it empty."""
    try:
        if answer.fields.get("Content-Type", "").startswith(CONTENT_TYPES["json"]):
            return msgspec.json.decode(answer.body, type=otlp_messages.Response, strict=False)
        return decode(answer.body, otlp_messages.Response)
    except (ValueError, msgspec.DecodeError):
        return otlp_messages.Response()
