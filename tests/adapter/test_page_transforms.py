"""Laws of the page (quarantine) and of the transforms."""

from __future__ import annotations

import hashlib
import re
from math import inf, nan

import pytest

from podpatterns.adapter.page import compose
from podpatterns.adapter.transforms import relabel
from podpatterns.adapter.transforms.python import Python
from podpatterns.adapter.transforms.relabel import Relabel, RuleConfig
from podpatterns.adapter.transforms.rename import Rename
from podpatterns.formats.families import Blocks, Family
from podpatterns.formats.prometheus import parse, render
from podpatterns.runtime.schema import InvalidField, InvalidFields
from podpatterns.runtime.units import FunctionRef


def page(text: str, *transforms: tuple[str, object]) -> tuple[str, dict[tuple[str, str], int]]:
    composed = compose(parse(text), transforms, Blocks())  # type: ignore[arg-type]
    return render(composed.families).decode(), {(q.family, q.reason): q.samples for q in composed.quarantined}


def gauge(name: str, *blocks: str) -> Family:
    return Family(name, "gauge", blocks=list(blocks), values=[1.0] * len(blocks))


@pytest.mark.holds("quarantine")
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (gauge("", ""), "invalid_name"),
        (gauge("a\ud800", ""), "invalid_name"),
        (gauge("x", "{a=b}"), "invalid_labels"),
        (Family("x", "gauge", blocks=[""], values=[]), "uneven_columns"),
        (Family("x", "gauge", blocks=[""], values=["z"]), "not_a_number"),  # type: ignore[list-item]
        (Family("x", "thing", blocks=[""], values=[1.0]), "unknown_type"),  # type: ignore[arg-type]
        (Family("x", "gauge", blocks=[""], values=[1.0], suffixes=["_bucket"]), "invalid_suffix"),
        (Family("fine", "counter", blocks=[""], values=[1.0]), "type_conflict_gauge_counter"),
        (gauge("h_sum", ""), "suffix_conflict_histogram"),
        (gauge("fine", "", '{a="b"}'), "duplicate_series"),
        (Family("x", "counter", blocks=["", '{a="b"}'], values=[nan, 1.0]), "negative_or_nan_counter"),
        (Family("x", "counter", blocks=[""], values=[-1.0]), "negative_or_nan_counter"),
        (
            Family("x", "summary", blocks=["", ""], values=[nan, -1.0], suffixes=["_count", "_sum"]),
            "negative_or_nan_summary",
        ),
    ],
)
def test_a_bad_family_is_left_out_alone(bad: Family, reason: str) -> None:
    """It is named with its reason; its neighbours stay."""
    histogram = Family("h", "histogram", blocks=['{le="+Inf"}'], values=[1.0], suffixes=["_bucket"])
    composed = compose([gauge("fine", ""), histogram, bad], [], Blocks())
    assert [(item.family, item.reason) for item in composed.quarantined] == [(bad.name, reason)]
    assert {family.name for family in composed.families} >= {"fine", "h"}
    assert parse(render(composed.families))


def test_families_of_several_sources_are_merged() -> None:
    """The same name and type from two sources is one family."""
    composed = compose([gauge("a", '{s="1"}'), gauge("a", '{s="2"}')], [], Blocks())
    assert render(composed.families) == b'# TYPE a gauge\na{s="1"} 1\na{s="2"} 1\n'


def test_gauges_may_be_anything() -> None:
    """NaN and infinity are values of a gauge, as of a sum or a quantile."""
    family = Family("g", "gauge", blocks=['{a="1"}', '{a="2"}', '{a="3"}'], values=[nan, inf, -inf])
    summary = Family("s", "summary", blocks=['{quantile="0.5"}', ""], values=[nan, -1.0], suffixes=["", "_sum"])
    composed = compose([family, summary], [], Blocks())
    assert not composed.quarantined
    assert b'g{a="1"} NaN\ng{a="2"} +Inf\ng{a="3"} -Inf\n' in render(composed.families)


def test_two_help_texts_are_named() -> None:
    """The first one stays, the samples of both stay, and the conflict can be seen."""
    first, second = gauge("a", '{s="1"}'), gauge("a", '{s="2"}')
    first.help, second.help = "One.", "Two."
    composed = compose([first, second], [], Blocks())
    assert [(q.reason, q.samples) for q in composed.quarantined] == [("help_conflict", 0)]
    assert render(composed.families) == b'# HELP a One.\n# TYPE a gauge\na{s="1"} 1\na{s="2"} 1\n'


