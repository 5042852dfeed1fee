"""Objects in S3, or in a store that speaks its protocol."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Annotated, ClassVar
from urllib.parse import quote, urlsplit

import msgspec

from podpatterns.errors import Retryable, StartError
from podpatterns.formats import jsonlines, sigv4
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration, SecretFile, Url
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.http_client import Answer, Client
from podpatterns.sidecar.outputs import ACCEPTED, Output, OutputConfig, Receipt
from podpatterns.sidecar.posting import Compression, check_headers, compressed, made_client, over, said

SUFFIX: Mapping[Compression, str] = {"none": ".ndjson", "gzip": ".ndjson.gz", "zstd": ".ndjson.zst"}
_ERROR = re.compile(rb"<(Code|Message)>([^<]{1,300})<")


class S3Config(OutputConfig, frozen=True, kw_only=True):
    """Puts records into S3 as objects of NDJSON, one for each file and delivery.

    The key says which file and which bytes of it an object holds, so a delivery that is repeated overwrites it. An
    error (SlowDown, AccessDenied, NoSuchBucket…) is never about a record: it is waited out, and makes no dead letters.
    The defaults of `sidecar.batch` and `linger` make many small objects; for S3, `batch: 8MiB`, `linger: 1m` and
    `memory: 64MiB` are more like it.
    """

    WHERE = ("endpoint", "bucket", "prefix")
    EXAMPLE: ClassVar[str] = "{type: s3, bucket: shop-logs, region: eu-central-1, prefix: shop/}"

    bucket: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    """The bucket; it has to be there."""

    region: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]+$")] = "us-east-1"
    """Where the bucket is. Stores that are not Amazon's mostly take `us-east-1`."""

    endpoint: Url | None = None
    """Where a store listens that is not Amazon's, such as `http://minio.storage:9000`. None: Amazon's, for the
    region."""

    path_style: bool | None = None
    """Whether the bucket is a part of the path (`host/bucket/key`) and not of the host's name (`bucket.host/key`).
    None: it is with an `endpoint`, and is not with Amazon's."""

    prefix: str = ""
    """What the keys of all objects begin with, such as `shop/`."""

    access_key: SecretFile | None = None
    """A file with the access key's id. None: the environment has it, as `AWS_ACCESS_KEY_ID`. Files are read anew for
    each object."""

    secret_key: SecretFile | None = None
    """A file with the secret access key. None: the environment has it, as `AWS_SECRET_ACCESS_KEY`."""

    session_token: SecretFile | None = None
    """A file with the session token of keys that last for a while. None: `AWS_SESSION_TOKEN`, or there is none."""

    headers: dict[str, str] = {}
    """More headers of each request, such as `x-amz-storage-class: STANDARD_IA`."""

    compression: Compression = "gzip"
    """How objects are compressed; their names end accordingly."""

    event_id: bool = False
    """Whether each record begins with its `id`. After a crash objects may overlap, which their keys show; records in
    both have the same ids."""

    ca: str | None = None
    """A file of certificates to trust for https. None: the system's."""

    timeout: Duration = Duration("1m")
    """How long one object may take, from connecting to the end of the answer."""

    def __post_init__(self) -> None:
        """Check what one field cannot say alone."""
        check_headers(self.headers)
        if not self.timeout:
            raise InvalidField("timeout", "must be longer than 0s")
        if (self.access_key is None) != (self.secret_key is None):
            raise InvalidField("secret_key" if self.secret_key is None else "access_key", "stands beside the other key")
        if self.session_token is not None and self.access_key is None:
            raise InvalidField("session_token", "stands beside access_key and secret_key")
        if self.endpoint is not None and "@" in urlsplit(self.endpoint).netloc:
            raise InvalidField("endpoint", "has no user in it: keys belong in access_key and secret_key")
        if self.prefix.startswith("/") or not self.prefix.isprintable():
            raise InvalidField("prefix", "begins without a slash, and has nothing that cannot be printed")

    def build(self) -> S3:
        """The output."""
        return S3(self)


