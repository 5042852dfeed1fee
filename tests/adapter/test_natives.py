"""Laws of native histograms of timers: as fine as wished, bounded, and no count lost."""

from __future__ import annotations

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.adapter.natives import Native, Resolution, bucket, scale_of

FACTORS = {1.0001: 8, 1.1: 3, 2.0: 0, 1.5: 1, 4.0: -1, 65536.0: -4, 1e9: -4}


@pytest.mark.parametrize("factor", FACTORS)
def test_the_scale_is_as_fine_as_the_factor_asks(factor: float) -> None:
    """A bucket is at most so many times as wide as the one before it, as far as Prometheus has scales."""
    assert scale_of(factor) == FACTORS[factor]


@given(st.floats(1e-300, 1e300), st.integers(-4, 8))
def test_a_value_lies_between_the_bounds_of_its_bucket(value: float, scale: int) -> None:
    """Above the lower one, and up to the upper one."""
    at = bucket(value, scale)
    base = 2.0**-scale if scale < 0 else None
    lower, upper = (at * base, (at + 1) * base) if base else (at / 2**scale, (at + 1) / 2**scale)
    from math import log2

    exact = log2(value)
    assert lower < exact or isclose(lower, exact, rel_tol=1e-12, abs_tol=1e-12)
    assert exact <= upper or isclose(upper, exact, rel_tol=1e-12, abs_tol=1e-12)


@given(st.lists(st.floats(-1e9, 1e9), max_size=50), st.integers(4, 20), st.sampled_from([1.0, 2.0, 2.5]))
def test_buckets_are_bounded_and_no_count_is_lost(values: list[float], most: int, weight: float) -> None:
    """They are made coarser; classic buckets, count and sum are those of any distribution."""
    slot = Native((0.0, 1.0), weight, 1000.0, None, Resolution(8, most))
    for value in values:
        slot.take(value, b"")
    whole = slot.exponential()
    counts, total = slot.read()
    assert whole.count == counts[-1] == len(values) * weight
    assert whole.total == total
    assert len(whole.positive) + len(whole.negative) <= most or whole.scale == -4
    assert whole.native()


def test_parts_of_different_rates_are_one_histogram() -> None:
    """Each at its own scale; the whole has the coarsest."""
    slot = Native((), 1.0, 1.0, None, Resolution(3, 160))
    slot.more = Native((), 2.5, 1.0, None, Resolution(0, 160))
    slot.take(3.0, b"")
    slot.more.take(3.5, b"")
    slot.more.take(0.0, b"")
    whole = slot.exponential()
    assert (whole.scale, whole.positive, whole.zero_count, whole.count) == (0, {1: 3.5}, 2.5, 6.0)
