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


BEGUN = "that begins in line 1, column 4"
AT_TOP = "that begins in line 1, column 1"
BELOW = "indent it below its key"
INDENT = "the indentation does not fit: what it belongs to begins in"


def _bad(line, column, said):
    return f"f.yaml:{line}:{column}: invalid YAML: {said}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", 'f.yaml:3:1: duplicate key "a"; it stands in line 1 already'),
        ("a:\n\t- b\n", "f.yaml:2:1: invalid YAML: a tab cannot indent; use spaces"),
        ("? [a]\n: b\n", "f.yaml:1:3: a key must be text"),
        ("a: &x [*x]\n", "f.yaml:1:4: an alias cannot stand inside the value that it names"),
        ("a: \x01\n", "f.yaml:1:4: invalid YAML: control characters are not allowed"),
        ("a: !!python/name:os.system x\n", None),
        ("a: [1, 2\nb: 3\n", _bad(2, 2, f'a comma is missing here, or "]" for the list {BEGUN}')),
        ("a: {b: 1\nc: 2\n", _bad(2, 2, f'a comma is missing here, or "}}" for the mapping {BEGUN}')),
        ("a: [}", _bad(1, 5, "a value is missing here, or a bracket is not closed")),
        ("a: b\nc: 'x\n\n", _bad(2, 4, "this quotation mark is not closed")),
        ("a: [*.log]\n", _bad(1, 5, 'a value cannot begin with "*"; put it in quotes')),
        ("a: *log\n", _bad(1, 4, 'a value cannot begin with "*"; put it in quotes')),
        ("a: @b\n", _bad(1, 4, 'a value cannot begin with "@"; put it in quotes')),
        ('a: "\\d"\n', _bad(1, 5, "unknown escape in double quotes; in single quotes a backslash is a backslash")),
        ("a:\n- x\nb\n", _bad(3, 1, 'must be "key: value", or be indented to belong to what stands above')),
        ("   - a\n  - b\n", None),
        ("a:\n  - b: 1\n   c: 2\n", _bad(3, 4, f"{INDENT} line 2, column 3")),
        ("a:\n  b: 1\n c: 2\n", _bad(3, 2, f"{INDENT} line 1, column 1")),
        ("a: 1\n- b\n", _bad(2, 1, f"a list item stands among the keys of the mapping {AT_TOP}; {BELOW}")),
        ("a: 'b' c\n", _bad(1, 8, '"c" stands behind a complete value; put the whole value in quotes')),
        ("a: - b\n", _bad(1, 4, "a list begins in a new line, below its key")),
        ("{a: 1}}\n", _bad(1, 7, "does not belong to what stands above; check indentation and brackets")),
        ("a: > b\n", _bad(1, 6, 'text behind ">" or "|" begins in a new line')),
        ("a: b: c\n", None),
    ],
)  # fmt: skip
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
