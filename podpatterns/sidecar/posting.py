"""What the outputs that speak HTTP share: their settings, the connection, and what an answer means."""

from __future__ import annotations

import asyncio
import base64
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Generic, Literal, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from podpatterns.errors import Rejected, Retryable, StartError
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration, SecretFile, Url
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.http_client import MAX_BODY, Answer, Client
from podpatterns.sidecar.outputs import Output, OutputConfig, Receipt
from podpatterns.sidecar.progress import Progress

RETRYABLE = frozenset({408, 425, 429})
POISONED = frozenset({400, 413, 422})
"""Answers that blame the body."""
OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
T = TypeVar("T")
Compression = Literal["none", "gzip", "zstd"]


class PostingConfig(OutputConfig, frozen=True, kw_only=True):
    """What every output that posts over HTTP can be told."""

    headers: dict[str, str] = {}
    """More headers of each request. What is secret belongs in `token`."""

    token: SecretFile | None = None
    """A file with a token, sent as `Authorization` and read anew for each delivery. None: no such header, unless the
    URL has a user and a password in it (`https://user:password@host/`)."""

    ca: str | None = None
    """A file of certificates to trust for https. None: the system's."""

    hold: tuple[Annotated[int, msgspec.Meta(ge=400, le=499)], ...] = ()
    """Answers of the 4xx kind that are tried again instead of making dead letters, such as `[401, 403, 404]` where the
    mistake is rather in the set-up than in the records."""

    timeout: Duration = Duration("30s")
    """How long one request may take, from connecting to the end of the answer."""

    def __post_init__(self) -> None:
        """Check the headers."""
        check_headers(self.headers)
        if not self.timeout:
            raise InvalidField("timeout", "must be longer than 0s")


class Poster:
    """Posts bodies of one kind to one URL, over a connection that is kept.

    `scheme` says how the token is sent: as it is behind a word, or (`basic`) as `user:password` in Base64.
    """

    def __init__(
        self,
        config: PostingConfig,
        url: str,
        *,
        content_type: str,
        compression: Compression = "none",
        scheme: str = "Bearer",
        keep: int = MAX_BODY,
    ) -> None:
        self._config = config
        self._scheme = scheme
        self._compression = compression
        self._client = made_client(url, ca=config.ca, keep=keep)
        own = {"Content-Type": content_type}
        if compression != "none":
            own["Content-Encoding"] = compression
        parts = urlsplit(url)
        if parts.username is not None:
            own["Authorization"] = basic(f"{unquote(parts.username)}:{unquote(parts.password or '')}")
        self._headers = over(own, config.headers)

    async def post(self, body: bytes) -> Answer:
        """Compress, send, and return the answer. Raises OSError."""
        if self._compression != "none":
            body = await asyncio.to_thread(compressed, body, self._compression)
        headers = self._headers
        if self._config.token is not None:
            headers = {**headers, "Authorization": authorization(self._scheme, self._config.token)}
        return await self._client.post(body, headers, self._config.timeout)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class Rest(NamedTuple):
    """What a request has left over: items to be sent at once, and why others have to wait."""

    now: Sequence[Sequence[int]] = ()
    """A request each, in this order."""
    busy: str = ""


NOTHING = Rest()


