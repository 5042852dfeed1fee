"""Counters as plain numbers, in a registry of their own; logs."""

import json
import os
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from podpatterns.runtime.telemetry import Telemetry, for_process


def samples(telemetry):
    text = telemetry.exposition().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_cell_is_the_series():
    """What a hot path adds to its cell is what a scrape shows."""
    telemetry = Telemetry()
    lines = telemetry.counter("podpatterns_test_lines", "Lines.", ["file"])
    cell = lines.cell("a")
    cell.value += 3
    lines.add("b", by=2)
    assert samples(telemetry) == {("podpatterns_test_lines_total", "a"): 3, ("podpatterns_test_lines_total", "b"): 2}
    assert (lines.total, lines.series[("a",)]) == (5, 3)


def test_labels_are_held_to_their_number():
    """A cell with the wrong number of labels is a bug that shows at once."""
    with pytest.raises(ValueError, match="not 2"):
        Telemetry().counter("podpatterns_test_lines", "Lines.", ["file"]).cell("a", "b")


def test_a_gauge_can_be_read_when_scraped():
    """What is known elsewhere is not copied on every change."""
    telemetry = Telemetry()
    state = {("x",): 1.0}
    telemetry.gauge("podpatterns_test_depth", "Depth.", ["queue"], read=lambda: state)
    state["x",] = 7.0
    assert samples(telemetry) == {("podpatterns_test_depth", "x"): 7.0}


def test_a_name_cannot_be_taken_twice():
    """Two families of one name would spoil the page."""
    telemetry = Telemetry()
    telemetry.counter("podpatterns_test_lines", "Lines.")
    with pytest.raises(ValueError, match="Duplicated"):
        telemetry.counter("podpatterns_test_lines", "Lines.")


def test_histogram_buckets_are_cumulative_and_inclusive():
    """A value on a bound counts into the bucket of that bound; +Inf counts all; the sum is exact."""
    telemetry = Telemetry()
    series = telemetry.histogram("podpatterns_test_seconds", "S.", bounds=(1, 2)).series()
    for value in (0.5, 1, 1.5, 3):
        series.observe(value)
    assert samples(telemetry) == {
        ("podpatterns_test_seconds_bucket", "1.0"): 2,
        ("podpatterns_test_seconds_bucket", "2.0"): 3,
        ("podpatterns_test_seconds_bucket", "+Inf"): 4,
        ("podpatterns_test_seconds_count",): 4,
        ("podpatterns_test_seconds_sum",): 6,
    }


def test_a_series_can_be_finer_than_its_family():
    """A bound of one series tells its values apart, and a scrape shows the same buckets as before."""
    telemetry = Telemetry()
    series = telemetry.histogram("podpatterns_test_seconds", "S.", bounds=(1, 2)).series()
    series.observe(1.2)
    before = samples(telemetry)
    for bound in (1.5, 1.5, 2, 3):
        series.refine(bound)
    assert samples(telemetry) == before
    for value in (0.5, 1.4, 1.5, 1.6, 2.5, 4):
        series.observe(value)
    # 1.2 was counted before 1.5 was a bound, so it counts as larger.
    assert [series.above(bound) for bound in (1, 1.5, 2, 3)] == [6, 4, 2, 1]
    assert samples(telemetry) == {
        ("podpatterns_test_seconds_bucket", "1.0"): 1,
        ("podpatterns_test_seconds_bucket", "2.0"): 5,
        ("podpatterns_test_seconds_bucket", "+Inf"): 7,
        ("podpatterns_test_seconds_count",): 7,
        ("podpatterns_test_seconds_sum",): 12.7,
    }


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [([], 0.5, None), ([3] * 4, 0.5, 3.0), ([1, 3, 3, 3], 0.25, 2.0), ([1] * 99 + [9], 0.99, 2.0), ([9], 0.5, 4.0)],
)
def test_a_quantile_is_estimated_as_prometheus_does(values, q, expected):
    """Linear within its bucket; beyond the last bound it is that bound; nothing counted, no quantile."""
    series = Telemetry().histogram("podpatterns_test_seconds", "S.", bounds=(2, 4)).series()
    for value in values:
        series.observe(value)
    assert series.quantile(q) == expected


def test_a_log_line_never_fails(capsys):
    """Also with the name of a file that is not UTF-8; what JSON knows nothing of is its text."""
    log = for_process("info", "json").log
    log.info("file.found", path=os.fsdecode(b"/logs/\xff.log"), where=Path("/x"), size=7)
    line = json.loads(capsys.readouterr().err)
    assert (os.fsencode(line["path"]), line["where"], line["size"]) == (b"/logs/\xff.log", "/x", 7)


def test_two_runtimes_do_not_mix():
    """There are no module globals: each telemetry has its own registry."""
    one, two = Telemetry(), Telemetry()
    one.counter("podpatterns_test_lines", "Lines.").add()
    two.counter("podpatterns_test_lines", "Lines.")
    assert samples(one) != samples(two)
