"""The time that a record says it is from, in whatever way it is written, as nanoseconds since 1970.

Known are RFC 3339 (https://www.rfc-editor.org/rfc/rfc3339), also with a space or a comma as Python's logging writes it,
the access logs' `23/Nov/2026:09:36:16 +0000`, and numbers of seconds, milliseconds, microseconds or nanoseconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from typing import Any

SECOND = 10**9
_LAST = 2**63 - 1
"""The last nanosecond that stores can hold: April 2262."""
_UNITS = ((10**11, SECOND), (10**14, 10**6), (10**17, 10**3), (_LAST, 1))
"""Below the first number of each pair a number counts the second: between 1973 and 2262 none of them overlap."""
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?\s?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)
_ACCESS_LOG = re.compile(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}", re.ASCII)
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def nanoseconds(value: Any) -> int | None:
    """The time as nanoseconds since 1970, or None if it is none. A time without a zone is taken as UTC."""
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or value < 0:
        return None
    for bound, unit in _UNITS:
        if value < bound:
            # A double holds whole microseconds of this century; more digits would be noise.
            nanos = value * unit if isinstance(value, int) else round(value * unit / 1000) * 1000
            return nanos if nanos <= _LAST else None
    return None


def _from_text(text: str) -> int | None:
    if match := _RFC3339.fullmatch(text):
        date, time, fraction, zone = match.groups()
        seconds = _seconds(f"{date}T{time}{'+00:00' if zone in (None, 'Z', 'z') else zone}")
        return _bounded(seconds, int(fraction.ljust(9, "0")) if fraction else 0)
    if _ACCESS_LOG.fullmatch(text):
        day, month, rest = text.split("/")
        if month not in _MONTHS:
            return None
        year, _, clock = rest.partition(":")
        time, _, zone = clock.partition(" ")
        return _bounded(_seconds(f"{year}-{_MONTHS.index(month) + 1:02}-{day}T{time}{zone}"), 0)
    return None


def _bounded(seconds: int | None, fraction: int) -> int | None:
    if seconds is None:
        return None
    result = seconds * SECOND + fraction
    return result if 0 <= result <= _LAST else None


@lru_cache(1024)  # lines of the same second share it
def _seconds(iso: str) -> int | None:
    try:
        return int(datetime.fromisoformat(iso).timestamp())
    except (ValueError, OverflowError):
        return None


def rfc3339(nanos: int) -> str:
    """`2026-11-23T09:36:16.123456Z`: six digits, which every reader of RFC 3339 takes."""
    seconds, rest = divmod(nanos, SECOND)
    return f"{_date(seconds)}.{rest // 1000:06}Z"


@lru_cache(1024)  # as above
def _date(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def resolution(nanos: int) -> int:
    """How finely a time was given, in nanoseconds: a second, a millisecond, a microsecond or one."""
    return next((unit for unit in (SECOND, 10**6, 10**3) if not nanos % unit), 1)
