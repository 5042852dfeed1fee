"""Laws of times in logs: every usual shape, the zone that is meant, the year that is not written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats.wall_clock import WallClock

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC).timestamp()
ZURICH = ZoneInfo("Europe/Zurich")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-28 09:36:16,123", "2026-11-28T08:36:16.123Z"),
        ("2026-11-28T09:36:16.123456789", "2026-11-28T08:36:16.123456789Z"),
        ("2026-11-28T09:36:16Z", "2026-11-28T09:36:16Z"),
        ("2026-11-28T09:36:16.5+02:00", "2026-11-28T07:36:16.5Z"),
        ("2026-11-28 09:36:16.123 UTC", "2026-11-28T09:36:16.123Z"),
        ("2026/11/28 09:36:16", "2026-11-28T08:36:16Z"),
        ("28/Nov/2026:09:36:16 -0500", "2026-11-28T14:36:16Z"),
        ("28 Nov 2026 09:36:16.123", "2026-11-28T08:36:16.123Z"),
        ("Sat Nov 28 09:36:16 2026", "2026-11-28T08:36:16Z"),
        ("Nov 28 09:36:16", "2026-11-28T08:36:16Z"),
        ("Nov  8 09:36:16", "2026-11-08T08:36:16Z"),
        ("Dec 31 23:59:59", "2025-12-31T22:59:59Z"),  # the last one, not one to come
        ("Nov 29 11:00:00", "2026-11-29T10:00:00Z"),  # within a day: a clock that is ahead
        ("Nov 30 11:00:00", "2025-11-30T10:00:00Z"),
        ("Feb 29 10:00:00", "2024-02-29T09:00:00Z"),
        ("1128 09:36:16.123456", "2026-11-28T08:36:16.123456Z"),
        ("2026-07-01 09:36:16", "2026-07-01T07:36:16Z"),  # summer time
        ("2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),  # twice: the first one
        ("2026-13-01 00:00:00", None),
        ("2026-02-30 00:00:00", None),
        ("yesterday", None),
        ("", None),
        (1795858000, "2026-11-28T09:26:40Z"),
        (1795858000.25, "2026-11-28T09:26:40.250Z"),
        (1795858000123, "2026-11-28T09:26:40.123Z"),
        (1795858000123456789, "2026-11-28T09:26:40.123456Z"),
        (True, None),
        (None, None),
        ({"seconds": 1}, None),
    ],
)
def test_times_as_they_are_written(text, expected):
    """The same with what came before it, since what is known is remembered."""
    assert WallClock(ZURICH, lambda: NOW)(text) == expected
    clock = WallClock(ZURICH, lambda: NOW)
    for before in ("2026-11-28 09:36:16,001", "Nov 28 09:36:15", text):
        clock(before)
    assert clock(text) == expected


def test_a_pattern_of_ones_own():
    """As strptime takes it; a zone in it counts."""
    assert WallClock(ZURICH, None, "%d.%m.%Y %H:%M:%S")("28.11.2026 09:36:16") == "2026-11-28T08:36:16Z"
    assert WallClock(ZURICH, None, "%d.%m.%Y %H:%M:%S.%f")("28.11.2026 09:36:16.5") == "2026-11-28T08:36:16.500000Z"
    assert WallClock(ZURICH, None, "%d.%m.%Y %H:%M:%S %z")("28.11.2026 09:36:16 +0000") == "2026-11-28T09:36:16Z"
    assert WallClock(ZURICH, None, "%d.%m.%Y")("2026-11-28 09:36:16") is None


def test_without_a_clock_there_is_no_year():
    """It is not made up."""
    assert WallClock()("Nov 28 09:36:16") is None


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),  # noqa: DTZ001 - without a zone, as logs have it
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["T", " "]),
    st.booleans(),
)
def test_every_time_of_iso_8601(moment, minutes, between, with_zone):
    """What Python itself makes of it, with or without the zone in the text."""
    zone = timezone(timedelta(minutes=minutes))
    aware = moment.replace(tzinfo=zone)
    expected = f"{aware.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06}Z"
    text = (aware if with_zone else moment).isoformat(between, "microseconds")
    clock = WallClock(UTC if with_zone else zone)
    assert clock(text) == expected
    assert clock(text) == expected
