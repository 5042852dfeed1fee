"""Laws of paths into JSON, and of the input that takes figures out of documents."""

from __future__ import annotations

import re
from json import dumps
from math import isfinite
from typing import Any

import jmespath
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.inputs.json import Extraction, JsonConfig, JsonMetricConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.formats.json_path import Path
from podpatterns.formats.prometheus import parse
from podpatterns.runtime.units import Address, Duration, Url
from tests.adapter.test_presets import http, serving

DOCUMENT = {"a": {"b": [1, {"c": 2}], "odd.key": 3}, "e": {"x": {"n": 4}, "y": {"n": 5}, "z": 6}}

FOUND = {
    "": [("", DOCUMENT)],
    "a.b[0]": [("", 1)],
    "a.b[-1].c": [("", 2)],
    'a."odd.key"': [("", 3)],
    "@": [("", DOCUMENT)],
    "e.*.n": [("x", 4), ("y", 5)],
    "a.b[*]": [("0", 1), ("1", {"c": 2})],
    "a.b[*].c": [("1", 2)],
    "a.b.*.c": [],
    "a.b[]": [("0", 1), ("1", {"c": 2})],
    "a.b[1:].c": [("0", 2)],
    "a.b[?c].c": [("1", 2)],
    "a.b[?c==`2`]": [("1", {"c": 2})],
    "a.b[?@==`1`]": [("0", 1)],
    "*.*": [("b", [1, {"c": 2}]), ("odd.key", 3), ("x", {"n": 4}), ("y", {"n": 5}), ("z", 6)],
    "e.*.n | [1]": [("", 5)],
    "length(e)": [("", 3)],
    "e.* | [?n].n | sum(@)": [("", 9)],
    "keys(e)[*]": [("0", "x"), ("1", "y"), ("2", "z")],
    "a.none": [],
    "a.b[9]": [],
    "a[0]": [],
    "e.z.n": [],
    'a."*"': [],
}


@pytest.mark.parametrize("path", FOUND)
def test_paths_lead_where_they_say(path: str) -> None:
    """Every value in order, with the key of the last projection; nowhere is nothing, never an error."""
    assert list(Path(path).find(DOCUMENT)) == FOUND[path]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (".a", "column 1"),
        ("a..b", "column 3"),
        ("a[", "column 3"),
        ("a[x]", "column 3"),
        ("a b", "column 3"),
        ("a[1.5]", "column 4"),
        ('a["x"]', 'a."odd key"'),
        ("a-b", 'a."odd key"'),
        ("$.a", "looks like JSONPath"),
        ("{.a.b}", "looks like JSONPath"),
        ("size(a)", "no function size"),
        ("a[*].length(b, c)", "length takes 1, and has 2"),
        ("max()", "max takes 1, and has 0"),
    ],
)
def test_what_is_no_path_is_refused(path: str, said: str) -> None:
    """With the place of the mistake, and what to write instead."""
    with pytest.raises(ValueError, match=re.escape(said)):
        Path(path)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def leaves(value: Any, path: list[str | int]) -> list[tuple[list[str | int], Any]]:
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    return [(path, value)] + [leaf for key, inner in pairs for leaf in leaves(inner, [*path, key])]


@given(json)
def test_every_place_has_a_path(document: Any) -> None:
    """Whatever a document holds, the path of keys and numbers to a place leads there, and only there."""
    for steps, value in leaves(document, []):
        text = "".join(f"[{step}]" if isinstance(step, int) else f".{dumps(step)}" for step in steps)
        assert list(Path(text.removeprefix(".")).find(document)) == ([] if value is None else [("", value)])


PROJECTIONS = ["[*]", "*", "[?a]", "[?@>`1`]", "[?@]", "[]", "[:2]", "[*].a", "*.b", "a[*].b", "a.*", "b[?a==b]"]


@given(json, st.sampled_from(PROJECTIONS))
def test_values_are_those_of_jmespath(document: Any, path: str) -> None:
    """The library's own search finds the same values, in the same order; where that breaks, ours does not."""
    found = [value for _, value in Path(path).find(document)]
    try:
        expected = jmespath.search(path, document) or []
    except TypeError:  # a text is compared with a number
        return
    assert found == expected


@pytest.mark.parametrize("path", ["[?@>`1`]", "[?`2`<@]", "[?@>=`5`]"])
def test_what_has_no_order_is_in_no_filter(path: str) -> None:
    """Whatever a document holds where a number is expected, nothing is raised, and the other elements count."""
    assert list(Path(path).find(["", "b", None, {}, [], 5])) == [("5", 5)]


