"""OpenTelemetry's metrics, as SDKs and collectors export them over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import ClassVar

import msgspec

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.inputs import Document, Input, InputConfig, PullInput, Wiring
from podpatterns.adapter.posted import Posted
from podpatterns.adapter.streams import Streams
from podpatterns.formats import otlp_messages, otlp_points
from podpatterns.formats.content_encoding import TooLarge, unpacked
from podpatterns.formats.families import Family
from podpatterns.formats.protobuf import chunk
from podpatterns.formats.protobuf_messages import encode
from podpatterns.formats.refusal import Refused
from podpatterns.runtime.http_server import HttpReply, HttpRequest
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.units import Address, Duration, Size

_JSON, _PROTOBUF = "application/json", "application/x-protobuf"


class OtlpConfig(InputConfig, frozen=True, kw_only=True):
    """OpenTelemetry's metrics over HTTP, in protobuf or JSON: what every SDK exports with `http/protobuf`.

    Names become Prometheus' own: `http.server.duration` in `ms` is `http_server_duration_milliseconds`, a monotonic sum
    ends in `_total`, a gauge of unit `1` in `_ratio`. `service.name` and `service.instance.id` become `job` and
    `instance`. Changes (delta temporality) are added up. Exponential histograms are native ones for who scrapes
    protobuf, and have buckets at powers of two for all others. What was refused is counted, and said in the answer's
    `partial_success`. Series beyond the budget are added up in one with `overflow="true"`, which is said there as well:
    those that are cumulative by collection, so that a request which is sent again counts twice until the next one.
    """

    EXAMPLE: ClassVar[str] = """
    type: otlp
    listen: "127.0.0.1:4318"
    """

    listen: Address = Address("127.0.0.1:4318")
    """Where requests are received, at `/v1/metrics`: the pod's own loopback on OTLP's usual port by default, which SDKs
    use by themselves. gRPC is not spoken: set `OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`."""

    expire: Duration | None = Duration("5m")
    """How long a series stays on the page after its last point; SDKs repeat each one every minute. A sum of changes
    keeps its value, with which it comes back. None: for ever."""

    target_info: bool = True
    """Whether the attributes of a resource stand in a metric `target_info`, to be joined by `job` and `instance`."""

    scope_labels: bool = True
    """Whether the library that measures is named, in the labels `otel_scope_name` and `otel_scope_version`. Without
    them, metrics of the same name from two libraries become one series."""

    promote: list[str] = []
    """Attributes of a resource that every series gets as labels, such as `k8s.pod.name`."""

    max_body: Size = Size("16MiB")
    """Bytes that a request's body may have, decompressed or not."""

    def __post_init__(self) -> None:
        if self.expire is not None and self.expire <= 0:
            raise InvalidField("expire", "a series cannot expire at once; null keeps all for ever")

    def document(self, wiring: Wiring) -> Document:
        """Requests."""
        return Otlp(self, wiring)

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        return Otlp(self, wiring)


class Otlp(Posted, PullInput):
    """Takes requests, and holds what they say until a page is wanted."""

    def __init__(self, config: OtlpConfig, wiring: Wiring) -> None:
        super().__init__("otlp", config.listen, self.answer, wiring.events, config.max_body)
        self.config = config
        self._sink: AdapterEvents = wiring.events
        self._naming = otlp_points.Naming(config.target_info, config.scope_labels, frozenset(config.promote))
        self._streams = Streams(wiring.store.budget, config.expire, self._overflowed)
        self._beyond = 0
        """Points that found no room."""

    async def collect(self, deadline: Deadline) -> list[Family]:  # noqa: ARG002 - it is all there
        """Every series as it is now."""
        return list(self._streams.families(time.monotonic()))

    def sizes(self) -> Iterable[tuple[str, int]]:
        """How many series each metric has."""
        return self._streams.sizes()

    def take(self, body: bytes, content_type: str) -> list[Family]:
        """Take in a request, and give every series. Raises ValueError where it is none."""
        self._take(otlp_messages.read(body, json=content_type == _JSON))
        return list(self._streams.families(time.monotonic()))

    async def stop(self) -> None:
        """Answer what is under way, close, and give the room of the series back."""
        await super().stop()
        self._streams.clear()

    async def answer(self, request: HttpRequest) -> HttpReply:
        """200 for a request that is one, whatever its points are; in the encoding of the request."""
        kind = request.fields.get("content-type", "").partition(";")[0].strip().lower()
        if request.path != "/v1/metrics":
            return _refusal(404, "metrics are taken at /v1/metrics", kind)
        if request.method != "POST":
            return _refusal(405, "POST the metrics", kind)
        if kind not in (_JSON, _PROTOBUF):
            return _refusal(415, f"send {_PROTOBUF} or {_JSON}", kind)
        try:
            body = unpacked(request.body, request.fields.get("content-encoding", ""), self.config.max_body)
            found = otlp_messages.read(body, json=kind == _JSON)
        except TooLarge as error:
            return _refusal(413, str(error), kind)
        except ValueError as error:
            self._sink.line_refused("bad_line", f"OTLP: {error}")
            return _refusal(400, str(error), kind)
        before = self._beyond
        refused = self._take(found)
        response: dict[str, object] = {}
        if refused:
            text = f"the first because: {refused[0]}"
            response["partialSuccess"] = {"rejectedDataPoints": str(len(refused)), "errorMessage": text}
        elif self._beyond > before:  # nothing is rejected, and the text is a warning, as the protocol has it
            text = f'the budget of series is used up; points that went to overflow="true": {self._beyond - before}'
            response["partialSuccess"] = {"rejectedDataPoints": "0", "errorMessage": text}
        if kind == _JSON:
            return HttpReply(200, msgspec.json.encode(response), _JSON)
        return HttpReply(200, encode(response, otlp_messages.Response), _PROTOBUF)

    def _overflowed(self, metric: str) -> None:
        self._beyond += 1
        self._sink.overflowed(metric)

    def _take(self, request: otlp_messages.Request) -> list[Refused]:
        refused, count, now = list[Refused](), 0, time.monotonic()
        for point in otlp_points.points(request, self._naming):
            count += 1
            try:
                if isinstance(point, Refused):
                    raise point
                self._streams.take(point, now)
            except Refused as error:
                refused.append(error)
                self._sink.line_refused(error.reason, error.detail)
        self._sink.lines_taken(count)
        return refused


def _refusal(status: int, text: str, kind: str) -> HttpReply:
    """A google.rpc.Status that says why, in the encoding of the request where that is known."""
    if kind == _PROTOBUF:
        return HttpReply(status, chunk(2, text.encode()), _PROTOBUF)
    return HttpReply(status, msgspec.json.encode({"message": text}), _JSON)