def test_a_function_that_raises_costs_only_what_it_raises_on() -> None:
    """It is tried family by family; the others are transformed, once. The error says what, and in which line."""

    def function(families: list[Family]) -> list[Family]:
        for family in families:
            if family.name == "bad":
                raise KeyError(family.name)
            family.name += "_x"
        return families

    given = [gauge("first", ""), gauge("bad", ""), gauge("last", "")]
    composed = compose(given, [("python", Python(FunctionRef(function)))], Blocks())
    assert [(q.family, q.reason) for q in composed.quarantined] == [("bad", "python_raised_KeyError")]
    assert re.fullmatch(r"'bad' \(test_page_transforms\.py, line [0-9]+\)", composed.quarantined[0].detail)
    assert [family.name for family in composed.families] == ["first_x", "last_x"]


def test_a_function_must_return_families() -> None:
    """Anything else is quarantined, not served."""
    composed = compose([gauge("a", "")], [("python", Python(FunctionRef(lambda families: None)))], Blocks())
    assert [q.reason for q in composed.quarantined] == ["python_raised_TypeError"]


SOURCE = {"__name__": "m", "a": "foo", "b": "bar", "c": "Baz", "n": "one\ntwo", "u": "ßÄΣ"}
RELABEL = [
    (
        {"source_labels": ["a"], "target_label": "d", "regex": "f(.*)", "replacement": "ch${1}-ch${1}"},
        {"d": "choo-choo"},
    ),
    (
        {"source_labels": ["a", "b"], "target_label": "a", "regex": "f(.*);(.*)r", "replacement": "b${1}${2}m"},
        {"a": "boobam"},
    ),
    ({"source_labels": ["a"], "target_label": "d", "regex": "o"}, {}),  # anchored
    ({"source_labels": ["a"], "target_label": "d", "regex": "(f).*", "replacement": "$1x"}, {}),  # the variable 1x
    ({"source_labels": ["a"], "target_label": "d", "regex": "(f).*", "replacement": "${1}x$$"}, {"d": "fx$"}),
    ({"source_labels": ["none"], "target_label": "a"}, {"a": None}),  # empty deletes
    ({"source_labels": ["a"], "target_label": "${1}", "regex": "f.*"}, {}),  # no valid label name
    ({"action": "drop", "source_labels": ["a"], "regex": ".*o.*"}, None),
    ({"action": "drop", "source_labels": ["a"], "regex": "f"}, {}),
    ({"action": "keep", "source_labels": ["a"], "regex": "no"}, None),
    ({"action": "keepequal", "source_labels": ["a"], "target_label": "b"}, None),
    ({"action": "dropequal", "source_labels": ["a"], "target_label": "b"}, {}),
    (
        {"action": "hashmod", "source_labels": ["c"], "target_label": "d", "modulus": 1000},
        {"d": str(int.from_bytes(hashlib.md5(b"Baz").digest()[8:], "big") % 1000)},
    ),
    ({"action": "labelmap", "regex": "([ab])", "replacement": "x_${1}"}, {"x_a": "foo", "x_b": "bar"}),
    ({"action": "labeldrop", "regex": "[ab]"}, {"a": None, "b": None}),
    ({"action": "labelkeep", "regex": "a|__name__"}, {"b": None, "c": None, "n": None, "u": None}),
    ({"action": "lowercase", "source_labels": ["c"], "target_label": "c"}, {"c": "baz"}),
    ({"action": "uppercase", "source_labels": ["c"], "target_label": "d"}, {"d": "BAZ"}),
    ({"source_labels": ["u"], "regex": r"\w+", "target_label": "d"}, {}),  # Go knows no letters but ASCII's
    ({"source_labels": ["u"], "regex": "(..).*", "target_label": "d"}, {"d": "ßÄ"}),
    ({"action": "uppercase", "source_labels": ["u"], "target_label": "d"}, {"d": "ßÄΣ"}),  # character by character
    ({"action": "lowercase", "source_labels": ["u"], "target_label": "d"}, {"d": "ßäσ"}),
    ({"action": "labelmap", "regex": "a(x*)"}, {}),  # no name
    ({"target_label": "http.status", "replacement": "200"}, {"http.status": "200"}),
    ({"target_label": "d", "replacement": "x"}, {"d": "x"}),
    ({"source_labels": ["a"], "regex": "", "target_label": "d", "replacement": "x"}, {}),
    ({"source_labels": ["none"], "regex": "", "target_label": "d", "replacement": "x"}, {"d": "x"}),
    ({"source_labels": ["a", "b"], "separator": "", "target_label": "d"}, {"d": "foobar"}),
    ({"source_labels": ["a"], "regex": "(?P<first>.).*", "target_label": "d", "replacement": "${first}"}, {"d": "f"}),
    ({"source_labels": ["a"], "regex": "(?i)FOO", "target_label": "d", "replacement": "x"}, {"d": "x"}),
    ({"source_labels": ["n"], "regex": "one.two", "target_label": "d", "replacement": "x"}, {"d": "x"}),
]
"""Rules, and what they change in SOURCE; None where they drop the sample."""

