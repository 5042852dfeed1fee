"""Laws of the transforms that add series up and convert units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.adapter.page import compose
from podpatterns.adapter.transforms import Transform
from podpatterns.adapter.transforms.aggregate import Aggregate, AggregateConfig
from podpatterns.adapter.transforms.convert import UNITS, Conversion, ConversionConfig, Convert
from podpatterns.formats.families import Blocks, Family
from podpatterns.formats.prometheus import parse, render


def page(text: str, transform: object) -> list[str]:
    composed = compose(parse(text), [("transform", transform)], Blocks())  # type: ignore[list-item]
    assert not composed.quarantined
    return [line for line in render(composed.families).decode().splitlines() if line[0] != "#"]


PAGE = """\
# TYPE a_total counter
a_total{user="1",route="x"} 1
a_total{user="2",route="x"} 2
a_total{user="2",route="y"} 4
# TYPE h histogram
h_bucket{user="1",le="1"} 1
h_bucket{user="1",le="+Inf"} 2
h_count{user="1"} 2
h_sum{user="1"} 9
h_bucket{user="2",le="1"} 0
h_bucket{user="2",le="+Inf"} 1
h_count{user="2"} 1
h_sum{user="2"} 5
# TYPE s summary
s{user="1",quantile="0.5"} 1
s_count{user="1"} 2
s_sum{user="1"} 3
"""
SUMMED = [
    'a_total{route="x"} 3',
    'a_total{route="y"} 4',
    'h_bucket{le="1"} 1',
    'h_bucket{le="+Inf"} 3',
    "h_count 3",
    "h_sum 14",
    "s_count 2",
    "s_sum 3",
]


def test_series_are_added_up() -> None:
    """Counters, buckets, counts and sums add up; quantiles are left out; metrics that are not meant stay."""
    assert page(PAGE, Aggregate(AggregateConfig(without=["user"]))) == SUMMED
    assert page(PAGE, Aggregate(AggregateConfig(by=["route"]))) == SUMMED
    assert (
        page(PAGE, Aggregate(AggregateConfig(without=["user"], metrics=["a_.*"])))[2:]
        == page(PAGE, Aggregate(AggregateConfig(without=["none"], metrics=["none"])))[3:]
    )


@pytest.mark.parametrize(("how", "value"), [("sum", "6"), ("max", "4"), ("min", "2"), ("avg", "3")])
def test_gauges_become_what_is_asked_for(how: str, value: str) -> None:
    """Amounts are added up, levels are not."""
    text = '# TYPE g gauge\ng{a="1"} 2\ng{a="2"} 4\n'
    assert page(text, Aggregate(AggregateConfig(without=["a"], gauges=how))) == [f"g {value}"]  # type: ignore[arg-type]


def test_a_sum_began_with_its_first_part() -> None:
    """Its start is the earliest of theirs; an info stays 1."""
    family = Family("c_total", "counter", values=[1.0, 2.0], starts=[50.0, 40.0], blocks=['{a="1"}', '{a="2"}'])
    info = Family("i_info", "info", blocks=['{a="1"}', '{a="2"}'], values=[1.0, 1.0])
    found, one = Aggregate(AggregateConfig(without=["a"])).apply([family, info])
    assert (found.values, found.starts) == ([3.0], [40.0])
    assert one.values == [1.0]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 1000)), max_size=20))
def test_the_sum_over_everything_stays(rows: list[tuple[int, int, int]]) -> None:
    """Whatever is taken away, nothing is lost or counted twice."""
    family = Family("a_total", "counter")
    for left, right, value in rows:
        family.add(float(value), [("left", f"x{left}"), ("right", f"x{right}")])
    (found,) = Aggregate(AggregateConfig(without=["left"])).apply([family])
    assert sum(found.values) == sum(value for _, _, value in rows)
    assert len(found.blocks) == len({right for _, right, _ in rows})


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({}, "without"),
        ({"without": ["a"], "by": ["b"]}, "without"),
        ({"without": ["le"]}, "without"),
        ({"by": ["quantile"]}, "by"),
        ({"by": ["a"], "metrics": ["("]}, "metrics[0]"),
    ],
)
def test_mistakes_are_named(fields: dict[str, list[str]], blamed: str) -> None:
    """Each blames its field."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the field is what counts
        AggregateConfig(**fields)  # type: ignore[arg-type]
    assert error.value.field == blamed  # type: ignore[attr-defined]


