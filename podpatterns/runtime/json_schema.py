"""JSON Schema 2020-12 of configuration classes, for editors: completion, documentation and checks while typing.

The walk over the annotations mirrors `decode`, which is the authority; a test holds the two against each other.
(msgspec's own generator knows neither slots nor defaults of our scalar types.)
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from podpatterns.runtime.components import load_all, slot_of
from podpatterns.runtime.decode import hints
from podpatterns.runtime.schema import ComponentConfig, Config, component_type, field_docs, is_slot, to_builtins
from podpatterns.runtime.units import SCALARS, FunctionRef

_LEAVES: dict[Any, dict[str, Any]] = {
    str: {"type": ["string", "number", "boolean"]},  # `version: 1.10` is the text "1.10", see `decode`
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    types.NoneType: {"type": "null"},
    Any: {},
}
_CONSTRAINTS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
    "description": "description",
}
_VARIABLE = {"type": "string", "pattern": r"\$\{"}
"""What `${VARIABLE}` will become is not known to an editor, so it fits everywhere that a scalar does."""


def of_document(patterns: dict[str, type[Config]], runtime: type[Config]) -> dict[str, Any]:
    """The schema of a whole file with these patterns at its top level."""
    schema = _Schema()
    properties = {name: schema.of(cls) for name, cls in {**patterns, "runtime": runtime}.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "podpatterns configuration",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "minProperties": 1,
        "$defs": schema.definitions,
    }


class _Schema:
    """Collects one definition per configuration class."""

    def __init__(self) -> None:
        self.definitions: dict[str, dict[str, Any]] = {}

    def of(self, hint: Any) -> dict[str, Any]:
        """The schema of one annotation."""
        origin, args = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return {**self.of(args[0]), **_constraints(self.of(args[0]), args[1:])}
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(option) for option in args]}
        if origin is Literal:
            return {"enum": list(args)}
        if origin in (list, tuple, set, frozenset):
            return {"type": "array", "items": self.of(args[0])}
        if origin is dict or hint is dict:
            return {"type": "object", "additionalProperties": self.of(args[1]) if args else {}}
        if isinstance(hint, type) and issubclass(hint, Config):
            return self._reference(hint)
        if hint is FunctionRef:
            return dict(FunctionRef.SCHEMA)
        leaf = dict(getattr(hint, "SCHEMA")) if hint in SCALARS else _LEAVES[hint]  # noqa: B009 - a class attribute
        return leaf if hint in (str, Any, types.NoneType) else {"anyOf": [leaf, _VARIABLE]}

    def _reference(self, cls: type[Config]) -> dict[str, Any]:
        name = f"{cls.__module__}.{cls.__qualname__}"  # patterns may use the same word: both know a HealthConfig
        if name not in self.definitions:
            self.definitions[name] = {}  # the place is taken first: a class may contain itself
            self.definitions[name] = self._slot(cls) if is_slot(cls) else self._struct(cls)
        return {"$ref": f"#/$defs/{name}"}

    def _slot(self, cls: Any) -> dict[str, Any]:
        options = [self.of(component) for component in load_all(slot_of(cls))]
        if cls.SHORT:
            options += [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
        return {"anyOf": options}

    def _struct(self, cls: type[Config]) -> dict[str, Any]:
        docs, properties, required = field_docs(cls), {}, []
        if issubclass(cls, ComponentConfig):
            properties["type"] = {"const": component_type(cls)}
            if component_type(cls) != cls.DEFAULT:
                required.append("type")
        for field in msgspec.structs.fields(cls):
            entry = self.of(hints(cls)[field.name])
            if field.name in docs:
                entry = {"description": docs[field.name], **entry}
            default = default_of(field)
            if default is not msgspec.NODEFAULT:
                entry = {**entry, "default": to_builtins(default)}
            if field.required:
                required.append(field.encode_name)
            properties[field.encode_name] = entry
        return {
            "title": cls.__name__.removesuffix("Config"),
            "description": (cls.__doc__ or "").partition("\n\n")[0].replace("\n", " ").strip(),
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    """A field's default value, made if it is made by a factory; NODEFAULT if the field is required."""
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else msgspec.NODEFAULT


def _constraints(schema: dict[str, Any], metas: Iterable[Any]) -> dict[str, Any]:
    """JSON Schema keywords of a `msgspec.Meta`; a length means items in a list and characters in a text."""
    found: dict[str, Any] = {}
    counted = "Items" if schema.get("type") == "array" else "Length"
    for meta in metas:
        for name, keyword in _CONSTRAINTS.items():
            value = getattr(meta, name, None)
            if value is not None:
                found[keyword] = value
        for bound in ("min", "max"):
            value = getattr(meta, f"{bound}_length", None)
            if value is not None:
                found[f"{bound}{counted}"] = value
    return found


__all__ = ["default_of", "of_document"]
