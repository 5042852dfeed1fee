"""Laws of the Prometheus text format, OpenMetrics, numbers, labels and negotiation."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats import openmetrics, prometheus
from podpatterns.formats.accept import OPENMETRICS, PROTOBUF, TEXT, TEXT_1, negotiate
from podpatterns.formats.exposition import Malformed
from podpatterns.formats.families import Blocks, Family, block, labels_of, metric_name, parsed
from podpatterns.formats.numbers import canonical, column, floats, number, scaled

NUMBERS = {
    0.0: "0",
    1.0: "1",
    0.25: "0.25",
    123456.0: "123456",
    1e6: "1e+06",
    1234567.5: "1.2345675e+06",
    -12000000.0: "-1.2e+07",
    1e21: "1e+21",
    0.0001: "0.0001",
    0.00001: "1e-05",
    10.00001: "10.00001",
    0.1 + 0.2: "0.30000000000000004",
    999999.9999999999: "999999.9999999999",
    5e-324: "5e-324",
    1.5e-7: "1.5e-07",
    math.inf: "+Inf",
    -math.inf: "-Inf",
}


@pytest.mark.holds("numbers")
@pytest.mark.parametrize("value", NUMBERS)
def test_numbers_look_as_in_go(value: float) -> None:
    """The text is what strconv.FormatFloat(f, 'g', -1, 64) gives."""
    assert number(value) == NUMBERS[value]


def test_nan_and_bounds() -> None:
    """NaN is a word; a whole bound keeps its fraction in OpenMetrics."""
    assert column([math.nan, 1.0, -0.0]) == ["NaN", "1", "-0"]
    assert (canonical(1.0), canonical(0.5), canonical(math.inf)) == ("1.0", "0.5", "+Inf")


@given(st.lists(st.integers(-(10**9), 10**9).map(float), min_size=1), st.sampled_from([1, 10, 1000, 10**6, 1024]))
def test_scaling_by_a_share_is_a_division(values: list[float], divisor: int) -> None:
    """Nothing is added by the share's own error: thousandths of a number are what it is divided by a thousand."""
    assert list(scaled(values, 1 / divisor)) == [value / divisor for value in values]
    assert list(scaled(values, divisor)) == [value * divisor for value in values]


@given(st.lists(st.floats()))
def test_numbers_survive_their_text(values: list[float]) -> None:
    """float(text) is the number, to the last bit."""
    assert list(map(repr, map(float, column(values)))) == list(map(repr, values))


@given(st.lists(st.floats(-1e6, 1e6) | st.floats(-1e-3, 1e-3) | st.integers(-9999, 9999).map(float)))
def test_a_number_looks_the_same_in_any_company(values: list[float]) -> None:
    """Usual numbers are written in another way than a column with an infinity; nobody can tell from their text."""
    assert column([*values, math.inf]) == [*column(values), "+Inf"]


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
# Blanks between a HELP line's name and its text belong to neither.
help_text = text.map(lambda each: each.lstrip(" \t"))
name = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True).filter(lambda each: each not in ("le", "quantile"))
labels = st.dictionaries(name, text.filter(bool), max_size=3).map(lambda each: tuple(each.items()))
values = st.floats(allow_nan=False)


@given(labels)
def test_labels_survive_their_block(pairs: tuple[tuple[str, str], ...]) -> None:
    """A block gives its labels back, whatever characters their values hold; blocks are canonical."""
    assert dict(parsed(block(pairs))) == dict(pairs)
    assert Blocks()[block(pairs)] == block(pairs) == block(reversed(pairs))


@st.composite
def families(draw: st.DrawFn) -> list[Family]:
    found = []
    for index, kind in enumerate(
        draw(st.lists(st.sampled_from(["counter", "gauge", "histogram", "summary", "unknown"]), max_size=4))
    ):
        stem = f"m{index}"
        family = Family(stem + ("_total" if kind == "counter" else ""), kind, draw(help_text))
        for pairs in draw(st.lists(labels, min_size=1, max_size=3, unique_by=block)):
            if kind in ("histogram", "summary"):
                count = float(draw(st.integers(0, 99)))
                if kind == "histogram":
                    family.add(count, [*pairs, ("le", "0.5")], "_bucket")
                    family.add(count, [*pairs, ("le", "+Inf")], "_bucket")
                family.add(count, pairs, "_count")
                family.add(draw(st.floats(0, 1e9)), pairs, "_sum")
            else:
                family.add(abs(draw(values)) if kind == "counter" else draw(values), pairs)
        found.append(family)
    return found


@pytest.mark.holds("round trip")
@given(families())
def test_a_page_gives_its_families_back(given_families: list[Family]) -> None:
    """parse(render(x)) = x, in both formats."""
    assert prometheus.parse(prometheus.render(given_families)) == given_families
    assert openmetrics.parse(openmetrics.render(given_families)) == given_families


