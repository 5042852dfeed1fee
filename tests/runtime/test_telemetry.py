"""Counters as plain numbers, in a registry of their own."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from podpatterns.runtime.telemetry import Telemetry


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


def test_two_runtimes_do_not_mix():
    """There are no module globals: each telemetry has its own registry."""
    one, two = Telemetry(), Telemetry()
    one.counter("podpatterns_test_lines", "Lines.").add()
    two.counter("podpatterns_test_lines", "Lines.")
    assert samples(one) != samples(two)
