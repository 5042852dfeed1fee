"""Expressions that a client could keep us busy with are refused, and no others."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.runtime.regex import check_regex, runs_away
from podpatterns.runtime.schema import InvalidField

SLOW = [
    "(a+)+", "(a*)*", "(?:a+)*", "((a+))+", "(a+)+b", "/x(a+b?)*", "([a-z]+)*-", "(a|b+)+", "(?:x|(?:a+)?)+",
    "(a+?)+", "(a+)+?", "(a{2,})+", "(a+){3,}", r"(\w+\s?)*", "([^/]+/?)*", "(?=(a+)+b)x", "(?:(?:a*)+)?", "(.*)*",
]  # fmt: skip
FAST = [
    "", "/.*", "/users/[0-9]+", "(/[a-z]+)*", "(a+b)+", "(?:a+,)*a+", "([^/]+/)*", "(a+){1,3}", "(a+)?", "(a)+",
    "(?>a+)+", "(a++)+", "(?:ab?)*", "(a|b)+", "[a+*]+", r"(\(a+\))+", "v[0-9]+(?:[.][0-9]+)*", "(?P<x>a+)(?(x)b|c)",
]  # fmt: skip


@pytest.mark.parametrize("regex", SLOW)
def test_what_can_take_forever_is_refused(regex):
    """A repetition of a repetition, however it is wrapped; the message says what is wrong with it."""
    with pytest.raises(InvalidField, match="repeats a repetition"):
        check_regex(regex, "regex")


@pytest.mark.parametrize("regex", FAST)
def test_what_comes_to_an_end_is_not(regex):
    """Where something is required in between, or nothing is tried again."""
    check_regex(regex, "regex")
    assert not runs_away(regex)


ATOMS = st.sampled_from(["a", "b", "[ab]", "."])
REGEXES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}"])).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    ),
    max_leaves=6,
)


@given(REGEXES)
def test_every_expression_is_judged(regex):
    """The structure of any expression is understood; one without repetitions never runs away."""
    assert not runs_away(regex) or re.search(r"[*+].*[*+]", regex)


def test_one_that_is_accepted_is_quick():
    """Of an accepted and a refused expression for the same texts, the accepted one gives up at once."""
    assert runs_away("(?:[a-z]+-?)+")
    text = b"a" * 5_000 + b"!"
    started = time.process_time()
    assert re.fullmatch(b"[a-z]+(?:-[a-z]+)*", text) is None
    assert time.process_time() - started < 1
