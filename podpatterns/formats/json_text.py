"""A value of JSON as text, for labels."""

from __future__ import annotations

from typing import Any

import msgspec


def text(value: Any) -> str:
    """`true`, `12`, the text itself; nothing for null."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
