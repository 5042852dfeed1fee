"""Protocol buffers on the wire: the few primitives that our messages are made of.

Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_DOUBLE = struct.Struct("<d")
_MASK = (1 << 64) - 1


def varint(number: int) -> bytes:
    """A whole number; negative ones as int64 has them, in ten bytes."""
    number &= _MASK
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


def zigzag(number: int) -> int:
    """A whole number as sint32 and sint64 have it: small ones of either sign stay small."""
    return number << 1 ^ number >> 63


# --- reading ----------------------------------------------------------------------------------------------------------


def scan(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and payload of each field: a number without its sign, or bytes. Raises ValueError."""
    at, end = 0, len(data)
    while at < end:
        key = data[at]
        at += 1
        if key > 0x7F:
            key, at = read_varint(data, at - 1)
        wire = key & 7
        if wire == 0:
            value, at = read_varint(data, at)
            yield key >> 3, 0, value
            continue
        if wire == 2:
            size = data[at] if at < end else 0x80
            at += 1
            if size > 0x7F:
                size, at = read_varint(data, at - 1)
        elif wire in _SIZES:
            size = _SIZES[wire]
        else:
            raise ValueError(f"field {key >> 3} is of the wire type {wire}, which is not known here")
        start, at = at, at + size
        if at > end:
            raise ValueError(f"field {key >> 3} is cut short")
        yield key >> 3, wire, data[start:at]


_SIZES = {1: 8, 5: 4}
"""Bytes of a payload, by wire type."""


def fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """The fields of a message in their order, for a closer look than a struct allows: number, and what it holds.

    Whole numbers are read as int64, eight bytes as a double.

    Raises:
        ValueError: the message is cut short, or holds a type that none of ours does.
    """
    for number, wire, raw in scan(message):
        if wire == 0:
            yield number, signed(raw)  # type: ignore[arg-type]  # a number, as the wire type says
        elif wire == 1:
            yield number, _DOUBLE.unpack(raw)[0]  # type: ignore[arg-type]  # bytes
        elif wire == 2:
            yield number, raw
        else:
            raise ValueError(f"field {number} is of the wire type {wire}, which is not known here")


def signed(number: int) -> int:
    """A whole number as int64 has it."""
    return number - (1 << 64) if number >> 63 else number


def read_varint(message: bytes, at: int) -> tuple[int, int]:
    """The whole number at a place, without its sign, and where it ends. Raises ValueError."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a number is cut short")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & _MASK, at
    raise ValueError("a number is longer than ten bytes")
