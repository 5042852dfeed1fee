from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.init.template import TemplateError, render

CASES = [
    ("plain", "plain"),
    ("a ${X} b", "a 1 b"),
    ("${X}${Y}", "12"),
    ("${Z:-three}", "three"),
    ("${Z:-}", ""),
    ("${X:-three}", "1"),
    ("$${X}", "${X}"),
    ("$host $X $$ $", "$host $X $$ $"),
    ("${Z:-a:-b}", "a:-b"),
    ("${R}", "${X}"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_render(text: str, expected: str) -> None:
    """Placeholders are replaced once; a lone dollar is text."""
    assert render(text, {"X": "1", "Y": "2", "R": "${X}"}) == expected


def test_every_fault() -> None:
    """Every undefined name and malformed placeholder is reported at once, with its place."""
    with pytest.raises(TemplateError) as caught:
        render("a ${A}\nb\n  ${B} ${not a name} ${open\n", {})
    assert [(fault.line, fault.column) for fault in caught.value.faults] == [(1, 3), (3, 3), (3, 8), (3, 22)]
    assert "A is not defined" in str(caught.value)
    assert "is not a placeholder" in str(caught.value)
    assert "is not closed" in str(caught.value)


@given(st.text())
def test_values_are_literal(value: str) -> None:
    """A value is put in as it is, whatever it holds."""
    assert render("<${X}>", {"X": value}) == f"<{value}>"


@given(st.text(alphabet="ab$\n "))
def test_identity(text: str) -> None:
    """A text without placeholders is its own rendering."""
    assert render(text, {}) == text
