"""Fluentd, or Fluent Bit."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from podpatterns.testing.streams.stream import FakeStream, Fatal


class FakeForward(FakeStream):
    """Fluent's forward protocol, v1.

    Strict: PackedForward or its compressed form alone, an EventTime and a map for each entry, `size` right, and a
    `chunk`, which is acknowledged. With a `shared_key`, the handshake comes first, and with `users` (passwords by name)
    a user as well. `events` are (tag, seconds since 1970, record).
    """

    HOST = "fake.example"

    def __init__(self, shared_key: str | None = None, users: dict[str, str] | None = None) -> None:
        super().__init__()
        self.shared_key, self.users = shared_key, users
        self.events: list[tuple[str, float, dict[str, Any]]] = []
        self.chunks: list[str] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Messages, each acknowledged."""
        if self.shared_key is not None:
            await self._greet(reader, writer, self.shared_key)
        while (message := await self._message(reader)) is not None:
            late = await self.fate()
            chunk = self._keep(message)
            if late:
                raise Fatal
            writer.write(self.acknowledgement(chunk))
            await writer.drain()

    async def _message(self, reader: asyncio.StreamReader) -> Any:
        data = b""
        while piece := await reader.read(1 << 20):
            data += piece
            try:
                return msgspec.msgpack.decode(data)
            except msgspec.DecodeError as error:
                if "truncated" not in str(error):
                    raise
        return None

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        """The server's side, as the protocol's specification has it."""
        from hashlib import sha512

        nonce, auth = b"\x00\xff nonce", b"\x01\xfe salt" if self.users else b""
        writer.write(msgspec.msgpack.encode(["HELO", {"nonce": nonce, "auth": auth, "keepalive": True}]))
        kind, host, salt, digest, user, password = await self._message(reader)
        right = (
            kind == "PING" and host and digest == sha512(f"{salt}{host}".encode() + nonce + key.encode()).hexdigest()
        )
        if self.users:
            known = f"{user}{self.users.get(user, '?')}".encode()
            right = right and password == sha512(auth + known).hexdigest()
        if not right:
            writer.write(msgspec.msgpack.encode(["PONG", False, "shared_key mismatch or wrong user", "", ""]))
            raise Fatal
        proof = sha512(f"{salt}{self.HOST}".encode() + nonce + key.encode()).hexdigest()
        writer.write(msgspec.msgpack.encode(["PONG", True, "", self.HOST, proof]))

    def acknowledgement(self, chunk: str) -> bytes:
        """What is answered to a message that was kept."""
        return msgspec.msgpack.encode({"ack": chunk})

    def _keep(self, message: Any) -> str:
        tag, packed, option = message
        if not (
            isinstance(tag, str) and isinstance(packed, bytes) and option.keys() <= {"size", "chunk", "compressed"}
        ):
            raise ValueError("not PackedForward")
        if "compressed" in option:
            import gzip

            packed = gzip.decompress(packed)
        # As many entries one after the other are what an array of that length holds.
        entries = msgspec.msgpack.decode(b"\xdd" + option["size"].to_bytes(4, "big") + packed)
        for stamp, record in entries:
            if stamp.code != 0 or len(stamp.data) != 8 or not isinstance(record, dict):
                raise ValueError("an entry is an EventTime and a map")
            seconds = int.from_bytes(stamp.data[:4], "big") + int.from_bytes(stamp.data[4:], "big") / 1e9
            self.events.append((tag, seconds, record))
            self.records.append(record)
        self.chunks.append(option["chunk"])
        return str(option["chunk"])
