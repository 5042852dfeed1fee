"""Operations: what an injection does to an object, said once for every form that it is given out in.

Each of them only ever adds: nothing that is there is changed, moved or removed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Path = tuple[str, ...]
"""Keys from the object's top down to a list or mapping: `("spec", "template", "spec", "volumes")`."""


@dataclass(frozen=True, slots=True)
class Prepend:
    """Items in front of those of a list, which is made if it is not there."""

    path: Path
    items: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Append:
    """Items behind those of a list, which is made if it is not there."""

    path: Path
    items: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Put:
    """Keys that a mapping does not have yet; it is made if it is not there."""

    path: Path
    values: Mapping[str, Any]


Operation = Prepend | Append | Put


def _within(document: Any, path: Path) -> tuple[Any, Path]:
    """How far a path exists: the deepest object on it, and the keys that are missing."""
    for index, key in enumerate(path):
        below = document.get(key) if isinstance(document, Mapping) else None
        if below is None:
            return document, path[index:]
        document = below
    return document, ()


def _whole(operation: Operation) -> Any:
    """What stands at the path if nothing does yet."""
    return dict(operation.values) if isinstance(operation, Put) else [dict(item) for item in operation.items]


def apply(document: Mapping[str, Any], operations: Iterable[Operation]) -> dict[str, Any]:
    """A changed copy of an object."""
    result = copy.deepcopy(dict(document))
    for operation in operations:
        found, missing = _within(result, operation.path)
        if missing:
            value = _whole(operation)
            for key in reversed(missing[1:]):
                value = {key: value}
            found[missing[0]] = copy.deepcopy(value)
        elif isinstance(operation, Put):
            found.update(copy.deepcopy(dict(operation.values)))
        else:
            items = copy.deepcopy([dict(item) for item in operation.items])
            found[:] = items + found if isinstance(operation, Prepend) else found + items
    return result


def json_patch(document: Mapping[str, Any], operations: Iterable[Operation]) -> list[dict[str, Any]]:
    """The operations on an object as a JSON patch (RFC 6902), for `kubectl patch --type json` and admission reviews."""
    return list(_patches(document, operations))


def _patches(document: Mapping[str, Any], operations: Iterable[Operation]) -> Iterator[dict[str, Any]]:
    current: Mapping[str, Any] = document
    for operation in operations:
        _, missing = _within(current, operation.path)
        if missing:
            depth = len(operation.path) - len(missing) + 1
            value = _whole(operation)
            for key in reversed(missing[1:]):
                value = {key: value}
            yield _add(operation.path[:depth], value)
        elif isinstance(operation, Put):
            for key, value in operation.values.items():
                yield _add((*operation.path, key), value)
        elif isinstance(operation, Prepend):
            for index, item in enumerate(operation.items):
                yield _add((*operation.path, str(index)), dict(item))
        else:
            for item in operation.items:
                yield _add((*operation.path, "-"), dict(item))
        current = apply(current, [operation])


def _add(path: Path, value: Any) -> dict[str, Any]:
    pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)
    return {"op": "add", "path": pointer, "value": value}
