"""What can be configured, for people: slots of each pattern, a page for each component.

Importing this imports every component: it serves `list`, `show` and the reference documentation.
"""

from __future__ import annotations

import inspect
import textwrap
import types
from collections.abc import Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from podpatterns.runtime.components import Slot, load_all, slot_of
from podpatterns.runtime.config import PATTERNS, RuntimeConfig, pattern_class
from podpatterns.runtime.decode import hints
from podpatterns.runtime.json_schema import default_of
from podpatterns.runtime.schema import ComponentConfig, Config, component_type, field_docs, is_slot, to_builtins


def slots(patterns: Iterable[str] = PATTERNS) -> Iterator[Slot]:
    """Every slot of these patterns: the packages below the pattern's whose `__init__` defines one."""
    for pattern in patterns:
        package = import_module(f"podpatterns.{pattern}")
        for module in iter_modules(package.__path__, f"podpatterns.{pattern}."):
            if module.ispkg:
                members = vars(import_module(module.name)).values()
                own = [each for each in members if is_slot(each) and each.__module__ == module.name]
                yield from map(slot_of, own)


def everything() -> dict[str, type[Config]]:
    """Every page of the reference by its full name: `sidecar`, `sidecar.inputs.tail`, …, `runtime`."""
    pages: dict[str, type[Config]] = {name: pattern_class(name) for name in PATTERNS}
    for slot in slots():
        prefix = slot.package.removeprefix("podpatterns.")
        pages.update({f"{prefix}.{component_type(cls)}": cls for cls in load_all(slot)})
    return {**pages, "runtime": RuntimeConfig}


def names() -> list[str]:
    """Every name that `find` knows: full ones, and the types alone."""
    return sorted({name for full in everything() for name in (full, full.rpartition(".")[2])})


def find(name: str) -> dict[str, type[Config]]:
    """The components with this full name, type, or pattern and type (`adapter.python`)."""
    pages = everything()
    if name in pages:
        return {name: pages[name]}
    pattern, _, kind = name.rpartition(".")
    return {
        full: cls
        for full, cls in pages.items()
        if full.rpartition(".")[2] == kind and full.count(".") and full.startswith(f"{pattern}." if pattern else "")
    }


def summary(cls: type[Config]) -> str:
    """The first sentence of a class's docstring."""
    return " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())


def page(name: str, cls: type[Config]) -> str:
    """The page of one component as plain text: what it is, its fields, nested structs, an example."""
    lines = [name, "=" * len(name), inspect.getdoc(cls) or "", ""]
    for struct in (cls, *nested(cls)):
        if struct is not cls:
            title = struct.__name__.removesuffix("Config")
            lines += [title, "-" * len(title), inspect.getdoc(struct) or "", ""]
        for field in msgspec.structs.fields(struct):
            lines.append(f"  {field.encode_name}: {type_text(hints(struct)[field.name])}{default_text(field)}")
            lines.append(textwrap.indent(field_docs(struct).get(field.name, ""), "      "))
        lines.append("")
    example = getattr(cls, "EXAMPLE", "")
    if example:
        lines += ["Example:", textwrap.indent(textwrap.dedent(example).strip(), "  ")]
    return "\n".join(lines).rstrip()


def nested(cls: type[Config]) -> list[type[Config]]:
    """The plain structs that a class's fields contain, at any depth, each once; slots are pages of their own."""
    found: list[type[Config]] = []

    def visit(hint: Any) -> None:
        for part in get_args(hint):
            visit(part)
        plain = isinstance(hint, type) and issubclass(hint, Config) and not issubclass(hint, ComponentConfig)
        if plain and hint not in found and hint is not cls:
            found.append(hint)
            descend(hint)

    def descend(struct: type[Config]) -> None:
        for hint in hints(struct).values():
            visit(hint)

    descend(cls)
    return found


def default_text(field: msgspec.structs.FieldInfo) -> str:
    """` = 1s`, or ` (required)`."""
    if field.required:
        return " (required)"
    value = to_builtins(default_of(field))
    return (
        " = none" if value is None else f" = {value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
    )


def type_text(hint: Any) -> str:
    """An annotation in words of the configuration: `list of text`, `duration`, `json | console`."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return type_text(args[0])
    if origin in (Union, types.UnionType):
        return " | ".join(type_text(each) for each in args if each is not types.NoneType)
    if origin is Literal:
        return " | ".join(map(str, args))
    if origin in (list, tuple, set, frozenset):
        return f"list of {type_text(args[0])}"
    if origin is dict or hint is dict:
        return f"mapping to {type_text(args[1])}" if args else "mapping"
    if is_slot(hint):
        return slot_of(hint).noun
    words = {str: "text", int: "whole number", float: "number", bool: "true | false", Any: "anything"}
    name: str = getattr(hint, "__name__", str(hint))
    return words.get(hint, "".join(f" {c.lower()}" if c.isupper() else c for c in name.removesuffix("Config")).strip())
