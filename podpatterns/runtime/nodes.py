"""YAML text as a tree of nodes that remember where they stand.

Configuration and manifests are read through these nodes, so that a mistake found at any later stage
can still say its line and column. Three shapes exist: `ScalarNode`, `ListNode`, `MapNode`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from podpatterns.errors import ConfigError, Problem
from podpatterns.runtime.yaml_errors import explain

MAX_NODES = 200_000
"""Aliases multiply: a document that expands beyond this (some 20 MB of YAML) is refused, not expanded."""


class Mark(NamedTuple):
    """A place in a text; line and column count from 1 and are None in what was built in Python."""

    file: str | None = None
    line: int | None = None
    column: int | None = None

    def problem(self, message: str, path: str = "") -> Problem:
        """A problem at this place."""
        return Problem(message, path, self.file, self.line, self.column)


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A single value: `value` as YAML resolves it, `text` as it was written, `plain` if without quotes."""

    mark: Mark
    value: Any
    text: str
    plain: bool = True

    def python(self) -> Any:
        """The value."""
        return self.value


@dataclass(frozen=True, slots=True)
class ListNode:
    """A sequence."""

    mark: Mark
    items: tuple[Node, ...] = ()

    def python(self) -> list[Any]:
        """Plain Python lists and dicts, all the way down."""
        return [item.python() for item in self.items]


@dataclass(frozen=True, slots=True)
class MapNode:
    """A mapping with text keys; `keys` holds the place of each key."""

    mark: Mark
    entries: Mapping[str, Node] = field(default_factory=dict)
    keys: Mapping[str, Mark] = field(default_factory=dict)

    def python(self) -> dict[str, Any]:
        """Plain Python lists and dicts, all the way down."""
        return {key: node.python() for key, node in self.entries.items()}


Node = ScalarNode | ListNode | MapNode

KIND = {ScalarNode: "a single value", ListNode: "a list", MapNode: "a mapping"}


def walk(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every node below (and with) this one, with its path: `spec.containers[0].name`."""
    yield path, node
    if isinstance(node, MapNode):
        for key, child in node.entries.items():
            yield from walk(child, f"{path}.{key}" if path else key)
    elif isinstance(node, ListNode):
        for index, child in enumerate(node.items):
            yield from walk(child, f"{path}[{index}]")


def parse(text: str, file: str | None = None) -> list[Node]:
    """Read every document of a YAML text.

    Raises:
        ConfigError: with the place of each syntax error, duplicate key or key that is not text.
    """
    reader = _Reader(file)
    try:
        loader = _Loader(text)
        try:
            documents = []
            while loader.check_node():
                documents.append(reader.node(loader, loader.get_node()))
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line, column, said = explain(error, text)
        raise ConfigError([*reader.problems, Mark(file, line, column).problem(f"invalid YAML: {said}")]) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position] if isinstance(error.position, int) else ""
        mark = Mark(file, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        raise ConfigError([mark.problem(f"invalid YAML: {error.reason}")]) from None
    except RecursionError:
        raise ConfigError([Mark(file).problem("invalid YAML: nested too deeply")]) from None
    if reader.problems:
        raise ConfigError(reader.problems)
    return documents


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Reader:
    """Turns PyYAML's nodes into ours; collects what is wrong on the way."""

    def __init__(self, file: str | None) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._count = 0
        self._open: set[int] = set()

    def node(self, loader: Any, raw: yaml.Node) -> Node:
        mark = self._mark(raw.start_mark)
        self._count += 1
        if self._count > MAX_NODES:
            raise ConfigError([mark.problem(f"the document expands to more than {MAX_NODES} values")])
        if isinstance(raw, yaml.ScalarNode):
            return self._scalar(loader, raw, mark)
        if id(raw) in self._open:
            raise ConfigError([mark.problem("an alias cannot stand inside the value that it names")])
        self._open.add(id(raw))
        try:
            if isinstance(raw, yaml.SequenceNode):
                return ListNode(mark, tuple(self.node(loader, item) for item in raw.value))
            return self._mapping(loader, raw, mark)
        finally:
            self._open.discard(id(raw))

    def _mark(self, raw: Any) -> Mark:
        return Mark(self.file, raw.line + 1, raw.column + 1)

    def _scalar(self, loader: Any, raw: yaml.ScalarNode, mark: Mark) -> ScalarNode:
        try:
            value = loader.construct_object(raw)
        except (yaml.constructor.ConstructorError, ValueError) as error:
            reason = error.problem if isinstance(error, yaml.MarkedYAMLError) else error
            self.problems.append(mark.problem(f"invalid YAML: {reason}"))
            value = None
        return ScalarNode(mark, value, raw.value, plain=not raw.style)

    def _mapping(self, loader: Any, raw: Any, mark: Mark) -> MapNode:
        entries: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        own = len([key for key, _ in raw.value if key.tag != "tag:yaml.org,2002:merge"])
        try:
            loader.flatten_mapping(raw)  # `<<: *anchor`: what was merged in now stands first
        except yaml.constructor.ConstructorError as error:
            self.problems.append(mark.problem(f"invalid YAML: {error.problem}"))
            return MapNode(mark)
        merged = len(raw.value) - own
        written: set[str] = set()
        for index, (key, value) in enumerate(raw.value):
            place = self._mark(key.start_mark)
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:null":
                self.problems.append(place.problem("a key must be text"))
                continue
            if index >= merged and key.value in written:
                first = keys[key.value]
                self.problems.append(
                    place.problem(f'duplicate key "{key.value}"; it stands in line {first.line} already')
                )
                continue
            if index >= merged:
                written.add(key.value)
            entries[key.value] = self.node(loader, value)
            keys[key.value] = place
        return MapNode(mark, entries, keys)


def from_python(value: Any, mark: Mark = Mark()) -> Node:  # noqa: B008 - Mark is immutable
    """The same tree from Python values, so that what is built in Python passes the same checks."""
    if isinstance(value, Mapping):
        entries = {str(key): from_python(item, mark) for key, item in value.items()}
        return MapNode(mark, entries, dict.fromkeys(entries, mark))
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return ListNode(mark, tuple(from_python(item, mark) for item in value))
    return ScalarNode(mark, value, str(value), plain=False)
