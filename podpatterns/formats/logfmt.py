"""logfmt: `level=info msg="order placed" total=12.5 paid`, one line of keys and values.

There is no standard; the grammar is the one of Go's kr/logfmt: a key without "=" stands for true, values with spaces
are quoted, and a quoted value is escaped as in JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

_PAIR = re.compile(r'\s*([^\s="]+)(?:=("(?:[^"\\]|\\.)*"|[^\s"]*))?(?=\s|$)')

_UNFIT = re.compile(r'[\s="\x00-\x20\x7f]')
"""What no key may hold."""
_PLAIN = re.compile(r"[^\s=\"\\\x00-\x20\x7f]+")
"""A value that needs no quotes."""


def render(records: Iterable[Mapping[str, Any]]) -> bytes:
    """A line for each record, with a final newline; `parse` gives the same texts back.

    What is in a key and cannot be is `_`. A value that is neither text, number nor truth is its JSON, quoted.
    """
    keys = _keys
    return b"".join(
        " ".join([f"{keys[name]}={_value(value)}" for name, value in record.items()]).encode() + b"\n"
        for record in records
    )


class _Keys(dict[str, str]):
    """Names made fit, remembered; as many as a log has, and a bound for one that makes them up."""

    def __missing__(self, name: str) -> str:
        if len(self) > 10_000:
            self.clear()
        fit = self[name] = _UNFIT.sub("_", name) or "_"
        return fit


_keys = _Keys()


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else msgspec.json.encode(value).decode()
    text = msgspec.json.encode(value, enc_hook=str).decode()
    return text if isinstance(value, (int, float)) or value is None else msgspec.json.encode(text).decode()


def parse(line: bytes) -> dict[str, Any] | None:
    """The pairs of a line, values as text (a key without value: True); None if it is not logfmt.

    A line without a single `key=value` is prose, not logfmt.
    """
    text = line.decode("utf-8", "replace").rstrip()
    record: dict[str, Any] = {}
    position, paired = 0, False
    while position < len(text):
        match = _PAIR.match(text, position)
        if match is None:
            return None
        key, value = match.groups()
        paired = paired or value is not None
        record[key] = True if value is None else _unquoted(value)
        position = match.end()
    return record if paired else None


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(msgspec.json.decode(value.encode()))
    except msgspec.DecodeError:
        return value[1:-1]  # an escape that JSON does not know: kept as written
