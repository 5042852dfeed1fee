"""NDJSON by HTTP POST."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from podpatterns.formats import jsonlines
from podpatterns.runtime.units import Url
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.outputs import ACCEPTED, Output, Receipt
from podpatterns.sidecar.posting import Compression, Poster, PostingConfig, judged


class HttpConfig(PostingConfig, frozen=True, kw_only=True):
    """Posts records as NDJSON. Tries again after 408, 425, 429 and 5xx except 501; other 4xx make dead letters."""

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


class Http(Output):
    """Posts over one connection that is kept."""

    def __init__(self, config: HttpConfig) -> None:
        self.config = config
        self._poster: Poster | None = None

    async def start(self) -> None:
        """Read the certificates. Raises StartError."""
        config = self.config
        self._poster = Poster(config, config.url, content_type="application/x-ndjson", compression=config.compression)

    async def deliver(self, batches: Sequence[Batch]) -> Receipt:
        """Post; halve what is refused because of its contents until the records to blame are found."""
        body = b"".join(self._records(batch) for batch in batches)
        reason = await self._refused(body)
        if reason is None:
            return ACCEPTED
        places = [(at, index) for at, batch in enumerate(batches) for index in range(len(batch))]
        rejected: dict[tuple[int, int], str] = {}
        records = body.splitlines(keepends=True) if len(body.splitlines()) == len(places) else body.split(b"\n")[:-1]
        records = [record if record.endswith(b"\n") else record + b"\n" for record in records]
        work = [(0, len(records), reason)]
        while work:
            begin, end, why = work.pop()
            if end - begin == 1:
                rejected[places[begin]] = why
                continue
            middle = (begin + end) // 2
            for half in ((begin, middle), (middle, end)):
                refused = await self._refused(b"".join(records[half[0] : half[1]]))
                if refused is not None:
                    work.append((*half, refused))
        return Receipt(rejected)

    def _records(self, batch: Batch) -> bytes:
        return jsonlines.with_ids(batch.ndjson, batch.ids) if self.config.event_id else batch.ndjson

    async def _refused(self, body: bytes) -> str | None:
        """Post; None if accepted, the reason if the body itself is refused. Raises Retryable, Rejected or OSError."""
        assert self._poster is not None, "started"
        return judged(await self._poster.post(body), self.config.hold)

    async def stop(self) -> None:
        """Close the connection."""
        if self._poster is not None:
            self._poster.close()
