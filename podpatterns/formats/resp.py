"""RESP, the protocol of Redis, Valkey and their kin, version 2.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/. A command is an array of bulk strings; a reply is
one of five types, each told by its first byte.
"""

from __future__ import annotations

from typing import TypeAlias

Value: TypeAlias = "bytes | int | ErrorReply | list[Value] | None"
MAX = 64 * 1024 * 1024
"""Bytes of one string; a peer that announces more is not talked to."""


class ErrorReply(str):
    """An error as a reply: `WRONGTYPE Operation against a key…`."""

    __slots__ = ()

    @property
    def code(self) -> str:
        """Its first word."""
        return self.partition(" ")[0]


class BadReply(ValueError):  # noqa: N818 - named after what came
    """The bytes are not RESP."""


def command(*words: bytes) -> bytes:
    """One command."""
    return b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)])


class Replies:
    """Whole values out of pieces of bytes: feed what has come, take what is whole."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[Value]:
        """The values that are whole by now. Raises BadReply."""
        self._data += data
        values: list[Value] = []
        position = 0
        while (found := _value(self._data, position)) is not None:
            value, position = found
            values.append(value)
        self._data = self._data[position:]
        return values


def _value(data: bytes, start: int) -> tuple[Value, int] | None:
    """A value and where it ends; None while it is not whole."""
    end = data.find(b"\r\n", start)
    if end < 0:
        if len(data) - start > MAX:
            raise BadReply("a line without an end")
        return None
    kind, text, end = data[start : start + 1], data[start + 1 : end], end + 2
    if kind == b"+":
        return text, end
    if kind == b"-":
        return ErrorReply(text.decode("utf-8", "replace")), end
    if kind == b":":
        return _number(text), end
    if kind == b"$":
        return _bulk(data, end, _number(text))
    if kind == b"*":
        return _array(data, end, _number(text))
    raise BadReply(f"not RESP: {bytes(data[start : start + 20])!r}")


def _bulk(data: bytes, start: int, size: int) -> tuple[Value, int] | None:
    if size == -1:
        return None, start
    if not 0 <= size <= MAX:
        raise BadReply(f"a string of {size} bytes")
    if len(data) < start + size + 2:
        return None
    if data[start + size : start + size + 2] != b"\r\n":
        raise BadReply("a string that does not end where it should")
    return data[start : start + size], start + size + 2


def _array(data: bytes, start: int, count: int) -> tuple[Value, int] | None:
    if count == -1:
        return None, start
    values: list[Value] = []
    for _ in range(count):
        found = _value(data, start)
        if found is None:
            return None
        value, start = found
        values.append(value)
    return values, start


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadReply(f"not a number: {text[:20]!r}") from None
