"""Laws of Graphite's and InfluxDB's lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats import graphite, influx
from podpatterns.formats.families import Family
from podpatterns.formats.points import Point, points
from podpatterns.formats.refusal import Refused

label = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda text: text not in ("le", "quantile"))
finite = st.floats(allow_nan=False, allow_infinity=False)
stamp = st.none() | st.integers(0, 4_000_000_000).map(float)


def text(forbidden: str) -> st.SearchStrategy[str]:
    return st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters=forbidden),
        min_size=1,
        max_size=8,
    )


def some(name: st.SearchStrategy[str], value: st.SearchStrategy[str]) -> st.SearchStrategy[list[Point]]:
    labels = st.dictionaries(label, value, max_size=3).map(lambda each: tuple(each.items()))
    return st.lists(st.builds(Point, name, labels, finite, stamp), max_size=5)


@pytest.mark.holds("round trip")
@given(some(text(";~.").map("a.{}".format), text(";~")))
def test_graphite_lines_are_read_as_they_were_written(given_points: list[Point]) -> None:
    """parse(render(x)) = x for what a line can say."""
    assert [graphite.parse(line.encode()) for line in graphite.render(given_points)] == given_points


special = st.lists(st.sampled_from([" ", ",", "=", "a", "é", '"']), min_size=1, max_size=6).map("".join)


@pytest.mark.holds("round trip")
@given(some(special | text("\\#"), special | text("\\")))
def test_influx_lines_are_read_as_they_were_written(given_points: list[Point]) -> None:
    """The same, blanks, commas and equals signs included."""
    rows = list(influx.parse("".join(influx.render(given_points))))
    read = []
    for row in rows:
        assert isinstance(row, influx.Row)
        name, tags = influx.series(row.series)
        ((field, value),) = row.fields
        read.append(Point(influx.metric(name, field), tags, value, None if row.stamp is None else row.stamp / 1e9))
    assert read == given_points


@pytest.mark.parametrize("value", ["", " a", "a b;c", "~a", "x\ny"])
def test_what_a_graphite_line_cannot_say_is_made_fit(value: str) -> None:
    """Whatever a label holds, the line stays one line of three parts."""
    (line,) = graphite.render([Point("a b;c", (("k", value),), 1.0)])
    parsed = graphite.parse(line.encode())
    assert (parsed.name, parsed.value) == ("a_b_c", 1.0)


def test_graphite_without_tags() -> None:
    """Labels become segments, whatever they hold."""
    (line,) = graphite.render([Point("a", (("path", "/x.y z"),), 2.5, 17.0)], tags=False)
    assert line == "a.path._x_y_z 2.5 17\n"


GRAPHITE_REFUSED = {
    b"a": "bad_line",
    b"a 1 2 3": "bad_line",
    b"a x 1": "not_a_number",
    b"a nan 1": "not_finite",
    b"a 1e999 1": "not_finite",
    b"a 1 x": "timestamp",
    b"a 1 nan": "timestamp",
    b"a \xff 1": "bad_line",
    b"\xff 1 1": "not_utf8",
    b"..; 1 1": "no_name",
    b"a;b 1 1": "bad_tags",
    b"a;=b 1 1": "bad_tags",
}


@pytest.mark.parametrize("raw", GRAPHITE_REFUSED)
def test_graphite_lines_that_mean_nothing(raw: bytes) -> None:
    """Each is refused with its reason."""
    with pytest.raises(Refused) as refused:
        graphite.parse(raw)
    assert refused.value.reason == GRAPHITE_REFUSED[raw]


@pytest.mark.parametrize("text", ["a 1", "a 1 -1", "a 1 N", "a\t1  -1\r"])
def test_graphite_without_a_time(text: str) -> None:
    """No time, -1 and N are now."""
    assert graphite.parse(text.encode()) == Point("a", (), 1.0)


INFLUX_READ = {
    "a value=1": influx.Row("a", (("value", 1.0),)),
    "a,k=v b=1i,c=t,d=-2.5e3,e=7u 17": influx.Row(
        "a,k=v", (("b", 1.0), ("c", 1.0), ("d", -2500.0), ("e", 7.0)), stamp=17
    ),
    'a b="x, y=\\"1\\" \n z",c=F\r': influx.Row("a", (("c", 0.0),), strings=1),
    r"a\ b\,c,k\=1=v\ w f\ g=1": influx.Row(r"a\ b\,c,k\=1=v\ w", (("f g", 1.0),)),
}


@pytest.mark.parametrize("text", INFLUX_READ)
def test_influx_lines(text: str) -> None:
    """Types, escapes, strings over several lines, times."""
    assert list(influx.parse(f"# comment\n\n{text}\n")) == [INFLUX_READ[text]]
    assert influx.series(r"a\ b\,c,k\=1=v\ w") == ("a b,c", (("k=1", "v w"),))


INFLUX_REFUSED = {
    "a": "bad_line",
    "a ": "bad_line",
    "a b": "bad_line",
    "a,k b=1": "bad_line",
    "a,k= b=1": "bad_line",
    'a b="x': "bad_line",
    "a b=1 x": "bad_line",
    "a b=1,": "bad_line",
    "a b=nan": "not_finite",
    "a b=1.5i": "not_a_number",
    "a b=yes": "not_a_number",
    ",k=v b=1": "bad_line",
}


@pytest.mark.parametrize("text", INFLUX_REFUSED)
def test_influx_lines_that_mean_nothing(text: str) -> None:
    """Each is refused with its reason, and its neighbours are read."""
    good = influx.Row("g", (("v", 1.0),))
    found = list(influx.parse(f"g v=1\n{text}\ng v=1\n"))
    reasons = [row.reason for row in found if isinstance(row, Refused)]
    assert reasons == [INFLUX_REFUSED[text]]
    assert [row for row in found if row == good] == [good, good]


@given(st.text(max_size=100))
def test_influx_takes_any_text(text: str) -> None:
    """Nothing is raised, and it comes to an end."""
    for row in influx.parse(text):
        assert isinstance(row, (influx.Row, Refused))


def test_points_of_families() -> None:
    """Samples bear their suffixes, times of their own win, and what is not finite is left out."""
    family = Family("h", "histogram", blocks=['{le="+Inf"}', "", ""], values=[3.0, 3.0, float("nan")])
    family.suffixes = ["_bucket", "_count", "_sum"]
    gauge = Family("g", "gauge", blocks=[""], values=[1.0], stamps=[5.0])
    assert list(points([family, gauge], 9.0)) == [
        Point("h_bucket", (("le", "+Inf"),), 3.0, 9.0),
        Point("h_count", (), 3.0, 9.0),
        Point("g", (), 1.0, 5.0),
    ]