def test_openmetrics_keeps_what_text_cannot_say() -> None:
    """Units, start times, exemplars and infos survive; text leaves them out, and makes gauges of infos."""
    page = (
        '# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds Says \\"so\\".\n'
        'a_seconds_total{x="y"} 1 12.5 # {id="7"} 0.5 3\na_seconds_created{x="y"} 2\n'
        '# TYPE b info\nb_info{v="1"} 1\n# EOF\n'
    )
    read = openmetrics.parse(page)
    assert (read[0].name, read[0].unit, read[0].help) == ("a_seconds_total", "seconds", 'Says "so".')
    assert openmetrics.parse(openmetrics.render(read)) == read
    plain = prometheus.render(read).decode()
    assert read[0].starts == [2.0]
    assert "created" not in plain
    assert "# TYPE b_info gauge" in plain


TEXT_MISTAKES = {
    "foo\n": (1, 4),
    "ok 1\nfoo{a=b} 1\n": (2, 5),
    'ok 1\nfoo{a="b",a="c"} 1\n': (2, 11),
    "foo x\n": (1, 5),
    "foo 1_0\n": (1, 5),
    "foo 1 2 3\n": (1, 6),
    'foo{a="b} 1\n': (1, 4),
    'ok 1\nfoo{a="b"}\n': (2, 11),
    "fo-o 1\n": (1, 3),
    '{a="b"} 1\n': (1, 1),
    '{"a","b"} 1\n': (1, 6),
    "# TYPE x histogram\nx 1\n": (2, 1),
    "# TYPE x foo\n": (1, 10),
    "x 1\n# TYPE x gauge\n": (2, 1),
    "# TYPE x gauge\n# TYPE x gauge\n": (2, 1),
}


@pytest.mark.parametrize("page", TEXT_MISTAKES)
def test_a_mistake_has_a_place(page: str) -> None:
    """Line and column say where; the rest of the page is still read where problems are collected."""
    with pytest.raises(Malformed) as error:
        prometheus.parse(page)
    assert (error.value.line, error.value.column) == TEXT_MISTAKES[page]
    problems: list[Malformed] = []
    read = prometheus.parse(page + "fine 1\n", problems=problems)
    assert problems
    assert read[-1] == Family("fine", blocks=[""], values=[1.0])


@pytest.mark.parametrize(
    "page",
    [
        "a 1\n",
        "a 1\n# EOF\nb 1\n",
        "a  1\n# EOF\n",
        "# TYPE a counter\na 1\na_total -1\n# EOF\n",
        "a 1\na 1\n# EOF\n",
        '# TYPE a histogram\na_bucket{le="1"} 1\n# EOF\n',
        '# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\n# EOF\n',
        "# TYPE a gauge\n# UNIT a seconds\na 1\n# EOF\n",
    ],
)
def test_openmetrics_refuses_what_it_forbids(page: str) -> None:
    """No EOF, text behind it, two spaces, negative counters, duplicates, bad buckets, a unit not in the name."""
    with pytest.raises(Malformed):
        openmetrics.parse(page)


@given(st.text('ab{}=",\\ \n#1.eTYPHLxounter_', max_size=60) | st.binary(max_size=60))
def test_any_page_is_read_or_malformed(page: str | bytes) -> None:
    """No input raises anything but Malformed."""
    for parse in (prometheus.parse, openmetrics.parse):
        with contextlib.suppress(Malformed):
            parse(page)


@pytest.mark.holds("negotiation")
@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0; q=0.3, text/plain;version=0.0.4;q=0.5", TEXT),
        ("application/openmetrics-text;version=9.9.9", TEXT),
        ("text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2", TEXT_1),
        (f"{PROTOBUF.media_type};q=0.6,text/plain;version=0.0.4;q=0.5", PROTOBUF),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text,*/*;q=0.1", TEXT),
        ("text/plain;version=0.0.4;escaping=cyrillic", TEXT),
        ("text/plain;version=0.0.4;escaping=values", replace(TEXT, escaping="values")),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
            replace(OPENMETRICS, escaping="allow-utf-8"),
        ),
        ("application/openmetrics-text;q=0", TEXT),
        ("nonsense;;;q=x", TEXT),
    ],
)
def test_the_highest_q_wins(accept: str, form: object) -> None:
    """Negotiation takes the form with the highest q that we have, and text where nothing fits."""
    assert negotiate(accept) == form


def test_names_are_made_fit() -> None:
    """Other characters become underscores, and no digit stands first."""
    assert metric_name("1a.b-c é") == "_1a_b_c__"
    assert labels_of("") == ()


def test_counter_and_gauge_of_one_base_name_both_stay() -> None:
    """In OpenMetrics `a` and `a_total` would be one family: the counter is written as unknown, in full."""
    page = openmetrics.render(
        [Family("a", "gauge", blocks=[""], values=[1.0]), Family("a_total", "counter", blocks=[""], values=[2.0])]
    )
    assert b"# TYPE a_total unknown\na_total 2\n" in page


@given(st.lists(st.from_regex(r"[0-9]{1,30}", fullmatch=True) | st.sampled_from(["9" * 400, "9" * 5000, "-0", "1.5"])))
def test_whole_numbers_are_read_like_any(texts: list[str]) -> None:
    """However a column is read, each number is what it is by itself; one that no float holds is refused."""
    if any(float(text) == math.inf for text in texts):
        with pytest.raises(ValueError, match="too large"):
            floats(texts)
    else:
        assert list(map(repr, floats(texts))) == [repr(float(text)) for text in texts]
