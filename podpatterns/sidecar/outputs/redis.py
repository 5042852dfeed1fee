"""A stream of Redis, Valkey or another server that speaks its protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from podpatterns.errors import Retryable
from podpatterns.formats import jsonlines
from podpatterns.formats.resp import BadReply, ErrorReply, Replies, Value, command
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address, SecretFile
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.connection import ConnectingConfig, Connection
from podpatterns.sidecar.outputs import Output, Receipt
from podpatterns.sidecar.progress import Progress

COUNT = 1000
"""Entries of one pipeline."""


class RedisConfig(ConnectingConfig, frozen=True, kw_only=True):
    """Adds each record to a Redis stream, as an entry with the fields `id` and `record`.

    An entry counts when the server has answered with its number; how safe it is then is a matter of its `appendfsync`.
    An error (OOM, READONLY, LOADING, NOAUTH, WRONGTYPE…) is never about a record: it is waited out, and makes no dead
    letters. After a broken connection entries may be there twice, with the same `id`.
    """

    WHERE = ("address", "stream", "database")
    EXAMPLE: ClassVar[str] = "{type: redis, address: 'redis.logging:6379', stream: logs, max_length: 1000000}"

    address: Address
    """Where the server listens; `unix:/path` for a socket."""

    stream: Annotated[str, msgspec.Meta(min_length=1)]
    """The key of the stream."""

    max_length: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """About how many entries the stream may keep; older ones are dropped by the server. None: all, until its memory
    is full and deliveries wait."""

    user: str | None = None
    """The user, for servers with more than the default one."""

    password: SecretFile | None = None
    """A file with the password, read anew for each connection. None: the server asks for none."""

    database: Annotated[int, msgspec.Meta(ge=0)] = 0
    """The number of the database."""

    def __post_init__(self) -> None:
        """Check what one field cannot say alone."""
        ConnectingConfig.__post_init__(self)
        if self.user is not None and self.password is None:
            raise InvalidField("user", "needs a password beside it")

    def build(self) -> Redis:
        """The output."""
        return Redis(self)


class Redis(Output):
    """Sends commands in pipelines, and goes by each reply."""

    def __init__(self, config: RedisConfig) -> None:
        self.config = config
        self._connection: Connection | None = None
        self._progress: Progress[bytes] | None = None

    async def start(self) -> None:
        """Read the certificates. Raises StartError."""
        self._connection = Connection(self.config.address, self.config)

    async def deliver(self, batches: Sequence[Batch]) -> Receipt:
        """Add what has no reply yet. Raises Retryable or OSError."""
        connection = self._connection
        assert connection is not None, "started"
        progress = self._progress
        if progress is None or not progress.is_of(batches):
            self._progress = progress = Progress(batches, additions(self.config, batches))
        busy = ""
        try:
            async with asyncio.timeout(self.config.timeout):
                if not connection.is_open:
                    await self._open(connection)
                for numbers in list(progress.chunks(COUNT)):
                    replies = await _ask(connection, [progress.items[number] for number in numbers])
                    busy = _settle(progress, numbers, replies) or busy
        except BaseException as error:
            connection.close()
            if isinstance(error, BadReply):
                raise Retryable(f"the server does not speak Redis' protocol: {error}") from None
            raise
        if progress.left:
            raise Retryable(f"{len(progress.left)} records have to be sent again: {busy}")
        self._progress = None
        return progress.receipt()

    async def _open(self, connection: Connection) -> None:
        config = self.config
        await connection.open()
        greeting, password = [], ""
        if config.password is not None:
            user = [config.user.encode()] if config.user is not None else []
            password = config.password.read()
            greeting.append(command(b"AUTH", *user, password.encode()))
        if config.database:
            greeting.append(command(b"SELECT", b"%d" % config.database))
        for reply in await _ask(connection, greeting):
            if isinstance(reply, ErrorReply):
                # A server that knows no AUTH repeats what it was given.
                raise Retryable(reply.replace(password, "***") if password else reply)

    async def stop(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


async def _ask(connection: Connection, commands: Sequence[bytes]) -> list[Value]:
    """The replies to some commands. Raises OSError or BadReply."""
    connection.writer.write(b"".join(commands))
    await connection.writer.drain()
    parser, replies = Replies(), list[Value]()
    while len(replies) < len(commands):
        replies += parser.feed(await connection.read())
    if len(replies) > len(commands):
        raise BadReply("more replies than commands")
    return replies


def _settle(progress: Progress[bytes], numbers: Sequence[int], replies: Sequence[Value]) -> str:
    """Settle what the replies decide; why something has to be sent again."""
    busy, settled = "", []
    for number, reply in zip(numbers, replies, strict=True):
        if not isinstance(reply, ErrorReply):
            settled.append(number)
        else:
            busy = reply
    progress.settle(settled)
    return busy


def additions(config: RedisConfig, batches: Sequence[Batch]) -> list[bytes]:
    """An XADD for each record. Pure."""
    limit = () if config.max_length is None else (b"MAXLEN", b"~", b"%d" % config.max_length)
    start = (b"XADD", config.stream.encode(), *limit, b"*", b"id")
    return [
        command(*start, name.encode(), b"record", record)
        for batch in batches
        for name, record in zip(batch.ids, jsonlines.split(batch.ndjson), strict=True)
    ]
