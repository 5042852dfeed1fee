"""Times as people's programs write them, without zone, without year, in many shapes: as RFC 3339 in UTC.

`timestamps` knows what stores and protocols exchange; here is what stands in log lines. Lines of the same second share
the work.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from podpatterns.formats.timestamps import nanoseconds, resolution, rfc3339

_CLOCK = r"(?P<clock>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9})\d*)?"
_ZONE = r"(?:\s?(?P<zone>[Zz]|UTC|GMT|[+-]\d\d:?\d\d))?"
_SHAPES = tuple(
    re.compile(shape, re.ASCII)
    for shape in (
        # RFC 3339 and ISO 8601, also with a space, a comma or slashes: Python, Java, nginx's error log, PostgreSQL
        rf"(?P<year>\d{{4}})[-/](?P<month>\d\d)[-/](?P<day>\d\d)[Tt ]{_CLOCK}{_ZONE}",
        # 28/Nov/2026:09:36:16 +0000 in access logs, 28 Nov 2026 09:36:16.123 in Redis' log
        rf"(?P<day>\d{{1,2}})[/ -](?P<month>[A-Z][a-z]{{2}})[/ -](?P<year>\d{{4}})[: ]{_CLOCK}{_ZONE}",
        # Nov 28 09:36:16 in syslog, Sat Nov 28 09:36:16 2026 as C's asctime
        rf"(?:[A-Z][a-z]{{2}} )?(?P<month>[A-Z][a-z]{{2}}) {{1,2}}(?P<day>\d{{1,2}}) {_CLOCK}(?: (?P<year>\d{{4}}))?",
        # 1128 09:36:16.123456 in the logs of Kubernetes' own programs (klog)
        rf"(?P<month>\d\d)(?P<day>\d\d) {_CLOCK}",
    )
)
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
_KNOWN = 4096
"""Seconds that are remembered; a log that jumps about more than that is computed anew each time."""
_DAY = timedelta(days=1)


class WallClock:
    """Reads times.

    Args:
        zone: what a time without a zone is in. An hour that is there twice, at the end of summer time, counts as the
            first one.
        now: seconds since 1970, for times without a year: they are from the last twelve months.
        pattern: as strptime takes it, for times in no shape that is known here.
    """

    def __init__(self, zone: tzinfo = UTC, now: Callable[[], float] | None = None, pattern: str | None = None) -> None:
        self._zone, self._now, self._pattern = zone, now, pattern
        self._known: dict[tuple[str, ...], str | None] = {}
        self._shapes = list(_SHAPES)
        self._heads: dict[str, str] = {}
        """What nineteen characters such as `2026-11-28 09:36:16` are, where no zone follows: the usual case, fast."""
        self._zulu: dict[str, str] = {}
        """The same where the zone is `Z`."""
        self._texts: dict[str, str] = {}
        """What whole texts without a fraction are: an access log has the same one for a second."""

    def __call__(self, value: Any) -> str | None:
        """`2026-11-28T09:36:16.123Z`, with as many digits as were given; None for what is no time."""
        if not isinstance(value, str):
            nanos = nanoseconds(value)
            return None if nanos is None else _written(nanos)
        head, rest = value[:19], value[19:]
        if rest[-1:] == "Z":
            second, rest = self._zulu.get(head), rest[:-1]
        else:
            second = self._heads.get(head)
        if second is not None:
            if not rest:
                return f"{second}Z"
            if rest[0] in ",." and len(rest) <= 10 and rest[1:].isdecimal() and rest.isascii():
                return f"{second}.{rest[1:]}Z"
        if (written := self._texts.get(value)) is not None:
            return written
        if self._pattern is not None:
            return self._by_pattern(value, self._pattern)
        for at, shape in enumerate(self._shapes):
            match = shape.fullmatch(value)
            if match is None:
                continue
            if at:
                self._shapes.insert(0, self._shapes.pop(at))  # a log has one shape
            return self._of(match)
        return None

    def _of(self, match: re.Match[str]) -> str | None:
        found = match.groupdict()
        fraction = found.pop("fraction")
        key = tuple(found[name] or "" for name in ("month", "day", "clock")) + tuple(
            found.get(name) or "" for name in ("year", "zone")
        )
        try:
            second = self._known[key]
        except KeyError:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            second = self._known[key] = self._second(*key)
        if second is None:
            return None
        zone = found.get("zone")
        if found.get("year") and not match.start("year") and zone in (None, "Z"):
            _remember(self._zulu if zone else self._heads, match.string[:19], second)
        elif not fraction:
            _remember(self._texts, match.string, f"{second}Z")
        return f"{second}.{fraction}Z" if fraction else f"{second}Z"

    def _second(self, month: str, day: str, clock: str, year: str, zone: str) -> str | None:
        number = int(month) if month.isdigit() else _MONTHS.get(month)
        if number is None:
            return None
        offset = "" if not zone else "+00:00" if zone in ("Z", "z", "UTC", "GMT") else zone
        if year:
            return self._utc(year, number, day, clock, offset)
        if self._now is None:
            return None
        # Without a year: the last time that it was so, or is within a day, for clocks that do not agree.
        latest = datetime.fromtimestamp(self._now(), UTC) + _DAY
        for candidate in range(latest.year, latest.year - 9, -1):  # 29 February may be eight years back
            text = self._utc(str(candidate), number, day, clock, offset)
            if text is not None and text <= f"{latest:%Y-%m-%dT%H:%M:%S}":
                return text
        return None

    def _utc(self, year: str, month: int, day: str, clock: str, offset: str) -> str | None:
        try:
            moment = datetime.fromisoformat(f"{year}-{month:02}-{day:0>2}T{clock}{offset}")
        except ValueError:
            return None
        return self._in_utc(moment)

    def _in_utc(self, moment: datetime) -> str | None:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone)
        try:
            return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
        except OverflowError:
            return None

    def _by_pattern(self, text: str, pattern: str) -> str | None:
        try:
            moment = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is added below
        except ValueError:
            return None
        second = self._in_utc(moment)
        if second is None:
            return None
        return f"{second}.{moment.microsecond:06}Z" if moment.microsecond else f"{second}Z"


def _remember(known: dict[str, str], text: str, meaning: str) -> None:
    if len(known) >= _KNOWN:
        known.clear()
    known[text] = meaning


def _written(nanos: int) -> str:
    """With milliseconds if that is how it was given, else with microseconds."""
    text = rfc3339(nanos)
    given = resolution(nanos)
    return f"{text[:19]}Z" if given == 10**9 else f"{text[:23]}Z" if given == 10**6 else text
