"""What is wrong with a text that is no YAML, in words that say what to do: the parser's own speak of its grammar."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import yaml


class _Case(NamedTuple):
    """A mistake: the character where it was noticed, the text before it in its line, and where what it is in began."""

    char: str
    before: str
    line: str
    begun: str
    column: int | None


def explain(error: yaml.MarkedYAMLError, text: str) -> tuple[int, int, str]:
    """Line and column (from 1), and what is wrong there."""
    problem, context = error.problem or "", error.context_mark
    said = problem or error.context or "cannot be read"
    advice, at_begin = next(
        ((advice, at_begin) for part, advice, at_begin in _ADVICE if part in problem), (lambda _: said, False)
    )
    # A quotation mark that is not closed is noticed at the end of the file, and has to be mended where it stands.
    at = context if at_begin and context else error.problem_mark or context
    if at is None:
        return 1, 1, said
    lines = text.splitlines()
    line = lines[at.line] if at.line < len(lines) else ""
    begun = f"line {context.line + 1}, column {context.column + 1}" if context else "above"
    case = _Case(line[at.column : at.column + 1], line[: at.column], line, begun, context.column if context else None)
    if case.char == "\t":
        return at.line + 1, at.column + 1, "a tab cannot indent; use spaces"
    return at.line + 1, at.column + 1, advice(case)


def _quote(case: _Case) -> str:
    return f'a value cannot begin with "{case.char}"; put it in quotes'


def _misplaced(case: _Case) -> str:
    """Something stands among the keys of a mapping, or the items of a list, and is none."""
    if case.before.strip():
        return f'"{case.char}" stands behind a complete value; put the whole value in quotes'
    if case.char == "-" and case.column == len(case.before):
        return f"a list item stands among the keys of the mapping that begins in {case.begun}; indent it below its key"
    return f"the indentation does not fit: what it belongs to begins in {case.begun}"


def _fixed(said: str) -> Callable[[_Case], str]:
    return lambda _: said


def _or_bracket(bracket: str, noun: str) -> Callable[[_Case], str]:
    return lambda case: f'a comma is missing here, or "{bracket}" for the {noun} that begins in {case.begun}'


_COLON = '": " cannot stand here; quote a value that contains it, or check indentation and the space behind colons'
_NEITHER = 'must be "key: value", or be indented to belong to what stands above'
_ESCAPE = "unknown escape in double quotes; in single quotes a backslash is a backslash"
_OUTSIDE = "does not belong to what stands above; check indentation and brackets"

_ADVICE: tuple[tuple[str, Callable[[_Case], str], bool], ...] = (
    ("mapping values are not allowed", _fixed(_COLON), False),
    ("did not find expected ',' or ']'", _or_bracket("]", "list"), False),
    ("did not find expected ',' or '}'", _or_bracket("}", "mapping"), False),
    ("did not find expected node content", _fixed("a value is missing here, or a bracket is not closed"), False),
    ("found unexpected end of stream", _fixed("this quotation mark is not closed"), True),
    ("expected alphabetic or numeric character", _quote, True),
    ("found undefined alias", _quote, False),
    ("cannot start any token", _quote, False),
    ("unknown escape character", _fixed(_ESCAPE), False),
    ("could not find expected ':'", _fixed(_NEITHER), True),
    ("block sequence entries are not allowed", _fixed("a list begins in a new line, below its key"), False),
    ("did not find expected key", _misplaced, False),
    ("did not find expected '-' indicator", _misplaced, False),
    ("did not find expected <document start>", _fixed(_OUTSIDE), False),
    ("expected comment or line break", _fixed('text behind ">" or "|" begins in a new line'), False),
)
"""Part of what the parser says; our words; whether the place is that where the thing began."""
