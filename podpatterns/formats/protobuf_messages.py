"""Messages of protocol buffers that are declared as structs.

    class Sample(msgspec.Struct):
        value: Annotated[float, Field(1, "double")] = 0.0
        timestamp: Annotated[int, Field(2, "int64")] = 0

    sample = decode(payload, Sample)

A struct says with each field its number and type; a field that is a struct or a list of structs is a message. The same
struct then reads the JSON form (`msgspec.json.decode(text, type=Sample, strict=False)`). Unknown fields are passed
over. Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from podpatterns.formats.protobuf import chunk, read_varint, scan, signed, varint, zigzag

DEPTH = 32
"""Messages within messages; ours have nine, and a stranger could nest until the stack is full."""

_SHORT = 100
"""Bytes of a text or message that is remembered; a stranger's long ones would fill the memory."""

_DOUBLE = struct.Struct("<d")
_FIXED64 = struct.Struct("<Q")
_SFIXED64 = struct.Struct("<q")

Kind = Literal["string", "bytes", "bool", "int64", "uint64", "sint64", "fixed64", "sfixed64", "double", "message"]
"""How a field is written. int32, uint32 and enum are written as int64, sint32 as sint64."""

S = TypeVar("S", bound=msgspec.Struct)


class Field(NamedTuple):
    """The number of a struct's field, and how it is written.

    `shared` is for messages of which the same ones come again and again, such as labels: equal ones are one struct, so
    nobody may change it.
    """

    number: int
    kind: Kind = "message"
    shared: bool = False


class _Slot(NamedTuple):
    """What is known of a field: its attribute, its name in JSON, how it is written, and the struct of a message."""

    number: int
    attribute: str
    name: str
    kind: Kind
    many: bool
    message: type[msgspec.Struct] | None
    shared: bool


@lru_cache(maxsize=256)
def _slots(cls: type[msgspec.Struct]) -> dict[int, _Slot]:
    hints = get_type_hints(cls, include_extras=True)
    found = {}
    for each in msgspec.structs.fields(cls):
        annotated = hints[each.name]
        kind, field = get_args(annotated)
        many = get_origin(kind) is list
        inner = [part for part in get_args(kind) or (kind,) if isinstance(part, type) and part is not type(None)]
        message = inner[0] if field.kind == "message" else None
        found[field.number] = _Slot(field.number, each.name, each.encode_name, field.kind, many, message, field.shared)
    return found


def decode(message: bytes, cls: type[S]) -> S:
    """The struct that a message means. The last value of a field that is no list counts, and so does the last message.

    Raises:
        ValueError: the message is cut short, nested too deep, or a field is of another type than declared.
    """
    return _decode(message, cls, DEPTH)


def _decode(data: bytes, cls: type[S], depth: int) -> S:
    if not depth:
        raise ValueError(f"messages are nested deeper than {DEPTH}")
    slots = _slots(cls)
    found: dict[str, Any] = {}
    for number, wire, raw in scan(data):
        slot = slots.get(number)
        if slot is None:
            continue
        value: Any
        if wire == 2 and slot.message is not None:
            read_message = _shared if slot.shared else _decode
            value = read_message(raw, slot.message, depth - 1)  # type: ignore[arg-type]  # bytes, as the wire type says
        else:
            read = _READ.get((wire, slot.kind))
            if read is not None:
                value = read(raw)
            elif wire == 2 and slot.many and slot.kind in _WRITE:
                found.setdefault(slot.attribute, []).extend(_packed(raw, slot.kind))  # type: ignore[arg-type]
                continue
            else:
                raise ValueError(f"field {number} ({slot.name}) is of another type than it should be")
        if slot.many:
            found.setdefault(slot.attribute, []).append(value)
        else:
            found[slot.attribute] = value
    return cls(**found)


def _shared(data: bytes, cls: type[S], depth: int) -> S:
    return _remembered(data, cls, depth) if len(data) <= _SHORT else _decode(data, cls, depth)


@lru_cache(maxsize=16_384)
def _remembered(data: bytes, cls: type[S], depth: int) -> S:
    return _decode(data, cls, depth)


def encode(fields: Mapping[str, Any], cls: type[msgspec.Struct]) -> bytes:
    """The message that says what `fields` say: a document in the JSON form, whose whole numbers may be text.

    Zero is written like any other number, so that what is optional stays there.
    """
    parts = []
    for slot in _slots(cls).values():
        value = fields.get(slot.name)
        if value is None:
            continue
        if slot.many and slot.kind not in ("message", "string", "bytes"):
            if value:
                parts.append(chunk(slot.number, b"".join(map(_WRITE[slot.kind], value))))
            continue
        parts += [_written(slot, each) for each in (value if slot.many else (value,))]
    return b"".join(parts)


def _written(slot: _Slot, value: Any) -> bytes:
    if slot.message is not None:
        return chunk(slot.number, encode(value, slot.message))
    if slot.kind == "string":
        return chunk(slot.number, value.encode())
    if slot.kind == "bytes":
        return chunk(slot.number, value)
    return varint(slot.number << 3 | (1 if slot.kind in _EIGHTS else 0)) + _WRITE[slot.kind](value)


# --- numbers ----------------------------------------------------------------------------------------------------------


_NUMBERS: dict[Kind, Callable[[int], int | bool]] = {
    "int64": signed,
    "uint64": int,
    "sint64": lambda number: number >> 1 ^ -(number & 1),
    "bool": bool,
}
_EIGHTS: dict[Kind, struct.Struct] = {"fixed64": _FIXED64, "sfixed64": _SFIXED64, "double": _DOUBLE}
_WRITE: dict[Kind, Callable[[Any], bytes]] = {
    "int64": lambda value: varint(int(value)),
    "uint64": lambda value: varint(int(value)),
    "sint64": lambda value: varint(zigzag(int(value))),
    "bool": lambda value: varint(bool(value)),
    "fixed64": lambda value: _FIXED64.pack(int(value)),
    "sfixed64": lambda value: _SFIXED64.pack(int(value)),
    "double": lambda value: _DOUBLE.pack(float(value)),
}


@lru_cache(maxsize=4096)
def _short(payload: bytes) -> str:
    return payload.decode()


def _text(payload: bytes) -> str:
    # The same names and labels come again and again; UnicodeDecodeError is a ValueError.
    return _short(payload) if len(payload) <= _SHORT else payload.decode()


def _unpacking(eight: struct.Struct) -> Callable[[bytes], Any]:
    return lambda raw: eight.unpack(raw)[0]


_READ: dict[tuple[int, Kind], Callable[[Any], Any]] = {
    **{(0, kind): read for kind, read in _NUMBERS.items()},
    **{(1, kind): _unpacking(eight) for kind, eight in _EIGHTS.items()},
    (2, "string"): _text,
    (2, "bytes"): bytes,
}
"""What reads a payload, by wire type and kind."""


def _packed(payload: bytes, kind: Kind) -> Iterator[Any]:
    eight = _EIGHTS.get(kind)
    if eight is not None:
        if len(payload) % 8:
            raise ValueError("a list of numbers is cut short")
        yield from struct.unpack(f"<{len(payload) // 8}{eight.format[-1]}", payload)
        return
    read, at = _NUMBERS[kind], 0
    while at < len(payload):
        number, at = read_varint(payload, at)
        yield read(number)
