"""What the checks of databases have in common: a query, and what its answer should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from podpatterns.adapter.checks import Failed

Query = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        pattern=r"(?is)^\s*(select|with|values|show|pragma)\b",
        extra={"is": "a statement that reads: SELECT, WITH, VALUES, SHOW or PRAGMA"},
    ),
]
"""A statement that reads. PostgreSQL is asked in a transaction in which it refuses to write (but for what `EXPLAIN`
makes it do, which is not taken here for that), and SQLite opens the file for reading."""


def judge(row: Sequence[Any] | None, expect: str | None) -> None:
    """Compare the first value of the first row, as text; None of a row where there is none. Raises Failed."""
    if expect is None:
        return
    if row is None:
        raise Failed("the query gives no row")
    if _written(row[0]) != expect:
        raise Failed("the query gives another value than is expected")


def _written(value: Any) -> str:
    """As SQL writes it, where Python would write it otherwise."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
