"""NDJSON by HTTP POST."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from podpatterns.formats import jsonlines
from podpatterns.runtime.units import Url
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.http_client import Answer
from podpatterns.sidecar.outputs import ACCEPTED, Receipt
from podpatterns.sidecar.posting import Compression, Poster, PostingConfig, PostingOutput, judged


class HttpConfig(PostingConfig, frozen=True, kw_only=True):
    """Posts records as NDJSON. Tries again after 408, 425, 429 and 5xx except 501; other 4xx make dead letters."""

    WHERE = ("url",)
    EXAMPLE: ClassVar[str] = "{type: http, url: 'http://logs.monitoring:8080/ingest', compression: gzip}"

    url: Url
    """Where to post to. Redirects are not followed."""

    compression: Compression = "none"
    """How the body is compressed; `none` by default, because the store must know it, and CPU time is the pod's."""

    event_id: bool = False
    """Whether each record begins with its `id`, by which the far side can tell a repeated delivery."""

    def build(self) -> Http:
        """The output."""
        return Http(self)


class Http(PostingOutput[bytes]):
    """Posts the batches as they are; only what is refused because of its contents is gone through in halves."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__()
        self.config = config

    async def start(self) -> None:
        """Read the certificates. Raises StartError."""
        config = self.config
        self._poster = Poster(config, config.url, content_type="application/x-ndjson", compression=config.compression)

    async def deliver(self, batches: Sequence[Batch]) -> Receipt:
        """Post everything at once, and no more than that if it is taken. Raises Retryable, Rejected or OSError."""
        if self._progress is not None and self._progress.is_of(batches):
            return await super().deliver(batches)  # a part of it has been taken
        assert self._poster is not None, "started"
        answer = await self._poster.post(b"".join(map(self._records, batches)))
        if self.judge(answer) is None:
            return ACCEPTED
        return await self.divided(batches, answer)

    def _records(self, batch: Batch) -> bytes:
        return jsonlines.with_ids(batch.ndjson, batch.ids) if self.config.event_id else batch.ndjson

    def items(self, batches: Sequence[Batch]) -> list[bytes]:
        """Records, each with its newline."""
        return [record + b"\n" for batch in batches for record in jsonlines.split(self._records(batch))]

    def body(self, items: list[bytes]) -> bytes:
        """Records, a line each."""
        return b"".join(items)

    def judge(self, answer: Answer) -> str | None:
        """As HTTP says."""
        return judged(answer, self.config.hold)
