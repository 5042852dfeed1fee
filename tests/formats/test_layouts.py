"""Laws of layouts: lines as programs write them by default, and the bound on what a line can cost."""

from __future__ import annotations

import logging
import re
import time

import pytest

from podpatterns.formats.layouts import LAYOUTS, parser
from podpatterns.formats.severity import WORDS, severity
from podpatterns.formats.wall_clock import WallClock


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, each in LAYOUTS.items() for line in each.samples])
def test_every_sample_is_understood(name, line):
    """A level that is known, a message that is not empty, and a time if the line has one."""
    layout = LAYOUTS[name]
    record = parser(*layout.patterns)(line.encode())
    assert record is not None
    assert record["message"]
    level = record["level"]
    known = severity(level)
    word = layout.levels.get(level) or (WORDS[known] if known else None)
    assert word in WORDS.values()
    assert ("time" in record) == bool(re.search(r"\d\d:\d\d:\d\d", line))
    if "time" in record:
        assert WallClock(now=lambda: 1795858000.0)(record["time"]).startswith("2026-11-28T")


@pytest.mark.parametrize(
    "form",
    [
        logging.BASIC_FORMAT,
        "%(asctime)s - %(name)s - %(levelname)s - %(message)s",
        "%(asctime)s %(levelname)s %(name)s: %(message)s",
        "%(asctime)s [%(levelname)s] %(name)s: %(message)s",
        "%(asctime)s %(levelname)s [%(name)s] %(message)s",
        "%(asctime)s %(levelname)s %(message)s",
    ],
)
def test_what_pythons_logging_writes(form):
    """Its default, and the formats that its documentation shows."""
    made = logging.LogRecord("shop.orders", logging.WARNING, "x.py", 1, "stock of %s: %d", ("a", 7), None)
    record = parser(*LAYOUTS["python"].patterns)(logging.Formatter(form).format(made).encode())
    assert record is not None
    assert record["level"] == "WARNING"
    assert record["message"] == "stock of a: 7"
    assert record.get("logger", "shop.orders") == "shop.orders"


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_line_costs_no_more_than_its_length(name):
    """Hostile lines of 64 KiB are refused in milliseconds: no pattern can be matched in ever more ways."""
    parse = parser(*LAYOUTS[name].patterns)
    sample = LAYOUTS[name].samples[0]
    for filler in (" ", "[", "a", "1:", " [a] ", sample[:40]):
        for head in ("", sample[: len(sample) // 2], sample[:24]):
            line = (head + filler * (65_536 // len(filler)) + "\x00\n").encode()
            began = time.process_time()
            parse(line)
            assert time.process_time() - began < 0.5


def test_groups_that_take_part_in_nothing_are_left_out():
    """A field that the line does not have is not there."""
    assert parser(r"(?P<a>\d+)(?: (?P<b>\d+))?")(b"1") == {"a": "1"}
    assert parser(r"(?P<a>\d+)", r"(?P<b>\w+)")(b"x") == {"b": "x"}
    assert parser(r"(?P<a>\d+)")(b"x") is None
