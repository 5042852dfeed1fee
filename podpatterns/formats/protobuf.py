"""Protocol buffers on the wire: the few primitives that our messages are made of.

Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_DOUBLE = struct.Struct("<d")


def varint(number: int) -> bytes:
    """A whole number; negative ones as int64 has them, in ten bytes."""
    number &= (1 << 64) - 1
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def chunk(number: int, payload: bytes) -> bytes:
    """A field that holds a text, bytes or a message."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def whole(number: int, value: int) -> bytes:
    """A field that holds a whole number."""
    return varint(number << 3) + varint(value)


def double(number: int, value: float) -> bytes:
    """A field that holds a double."""
    return varint(number << 3 | 1) + _DOUBLE.pack(value)


def fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """The fields of a message in their order: number, and what it holds. Whole numbers are read as int64.

    Raises:
        ValueError: the message is cut short, or holds a type that none of ours does.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value - (1 << 64) if value >> 63 else value
        elif kind in (1, 2):
            size, at = (8, at) if kind == 1 else _varint(message, at)
            payload = message[at : at + size]
            if len(payload) < size:
                raise ValueError(f"field {number} is cut short")
            at += size
            yield number, _DOUBLE.unpack(payload)[0] if kind == 1 else payload
        else:
            raise ValueError(f"field {number} is of the wire type {kind}, which is not known here")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a number is cut short")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & ((1 << 64) - 1), at
    raise ValueError("a number is longer than ten bytes")
