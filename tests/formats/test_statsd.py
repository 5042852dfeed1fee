"""Laws of the StatsD grammar."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats.refusal import REASONS, Refused
from podpatterns.formats.statsd import Line, Skipped, parse, render

READ = {
    "a:1|c": Line("a", "c", ("1",)),
    "a.b:-2.5e3|g": Line("a.b", "g", ("-2.5e3",)),
    "a:1|c|@0.1": Line("a", "c", ("1",), 0.1),
    "a:1|ms|#env:prod,bare,url:http://x": Line(
        "a", "ms", ("1",), 1.0, (("env", "prod"), ("bare", "true"), ("url", "http://x"))
    ),
    "a#k=v,l=w:1|c": Line("a", "c", ("1",), 1.0, (("k", "v"), ("l", "w"))),
    "a,k=v:1|c": Line("a", "c", ("1",), 1.0, (("k", "v"),)),
    "a[k=v:x]b:1|c": Line("ab", "c", ("1",), 1.0, (("k", "v:x"),)),
    "a:1:2:3|d": Line("a", "d", ("1", "2", "3")),
    "a:x:y|s": Line("a", "s", ("x:y",)),
    "a:1|c|#|c:abc|e:it-false|card:low": Line("a", "c", ("1",)),
    "a:1|g|T1656581400": Line("a", "g", ("1",), stamp=1656581400),
    "a:1|c|#le:1": Line("a", "c", ("1",), 1.0, (("exported_le", "1"),)),
    "a:1|c\r": Line("a", "c", ("1",)),
}

REFUSED = {
    b"a\xff:1|c": "not_utf8",
    b":1|c": "no_name",
    b"a": "no_value",
    b"a:|c": "no_value",
    b"a:1": "no_type",
    b"a:1|": "no_type",
    b"a:1|q": "unknown_type",
    b"a:1|c|@0": "sample_rate",
    b"a:1|c|@2": "sample_rate",
    b"a:1|c|@0.0000001": "sample_rate",
    b"a:1|c|@nan": "sample_rate",
    b"a,k=v:1|c|#x:y": "mixed_tags",
    b"a,k=v#x=y:1|c": "mixed_tags",
    b"a#k=v[x=y]:1|c": "mixed_tags",
    b"a,k:1|c": "bad_tags",
    b"a:1|c|zzz": "unknown_section",
    b"a:1|g|Tx": "timestamp",
    b"_e{9,9}:a|b": "bad_event",
    b"_sc|": "bad_check",
    b"_sc|disk|4": "bad_check",
    b"_sc|disk|": "bad_check",
    b"_e{%b,1}:a|b" % (b"9" * 5000): "bad_event",
}


@pytest.mark.parametrize("text", READ)
@pytest.mark.holds("StatsD lines")
def test_a_line_of_every_dialect_is_read(text: str) -> None:
    """Types, rates, the four tag styles, packed values and DogStatsD's extras mean what their sources say."""
    assert parse(text.encode()) == READ[text]


@pytest.mark.parametrize("raw", REFUSED)
@pytest.mark.holds("StatsD lines")
def test_nonsense_is_refused_with_its_reason(raw: bytes) -> None:
    """Each refusal names one of the published reasons."""
    with pytest.raises(Refused) as error:
        parse(raw)
    assert error.value.reason == REFUSED[raw]
    assert error.value.reason in REASONS


@pytest.mark.parametrize(("raw", "what"), [(b"_e{1,1}:a|b|#x:y", "event"), (b"_sc|disk|0", "service_check")])
def test_events_and_checks_are_skipped(raw: bytes, what: str) -> None:
    """They are no metrics, and no mistakes either."""
    with pytest.raises(Skipped) as skipped:
        parse(raw)
    assert skipped.value.what == what


def test_weight_is_fractional() -> None:
    """A rate of 0.3 weighs 3⅓, not 3."""
    assert parse(b"a:1|c|@0.3").weight == pytest.approx(10 / 3)


@given(st.binary(max_size=60) | st.text("abc:|@#,=[]{}_ecgmshd0123456789.-+Tnaif\n", max_size=40).map(str.encode))
def test_any_bytes_are_read_refused_or_skipped(raw: bytes) -> None:
    """No input raises anything else."""
    with contextlib.suppress(Refused, Skipped):
        parse(raw)


names = st.from_regex(r"[a-z][a-z0-9._-]{0,8}", fullmatch=True)
tags = st.dictionaries(
    st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True).filter(lambda each: each not in ("le", "quantile")),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=",|"), max_size=6),
    max_size=3,
).map(lambda each: tuple(each.items()))
numbers = st.floats(-1e9, 1e9).map(repr)


@pytest.mark.holds("round trip")
@given(
    st.builds(
        Line,
        names,
        st.sampled_from(["c", "g", "ms", "h", "d"]),
        st.lists(numbers, min_size=1, max_size=3).map(tuple),
        st.sampled_from([1.0, 0.5, 0.1, 1e-6]),
        tags,
        st.none() | st.integers(0, 10**12 - 1),
    )
)
def test_a_line_is_read_as_it_was_written(line: Line) -> None:
    """parse(render(x)) = x."""
    assert parse(render(line)) == line
