"""Fluentd, Fluent Bit and whatever else speaks Fluent's forward protocol."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import struct
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from podpatterns.formats import forward_key, msgpack_rows
from podpatterns.formats.timestamps import nanoseconds
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address, SecretFile
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.connection import ConnectingConfig, Connection
from podpatterns.sidecar.outputs import ACCEPTED, Output, Receipt

_EVENT_TIME = struct.Struct(">II")
_LARGEST = 2**64
MAX_ACK = 64 * 1024


class ForwardConfig(ConnectingConfig, frozen=True, kw_only=True):
    """Forwards records with Fluent's protocol (v1): each delivery is a chunk that the far side has to acknowledge.

    Without the acknowledgement it is sent again; there is no way to refuse a record.
    """

    WHERE = ("address", "tag")
    EXAMPLE: ClassVar[str] = "{type: forward, address: 'fluentd.logging:24224', tag: shop.app}"

    address: Address
    """Where the far side listens; `unix:/path` for a socket on a shared volume."""

    tag: Annotated[str, msgspec.Meta(min_length=1)]
    """The tag of all records, by which the far side routes them."""

    time_field: str | None = "time"
    """The field that says when a line was written. None, or what is no time: the time of the delivery."""

    event_id: bool = False
    """Whether each record has its `id` as a field, by which the far side can tell a repeated delivery."""

    compression: Literal["none", "gzip"] = "none"
    """How records are compressed; `gzip` is for far sides that know `CompressedPackedForward`."""

    shared_key: SecretFile | None = None
    """A file with the key that both sides show each other that they know (`<security>` in Fluentd, `Shared_Key` in
    Fluent Bit), read anew for each connection. None: the far side asks for none."""

    user: str | None = None
    """The user, for far sides that ask for one behind the key."""

    password: SecretFile | None = None
    """A file with the user's password."""

    hostname: str | None = None
    """What we call ourselves in the handshake. None: the pod's name, as the kernel knows it."""

    def __post_init__(self) -> None:
        """Check what one field cannot say alone."""
        ConnectingConfig.__post_init__(self)
        if (self.user is None) != (self.password is None):
            raise InvalidField("password" if self.password is None else "user", "user and password stand together")
        if self.user is not None and self.shared_key is None:
            raise InvalidField("user", "stands beside a shared_key: far sides ask for a user only behind it")

    def build(self) -> Forward:
        """The output."""
        return Forward(self)


class Forward(Output):
    """Sends a chunk and waits for its acknowledgement."""

    def __init__(self, config: ForwardConfig) -> None:
        self.config = config
        self._connection: Connection | None = None
        self._made: tuple[Sequence[Batch], str, bytes] | None = None

    async def start(self) -> None:
        """Read the certificates. Raises StartError."""
        self._connection = Connection(self.config.address, self.config)

    async def deliver(self, batches: Sequence[Batch]) -> Receipt:
        """Send, and return when it is acknowledged. Raises OSError."""
        assert self._connection is not None, "started"
        if self._made is None or self._made[0] is not batches:
            chunk = base64.b64encode(uuid.uuid4().bytes).decode()
            self._made = batches, chunk, await asyncio.to_thread(message, self.config, batches, chunk, time.time_ns())
        _, chunk, body = self._made
        try:
            async with asyncio.timeout(self.config.timeout):
                await self._exchange(self._connection, body, chunk)
        except BaseException:
            self._connection.close()
            raise
        self._made = None
        return ACCEPTED

    async def _exchange(self, connection: Connection, body: bytes, chunk: str) -> None:
        if not connection.is_open:
            await connection.open()
            if self.config.shared_key is not None:
                await self._greet(connection, self.config.shared_key.read())
        connection.writer.write(body)
        await connection.writer.drain()
        said = await _message(connection)
        if said != {"ack": chunk}:
            hint = "; it asks for a shared_key" if isinstance(said, list) and said[:1] == ["HELO"] else ""
            raise ConnectionError(f"the far side has acknowledged something else: {str(said)[:100]}{hint}")

    async def _greet(self, connection: Connection, key: str) -> None:
        """Show that we know the key, and see whether the far side does. Raises OSError."""
        config = self.config
        host = config.hostname or os.uname().nodename
        salt = secrets.token_hex(16)
        try:
            greeting = forward_key.read_helo(await _message(connection))
            password = config.password.read() if config.password is not None else ""
            connection.writer.write(
                forward_key.ping(greeting, host=host, salt=salt, key=key, user=config.user or "", password=password)
            )
            forward_key.check_pong(await _message(connection), greeting, host=host, salt=salt, key=key)
        except forward_key.HandshakeError as error:
            raise ConnectionError(str(error)) from None

    async def stop(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


async def _message(connection: Connection) -> Any:
    """One whole message of the far side. Raises OSError."""
    values = msgpack_rows.Values()
    try:
        while values.pending <= MAX_ACK:
            for whole in values.feed(await connection.read()):
                return msgspec.msgpack.decode(whole)
    except ValueError as error:  # of which msgspec's errors are some
        raise ConnectionError(f"the far side does not acknowledge as it should: {error}") from None
    raise ConnectionError("the far side does not acknowledge as it should")


def message(config: ForwardConfig, batches: Sequence[Batch], chunk: str, now: int) -> bytes:
    """A message in the mode PackedForward. Pure; `now` in nanoseconds."""
    packed = b"".join(entry for batch in batches for entry in entries(config, batch, now))
    option: dict[str, Any] = {"size": sum(map(len, batches)), "chunk": chunk}
    if config.compression == "gzip":
        import cramjam

        packed = bytes(cramjam.gzip.compress(packed))
        option["compressed"] = "gzip"
    return msgspec.msgpack.encode([config.tag, packed, option])


def entries(config: ForwardConfig, batch: Batch, now: int) -> Iterator[bytes]:
    """Each record with its time, as msgpack."""
    records: list[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode_lines(batch.ndjson)
    names = batch.ids if config.event_id else None
    encoder = msgspec.msgpack.Encoder()
    for index, record in enumerate(records):
        when = nanoseconds(record.get(config.time_field)) if config.time_field is not None else None
        seconds, rest = divmod(now if when is None else when, 10**9)
        # An EventTime has 32 bits for its seconds, until 2106.
        stamp = msgspec.msgpack.Ext(0, _EVENT_TIME.pack(min(seconds, 2**32 - 1), rest))
        if names is not None:
            record = {"id": names[index], **record}  # noqa: PLW2901 - the same record with one field more
        try:
            yield encoder.encode([stamp, record])
        except OverflowError:
            yield encoder.encode([stamp, _fitting(record)])


def _fitting(value: Any) -> Any:
    """Whole numbers that msgpack cannot hold as text."""
    if isinstance(value, Mapping):
        return {name: _fitting(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_fitting(item) for item in value]
    if isinstance(value, int) and not -_LARGEST // 2 <= value < _LARGEST:
        return str(value)
    return value
