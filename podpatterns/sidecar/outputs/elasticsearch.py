"""Elasticsearch and OpenSearch, by the bulk API."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from podpatterns.errors import Retryable
from podpatterns.formats import jsonlines
from podpatterns.formats.timestamps import nanoseconds, rfc3339
from podpatterns.runtime.units import Url
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.http_client import Answer
from podpatterns.sidecar.posting import Poster, PostingConfig, PostingOutput, Rest, judged, said, under, verdict
from podpatterns.sidecar.progress import Progress

TIMESTAMP = "@timestamp"
ANSWER = 4 * 1024 * 1024
"""Bytes of an answer: with `filter_path` an item is 30 bytes, and up to 2 KB with its error."""
FILTER = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"


class ElasticsearchConfig(PostingConfig, frozen=True, kw_only=True):
    """Indexes records with the bulk API of Elasticsearch or OpenSearch, and goes by the verdict on each.

    201 and 409 (there already) are fine; records with 429 or 5xx are sent again, they alone; other 4xx make dead
    letters.
    """

    WHERE = ("url", "index")
    EXAMPLE: ClassVar[str] = "{type: elasticsearch, url: 'http://search.monitoring:9200', index: logs-shop-default}"

    url: Url
    """Where it is, without the path of its API."""

    index: Annotated[str, msgspec.Meta(pattern=r"^[^A-Z\\/*?\"<>| ,#:+_-][^A-Z\\/*?\"<>| ,#:]*$")]
    """The data stream, index or alias. Each record is created with its event id as `_id`, so that a repeated delivery
    stores nothing twice. (In a data stream that holds until it rolls over.)"""

    time_field: str | None = "time"
    """The field whose time becomes `@timestamp`, which data streams want, in records without one. None, or what is no
    time: the time of the delivery."""

    authorization: Literal["ApiKey", "Basic", "Bearer"] = "ApiKey"
    """How `token` is sent. `Basic`: the file holds `user:password`."""

    compression: Literal["none", "gzip"] = "gzip"
    """How the body is compressed."""

    def build(self) -> Elasticsearch:
        """The output."""
        return Elasticsearch(self)


class Error(msgspec.Struct):
    """Why an item was not stored."""

    type: str = ""
    reason: str | None = ""


class Result(msgspec.Struct):
    """What became of an item."""

    status: int
    error: Error | None = None


class Bulk(msgspec.Struct):
    """The answer; each item is under the name of its operation."""

    errors: bool
    items: list[dict[str, Result]] = []


class Elasticsearch(PostingOutput[bytes]):
    """Creates documents."""

    COUNT = 2000  # the answer has an item for each, and has to be kept whole

    def __init__(self, config: ElasticsearchConfig) -> None:
        super().__init__()
        self.config = config

    async def start(self) -> None:
        """Read the certificates. Raises StartError."""
        config = self.config
        url = under(config.url, f"/{config.index}/_bulk")
        self._poster = Poster(
            config,
            f"{url}{'&' if '?' in url else '?'}{FILTER}",
            content_type="application/x-ndjson",
            compression=config.compression,
            scheme=config.authorization,
            keep=ANSWER,
        )

    def items(self, batches: Sequence[Batch]) -> list[bytes]:
        """The action and the document of each record."""
        now = time.time_ns()
        return [item for batch in batches for item in actions(self.config, batch, now)]

    def body(self, items: list[bytes]) -> bytes:
        """Actions and documents, a line each."""
        return b"".join(items)

    def judge(self, answer: Answer) -> str | None:
        """As HTTP says; what it says of the items comes then."""
        return judged(answer, self.config.hold)

    async def taken(self, progress: Progress[bytes], numbers: Sequence[int], answer: Answer) -> Rest:
        """Go by the verdict on each item."""
        busy, settled, rejected = "", [], dict[int, str]()
        for number, result in zip(numbers, results(answer, len(numbers)), strict=True):
            if result.status == 429 or result.status >= 500:
                busy = why(result)
            elif result.status >= 300 and result.status != 409:
                rejected[number] = why(result)
            else:
                settled.append(number)
        progress.settle(settled)
        progress.reject(rejected)
        return Rest(busy=busy)


def results(answer: Answer, count: int) -> list[Result]:
    """The verdict on each item. Raises Retryable for an answer that has not one for each."""
    bulk = verdict(answer, Bulk)
    if bulk is None:
        raise Retryable(f"not the answer of a bulk request: {said(answer)}")
    found = [result for item in bulk.items for result in item.values()]
    if len(found) != count:
        raise Retryable(f"the answer has {len(found)} items for {count} records")
    return found


def why(result: Result) -> str:
    """`400 mapper_parsing_exception: failed to parse field [status]`."""
    error = result.error
    return f"{result.status} {error.type}: {error.reason}" if error else str(result.status)


def actions(config: ElasticsearchConfig, batch: Batch, now: int) -> Iterator[bytes]:
    """The action and the document of each record. Pure; `now` in nanoseconds."""
    ndjson = batch.ndjson
    times: list[Any] = jsonlines.column(ndjson, config.time_field) if config.time_field else [None] * len(batch)
    given = jsonlines.column(ndjson, TIMESTAMP, missing=False)
    for name, record, value, own in zip(batch.ids, jsonlines.split(ndjson), times, given, strict=True):
        document = record
        if own is False:
            stamp = f'{{"{TIMESTAMP}":"{rfc3339(nanoseconds(value) or now)}"'.encode()
            document = stamp + (b"}" if record == b"{}" else b"," + record[1:])
        yield b'{"create":{"_id":"%s"}}\n%s\n' % (name.encode(), document)