READ = [
    ({}, 5, 5.0),
    ({}, "95 Mbps", 95.0),
    ({}, "-1.5e3", -1500.0),
    ({}, True, 1.0),
    ({"read": "percent"}, "1%", 0.01),
    ({"read": "duration"}, "1m30s", 90.0),
    ({"read": "size"}, "4KiB", 4096.0),
    ({"read": "date"}, "1970-01-01T00:01:00Z", 60.0),
    ({"read": "date"}, "1970-01-01 00:01:00", 60.0),
    ({"values": {"UP": 1.0, "true": 7.0}}, "UP", 1.0),
    ({"values": {"UP": 1.0, "true": 7.0}}, True, 7.0),
    ({"scale": 0.001}, "20 ms", 0.02),
    ({}, "Mbps 95", "not_a_number"),
    ({}, "1.2.3", "not_a_number"),
    ({}, 10**400, "not_a_number"),
    ({}, {"a": 1}, "not_a_number"),
    ({"scale": 1e300}, 1e300, "not_finite"),
    ({"read": "date"}, "yesterday", "not_a_number"),
]


@pytest.mark.parametrize(("fields", "value", "expected"), READ)
def test_values_are_read_by_their_type(fields: dict[str, Any], value: Any, expected: float | str) -> None:
    """Numbers, words, shares, times and sizes; what cannot be read is refused with its reason, and the rest stays."""
    refused: list[str] = []
    config = JsonMetricConfig(name="x", path="[*]", **fields)
    family = Extraction(config, lambda reason, _: refused.append(reason)).family([value, None, 1])
    if isinstance(expected, str):
        assert (refused, len(family.values)) == ([expected], 1)
    else:
        assert (refused, family.values[0]) == ([], pytest.approx(expected))


@pytest.mark.parametrize(
    ("fields", "document", "expected", "reasons"),
    [
        ({"path": "[*]", "value": "sum(@)"}, [[1, 2], "x", [3]], [3.0, 3.0], ["bad_path"]),
        (
            {"path": "[*]", "value": "n", "labels": {"x": "abs(x)"}},
            [{"n": 1, "x": "a"}, {"n": 2, "x": -5}],
            [2.0],
            ["bad_path"],
        ),
        ({"path": "max(@)"}, [1, "a"], [], ["bad_path"]),
        ({"path": "length(@)"}, [1, "a"], [2.0], []),
    ],
)
def test_what_a_function_cannot_work_with_is_refused(
    fields: dict[str, Any], document: Any, expected: list[float], reasons: list[str]
) -> None:
    """Alone: the other things have their samples."""
    refused: list[str] = []
    family = Extraction(JsonMetricConfig(name="x", **fields), lambda reason, _: refused.append(reason)).family(document)
    assert (family.values, refused) == (expected, reasons)


@given(json, st.sampled_from(["", "*", "[*]", "a"]), st.sampled_from(["number", "date", "size", "duration"]))
def test_any_document_is_read(document: Any, path: str, read: Any) -> None:
    """Nothing is raised, and every sample is a finite number with well-formed labels."""
    config = JsonMetricConfig(name="x", path=path, labels={"k": "@key", "v": "a"}, read=read)
    family = Extraction(config, lambda *_: None).family(document)
    assert len(family.values) == len(family.blocks)
    assert all(map(isfinite, family.values))


async def test_a_document_becomes_metrics() -> None:
    """Labels by paths and keys; nothing in the document is still up; what is no JSON is down."""
    health = {"status": "UP", "components": {"db": {"status": "UP", "n": 1}, "disk": {"status": "DOWN"}}}
    metrics = [
        JsonMetricConfig(
            name="part_up",
            path="components.*",
            value="status",
            values={"UP": 1, "DOWN": 0},
            labels={"part": "@key", "n": "n"},
        )
    ]
    page = PrometheusConfig(listen=Address("127.0.0.1:0"), final_scrape=Duration("0s"))
    for body, expected in (
        (
            msgspec.json.encode(health).decode(),
            {'part_up{n="1",part="db"}': 1, 'part_up{part="disk"}': 0, "shop_up": 1},
        ),
        ("{}", {"shop_up": 1}),
        ("<html>", {"shop_up": 0}),
    ):
        server, address = await serving(http(body))
        source = JsonConfig(url=Url(f"http://{address}/"), name="shop", metrics=metrics)
        async with Adapter(AdapterConfig(inputs=[source], outputs=[page], own_metrics=False)) as adapter:
            found = {
                family.name + text: value
                for family in parse(await adapter.page())
                for text, value in zip(family.blocks, family.values, strict=True)
            }
        server.close()
        assert found == expected


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"name": "a b"}, "name"),
        ({"path": "a["}, "path"),
        ({"path": "$.a"}, "path"),
        ({"value": ".a"}, "value"),
        ({"labels": {"k": "a["}}, "labels.k"),
        ({"labels": {"a-b": "k"}}, "labels.a-b"),
    ],
)
def test_mistakes_are_named(fields: dict[str, Any], blamed: str) -> None:
    """Each blames its field."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the field is what counts
        JsonMetricConfig(**{"name": "x", **fields})
    assert error.value.field == blamed  # type: ignore[attr-defined]
