"""OpenTelemetry collectors and stores, by OTLP over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from podpatterns.errors import Rejected
from podpatterns.formats import otlp_logs
from podpatterns.formats.timestamps import nanoseconds
from podpatterns.runtime.units import Url
from podpatterns.sidecar.batch import MESSAGE, Batch
from podpatterns.sidecar.http_client import Answer
from podpatterns.sidecar.posting import Poster, PostingConfig, PostingOutput, Rest, again, said, under, verdict
from podpatterns.sidecar.progress import Progress

RETRYABLE = frozenset({429, 502, 503, 504})
"""What OTLP lets a client try again, and nothing else."""


class OtlpConfig(PostingConfig, frozen=True, kw_only=True):
    """Exports log records by OTLP/HTTP, in JSON.

    Only 429, 502, 503 and 504 are tried again; any other failure makes dead letters. Records that a `partial_success`
    rejects are not named in it and must not be sent again: they are counted as `refused`, and known to be lost.
    """

    WHERE = ("url",)
    EXAMPLE: ClassVar[str] = "{type: otlp, url: 'http://collector:4318', resource: {service.name: shop}}"

    url: Url
    """Where the collector is, without the path of its API."""

    resource: dict[str, str] = {}
    """Attributes of the resource that the logs are about, such as `service.name` and `k8s.pod.name`."""

    time_field: str | None = "time"
    """The field that says when a line was written; it stays an attribute if it is no time. None: none says so."""

    level_field: str | None = "level"
    """The field that becomes the severity; it stays an attribute if it is no known level. None: none does."""

    event_id: bool = False
    """Whether each record has its id as the attribute `log.record.uid`, by which a repeated delivery can be told."""

    authorization: Literal["Bearer", "Basic"] = "Bearer"
    """How `token` is sent. `Basic`: the file holds `user:password`."""

    compression: Literal["none", "gzip"] = "gzip"
    """How the body is compressed."""

    def build(self) -> Otlp:
        """The output."""
        return Otlp(self)


class PartialSuccess(msgspec.Struct, rename="camel"):
    """What was not taken; 64-bit numbers may come as text."""

    rejected_log_records: str | int = 0
    error_message: str = ""


class Exported(msgspec.Struct, rename="camel"):
    """The answer."""

    partial_success: PartialSuccess | None = None


class Otlp(PostingOutput[bytes]):
    """Makes a LogRecord of each record."""

    DIVISIBLE = frozenset({413})  # OTLP calls any other failure permanent for the whole request

    def __init__(self, config: OtlpConfig) -> None:
        super().__init__()
        self.config = config
        resource = msgspec.json.encode({"attributes": otlp_logs.attributes(config.resource)})
        self._start = b'{"resourceLogs":[{"resource":%s,"scopeLogs":[{"scope":{"name":"podpatterns"},"logRecords":[' % (
            resource
        )

    async def start(self) -> None:
        """Read the certificates. Raises StartError."""
        config = self.config
        self._poster = Poster(
            config,
            under(config.url, "/v1/logs"),
            content_type="application/json",
            compression=config.compression,
            scheme=config.authorization,
        )

    def items(self, batches: Sequence[Batch]) -> list[bytes]:
        """LogRecords."""
        now = time.time_ns()
        return [item for batch in batches for item in log_records(self.config, batch, now)]

    def body(self, items: list[bytes]) -> bytes:
        """An export request with one resource and one scope."""
        return self._start + b",".join(items) + b"]}]}]}"

    def judge(self, answer: Answer) -> str | None:
        """By OTLP's own table."""
        if 200 <= answer.status < 300:
            return None
        if answer.status in RETRYABLE or answer.status in self.config.hold:
            raise again(answer)
        if answer.status == 413:
            return said(answer)
        raise Rejected(said(answer))

    async def taken(self, progress: Progress[bytes], numbers: Sequence[int], answer: Answer) -> Rest:
        """Settle all of it: a partial success must not be sent again."""
        count, warning = partial_success(answer)
        if count or warning:
            progress.refuse(min(count, len(numbers)), warning or "partial success without a message")
        return await super().taken(progress, numbers, answer)


def partial_success(answer: Answer) -> tuple[int, str]:
    """How many records were rejected, and the message, from an answer; an answer of another form says nothing."""
    exported = verdict(answer, Exported)
    partial = exported.partial_success if exported is not None else None
    try:
        return (max(0, int(partial.rejected_log_records)), partial.error_message) if partial else (0, "")
    except ValueError:
        return 0, ""


def log_records(config: OtlpConfig, batch: Batch, now: int) -> Iterator[bytes]:
    """The LogRecord of each record, as JSON. Pure; `now` in nanoseconds."""
    records: list[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode_lines(batch.ndjson)
    names = batch.ids if config.event_id else None
    for index, record in enumerate(records):
        when = nanoseconds(record.get(config.time_field)) if config.time_field is not None else None
        if when is not None and config.time_field is not None:
            del record[config.time_field]
        if names is not None:
            record["log.record.uid"] = names[index]
        made = otlp_logs.log_record(record, when=when, observed=now, body=MESSAGE, level=config.level_field)
        yield msgspec.json.encode(made)
