"""Records from Fluentd, Fluent Bit and their libraries, by Fluent's forward protocol."""

from __future__ import annotations

import asyncio
import os
import secrets
import struct
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar, NamedTuple

import msgspec

from podpatterns.formats import forward_key, msgpack_rows
from podpatterns.formats.timestamps import rfc3339
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address, SecretFile, Size
from podpatterns.sidecar.inputs import InputConfig, InputContext
from podpatterns.sidecar.listening import Listener
from podpatterns.sidecar.pushed import PushedInput, Refused

READ = 256 * 1024
COST = 8
"""Bytes of memory per byte of a message, while it is taken apart."""
GREETING = 10.0
"""Seconds that a sender has to show that it knows the key."""
MAX_GREETING = 64 * 1024
"""Bytes that it may have sent by then."""


class ForwardConfig(InputConfig, frozen=True, kw_only=True):
    """Takes records by Fluent's forward protocol (v1, in all its modes).

    A chunk is acknowledged when every output has it: with `require_ack_response` the sender keeps it until then. Each
    record becomes a line of JSON with the fields `time` and `tag`; `{type: parse, format: json}` makes fields of it.
    """

    EXAMPLE: ClassVar[str] = "{type: forward, listen: '127.0.0.1:24224'}"

    listen: Address
    """Where to listen: on `127.0.0.1` for the containers of this pod alone, or on a unix socket."""

    tag_field: str | None = "tag"
    """The field that holds the tag; None for none."""

    time_field: str | None = "time"
    """The field that holds the event's time, as RFC 3339, unless the record has one of that name; None for none."""

    max_message: Size = Size("8MiB")
    """Bytes of one message, which may hold many records, also after decompression. A larger one closes the
    connection."""

    shared_key: SecretFile | None = None
    """A file with the key that senders have to know (`<security>` in Fluentd, `Shared_Key` in Fluent Bit), read anew
    for each connection; it is never sent. None: whoever reaches the address may send."""

    hostname: str | None = None
    """What we call ourselves in the handshake. None: the pod's name, as the kernel knows it."""

    def __post_init__(self) -> None:
        """Check what a type cannot say."""
        if not self.max_message:
            raise InvalidField("max_message", "a message needs at least one byte")

    def build(self, context: InputContext) -> Forward:
        """The input."""
        return Forward(self, context)


class Message(NamedTuple):
    """A message: its entries, each a time and a record, and the chunk to acknowledge."""

    tag: str
    entries: list[tuple[Any, dict[str, Any]]]
    chunk: str | None


