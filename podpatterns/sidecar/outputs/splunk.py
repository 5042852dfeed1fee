"""Splunk, by its HTTP event collector (HEC)."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from podpatterns.errors import Retryable
from podpatterns.formats import jsonlines
from podpatterns.formats.timestamps import nanoseconds
from podpatterns.runtime.units import Duration, SecretFile, Url
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.http_client import Answer
from podpatterns.sidecar.posting import (
    NOTHING,
    Poster,
    PostingConfig,
    PostingOutput,
    Rest,
    judged,
    said,
    under,
    verdict,
)
from podpatterns.sidecar.progress import Progress

POLL = 1.0
"""Seconds between two questions whether something has been indexed: Splunk asks for no more than that."""


class SplunkConfig(PostingConfig, frozen=True, kw_only=True):
    """Sends events to Splunk's HTTP event collector.

    After 400 with `invalid-event-number` the events before that one are stored, that one becomes a dead letter, and
    those behind it are sent. Splunk counts from zero for some errors and from one for others, and documents neither:
    which it is is found out once for each kind of error, by sending the one in doubt alone, which may be there twice
    then. Success means received; with `acknowledge` it means indexed.
    """

    WHERE = ("url", "index")
    EXAMPLE: ClassVar[str] = "{type: splunk, url: 'https://splunk:8088', token: /var/run/secrets/splunk/token}"

    url: Url
    """Where the collector listens, without the path of its API."""

    token: SecretFile
    """A file with the collector's token, read anew for each delivery."""

    index: str | None = None
    """The index to store in. None: the default of the token."""

    sourcetype: str | None = None
    """The source type, by which Splunk reads the events. None: the default of the token."""

    source: str | None = None
    """What is shown as the source. None: the default of the token."""

    host: str | None = None
    """What is shown as the host; the pod's name is a good one. None: the default of the token."""

    time_field: str | None = "time"
    """The field that says when a line was written. None, or what is no time: the time of the delivery."""

    acknowledge: bool = False
    """Whether to wait until the indexer has acknowledged each request. The token must have it enabled. Without it a
    Splunk that stops at the wrong moment loses what it had received and not yet indexed."""

    acknowledge_within: Duration = Duration("2m")
    """How long to wait for that; then the events are sent again, and some may be there twice."""

    compression: Literal["none", "gzip"] = "gzip"
    """How the body is compressed."""

    def build(self) -> Splunk:
        """The output."""
        return Splunk(self)


class Result(msgspec.Struct, rename="kebab"):
    """The collector's answer."""

    text: str = ""
    code: int = 0
    invalid_event_number: int | None = None
    ack_id: int | None = msgspec.field(default=None, name="ackId")


class Acknowledgements(msgspec.Struct):
    """What has been indexed, by the number of the request as text."""

    acks: dict[str, bool]


