"""logfmt: `level=info msg="order placed" total=12.5 paid`, one line of keys and values.

There is no standard; the grammar is the one of Go's kr/logfmt: a key without "=" stands for true, values with spaces
are quoted, and a quoted value is escaped as in JSON.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

_PAIR = re.compile(r'\s*([^\s="]+)(?:=("(?:[^"\\]|\\.)*"|[^\s"]*))?(?=\s|$)')


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
