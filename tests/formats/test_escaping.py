"""Laws of names in UTF-8 and of the schemes that escape them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats import prometheus
from podpatterns.formats.escaping import SCHEMES, Scheme, escape_name, escaped, unescape_name
from podpatterns.formats.families import Family, block, is_label_name, is_metric_name, named, parsed

# name: underscores, dots, values (what prometheus/common makes of each)
ESCAPED = {
    "": ("", "", ""),
    "old:name_total": ("old:name_total", "old:name__total", "old:name_total"),
    "shop.orders": ("shop_orders", "shop_dot_orders", "U__shop_2e_orders"),
    "shop.orders_total": ("shop_orders_total", "shop_dot_orders__total", "U__shop_2e_orders__total"),
    "rate.5m:sum": ("rate_5m:sum", "rate_dot_5m:sum", "U__rate_2e_5m:sum"),
    "a_1": ("a_1", "a__1", "a_1"),
    "1st": ("_st", "__st", "U___31_st"),
    "with 😱": ("with__", "with____", "U__with_20__1f631_"),
    "花火": ("__", "____", "U___82b1__706b_"),
}


@pytest.mark.holds("escaping")
@pytest.mark.parametrize("name", ESCAPED)
def test_names_are_escaped_as_in_prometheus(name: str) -> None:
    """Each scheme makes of a name what prometheus/common makes of it."""
    assert tuple(escape_name(name, scheme) for scheme in SCHEMES) == (name, *ESCAPED[name])


@pytest.mark.holds("escaping")
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("U__capitals_2E_ok", "capitals.ok"),
        ("U__doubled__twice__", "doubled_twice_"),
        ("U__single_underscore_", "U__single_underscore_"),
        ("U__ends__early_", "U__ends__early_"),
        ("U__giant_872348732fab_", "U__giant_872348732fab_"),
        ("U__open_2e", "U__open_2e"),
        ("U__no__hex_2eg_", "U__no__hex_2eg_"),
        ("U__surrogate_D900_", "U__surrogate_D900_"),
        ("plain__name", "plain__name"),
    ],
)
def test_what_is_no_escape_stays(text: str, name: str) -> None:
    """A name that `values` cannot have made is left as it is."""
    assert unescape_name(text, "values") == name


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@pytest.mark.holds("escaping")
@given(names, st.sampled_from(SCHEMES[1:]))
def test_every_name_fits_the_old_alphabet(name: str, scheme: Scheme) -> None:
    """Whatever it was; and `values` gives it back."""
    assert is_metric_name(escape_name(name, scheme))
    assert is_label_name(escape_name(name, scheme, label=True))
    if not name.startswith("U__"):
        assert unescape_name(escape_name(name, "values"), "values") == name
        assert unescape_name(escape_name(name, "values", label=True), "values") == name


@given(names, st.dictionaries(names.filter(lambda each: each != "__name__"), names, max_size=3))
def test_a_block_may_hold_any_name(name: str, labels: dict[str, str]) -> None:
    """Names in quotes, the metric's own among them, come back from the text."""
    inside = block(labels.items())
    assert dict(parsed(inside)) == labels
    whole = prometheus.render([Family(name, "gauge", blocks=[inside], values=[1.0])])
    if is_metric_name(name):
        assert whole.startswith(f"# TYPE {name} gauge\n{name}".encode())
    (family,) = prometheus.parse(whole)
    assert (family.name, family.kind, family.blocks) == (name, "gauge", [inside])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a.b"}', ("a.b", ())),
        ('{"a.b",c="d"}', ("a.b", (("c", "d"),))),
        ('{c="d","a.b"}', ("a.b", (("c", "d"),))),
        ('{"a.b","c.d"="e",}', ("a.b", (("c.d", "e"),))),
        (r'{"a\"\\b"}', ('a"\\b', ())),
    ],
)
def test_a_name_stands_anywhere_in_its_block(text: str, found: object) -> None:
    """As Prometheus reads it."""
    assert named(text) == found


@pytest.mark.parametrize("text", ['{"a","b"}', '{""}', "{a}", '{""="b"}', '{__name__="a"}', '{"a"="b","a"="c"}'])
def test_a_block_has_one_name_and_no_label_twice(text: str) -> None:
    """And neither is empty."""
    with pytest.raises(ValueError, match=r"stands|cannot|expected"):
        named(text)


@pytest.mark.holds("escaping")
def test_names_that_become_the_same_are_kept_apart() -> None:
    """The second one is escaped by `values`, metrics as well as labels: no page says two things by one name."""
    families = [
        Family("a_b", "gauge", blocks=[block([("x.y", "1"), ("x_y", "2"), ("x-y", "3")])], values=[1.0]),
        Family("a.b", "counter", blocks=[""], values=[2.0]),
        Family("a-b", "gauge", blocks=[""], values=[3.0]),
    ]
    found = list(escaped(families, "underscores"))
    assert [family.name for family in found] == ["a_b", "U__a_2e_b", "U__a_2d_b"]
    assert dict(parsed(found[0].blocks[0])) == {"x_y": "2", "U__x_2e_y": "1", "U__x_2d_y": "3"}
    assert list(escaped(families, "allow-utf-8")) == families
