"""The weighted choice: exact shares, and what happens when versions are taken out."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.split import Split

WEIGHTS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 50), min_size=1).filter(
    lambda weights: any(weights.values())
)


@given(WEIGHTS)
def test_shares_are_exact(weights):
    """Over evenly spread numbers each version is picked exactly as often as its weight says; 0 never."""
    split = Split(weights)
    picked = [split.pick((step + 0.5) / split.total) for step in range(split.total)]
    assert {name: picked.count(name) for name in weights} == weights


@given(WEIGHTS, st.data())
def test_removal_keeps_the_other_ratios(weights, data):
    """Without some versions, the others share as if those had never been there; none left: None."""
    available = data.draw(st.sets(st.sampled_from(sorted(weights))))
    rest = {name: weight for name, weight in weights.items() if name in available and weight}
    split = Split(weights)
    if not rest:
        assert split.pick(0.3, available) is None
        return
    total = sum(rest.values())
    picked = [split.pick((step + 0.5) / total, available) for step in range(total)]
    assert {name: picked.count(name) for name in rest} == rest


@given(WEIGHTS, st.floats(0, 1, exclude_max=True))
def test_every_number_picks(weights, u):
    """Also 0 and the greatest number below 1."""
    for number in (u, 0.0, math.nextafter(1, 0)):
        assert weights[Split(weights).pick(number)] > 0


def test_shares_hold_by_chance():
    """10 000 picks at 90/9/1 lie within four standard deviations; the survivors of the first 9:1."""
    dice = random.Random(7)
    split = Split({"a": 90, "b": 9, "c": 1})
    for available, expected in ((None, split.weights), ({"b", "c"}, {"b": 9, "c": 1})):
        picks = [split.pick(dice.random(), available) for _ in range(10_000)]
        for name, weight in expected.items():
            p = weight / sum(expected.values())
            assert abs(picks.count(name) - 10_000 * p) <= 4 * math.sqrt(10_000 * p * (1 - p))


@pytest.mark.parametrize("weights", [{}, {"a": 0}, {"a": 0, "b": 0}, {"a": 2, "b": -1}])
def test_what_cannot_be_picked_from_is_refused(weights):
    """No weight above 0, or a negative one."""
    with pytest.raises(ValueError, match="weight"):
        Split(weights)