class PostingOutput(Output, Generic[T]):
    """An output that makes an item of each record, posts many of them at once, and goes by what the answer says.

    What one of them does differently it overrides: what an item is, the body of a request, and the verdict.
    """

    COUNT: ClassVar[int] = 1 << 30
    """The most records of one request."""
    DIVISIBLE: ClassVar[frozenset[int]] = POISONED
    """Answers after which the two halves of a request are sent alone, so that only what is to blame is refused."""

    def __init__(self) -> None:
        self._poster: Poster | None = None
        self._progress: Progress[T] | None = None

    @abstractmethod
    def items(self, batches: Sequence[Batch]) -> list[T]:
        """One for each record, made once for all tries."""

    @abstractmethod
    def body(self, items: list[T]) -> bytes:
        """The request for some of them."""

    @abstractmethod
    def judge(self, answer: Answer) -> str | None:
        """None if the request was taken, a reason if never. Raises Retryable, or Rejected, which is a reason too."""

    async def taken(self, progress: Progress[T], numbers: Sequence[int], answer: Answer) -> Rest:  # noqa: ARG002 - for those that go by the answer
        """Settle what the answer to a request that was taken says about its items; what is left of them."""
        progress.settle(numbers)
        return NOTHING

    async def deliver(self, batches: Sequence[Batch]) -> Receipt:
        """Post what has no verdict yet. Raises Retryable while some of it has none."""
        progress = self._progress
        if progress is None or not progress.is_of(batches):
            self._progress = progress = Progress(batches, self.items(batches))
        busy = ""
        for numbers in list(progress.chunks(self.COUNT)):
            busy = await self._post(progress, numbers) or busy
        if progress.left:
            raise Retryable(f"{len(progress.left)} records have to be sent again: {busy}")
        self._progress = None
        return progress.receipt()

    async def divided(self, batches: Sequence[Batch], answer: Answer) -> Receipt:
        """Deliver what was refused as a whole because of its contents, in halves."""
        self._progress = progress = Progress(batches, self.items(batches))
        everything = range(len(progress.items))
        if len(everything) == 1:
            progress.reject(dict.fromkeys(everything, said(answer)))
        else:
            middle = len(everything) // 2
            await self._post(progress, everything[:middle])
            await self._post(progress, everything[middle:])
        return await self.deliver(batches)

    async def _post(self, progress: Progress[T], numbers: Sequence[int]) -> str:
        assert self._poster is not None, "started"
        busy, work = "", [numbers]
        while work:
            numbers = work.pop()
            answer = await self._poster.post(self.body([progress.items[number] for number in numbers]))
            try:
                reason = self.judge(answer)
            except Rejected as error:
                reason = error.reason
            if reason is None:
                rest = await self.taken(progress, numbers, answer)
                busy = rest.busy or busy
                work += [each for each in reversed(rest.now) if each]
            elif len(numbers) == 1 or answer.status not in self.DIVISIBLE:
                progress.reject(dict.fromkeys(numbers, reason))
            else:
                middle = len(numbers) // 2
                work += [numbers[middle:], numbers[:middle]]
        return busy

    async def stop(self) -> None:
        """Close the connection."""
        if self._poster is not None:
            self._poster.close()


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse headers that are none, and those that are ours. Raises InvalidField."""
    for name, value in headers.items():
        if name.lower() in OWN_HEADERS:
            raise InvalidField("headers", f"{name} is set by the output itself")
        if (
            not name.isascii()
            or not name.replace("-", "").replace("_", "").isalnum()
            or not value.isascii()
            or not value.isprintable()
        ):
            raise InvalidField("headers", f'"{name}" is not a header')


def made_client(url: str, *, ca: str | None, keep: int = MAX_BODY) -> Client:
    """A client. Raises StartError if the certificates cannot be read."""
    try:
        return Client(url, ca=ca, keep=keep)
    except OSError as error:
        raise StartError(f"the certificates {ca} cannot be read: {error.strerror or error}") from None


def authorization(scheme: str, file: SecretFile) -> str:
    """The value of the header of that name. Raises OSError, or Retryable: whoever has made the file can mend it."""
    secret = file.read()
    if scheme == "Basic":
        return basic(secret)
    if not (secret.isascii() and secret.isprintable()):
        raise Retryable(f"what is in {file} cannot be a token: it must be one line of printable ASCII")
    return f"{scheme} {secret}"


def basic(pair: str) -> str:
    """The same for `user:password`."""
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def over(own: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Headers of a request: those that are given win over our own, however their names are written."""
    names = {name.lower() for name in given}
    return {**{name: value for name, value in own.items() if name.lower() not in names}, **given}


def under(url: Url, path: str) -> str:
    """A path below the one of a URL; its query stays where it is."""
    start, mark, query = url.partition("?")
    return start.rstrip("/") + path + mark + query


def said(answer: Answer) -> str:
    """The answer in short, for people."""
    return f"{answer.status} {answer.body[:200].decode('utf-8', 'replace').strip()}".strip()


def verdict(answer: Answer, kind: type[T]) -> T | None:
    """What an answer says in JSON; None if it is of another form."""
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (ValueError, RecursionError):  # of which msgspec's errors are some
        return None


def judged(answer: Answer, hold: Sequence[int] = ()) -> str | None:
    """What an answer means: None accepted, a reason if the body is to blame.

    Raises:
        Retryable: not now.
        Rejected: never, whatever the body.
    """
    status = answer.status
    if 200 <= status < 300:
        return None
    if status in RETRYABLE or status in hold or (status >= 500 and status != 501):
        raise again(answer)
    if status in POISONED:
        return said(answer)
    if 300 <= status < 400:
        raise Retryable(
            f"{status} redirects to {answer.headers.get('location', 'nowhere')}; set url to where logs belong"
        )
    raise Rejected(said(answer))


def again(answer: Answer) -> Retryable:
    """The error that has the same tried again, when the answer says so or after a back-off."""
    return Retryable(said(answer), after=answer.retry_after(time.time()))


def compressed(body: bytes, how: Compression) -> bytes:
    """A body, compressed. Takes time: to be done in a thread."""
    if how == "none":
        return body
    import cramjam

    codec: Mapping[str, object] = {"gzip": cramjam.gzip, "zstd": cramjam.zstd}
    return bytes(codec[how].compress(body))  # type: ignore[attr-defined]
