"""The schema of a version of Kubernetes, with every mistake at its place.

The schemas are those that the API server publishes, as packaged by kubernetes-validate; the strict ones refuse fields
that they do not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache, cached_property
from importlib import resources
from typing import Any

from podpatterns.errors import StartError
from podpatterns.pod.lint.finding import SCHEMA, Edit, Finding, Replace, Severity
from podpatterns.pod.workload import text
from podpatterns.runtime.decode import suggest
from podpatterns.runtime.nodes import ListNode, MapNode, Mark, Node, ScalarNode


@cache
def versions() -> tuple[str, ...]:
    """The versions that there are schemas for, the newest last. Raises StartError."""
    try:
        folder = resources.files("kubernetes_validate").joinpath("kubernetes-json-schema")
    except ModuleNotFoundError:
        raise StartError(
            "the schemas of Kubernetes are not installed; pip install 'podpatterns[lint]', or use --kubernetes none"
        ) from None
    found = {
        match[1] for each in folder.iterdir() if (match := re.fullmatch(r"v(\d+\.\d+)\.0-local-strict", each.name))
    }
    return tuple(sorted(found, key=lambda version: [int(part) for part in version.split(".")]))


class Schemas:
    """The schemas of one version."""

    def __init__(self, version: str) -> None:
        """`version`: `1.36`, or `latest`. Raises ValueError and StartError."""
        known = versions()
        version = known[-1] if version == "latest" else version.removeprefix("v")
        if version not in known:
            raise ValueError(f"there is no schema for Kubernetes {version}; known: {known[0]} to {known[-1]}")
        self.version = version
        self._folder = resources.files("kubernetes_validate").joinpath(
            f"kubernetes-json-schema/v{version}.0-local-strict"
        )

    @cached_property
    def _registry(self) -> Any:
        import referencing

        definitions = referencing.Resource.from_contents(self._read("_definitions.json"))
        return definitions @ referencing.Registry()

    @cached_property
    def _groups(self) -> frozenset[str]:
        """The API groups of Kubernetes itself, by the first word of their names."""
        names = (each.name.removesuffix(".json").split("-") for each in self._folder.iterdir())
        return frozenset(parts[1] for parts in names if len(parts) == 3)

    def _read(self, name: str) -> Any:
        return json.loads(self._folder.joinpath(name).read_text("utf-8"))

    def check(self, document: MapNode) -> Iterator[Finding]:
        """Where a document does not fit the schema of its kind; nothing for kinds of other makers."""
        from jsonschema import Draft202012Validator

        version, kind = text(document, "apiVersion"), text(document, "kind")
        if not document.entries.keys() & {"apiVersion", "kind"}:
            return  # not a manifest: folders hold other files as well
        if not version or not kind:
            missing = "apiVersion" if not version else "kind"
            yield _finding(document.mark, f"the document has no {missing}", "add it")
            return
        group, _, release = version.rpartition("/")
        if group and group.partition(".")[0] not in self._groups:
            return
        name = f"{kind.lower()}-{group.partition('.')[0]}-{release}.json" if group else f"{kind.lower()}-{release}.json"
        if not self._folder.joinpath(name).is_file():
            yield _finding(
                document.entries["kind"].mark,
                f"Kubernetes {self.version} has no {kind} in {version}",
                "mend kind or apiVersion",
            )
            return
        schema = self._read(name)
        validator = Draft202012Validator(schema, registry=_with(self._registry, schema))
        for error in validator.iter_errors(document.python()):
            yield from _explained(document, error)


def _with(registry: Any, schema: Any) -> Any:
    import referencing

    return referencing.Resource.from_contents(schema) @ registry


def _finding(mark: Mark, message: str, remedy: str, edit: Edit | None = None) -> Finding:
    return Finding(SCHEMA, Severity.ERROR, mark, message, remedy, edit)


def _explained(document: MapNode, error: Any) -> Iterator[Finding]:
    """One error of the validator, in our words and at its place."""
    node = _at(document, error.absolute_path)
    path = _path(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(node, MapNode):
        known = error.schema.get("properties", {})
        for key in node.entries:
            if key not in known:
                yield _finding(
                    node.keys[key],
                    f"{path or 'the document'} has no field {key}{suggest(key, known)}",
                    "remove or rename it",
                )
    elif error.validator == "required":
        missing = [key for key in error.validator_value if isinstance(node, MapNode) and key not in node.entries]
        for key in missing:
            yield _finding(node.mark, f"{path or 'the document'} lacks the field {key}", "add it")
    elif error.validator == "type":
        wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        if isinstance(node, ScalarNode) and node.value is None and "null" not in wanted:
            yield _finding(node.mark, f"{path} is empty", f"give it {_WORDS.get(wanted[0], wanted[0])}, or remove it")
            return
        edit = None
        if "string" in wanted and isinstance(node, ScalarNode) and node.plain:
            edit = Replace(node.mark, node.text, f'"{node.text}"')
        said = " or ".join(_WORDS.get(str(each), str(each)) for each in wanted if each != "null")
        yield _finding(node.mark, f"{path} must be {said}", "put it in quotes" if edit else "mend it", edit)
    elif error.validator == "enum":
        choices = [str(each) for each in error.validator_value]
        given = node.text if isinstance(node, ScalarNode) else ""
        yield _finding(
            node.mark, f'{path} cannot be "{given}"{suggest(given, choices)}', f"use one of {', '.join(choices)}"
        )
    elif error.context:
        yield from _explained(document, min(error.context, key=lambda each: len(each.absolute_path)))
    else:
        yield _finding(node.mark, f"{path}: {error.message[:200]}", "mend it")


_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
}


def _at(node: Node, path: Any) -> Node:
    """The node at a path, or the nearest one above it."""
    for part in path:
        if isinstance(node, MapNode) and part in node.entries:
            node = node.entries[part]
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
    return node


def _path(parts: Any) -> str:
    said = ""
    for part in parts:
        said += f"[{part}]" if isinstance(part, int) else f".{part}" if said else str(part)
    return said
