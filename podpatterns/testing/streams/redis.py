"""Redis, or Valkey."""

from __future__ import annotations

import asyncio
import json
from collections import deque

from podpatterns.formats.resp import BadReply, Replies, Value, command
from podpatterns.testing.streams.stream import FakeStream, Fatal


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
