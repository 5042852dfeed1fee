"""NDJSON by HTTP POST."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec

from podpatterns.errors import Rejected, Retryable, StartError
from podpatterns.formats import jsonlines
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration, SecretFile, Url
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.http_client import Answer, Client
from podpatterns.sidecar.outputs import ACCEPTED, Output, OutputConfig, Receipt

RETRYABLE = frozenset({408, 425, 429})
POISONED = frozenset({400, 413, 422})
"""Answers that blame the body: it is sent again in halves, so that only the records that are to blame become dead
letters."""
OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class HttpConfig(OutputConfig, frozen=True, kw_only=True):
    """Posts records as NDJSON. Tries again after 408, 425, 429 and 5xx except 501; other 4xx make dead letters."""

    EXAMPLE: ClassVar[str] = "{type: http, url: 'http://logs.monitoring:8080/ingest', compression: gzip}"

    url: Url
    """Where to post to. Redirects are not followed."""

    headers: dict[str, str] = {}
    """More headers of each request. What is secret belongs in `token`."""

    token: SecretFile | None = None
    """A file with a token, sent as `Authorization: Bearer …` and read anew for each delivery. None: no such header."""

    ca: str | None = None
    """A file of certificates to trust for https. None: the system's."""

    compression: Literal["none", "gzip", "zstd"] = "none"
    """How the body is compressed; `none` by default, because the store must know it, and CPU time is the pod's."""

    event_id: bool = False
    """Whether each record begins with its `id`, by which the far side can tell a repeated delivery."""

    hold: tuple[Annotated[int, msgspec.Meta(ge=400, le=499)], ...] = ()
    """Answers of the 4xx kind that are tried again instead of making dead letters, such as `[401, 403, 404]` where the
    mistake is rather in the set-up than in the records."""

    timeout: Duration = Duration("30s")
    """How long one delivery may take, from connecting to the end of the answer."""

    def __post_init__(self) -> None:
        """Check the headers."""
        for name, value in self.headers.items():
            if name.lower() in OWN_HEADERS:
                raise InvalidField("headers", f"{name} is set by the output itself")
            if (
                not name.isascii()
                or not name.replace("-", "").replace("_", "").isalnum()
                or not value.isascii()
                or not value.isprintable()
            ):
                raise InvalidField("headers", f'"{name}" is not a header')
        if not self.timeout:
            raise InvalidField("timeout", "must be longer than 0s")

    def build(self) -> Http:
        """The output."""
        return Http(self)


class Http(Output):
    """Posts over one connection that is kept."""

    def __init__(self, config: HttpConfig) -> None:
        self.config = config
        self._client: Client | None = None

    async def start(self) -> None:
        """Read the certificates. Raises StartError."""
        try:
            self._client = Client(self.config.url, ca=self.config.ca)
        except OSError as error:
            raise StartError(f"the certificates {self.config.ca} cannot be read: {error.strerror or error}") from None

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
        assert self._client is not None, "started"
        if self.config.compression != "none":
            body = await asyncio.to_thread(_compressed, body, self.config.compression)
        answer = await self._client.post(body, dict(self._headers()), self.config.timeout)
        return judged(answer, time.time(), self.config.hold)

    def _headers(self) -> Iterator[tuple[str, str]]:
        yield "Content-Type", "application/x-ndjson"
        if self.config.compression != "none":
            yield "Content-Encoding", self.config.compression
        if self.config.token is not None:
            yield "Authorization", f"Bearer {self.config.token.read()}"
        yield from self.config.headers.items()

    async def stop(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()


def judged(answer: Answer, now: float, hold: Sequence[int] = ()) -> str | None:
    """What an answer means: None accepted, a reason if the body is to blame. Pure.

    Raises:
        Retryable: not now.
        Rejected: never, whatever the body.
    """
    status = answer.status
    if 200 <= status < 300:
        return None
    said = answer.body[:200].decode("utf-8", "replace").strip()
    reason = f"{status} {said}".strip()
    if status in RETRYABLE or status in hold or (status >= 500 and status != 501):
        raise Retryable(reason, after=answer.retry_after(now))
    if status in POISONED:
        return reason
    if 300 <= status < 400:
        raise Retryable(
            f"{status} redirects to {answer.headers.get('location', 'nowhere')}; set url to where logs belong"
        )
    raise Rejected(reason)


def _compressed(body: bytes, how: str) -> bytes:
    import cramjam

    codec: Mapping[str, object] = {"gzip": cramjam.gzip, "zstd": cramjam.zstd}
    return bytes(codec[how].compress(body))  # type: ignore[attr-defined]
