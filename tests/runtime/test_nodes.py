"""YAML with places."""

import pytest

from podpatterns.errors import ConfigError
from podpatterns.runtime.nodes import MAX_NODES, from_python, parse, walk


def places(text):
    return {path: (node.mark.line, node.mark.column) for path, node in walk(parse(text, "f.yaml")[0])}


def test_every_value_knows_its_line_and_column():
    """Marks count from 1 and point at the value."""
    assert places("a: 1\nb:\n  - x\n  - {c: d}\n") == {
        "": (1, 1),
        "a": (1, 4),
        "b": (3, 3),
        "b[0]": (3, 5),
        "b[1]": (4, 5),
        "b[1].c": (4, 9),
    }


def test_documents_are_kept_apart():
    """A multi-document text gives one node a document."""
    assert [node.python() for node in parse("a: 1\n---\n- b\n")] == [{"a": 1}, ["b"]]
    assert parse("") == []


def test_merge_keys_and_aliases_work_as_in_yaml():
    """`<<` merges; an own key beats a merged one and is no duplicate."""
    text = "base: &base {a: 1, b: 2}\nnew: {<<: *base, b: 3}\nlist: [*base]\n"
    assert parse(text)[0].python() == {"base": {"a": 1, "b": 2}, "new": {"a": 1, "b": 3}, "list": [{"a": 1, "b": 2}]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", 'f.yaml:3:1: duplicate key "a"; it stands in line 1 already'),
        ("a:\n\t- b\n", "f.yaml:2:1: invalid YAML: a tab cannot indent; use spaces"),
        ("? [a]\n: b\n", "f.yaml:1:3: a key must be text"),
        ("a: &x [*x]\n", "f.yaml:1:4: an alias cannot stand inside the value that it names"),
        ("a: \x01\n", "f.yaml:1:4: invalid YAML: control characters are not allowed"),
        ("a: !!python/name:os.system x\n", None),
        ("a: [1\n", None),
    ],
)
def test_a_mistake_is_named_with_its_place(text, expected):
    """Syntax errors say file, line and column."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml")
    if expected:
        assert str(caught.value) == expected
    assert all(problem.line for problem in caught.value.problems)


def test_tags_construct_nothing():
    """A Python tag makes no Python object: a mapping stays a mapping."""
    assert parse("a: !!python/object:os.system {b: 1}\n")[0].python() == {"a": {"b": 1}}


def test_aliases_cannot_blow_up_memory():
    """A "billion laughs" document is refused after a bounded number of values."""
    levels = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match=f"more than {MAX_NODES} values"):
        parse("\n".join(levels))


def test_python_values_make_the_same_tree():
    """What is built in Python goes through the same checks as a file."""
    value = {"a": [1, {"b": None}], "c": "text"}
    assert from_python(value).python() == value