class S3(Output):
    """Puts one object after the other, and remembers which of a delivery are there."""

    def __init__(self, config: S3Config) -> None:
        self.config = config
        self._client: Client | None = None
        self._host, self._path = "", ""
        self._there: set[str] = set()
        """Keys of this delivery that need not be put again."""

    async def start(self) -> None:
        """Read the certificates and the keys. Raises StartError."""
        config = self.config
        url = urlsplit(config.endpoint or f"https://s3.{config.region}.amazonaws.com")
        by_path = config.path_style if config.path_style is not None else config.endpoint is not None
        host = url.netloc if by_path else f"{config.bucket}.{url.netloc}"
        self._host, self._path = host, url.path.rstrip("/") + (f"/{config.bucket}" if by_path else "")
        self._client = made_client(f"{url.scheme}://{host}", ca=config.ca)
        try:
            keys(config)
        except (OSError, KeyError) as error:
            what = f"the environment has no {error}" if isinstance(error, KeyError) else str(error)
            raise StartError(f"no keys for S3: {what}; name files in access_key and secret_key") from None

    async def deliver(self, batches: Sequence[Batch]) -> Receipt:
        """Put what is not there yet. Raises Retryable or OSError."""
        objects = list(grouped(self.config, batches))
        for key, parts in objects:
            if key not in self._there:
                await self._put(key, parts)
                self._there.add(key)
        self._there.clear()
        return ACCEPTED

    async def _put(self, key: str, batches: Sequence[Batch]) -> None:
        assert self._client is not None, "started"
        config = self.config
        body = await asyncio.to_thread(packed, config, batches)
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        own = {
            "Host": self._host,
            "Content-Type": "application/x-ndjson",
            **({} if config.compression == "none" else {"Content-Encoding": config.compression}),
            "x-amz-meta-source": quote(batches[0].source.name, safe="/"),
        }
        target = self._path + sigv4.path(key)
        try:
            proof = keys(config)
        except KeyError as error:
            raise Retryable(f"no keys for S3: the environment has no {error}") from None
        sent = sigv4.signed("PUT", target, over(own, config.headers), body, proof, region=config.region, now=now)
        answer = await self._client.send("PUT", target, body, sent, config.timeout)
        if answer.status != 200:
            raise Retryable(why(answer, config), after=answer.retry_after(time.time()))

    async def stop(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()


def keys(config: S3Config) -> sigv4.Keys:
    """The keys as they are now. Raises OSError, or KeyError with the name of a variable that is missing."""
    if config.access_key is not None and config.secret_key is not None:
        token = config.session_token.read() if config.session_token is not None else None
        return sigv4.Keys(config.access_key.read(), config.secret_key.read(), token)
    environment = os.environ
    return sigv4.Keys(
        environment["AWS_ACCESS_KEY_ID"],
        environment["AWS_SECRET_ACCESS_KEY"],
        environment.get("AWS_SESSION_TOKEN") or None,
    )


def grouped(config: S3Config, batches: Sequence[Batch]) -> Iterator[tuple[str, list[Batch]]]:
    """The objects of a delivery: key and contents. A source's batches lie behind each other in it."""
    by_source = sorted((batch for batch in batches if len(batch)), key=lambda batch: (batch.source.key, batch.start))
    for name, group in groupby(by_source, key=lambda batch: batch.source.key):
        parts = list(group)
        yield f"{config.prefix}{name}/{parts[0].start:016d}-{parts[-1].end:016d}{SUFFIX[config.compression]}", parts


def packed(config: S3Config, batches: Sequence[Batch]) -> bytes:
    """The body of an object."""
    parts = (jsonlines.with_ids(batch.ndjson, batch.ids) if config.event_id else batch.ndjson for batch in batches)
    return compressed(b"".join(parts), config.compression)


def why(answer: Answer, config: S3Config) -> str:
    """What an answer says, with a hint where there is one."""
    found = {name.decode(): text.decode("utf-8", "replace") for name, text in _ERROR.findall(answer.body)}
    text = f"{answer.status} {found.get('Code', '')}: {found.get('Message', '')}" if found else said(answer)
    hint = HINTS.get(found.get("Code", ""), "")
    return text + (f" ({hint.format(config=config)})" if hint else "")


HINTS: Mapping[str, str] = {
    "NoSuchBucket": 'make the bucket "{config.bucket}", or name another one',
    "AccessDenied": 'the keys need s3:PutObject for "{config.bucket}/{config.prefix}*"',
    "SignatureDoesNotMatch": "is the secret key right?",
    "InvalidAccessKeyId": "is the access key right?",
    "ExpiredToken": "the session token has ended; whoever makes the files has to renew it",
    "RequestTimeTooSkewed": "is the node's clock right?",
    "PermanentRedirect": "the bucket is in another region; set region",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set region",
}