class Splunk(PostingOutput[bytes]):
    """Sends events one after the other in a body."""

    def __init__(self, config: SplunkConfig) -> None:
        super().__init__()
        self.config = config
        self._asking: Poster | None = None
        # The number of the first event in `invalid-event-number`, by the error's code. Splunk's documentation does not
        # say what it is. Seen in the wild for a request whose first event was wrong: 0 with code 6, "Invalid data
        # format" (https://github.com/fluent/fluent-bit/issues/2881), 1 with code 7, "Incorrect index"
        # (https://github.com/signalfx/splunk-otel-collector-chart/issues/935); and the collector's maintainers read a
        # 10 as the tenth (https://github.com/open-telemetry/opentelemetry-collector-contrib/issues/36113).
        self._first: dict[int, int] = {}
        self._in_doubt: tuple[int, int] | None = None
        """The number of an event that is sent alone to find that out, and the code."""

    async def start(self) -> None:
        """Read the certificates. Raises StartError."""
        config: SplunkConfig = self.config
        if config.acknowledge:
            channel = str(uuid.uuid4())
            config = msgspec.structs.replace(config, headers={**config.headers, "X-Splunk-Request-Channel": channel})
            ask = under(config.url, f"/services/collector/ack?channel={channel}")
            self._asking = Poster(config, ask, content_type="application/json", scheme="Splunk")
        self._poster = Poster(
            config,
            under(config.url, "/services/collector/event"),
            content_type="application/json",
            compression=config.compression,
            scheme="Splunk",
        )

    def items(self, batches: Sequence[Batch]) -> list[bytes]:
        """Events."""
        now = time.time_ns()
        return [item for batch in batches for item in events(self.config, batch, now)]

    def body(self, items: list[bytes]) -> bytes:
        """Events, one after the other."""
        return b"".join(items)

    def judge(self, answer: Answer) -> str | None:
        """As HTTP says; where an event is named, `taken` splits there."""
        result = verdict(answer, Result) if answer.status == 400 else None
        if result is not None and result.invalid_event_number is not None:
            return None
        return judged(answer, self.config.hold)

    async def taken(self, progress: Progress[bytes], numbers: Sequence[int], answer: Answer) -> Rest:
        """Settle what stands before an event that was refused, and that event; what stands behind it is sent."""
        result = verdict(answer, Result) or Result()
        bad = result.invalid_event_number
        tried, self._in_doubt = self._in_doubt, None
        if answer.status != 400 or bad is None:
            if tried is not None and [tried[0]] == list(numbers):
                self._first[tried[1]] = 0  # it had been stored before: the one behind it was meant
            if self._asking is not None:
                await self._indexed(self._asking, result)
            progress.settle(numbers)
            return NOTHING
        if len(numbers) == 1:
            if tried is not None and tried[0] == numbers[0]:
                self._first[tried[1]] = 1
            progress.reject(dict.fromkeys(numbers, said(answer)))
            return NOTHING
        if not 0 <= bad <= len(numbers):
            # Nobody knows which, then: dead letters lose nothing, sending again for ever would hold up the rest.
            progress.reject(dict.fromkeys(numbers, f"{said(answer)} (of {len(numbers)} events)"))
            return NOTHING
        if bad in {0, len(numbers)}:
            self._first[result.code] = int(bad != 0)
        first = self._first.get(result.code)
        if first is None:
            progress.settle(numbers[: bad - 1])
            self._in_doubt = numbers[bad - 1], result.code
            return Rest(now=(numbers[bad - 1 : bad], numbers[bad:]))
        place = bad - first
        progress.settle(numbers[:place])
        progress.reject({numbers[place]: said(answer)})
        return Rest(now=(numbers[place + 1 :],))

    async def _indexed(self, asking: Poster, result: Result) -> None:
        """Return when a request has been indexed. Raises Retryable if that takes too long."""
        if result.ack_id is None:
            raise Retryable("the answer has no ackId: enable indexer acknowledgement for the token")
        question = msgspec.json.encode({"acks": [result.ack_id]})
        try:
            async with asyncio.timeout(self.config.acknowledge_within):
                while not await _yes(asking, question):  # noqa: ASYNC110 - the far side has to be asked
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise Retryable(f"not indexed within {self.config.acknowledge_within}") from None

    async def stop(self) -> None:
        """Close the connections."""
        await super().stop()
        if self._asking is not None:
            self._asking.close()


async def _yes(asking: Poster, question: bytes) -> bool:
    """Whether the one request asked about has been indexed; a question that fails is no answer."""
    try:
        answer = await asking.post(question)
    except OSError:
        return False
    said = verdict(answer, Acknowledgements) if answer.status == 200 else None
    return said is not None and list(said.acks.values()) == [True]


def events(config: SplunkConfig, batch: Batch, now: int) -> Iterator[bytes]:
    """The event of each record, as JSON. Pure; `now` in nanoseconds."""
    names = ("index", "sourcetype", "source", "host")
    given = {name: value for name in names if (value := getattr(config, name)) is not None}
    end = jsonlines.ending(given) if given else b"}"
    times: list[Any] = (
        jsonlines.column(batch.ndjson, config.time_field) if config.time_field is not None else [None] * len(batch)
    )
    for record, value in zip(jsonlines.split(batch.ndjson), times, strict=True):
        when = nanoseconds(value) or now
        yield b'{"time":%d.%06d,"event":%s%s' % (when // 10**9, when % 10**9 // 1000, record, end)