def converted(text: str, unit: str, to: str, *metrics: str) -> list[str]:
    return page(text, Convert([ConversionConfig(metrics=list(metrics or [".*"]), unit=unit, to=to)]))


@pytest.mark.parametrize(
    "transform",
    [
        Convert([ConversionConfig(metrics=[".*"], unit="ms", to="s")]),
        Aggregate(AggregateConfig(without=["pod"])),
    ],
)
def test_what_cannot_be_changed_is_left_out(transform: Transform) -> None:
    """Native buckets lie where they lie, and exemplars say what was: the classic histogram stays, and is right."""
    family = Family("t_ms", "histogram", exemplars={0: "{} 500"}, natives={1: b"x"})
    family.add(1.0, [("pod", "a"), ("le", "+Inf")], "_bucket")
    family.add(1.0, [("pod", "a")], "_count")
    (found,) = transform.apply([family])
    assert (found.exemplars, found.natives, found.values) == ({}, {}, [1.0, 1.0])


def test_values_bounds_and_names_are_converted() -> None:
    """The unit at the end of the name gives way to the new one; counts stay, `_total` stays last."""
    text = (
        '# TYPE t_ms histogram\nt_ms_bucket{a="b",le="0.1"} 1\nt_ms_bucket{a="b",le="+Inf"} 2\n'
        't_ms_count{a="b"} 2\nt_ms_sum{a="b"} 500\n'
    )
    assert converted(text, "ms", "s") == [
        't_seconds_bucket{a="b",le="0.0001"} 1',
        't_seconds_bucket{a="b",le="+Inf"} 2',
        't_seconds_count{a="b"} 2',
        't_seconds_sum{a="b"} 0.5',
    ]
    assert converted("# TYPE sent_kb_total counter\nsent_kb_total 3\n", "KiB", "B") == ["sent_bytes_total 3072"]
    assert converted("# TYPE sent_kb_total counter\nsent_kb_total 3\n", "KB", "B") == ["sent_bytes_total 3000"]
    assert converted("load_percent 50\nother 1\n", "%", "ratio", "load.*") == ["load_ratio 0.5", "other 1"]
    assert converted('# TYPE q summary\nq{quantile="0.5"} 60\nq_count 2\n', "s", "m") == [
        'q_minutes{quantile="0.5"} 1',
        "q_minutes_count 2",
    ]


@given(st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(UNITS)), st.floats(1e-6, 1e6))
def test_there_and_back(unit: str, to: str, value: float) -> None:
    """A conversion and its reverse give the value and the unit back; different measures are refused."""
    if UNITS[unit].measure != UNITS[to].measure:
        with pytest.raises(ValueError, match="neither can be converted"):
            ConversionConfig(metrics=[], unit=unit, to=to)
        return
    family = Family(f"x_{UNITS[unit].endings[0]}", "gauge", blocks=[""], values=[value])
    for pair in ((unit, to), (to, unit)):
        Conversion(ConversionConfig(metrics=[".*"], unit=pair[0], to=pair[1])).convert(family)
    assert family.values == [pytest.approx(value)]
    assert family.name == f"x_{UNITS[unit].endings[0]}"


@pytest.mark.parametrize(
    ("fields", "blamed"), [({"unit": "sec"}, "unit"), ({"to": "x"}, "to"), ({"metrics": ["("]}, "metrics[0]")]
)
def test_mistakes_in_a_conversion_are_named(fields: dict[str, object], blamed: str) -> None:
    """Each blames its field."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the field is what counts
        ConversionConfig(**{"metrics": [".*"], "unit": "ms", "to": "s", **fields})  # type: ignore[arg-type]
    assert error.value.field == blamed  # type: ignore[attr-defined]