class Forward(PushedInput):
    """Reads messages, one after the other on each connection."""

    def __init__(self, config: ForwardConfig, context: InputContext) -> None:
        # A line cut in two would be no JSON; the message has a limit already.
        super().__init__(context, where=context.name, limit=sys.maxsize, fields={})
        self.config = config
        self.listener = Listener(config.listen, self._talk, self.turn_away)
        self._large = 0
        self._small = asyncio.Condition()

    async def start(self, entries: Any) -> None:
        """Listen. Raises StartError."""
        await super().start(entries)
        await self.listener.start()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            key = self.config.shared_key.read() if self.config.shared_key is not None else None
        except OSError as error:
            self.turn_away(f"the shared key cannot be read: {error.strerror}: {error.filename}")
            return
        values, piece = msgpack_rows.Values(), b""
        if key is not None and not await self._greeted(reader, writer, key, values):
            return
        async with AsyncExitStack() as room:
            large = False
            while not self.draining.is_set():
                try:
                    for message in values.feed(piece):
                        await self._take(read(message, self.config.max_message), writer)
                except ValueError as error:
                    self.turn_away(str(error))
                    return
                except Refused:  # not acknowledged, so a sender that asks for that sends it again
                    self.turn_away("the sidecar is shutting down")
                    return
                if values.pending > self.config.max_message:
                    self.turn_away(f"a message of more than {self.config.max_message} bytes")
                    return
                if large is not (values.pending >= READ):
                    large = not large
                    await (room.enter_async_context(self._room()) if large else room.aclose())
                piece = await reader.read(READ)
                if not piece:
                    if values.pending:
                        self.turn_away("its connection has ended in the middle of a message")
                    return

    @asynccontextmanager
    async def _room(self) -> AsyncIterator[None]:
        """For a message that is larger than one read: only so many of them at a time as the memory budget has room."""
        cost = COST * self.config.max_message
        async with self._small:
            await self._small.wait_for(lambda: self._large < max(1, self._context.share() // cost))
            self._large += 1
        try:
            yield
        finally:
            async with self._small:
                self._large -= 1
                self._small.notify()

    async def _greeted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str, values: msgpack_rows.Values
    ) -> bool:
        """Have the sender show that it knows the key; what comes behind that is in `values`. False if it does not."""
        nonce = secrets.token_hex(16)
        writer.write(forward_key.helo(nonce))
        ping: bytes | None = None
        try:
            async with asyncio.timeout(GREETING):
                while ping is None and values.pending <= MAX_GREETING and (piece := await reader.read(READ)):
                    ping = next(values.feed(piece), None)
            message = msgspec.msgpack.decode(ping) if ping is not None else None
            host = self.config.hostname or os.uname().nodename
            pong, refusal = forward_key.check_ping(message, nonce=nonce, key=key, host=host)
        except TimeoutError:
            pong, refusal = b"", f"it has not answered HELO within {GREETING:g} s"
        except (ValueError, msgspec.DecodeError) as error:
            pong, refusal = b"", str(error)
        writer.write(pong)
        await writer.drain()
        if refusal:
            self.turn_away(refusal)
        return not refusal

    async def _take(self, message: Message, writer: asyncio.StreamWriter) -> None:
        lines = [msgspec.json.encode(self._record(message.tag, *entry)) for entry in message.entries]
        if message.chunk is None:
            await self.put(lines)
            return
        await self.take(lines)
        writer.write(msgspec.msgpack.encode({"ack": message.chunk}))
        await writer.drain()

    def _record(self, tag: str, when: Any, record: dict[str, Any]) -> dict[str, Any]:
        config = self.config
        added: dict[str, Any] = {}
        if config.tag_field is not None:
            added[config.tag_field] = tag
        if config.time_field is not None and config.time_field not in record:
            added[config.time_field] = rfc3339(nanoseconds(when))
        return {**plain(record), **added}

    async def _close(self) -> None:
        self.listener.close()

    async def stop(self) -> None:
        """Send the acknowledgements that are under way, and close."""
        await self.listener.stop()


def read(data: bytes, limit: int) -> Message:
    """A message of any mode. Raises ValueError for what is none."""
    try:
        message = msgspec.msgpack.decode(data)
        match message:
            case [str(tag), bytes(packed) | str(packed), *rest] if len(rest) <= 1:
                option = _option(rest)
                raw = packed.encode("utf-8", "surrogateescape") if isinstance(packed, str) else packed
                raw = _unpacked(raw, limit) if option.get("compressed") == "gzip" else raw
                entries = msgpack_rows.rows(raw)
            case [str(tag), list(entries), *rest] if len(rest) <= 1:
                option = _option(rest)
            case [str(tag), when, dict(record), *rest] if len(rest) <= 1:
                option, entries = _option(rest), [[when, record]]
            case _:
                raise ValueError("not a message of the forward protocol")
        found = [_entry(entry) for entry in entries]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, zlib.error) as error:
        raise ValueError(f"not a message of the forward protocol: {error}") from None
    chunk = option.get("chunk")
    return Message(tag, found, chunk if isinstance(chunk, str) else None)


def _option(rest: list[Any]) -> dict[str, Any]:
    return rest[0] if rest and isinstance(rest[0], dict) else {}


def _entry(entry: Any) -> tuple[Any, dict[str, Any]]:
    match entry:
        case [when, dict(record)]:
            nanoseconds(when)
            return when, record
    raise ValueError("an entry is a time and a map")


def nanoseconds(when: Any) -> int:
    """A time of the protocol: whole seconds, or EventTime, or (as Fluent Bit writes) with metadata beside it."""
    match when:
        case int(seconds) if 0 <= seconds < 2**33:
            return seconds * 10**9
        case float(seconds) if 0 <= seconds < 2**33:
            return round(seconds * 1e6) * 1000
        case msgspec.msgpack.Ext(code=0, data=data) if len(bytes(data)) == 8:
            seconds, rest = struct.unpack(">II", data)
            return int(seconds * 10**9 + rest)
        case [inner, dict()]:
            return nanoseconds(inner)
    raise ValueError(f"not a time of the forward protocol: {str(when)[:40]}")


def _unpacked(data: bytes, limit: int) -> bytes:
    """Decompressed, whatever number of gzip members it is made of. Raises ValueError or zlib.error."""
    whole = b""
    while data:
        decoder = zlib.decompressobj(wbits=31)
        whole += decoder.decompress(data, limit + 1 - len(whole))
        if len(whole) > limit:
            raise ValueError(f"a message of more than {limit} bytes")
        if not decoder.eof:
            raise ValueError("a gzip stream without its end")
        data = decoder.unused_data
    return whole


def plain(value: Any) -> Any:
    """What JSON can hold: bytes and extensions as text, and keys as well."""
    if isinstance(value, (str, int, float)) or value is None:
        return value
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    data = value.data if isinstance(value, msgspec.msgpack.Ext) else value
    return bytes(data).decode("utf-8", "replace") if isinstance(data, (bytes, bytearray, memoryview)) else str(data)
