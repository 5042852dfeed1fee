"""From nodes to plain values: checks one document's keys and shapes against the table of fields.

What does not fit is left out of the result, with a problem recorded, so that the rest can still be checked and
every mistake comes out at once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from podpatterns.errors import Problem
from podpatterns.pod.fields import QUIET, Field, How, Shape, children
from podpatterns.pod.model import Notice
from podpatterns.runtime.decode import suggest
from podpatterns.runtime.nodes import KIND, ListNode, MapNode, Mark, Node, ScalarNode


class Document:
    """One document, read: `value` holds what is valid, `mark(path)` says where it stands."""

    def __init__(self, node: MapNode, fields: Mapping[str, Field]) -> None:
        self.problems: list[Problem] = []
        self.reported: dict[str, tuple[str, list[Mark]]] = {}
        self._marks: dict[str, Mark] = {"": node.mark}
        self._children = children(fields)
        self.value: dict[str, Any] = self._mapping(node, "", "")

    def mark(self, path: str) -> Mark:
        """Where a value stands, or what is nearest above it."""
        while path not in self._marks:
            path = path[:-1].rpartition("[")[0] if path.endswith("]") else path.rpartition(".")[0]
        return self._marks[path]

    def fail(self, path: str, message: str) -> None:
        """Record a problem with the value at a path."""
        self.problems.append(self.mark(path).problem(f"{path} {message}" if path else message))

    @property
    def notices(self) -> list[Notice]:
        """The fields that have no effect here, once each."""
        return [Notice(what, why, tuple(marks)) for what, (why, marks) in self.reported.items()]

    # --- the walk -------------------------------------------------------------------------------------------------

    def _mapping(self, node: MapNode, path: str, pattern: str) -> dict[str, Any]:
        known = self._children.get(pattern, {})
        result: dict[str, Any] = {}
        for key, child in node.entries.items():
            below = f"{path}.{key}" if path else key
            field = known.get(key)
            if field is None:
                self.problems.append(node.keys[key].problem(f'unknown field "{below}"{_meant(key, known)}'))
                continue
            if isinstance(child, ScalarNode) and child.value is None:
                continue  # as on a cluster: an empty field is one that was not given
            self._marks[below] = child.mark
            value = self._value(child, field, below, f"{pattern}.{key}" if pattern else key)
            if value is not None:
                result[key] = value
        for key, field in known.items():
            given = node.entries.get(key)
            if field.required and (given is None or (isinstance(given, ScalarNode) and given.value is None)):
                self.problems.append(node.mark.problem(f'{path or "the document"} needs the field "{key}"'))
        return result

    def _value(self, node: Node, field: Field, path: str, pattern: str) -> Any:
        read = _READ.get(field.shape)
        if field.how is How.REPORTED and not (isinstance(node, ScalarNode) and QUIET.get(pattern) == node.value):
            self.reported.setdefault(pattern, (field.note, []))[1].append(node.mark)
        if field.shape is Shape.MAPPING:
            if isinstance(node, MapNode):
                return self._mapping(node, path, pattern)
        elif field.shape is Shape.OBJECTS:
            if isinstance(node, ListNode):
                return self._objects(node, path, pattern)
        elif field.shape is Shape.TEXTS and isinstance(node, ListNode):
            return self._texts(node, path)
        elif read is not None:
            value = read(node)
            if value is not None:
                return self._chosen(value, field, path)
        hint = _hint(node, field.shape, path, self._children.get(pattern, {}))
        self.fail(path, f"must be {field.shape.value}{hint}")
        return None

    def _chosen(self, value: Any, field: Field, path: str) -> Any:
        if field.choices and value not in field.choices:
            self.fail(path, f'cannot be "{value}"{suggest(value, filter(None, field.choices))}')
            return None
        return value

    def _texts(self, node: ListNode, path: str) -> list[str]:
        """A list of text; each item that is none is named, and stands for its text, so that nothing else is missed."""
        result = []
        for index, item in enumerate(node.items):
            found = _text(item)
            if found is None:
                self._marks[f"{path}[{index}]"] = item.mark
                written = item.text if isinstance(item, ScalarNode) else ""
                self.fail(f"{path}[{index}]", f'must be text; quote it: "{written}"' if written else "must be text")
                found = written
            result.append(found)
        return result

    def _objects(self, node: ListNode, path: str, pattern: str) -> list[dict[str, Any]]:
        result = []
        for index, item in enumerate(node.items):
            below = f"{path}[{index}]"
            self._marks[below] = item.mark
            if isinstance(item, MapNode):
                result.append(self._mapping(item, below, f"{pattern}[]"))
            else:
                hint = _hint(item, Shape.MAPPING, "", self._children.get(f"{pattern}[]", {}))
                self.fail(below, f"must be a mapping{hint}")
                result.append({})
        return result


def _meant(key: str, known: Mapping[str, Field]) -> str:
    said = suggest(key, known)
    return said if "did you mean" in said or len(known) <= 12 else ""


def _hint(node: Node, shape: Shape, path: str, known: Mapping[str, Field]) -> str:
    if not isinstance(node, ScalarNode):
        return f", not {KIND[type(node)]}"
    last = path.rpartition(".")[2]
    if shape is Shape.MAPPING and "name" in known and isinstance(node.value, str):
        return f'; did you mean "{f"{last}: " if last else ""}{{name: {node.text}}}"?'
    if shape is Shape.TEXT:
        return f'; quote it: {last}: "{node.text}"'
    if shape is Shape.TEXTS:
        return f', not "{node.text}"; did you mean "{last}: [{node.text}]"?'
    if shape in (Shape.INTEGER, Shape.BOOLEAN) and not node.plain:
        return f', not "{node.text}"; remove the quotes'
    return f', not "{node.text}"'


def _text(node: Node) -> str | None:
    if not isinstance(node, ScalarNode):
        return None
    if isinstance(node.value, str):
        return node.value
    # What YAML 1.1 takes for a date or for a number of base 60 is text to Kubernetes' reader.
    if isinstance(node.value, dt.date) or ":" in node.text:
        return node.text
    return None


def _integer(node: Node) -> int | None:
    if isinstance(node, ScalarNode) and isinstance(node.value, int) and not isinstance(node.value, bool):
        return node.value
    return None


def _boolean(node: Node) -> bool | None:
    return node.value if isinstance(node, ScalarNode) and isinstance(node.value, bool) else None


def _port(node: Node) -> int | str | None:
    found = _integer(node)
    return found if found is not None else _text(node)


def _quantity(node: Node) -> str | None:
    if isinstance(node, ScalarNode) and isinstance(node.value, (str, int, float)) and not isinstance(node.value, bool):
        return node.text
    return None


def _integers(node: Node) -> list[int] | None:
    found = [_integer(item) for item in node.items] if isinstance(node, ListNode) else [None]
    return [item for item in found if item is not None] if None not in found else None


def _labels(node: Node) -> dict[str, str] | None:
    return _entries(node, _text)


def _quantities(node: Node) -> dict[str, str] | None:
    return _entries(node, _quantity)


def _entries(node: Node, read: Any) -> dict[str, str] | None:
    if not isinstance(node, MapNode):
        return None
    found = {key: "" if _empty(item) else read(item) for key, item in node.entries.items()}
    return found if None not in found.values() else None


def _empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.value is None


_READ: dict[Shape, Any] = {
    Shape.TEXT: _text,
    Shape.LABELS: _labels,
    Shape.INTEGER: _integer,
    Shape.INTEGERS: _integers,
    Shape.BOOLEAN: _boolean,
    Shape.PORT: _port,
    Shape.QUANTITY: _quantity,
    Shape.QUANTITIES: _quantities,
    Shape.ANY: lambda node: node.python(),
}
