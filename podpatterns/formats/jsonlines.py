"""NDJSON: one JSON object per line, made for a whole batch of lines at once.

A call per line costs three times the work that it calls for. So the text of a batch is escaped in a single call:
the newlines between its lines are first replaced by a byte that JSON lets pass as it is and that the text does not
hold, and then that byte by what ends one record and begins the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

_SEPARATOR = b"\x7f"  # DEL: JSON escapes the control characters below 0x20, but not this one
_encode = msgspec.json.encode
_objects = msgspec.json.Decoder(dict[str, Any])
_records = msgspec.json.Encoder(enc_hook=str)


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
    if _SEPARATOR in text:
        between = end + b"\n" + start
        return b"".join((start, between.join(map(_encode, text.decode().split("\n"))), end, b"\n"))
    body = _encode(text.replace(b"\n", _SEPARATOR).decode())
    return b"".join((start, body.replace(_SEPARATOR, b'"' + end + b"\n" + start + b'"'), end, b"\n"))


def from_records(records: Sequence[dict[str, Any]]) -> bytes:
    """The records of dictionaries, with a final newline. What JSON does not know is written as its `str`."""
    return _records.encode_lines(records)


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


def parse(line: bytes) -> dict[str, Any] | None:
    """The object that a line holds, or None if it is anything else."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the last: nested a thousand levels deep
        return None
    return value if isinstance(value, dict) else None
