"""Paths into JSON documents: JMESPath, with the key by which each thing was reached.

    list(Path("queues[?state=='up'].depth").find(document))    # [("0", 3), ("4", 7)]

JMESPath's own search gives values alone, and puts those of nested projections into nested lists. Metrics want one
sample for each, and often the key as a label. So the projections are walked here, and all else of the language is left
to its library. Source: jmespath.org, "Specification".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jmespath.exceptions
from jmespath.functions import Functions
from jmespath.parser import Parser
from jmespath.visitor import TreeInterpreter

Tree = Any
"""A part of an expression as the library has it: `type`, `children` and perhaps `value`."""

_FORMS = """write a.b, a[0], a[*], a.*, a."odd key", a[?b=='c'] or length(a)"""


class _Interpreter(TreeInterpreter):
    """The library's, which compares texts by their order as well, and raises where the other side is a number."""

    def visit_comparator(self, node: Tree, value: Any) -> Any:
        try:
            return super().visit_comparator(node, value)
        except TypeError:
            return None  # as the specification has it for whatever cannot be ordered


class Path:
    """An expression, made ready. The empty one stays where it is.

    Raises:
        ValueError: it is none, with the place.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._tree = _parsed(text) if text else {"type": "current", "children": []}
        self._library = _Interpreter()

    def find(self, document: Any) -> Iterator[tuple[str, Any]]:
        """Every value that the path leads to, with the key or number by which the last projection reached it.

        Null is no value. Raises ValueError where a function is given what it cannot work with.
        """
        return ((key, value) for key, value in self._walk(self._tree, document, "") if value is not None)

    def first(self, document: Any) -> Any:
        """The first one; None where there is none. Raises ValueError as above."""
        return next((value for _, value in self.find(document)), None)

    def _walk(self, tree: Tree, value: Any, key: str) -> Iterator[tuple[str, Any]]:
        kind, children = tree["type"], tree["children"]
        if kind in ("subexpression", "index_expression"):
            first, *others = children
            found = self._walk(first, value, key)
            for child in others:
                found = self._then(found, child)
            yield from found
        elif kind in _ITEMS:
            left, right, *condition = children
            for _, whole in self._walk(left, value, key):
                for each, item in _ITEMS[kind](whole):
                    if not condition or _true(self._library.visit(condition[0], item)):
                        yield from self._walk(right, item, str(each))
        else:
            yield key, self._library.visit(tree, value)

    def _then(self, found: Iterator[tuple[str, Any]], tree: Tree) -> Iterator[tuple[str, Any]]:
        for key, value in found:
            yield from self._walk(tree, value, key)


def _elements(whole: Any) -> Iterator[tuple[int | str, Any]]:
    return iter(enumerate(whole) if isinstance(whole, list) else ())


def _members(whole: Any) -> Iterator[tuple[int | str, Any]]:
    return iter(whole.items() if isinstance(whole, dict) else ())


_ITEMS = {"projection": _elements, "filter_projection": _elements, "value_projection": _members}
"""What a projection goes through, with the key of each."""


def _true(value: Any) -> bool:
    """JMESPath's own truth: zero is true."""
    return bool(value) or (isinstance(value, (int, float)) and value is not False)


def _parsed(text: str) -> Tree:
    try:
        tree = Parser().parse(text).parsed
    except jmespath.exceptions.JMESPathError as error:
        at = getattr(error, "lex_position", None)
        place = "" if at is None else f" at column {at + 1}"
        json_path = '; this looks like JSONPath: leave out "$." and braces' if text[0] == "$" or "{." in text else ""
        raise ValueError(f'"{text}" is no JMESPath{place}; {_FORMS}{json_path}') from None
    _check_functions(tree)
    return tree


def _check_functions(tree: Any) -> None:
    """The library looks at functions when they are called, which is too late. Raises ValueError."""
    if not isinstance(tree, dict):
        return  # a number of a slice
    if tree["type"] == "function_expression":
        name, given = tree["value"], len(tree["children"])
        known = Functions.FUNCTION_TABLE.get(name)
        if known is None:
            raise ValueError(f"JMESPath has no function {name}; it has: {', '.join(sorted(Functions.FUNCTION_TABLE))}")
        signature = known["signature"]
        enough = given >= len(signature) if signature and signature[-1].get("variadic") else given == len(signature)
        if not enough:
            raise ValueError(f"of arguments, {name} takes {len(signature)}, and has {given}")
    for child in tree["children"]:
        _check_functions(child)
