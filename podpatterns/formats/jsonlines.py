"""NDJSON: one JSON object per line, made for a whole batch of lines at once.

A call per line costs three times the work that it calls for. So the text of a batch is escaped in a single call:
the newlines between its lines are first replaced by a byte that JSON lets pass as it is and that the text does not
hold, and then that byte by what ends one record and begins the next.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

SEPARATOR = b"\x7f"
"""DEL: JSON escapes the control characters below 0x20, but not this one, and hardly any log has it."""
_encode = msgspec.json.encode
_objects = msgspec.json.Decoder(dict[str, Any])
_raw = msgspec.json.Decoder(msgspec.Raw)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_records = msgspec.json.Encoder(enc_hook=str, decimal_format="number")
DIGITS = 4000
"""A line of fewer bytes has no whole number that is too long for Python, which takes 4,300 digits."""


def ending(fields: Mapping[str, Any]) -> bytes:
    """What closes each record: `,"pod":"shop-1"}` for some fixed fields, `}` for none."""
    return b"," + _encode(fields, enc_hook=str)[1:] if fields else b"}"


def from_text(text: bytes, end: bytes, key: str = "message") -> bytes:
    """The records of lines that are joined by newlines, each `{"message": line` closed by `end`, and a final newline.

    Args:
        text: valid UTF-8, at least one line (an empty text is one empty line), without a final newline.
        end: as made by `ending`.
        key: the field that holds the line.
    """
    start = b"{" + _encode(key) + b":"
    if SEPARATOR in text:
        between = end + b"\n" + start
        return b"".join((start, between.join(map(_encode, text.decode().split("\n"))), end, b"\n"))
    body = _encode(text.replace(b"\n", SEPARATOR).decode())
    return b"".join((start, body.replace(SEPARATOR, b'"' + end + b"\n" + start + b'"'), end, b"\n"))


def from_records(records: Sequence[Any]) -> bytes:
    """The records of dictionaries or structs, with a final newline. What JSON does not know is written as its `str`."""
    return _records.encode_lines(records)


def fill(ndjson: bytes, count: int, value: bytes) -> bytes | None:
    """What was encoded with `count` separators in place of a value; None if the text has separators of its own."""
    filled = ndjson.replace(SEPARATOR, value)
    return filled if len(filled) - len(ndjson) == count * (len(value) - 1) else None


def with_ids(ndjson: bytes, ids: Sequence[str]) -> bytes:
    """The same records with `"id"` as their first field. `ids` has one item for each record."""
    pairs = zip(ids, ndjson.split(b"\n"), strict=False)  # one more line than ids: the nothing after the last newline
    return b"".join(
        b'{"id":"%s"%s%s\n' % (name.encode(), b"" if record == b"{}" else b",", record[1:]) for name, record in pairs
    )


def split(ndjson: bytes) -> list[bytes]:
    """Each record without its newline."""
    return ndjson.split(b"\n")[:-1]


def column(ndjson: bytes, name: str, missing: Any = None) -> list[Any]:
    """One top-level field of each record, `missing` where it is not there. Decodes nothing else."""
    key = _encode(name)
    if key + b":" not in ndjson:
        return [missing] * ndjson.count(b"\n")
    if b"\\" in key:  # a name that JSON escapes cannot be a struct's
        return [record.get(name, missing) for record in _objects.decode_lines(ndjson)]
    return [row.value for row in _column(name, missing).decode_lines(ndjson)]


@lru_cache(64)
def _column(name: str, missing: Any) -> msgspec.json.Decoder[Any]:
    row = msgspec.defstruct("Row", [("value", Any, missing)], rename={"value": name})
    return msgspec.json.Decoder(row)


def _number(text: str) -> Decimal | str:
    """A number that is out of range, as exactly as it is written."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return text


_exact = msgspec.json.Decoder(float_hook=_number)


