"""Where things stand in a manifest's text, and where lines can be inserted so that YAML reads what was meant.

Works on PyYAML's nodes, which know their places, and on the text itself for what they do not know (dashes, the
beginnings of lines). Raises `Unplaceable` where an insertion would change more than it says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from podpatterns.errors import Problem
from podpatterns.pod.inject.markers import Splice
from podpatterns.pod.inject.operations import Append, Operation, Path, Prepend, Put
from podpatterns.runtime.nodes import Mark

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "tag:yaml.org,2002:merge"
_STEP = 2


class Unplaceable(Exception):  # noqa: N818 - named after what is wrong with the place
    """The text at a place is written in a way that nothing can be added to by itself."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class Outline:
    """The documents of one text."""

    def __init__(self, source: str, file: str | None = None) -> None:
        """The text has been read before: it is valid YAML."""
        self.source = source
        self._file = file
        loader = _Loader(source)
        try:
            self.documents: list[yaml.Node] = []
            while loader.check_node():
                self.documents.append(loader.get_node())
        finally:
            loader.dispose()
        self._dashes: list[int] = [
            token.start_mark.index
            for token in yaml.scan(source, Loader=_Loader)
            if isinstance(token, yaml.BlockEntryToken)
        ]

    def splices(self, document: int, operations: Sequence[Operation]) -> list[Splice]:
        """What carries out operations on the text of a document. Raises Unplaceable."""
        root = self.documents[document]
        if isinstance(root, yaml.MappingNode) and root.flow_style:
            raise self._unplaceable(
                root, "is JSON, or written like it, where comments have no place; convert it to YAML in block style"
            )
        wanted: dict[Path, dict[str, Any]] = {}
        found: list[Splice] = []
        for operation in operations:
            node, missing = self._walk(root, operation.path)
            if missing:
                # What makes a mapping or list comes together below the deepest key that there is.
                depth = len(operation.path) - len(missing)
                _graft(wanted.setdefault(operation.path[:depth], {}), missing, operation)
            elif isinstance(operation, Put):
                wanted.setdefault(operation.path, {}).update(operation.values)
            else:
                found.append(self._items(node, operation, len(operation.path)))
        return [*found, *(self._keys(self._walk(root, path)[0], values, len(path)) for path, values in wanted.items())]

    # --- finding --------------------------------------------------------------------------------------------------

    def _walk(self, node: yaml.Node, path: Path) -> tuple[yaml.Node, Path]:
        """The deepest node on a path, and the keys that are missing below it."""
        for index, key in enumerate(path):
            below = self._below(node, key)
            if below is None:
                return node, path[index:]
            node = below
        return node, ()

    def _below(self, node: yaml.Node, key: str) -> yaml.Node | None:
        if not isinstance(node, yaml.MappingNode):
            raise self._unplaceable(node, "must be a mapping")
        for name, value in node.value:
            if name.tag == _MERGE:
                if self._merged(value, key):
                    raise self._unplaceable(name, f"brings {key} in by a merge key (<<); write it out here")
            elif name.value == key:
                if not (node.start_mark.index <= value.start_mark.index <= node.end_mark.index):
                    raise self._unplaceable(name, "is an alias (*): what is added to it would be added elsewhere, too")
                return None if self._empty(value) else value
        return None

    def _merged(self, value: yaml.Node, key: str) -> bool:
        if isinstance(value, yaml.SequenceNode):
            return any(self._merged(item, key) for item in value.value)
        return isinstance(value, yaml.MappingNode) and any(
            name.value == key or (name.tag == _MERGE and self._merged(below, key)) for name, below in value.value
        )

    def _empty(self, node: yaml.Node) -> bool:
        return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"

    def _line(self, offset: int) -> int:
        """Where the line of an offset begins."""
        return self.source.rfind("\n", 0, offset) + 1

    def _unplaceable(self, node: yaml.Node, message: str) -> Unplaceable:
        mark = Mark(self._file, node.start_mark.line + 1, node.start_mark.column + 1)
        text = self.source[node.start_mark.index : node.start_mark.index + 20].split("\n")[0].strip()
        return Unplaceable(mark.problem(f'"{text}" {message}'))

    # --- placing --------------------------------------------------------------------------------------------------

    def _keys(self, node: yaml.Node, values: Mapping[str, Any], depth: int) -> Splice:
        """Keys in front of those of a mapping."""
        if not isinstance(node, yaml.MappingNode):
            raise self._unplaceable(node, "must be a mapping")
        for name, value in node.value:
            if name.value in values:
                # It is there and says nothing: `volumes:` with nothing behind it.
                raise self._unplaceable(
                    name,
                    f"is empty; remove the line, or write {name.value}: {_nothing(values[name.value])}"
                    if self._empty(value)
                    else "is there already",
                )
        if node.flow_style:
            return self._flow(node, [f"{_flow(key)}: {_flow(value)}," for key, value in values.items()], depth)
        if not node.value:
            raise self._unplaceable(node, "is an empty mapping in block style")
        start = node.value[0][0].start_mark.index
        return self._block(start, _lines(values))

    def _items(self, node: yaml.Node, operation: Prepend | Append, depth: int) -> Splice:
        if not isinstance(node, yaml.SequenceNode):
            raise self._unplaceable(node, "must be a list")
        items = [dict(item) for item in operation.items]
        if node.flow_style:
            if isinstance(operation, Append) and node.value:
                raise self._unplaceable(node, "is a list in brackets; write one item per line, each behind a dash")
            return self._flow(node, [f"{_flow(item)}," for item in items], depth)
        dashes = [self._dash(item) for item in node.value]
        if isinstance(operation, Prepend):
            return self._block(dashes[0], _lines(items))
        indent = dashes[-1] - self._line(dashes[-1])
        return Splice(self._behind(node, indent), _indented(_lines(items), indent), " " * indent)

    def _dash(self, item: yaml.Node) -> int:
        start: int = item.start_mark.index
        return max(dash for dash in self._dashes if dash <= start)

    def _block(self, start: int, lines: Sequence[str]) -> Splice:
        """Lines in front of the one that begins at `start`, as far indented as that."""
        line = self._line(start)
        if self.source[line:start].strip(" "):
            mark = Mark(self._file, self.source.count("\n", 0, start) + 1, start - line + 1)
            raise Unplaceable(mark.problem("begins in the middle of a line; give it a line of its own"))
        indent = start - line
        return Splice(line, _indented(lines, indent), " " * indent)

    def _flow(self, node: yaml.Node, lines: Sequence[str], depth: int) -> Splice:
        """Lines behind the bracket that opens a node; further indented than any block around it."""
        bracket = re.compile(r"[\[{]").search(self.source, node.start_mark.index)
        assert bracket is not None, "a node in flow style begins with a bracket"
        line = self._line(bracket.start())
        own = len(self.source[line:]) - len(self.source[line:].lstrip(" -"))
        indent = own + _STEP * (1 + bool(depth))
        return Splice(bracket.end(), _indented(lines, indent), " " * indent, flow=True)

    def _behind(self, node: yaml.Node, indent: int) -> int:
        """The start of the line behind a list in block style; comments and empty lines below it are not part of it."""
        end = self._line(node.end_mark.index) if node.end_mark.column else node.end_mark.index
        if node.end_mark.column and self.source[self._line(node.end_mark.index) : node.end_mark.index].strip():
            after = self.source.find("\n", node.end_mark.index)
            end = len(self.source) if after < 0 else after + 1
        while (start := self._line(end - 1)) < end and end > 0:
            line = self.source[start:end]
            comment = line.lstrip().startswith("#") and len(line) - len(line.lstrip(" ")) <= indent
            if not comment and line.strip():
                break
            if not comment and self._keeps(node):
                break
            end = start
        return end

    def _keeps(self, node: yaml.Node) -> bool:
        """Whether a list ends in a block scalar, to which the empty lines below it may belong."""
        while isinstance(node, yaml.CollectionNode) and node.value:
            node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
        return isinstance(node, yaml.ScalarNode) and node.style in {"|", ">"}


def _graft(into: dict[str, Any], missing: Path, operation: Operation) -> None:
    """What an operation adds, below keys that are not there yet."""
    for key in missing[:-1]:
        into = into.setdefault(key, {})
    last = missing[-1]
    if isinstance(operation, Put):
        into.setdefault(last, {}).update(operation.values)
        return
    items = [dict(item) for item in operation.items]
    there = into.setdefault(last, [])
    there[:] = items + there if isinstance(operation, Prepend) else there + items


def _nothing(value: Any) -> str:
    return "[]" if isinstance(value, list) else "{}"


class Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and never an alias."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Always."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


Dumper.add_representer(str, _text)


def _lines(value: Any) -> list[str]:
    """A value as lines in block style."""
    text = yaml.dump(value, Dumper=Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    return text.rstrip("\n").split("\n")


def _flow(value: Any) -> str:
    """A value in one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, default_style='"' if isinstance(value, str) else None, sort_keys=False,
        width=float("inf"), allow_unicode=False,
    )  # fmt: skip
    return text.removesuffix("...\n").rstrip("\n")


def _indented(lines: Sequence[str], indent: int) -> tuple[str, ...]:
    return tuple(" " * indent + line if line else "" for line in lines)