REFUSED = [
    ({}, "target_label"),
    ({"action": "hashmod", "source_labels": ["a"], "target_label": "b"}, "modulus"),
    ({"action": "lowercase", "source_labels": ["a"], "target_label": "b", "replacement": "x"}, "replacement"),
    ({"action": "keepequal", "source_labels": ["a"], "target_label": "b", "regex": "x"}, "regex"),
    ({"action": "dropequal", "source_labels": ["a"], "target_label": "b", "separator": ","}, "separator"),
    ({"action": "labeldrop", "source_labels": ["a"], "regex": "a"}, "source_labels"),
    ({"action": "labelkeep", "target_label": "a", "regex": "__name__|a"}, "target_label"),
    ({"action": "labeldrop", "replacement": "a", "regex": "a"}, "replacement"),
    ({"action": "drop", "source_labels": ["a"], "regex": "("}, "regex"),
]
"""Rules that Prometheus refuses, with the field that is to blame."""


@pytest.mark.holds("relabelling")
@pytest.mark.parametrize(("rule", "change"), RELABEL)
def test_relabelling_is_prometheus_own(rule: dict[str, object], change: dict[str, str | None] | None) -> None:
    """Each action changes the labels as Prometheus' model/relabel does."""
    result = Relabel([RuleConfig(**rule)]).relabel(SOURCE)  # type: ignore[arg-type]
    if change is None:
        assert result is None
    else:
        expected = {key: value for key, value in {**SOURCE, **change}.items() if value is not None}
        assert result == expected


def blamed(rule: dict[str, object]) -> list[str]:
    """The fields to which the problems of a rule belong."""
    with pytest.raises((InvalidField, InvalidFields)) as error:
        RuleConfig(**rule)  # type: ignore[arg-type]
    return [each.field for each in getattr(error.value, "fields", [error.value])]


@pytest.mark.holds("relabelling")
@pytest.mark.parametrize(("rule", "field"), REFUSED)
def test_what_prometheus_refuses_is_refused(rule: dict[str, object], field: str) -> None:
    """Each rule blames the field that does not go with its action."""
    assert blamed(rule) == [field]


@pytest.mark.parametrize("rule", [{"action": "labelkeep", "regex": "code"}, {"action": "labeldrop", "regex": ".*"}])
def test_no_rule_takes_the_name(rule: dict[str, object]) -> None:
    """Prometheus would fail every scrape with such a rule; here the file is refused, with what to write."""
    assert blamed(rule) == ["regex"]


@pytest.mark.holds("relabelling")
def test_relabelling_renames_and_drops_on_the_page() -> None:
    """`__name__` is the sample's name: families follow it, histograms stay whole, dropped samples are gone."""
    rules = [
        RuleConfig(source_labels=["__name__"], regex="h(_.*)", target_label="__name__", replacement="lat$1"),
        RuleConfig(action="drop", source_labels=["code"], regex="5.."),
        RuleConfig(action="labeldrop", regex="pod"),
        RuleConfig(source_labels=["__name__"], regex="h(_.*)", target_label="__name__", replacement="lat${1}"),
    ]
    text = (
        '# TYPE h histogram\nh_bucket{pod="x",le="+Inf"} 1\nh_count{pod="x"} 1\nh_sum{pod="x"} 1\n'
        '# TYPE c_total counter\nc_total{code="200",pod="x"} 1\nc_total{code="500"} 1\n'
    )
    for _ in range(2):
        out, quarantined = page(text, ("relabel", Relabel(rules[1:])))
        assert not quarantined
        assert '# TYPE lat histogram\nlat_bucket{le="+Inf"} 1\nlat_count 1\nlat_sum 1\n' in out
        assert '# TYPE c_total counter\nc_total{code="200"} 1\n' in out
        assert "500" not in out


def test_series_that_come_and_go_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is over all names together: pods that are replaced bring new labels to each of them."""
    monkeypatch.setattr(relabel, "REMEMBERED", 100)
    transform = Relabel([RuleConfig(target_label="x", replacement="y")])
    for number in range(200):
        blocks = [f'{{pod="{number}.{each}"}}' for each in range(5)]
        (one, other) = transform.apply([gauge("a", *blocks), gauge("b", *blocks)])
        assert one.blocks == other.blocks == [f'{{pod="{number}.{each}",x="y"}}' for each in range(5)]
        assert sum(map(len, transform._known.values())) <= 110


def test_rename() -> None:
    """Names from the table as they are; the prefix for the others, once."""
    out, _ = page("a 1\nb 2\nshop_c 3\n", ("rename", Rename("shop_", {"a": "z"})))
    assert [line for line in out.splitlines() if line[0] != "#"] == ["z 1", "shop_b 2", "shop_c 3"]
