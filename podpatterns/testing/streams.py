"""Fakes of log stores that speak a protocol of their own over TCP: Fluent forward, syslog, Redis streams.

Each keeps what is well-formed in `records`, once each, and notes in `malformed` what is not, with the connection closed
after it. `will` scripts faults, one for each message (or pipeline) that arrives: `reset` closes the connection before
anything of it is kept, `late` after it was kept and before it is answered, `hang` keeps nothing and never answers.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from podpatterns.formats.resp import BadReply, Replies, Value, command

Fault = Literal["reset", "late", "hang"]


class Fatal(Exception):  # noqa: N818 - named after what becomes of the connection
    """The connection is closed."""


class FakeStream:
    """`async with FakeForward() as server:` listens on a free port of loopback."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.malformed: list[str] = []
        self.port = 0
        self.connections = 0
        self.delay = 0.0
        """Seconds that it takes before it does anything about a message."""
        self._script: deque[Fault] = deque()
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def will(self, *faults: Fault) -> None:
        """What happens to the next messages."""
        self._script.extend(faults)

    async def quiet(self) -> None:
        """Return when every connection has ended, and so everything has been read."""
        while self._talks:
            await asyncio.wait(self._talks)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        if self._talks:
            await asyncio.wait(self._talks)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        self.connections += 1
        try:
            await self.talk(reader, writer)
        except (Fatal, OSError, asyncio.IncompleteReadError):
            pass
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            self.malformed.append(f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:
            pass  # the server is being closed
        finally:
            self._talks.discard(task)
            writer.transport.abort()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        raise NotImplementedError

    async def fate(self) -> bool:
        """What the script says about a message that has arrived: whether the connection ends after it is kept."""
        await asyncio.sleep(self.delay)
        fault = self._script.popleft() if self._script else None
        if fault == "reset":
            raise Fatal
        if fault == "hang":
            await asyncio.Event().wait()
        return fault == "late"


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


class FakeSyslog(FakeStream):
    """A syslog server for RFC 5424 over TCP.

    Strict: octet counting, every header field in its form, a time of RFC 3339 with at most six digits, text in UTF-8.
    `messages` are the fields of each; `records` their texts, where these are JSON, or else `{"message": text}`.
    """

    HEADER = re.compile(
        rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) ([!-~]{1,255}) ([!-~]{1,48})"
        rb" ([!-~]{1,128}) ([!-~]{1,32}) (-|(?:\[[^\]]+\])+) "
    )

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG002 - as above
        """Messages, none of them answered."""
        while True:
            length = await reader.readuntil(b" ")
            if not re.fullmatch(rb"[1-9]\d{0,8} ", length):
                raise ValueError(f"not a length: {length!r}")
            whole = await reader.readexactly(int(length))
            late = await self.fate()
            match = self.HEADER.match(whole)
            if match is None or int(match[1]) > 191:
                raise ValueError(f"not RFC 5424: {whole[:80]!r}")
            text = whole[match.end() :].decode()
            facility, severity = divmod(int(match[1]), 8)
            fields = dict(zip(("time", "host", "app"), (group.decode() for group in match.groups()[1:4]), strict=True))
            self.messages.append({"facility": facility, "severity": severity, **fields, "text": text})
            try:
                record = json.loads(text)
            except ValueError:
                record = None
            self.records.append(record if isinstance(record, dict) else {"message": text})
            if late:
                raise Fatal


class FakeRedis(FakeStream):
    """A server that knows AUTH, SELECT, PING and XADD.

    Strict: arrays of bulk strings, `XADD key [MAXLEN ~ n] * field value …`. `errors` are answered to the next commands
    of a stream and to PING, one each. `streams` are the entries by key; `records` the JSON in their field `record`.
    """

    def __init__(self, password: str | None = None) -> None:
        super().__init__()
        self.password = password
        self.errors: deque[str] = deque()
        self.streams: dict[str, list[dict[str, str]]] = {}
        self.commands: list[list[str]] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Commands, each answered."""
        parser, known = Replies(), self.password is None
        while data := await reader.read(1 << 20):
            try:
                commands = parser.feed(data)
            except BadReply as error:
                writer.write(b"-ERR Protocol error\r\n")
                raise ValueError(str(error)) from None
            late = await self.fate() if commands else False
            answers = b""
            for words in commands:
                answer, known = self._answer(words, known=known)
                answers += answer
            if late:
                raise Fatal
            writer.write(answers)
            await writer.drain()

    def _answer(self, words: Value, *, known: bool) -> tuple[bytes, bool]:
        if not isinstance(words, list):
            raise TypeError("a command is an array")
        texts = [word.decode() if isinstance(word, bytes) else str(word) for word in words]
        self.commands.append(texts[:1] if texts[0] == "AUTH" else texts)
        match texts:
            case ["AUTH", *_, password]:
                if password == self.password:
                    return b"+OK\r\n", True
                return b"-WRONGPASS invalid username-password pair\r\n", known
            case _ if not known:
                return b"-NOAUTH Authentication required.\r\n", known
            case ["PING"]:
                return f"-{self.errors.popleft()}\r\n".encode() if self.errors else b"+PONG\r\n", known
            case ["SELECT", number] if number.isdigit():
                return b"+OK\r\n", known
            case ["XADD", _, *_] if self.errors:
                return f"-{self.errors.popleft()}\r\n".encode(), known
            case ["XADD", key, "MAXLEN", "~", limit, "*", *pairs] if limit.isdigit() and pairs and not len(pairs) % 2:
                return self._add(key, pairs), known
            case ["XADD", key, "*", *pairs] if pairs and not len(pairs) % 2:
                return self._add(key, pairs), known
            case _:
                return b"-ERR unknown command or wrong number of arguments\r\n", known

    def _add(self, key: str, pairs: list[str]) -> bytes:
        entries = self.streams.setdefault(key, [])
        entries.append(dict(zip(pairs[::2], pairs[1::2], strict=True)))
        self.records.append(json.loads(entries[-1]["record"]))
        return command(b"0-%d" % len(entries)).partition(b"\r\n")[2]