def parse(line: bytes) -> dict[str, Any] | None:
    """The object that a line holds, or None if it is anything else. A number beyond a double's range is a Decimal."""
    try:
        value = msgspec.json.decode(line)
    except msgspec.ValidationError:  # JSON, with a number that is out of range
        try:
            value = _exact.decode(line)
        except msgspec.DecodeError:  # a whole number of thousands of digits
            return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the last: nested a thousand levels deep
        return None
    return value if isinstance(value, dict) else None


class Bodies(NamedTuple):
    """What stands between the braces of the object on each line; None for a line that is none."""

    bodies: list[bytes | None]
    having: list[int] | None
    """The places of objects that have one of some fields; None if that has not been found out."""


def bodies(text: bytes, names: tuple[str, ...] = ()) -> Bodies:
    """The objects of a text, of which nothing is decoded; and on the way which of them have fields of these names.

    Args:
        text: valid UTF-8, at least one line, without a final newline.
        names: fields that somebody will ask for.
    """
    lines = text.split(b"\n")
    found: list[bytes | None] = [line[1:-1] for line in lines]
    between = b"}\n{".join(found)  # type: ignore[arg-type]  # all bytes
    # All lines begin and end with a brace, and there are as many values as lines: then no value reaches across a line's
    # end, because between two braces it would need a comma.
    if (
        len(between) + 2 == len(text)
        and text.startswith(b"{")
        and text.startswith(between, 1)
        and text.endswith(b"}")
        and len(max(lines, key=len)) < DIGITS
    ):
        probe = _probe(names) if names else None
        decoder, none = probe or (_raw, None)
        try:
            values = decoder.decode_lines(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            values = []
        if len(values) == len(lines):
            return Bodies(found, _other(values, none) if probe else [] if not names else None)
    return Bodies([_body(line) for line in lines], None)


def _body(line: bytes) -> bytes | None:
    line = line.strip(b" \t\r")
    if not (line.startswith(b"{") and line.endswith(b"}")):
        return None
    try:
        if len(line) < DIGITS:
            _raw.decode(line)
            return line[1:-1]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return line[1:-1] if parse(line) is not None else None


def to_records(text: bytes) -> list[dict[str, Any]]:
    """A dictionary for each line; every line is an object, as `bodies` finds them."""
    try:
        return _objects.decode_lines(text)
    except msgspec.ValidationError:
        return [parse(line) or {} for line in text.split(b"\n")]


def having(text: bytes, names: tuple[str, ...]) -> list[int]:
    """The places of the objects, one on each line, that have a field of one of these names; however it is written."""
    if not names:
        return []
    # From the end, because Python searches faster that way.
    if b"\\" not in text and all(text.rfind(_encode(name)) < 0 for name in names):
        return []
    probe = _probe(names)
    if probe is None:
        wanted = set(names)
        return [place for place, found in enumerate(_fields.decode_lines(text)) if not wanted.isdisjoint(found)]
    decoder, none = probe
    return _other(decoder.decode_lines(text), none)


def _other(rows: Sequence[Any], none: Any) -> list[int]:
    """The places of those that are not like this one."""
    return [] if rows.count(none) == len(rows) else [place for place, row in enumerate(rows) if row != none]


@lru_cache(64)
def _probe(names: tuple[str, ...]) -> tuple[msgspec.json.Decoder[Any], Any] | None:
    if any(b"\\" in _encode(name) for name in names):  # a name that JSON escapes cannot be a struct's
        return None
    fields = {f"field{number}": name for number, name in enumerate(names)}
    row = msgspec.defstruct(
        "Row", [(field, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for field in fields], rename=fields, gc=False
    )
    return msgspec.json.Decoder(row), row()


def without(line: bytes, names: Container[str]) -> bytes:
    """The body of an object without the fields of these names; values stay as they are written."""
    return body({name: value for name, value in _fields.decode(line).items() if name not in names})


def body(record: Mapping[str, Any]) -> bytes:
    """What stands between the braces of a record."""
    return _records.encode(record)[1:-1]
