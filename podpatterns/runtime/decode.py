"""From nodes to configuration objects, collecting every problem instead of stopping at the first.

The target types are msgspec structs. msgspec itself stops at the first mistake and does not know
lines, so the walk over structs, lists and mappings is done here, and msgspec converts what is a leaf.
Decoding is directed by the type: `version: 1.10` in a text field is the text "1.10".

How the text of a leaf is read stands in `leaves`. The walk is one piece: each of its steps calls the first one again.
"""

from __future__ import annotations

import difflib
import enum
import re
import types
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec

from podpatterns.errors import ConfigError, Problem
from podpatterns.runtime import leaves
from podpatterns.runtime.components import UnknownComponent, load, slot_of
from podpatterns.runtime.nodes import KIND, ListNode, MapNode, Mark, Node, ScalarNode, from_python
from podpatterns.runtime.schema import ComponentConfig, Config, InvalidField, InvalidFields, component_type, is_slot
from podpatterns.runtime.units import SCALARS, FunctionRef, Url


class _Invalid(enum.Enum):
    INVALID = enum.auto()


INVALID: Final = _Invalid.INVALID
"""What stands for a value that could not be decoded; its problem has been recorded."""


def decode(node: Node, cls: type[Any], *, env: Mapping[str, str] | None = None, path: str = "") -> Any:
    """Decode a node as `cls`.

    Raises:
        ConfigError: with every problem below this node.
    """
    decoder = Decoder(env or {})
    value = decoder.value(node, cls, path)
    if decoder.problems:
        raise ConfigError(sorted(decoder.problems, key=lambda p: (p.line or 0, p.column or 0)))
    return value


def validated(config: Config) -> Any:
    """Check a configuration that was built in Python as strictly as one from a file; returns it decoded anew.

    Raises:
        ConfigError: problems with their paths, without lines.
    """
    return decode(_from_struct(config), type(config))


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "url"?`, or the choice where nothing is near."""
    choices = list(known)
    if near := _nearest(word, choices):
        return f'; did you mean "{near[0]}"?'
    return f"; known: {', '.join(choices)}" if choices else ""


def _nearest(word: str, known: Iterable[str]) -> list[str]:
    """What was probably meant: a slip of the keys, or a word cut short. A far guess would lead astray."""
    choices = list(known)
    return difflib.get_close_matches(word, choices, n=1, cutoff=0.6) or [
        choice for choice in choices if len(word) > 2 and choice.startswith(word)
    ]


class Decoder:
    """One walk over a tree; `problems` fills as it goes."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.problems: list[Problem] = []

    def value(self, node: Node, hint: Any, path: str) -> Any:
        """Decode one node as a type annotation; returns INVALID, with a problem recorded, where it does not fit."""
        origin = get_origin(hint)
        if origin is Annotated:
            return self._constrained(node, hint, path)
        if hint is Any:
            return self._any(node, path)
        if origin in (Union, types.UnionType):
            return self._union(node, get_args(hint), path)
        if origin is Literal:
            return self._literal(node, get_args(hint), path)
        if origin in (list, tuple, frozenset, set):
            return self._list(node, hint, path)
        if origin is dict or hint is dict:
            return self._dict(node, get_args(hint) or (str, Any), path)
        if isinstance(hint, type) and issubclass(hint, Config):
            return self._component(node, hint, path) if is_slot(hint) else self._struct(node, hint, path)
        return self._scalar(node, hint, path)

    def _fail(self, mark: Mark, path: str, message: str) -> _Invalid:
        self.problems.append(mark.problem(message, path))
        return INVALID

    # --- mappings -------------------------------------------------------------------------------------------------

    def _struct(self, node: Node, cls: type[Config], path: str) -> Any:
        if not isinstance(node, MapNode):
            return self._fail(node.mark, path, f"must be a mapping, not {_found(node)}{_struct_hint(node, cls)}")
        annotations = hints(cls)
        fields = {field.encode_name: field for field in msgspec.structs.fields(cls)}
        tag = cls.__struct_config__.tag_field
        values: dict[str, Any] = {}
        for key, child in node.entries.items():
            below = f"{path}.{key}" if path else key
            if key in fields:
                values[fields[key].name] = self.value(child, annotations[fields[key].name], below)
            elif key != tag:
                self._fail(node.keys[key], below, f'unknown key "{key}"{suggest(key, fields)}')
        missing = [name for name, field in fields.items() if field.required and name not in node.entries]
        misspelt = {near for key in node.entries if key not in fields for near in _nearest(key, fields)}
        for name in (name for name in missing if name not in misspelt):
            self._fail(node.mark, f"{path}.{name}" if path else name, f'the key "{name}" is required')
        if missing or INVALID in values.values():
            return INVALID
        try:
            return cls(**values)
        except (InvalidField, InvalidFields) as error:
            for each in error.fields if isinstance(error, InvalidFields) else [error]:
                self._fail(_at(node, each.field).mark, f"{path}.{each.field}" if path else each.field, str(each))
            return INVALID
        except ValueError as error:
            return self._fail(node.mark, path, str(error))

    def _component(self, node: Node, base: Any, path: str) -> Any:
        slot = slot_of(base)
        if isinstance(node, ScalarNode) and isinstance(node.value, FunctionRef):
            # A function marked with @podpatterns.transform is short for {type: python, function: …}.
            node = MapNode(node.mark, {"type": from_python("python"), "function": node}, {})
        if base.SHORT and (isinstance(node, ListNode) or (isinstance(node, ScalarNode) and node.value is not None)):
            items = node if isinstance(node, ListNode) else ListNode(node.mark, (node,))
            node = MapNode(node.mark, {base.SHORT: items}, {base.SHORT: node.mark})
        if not isinstance(node, MapNode):
            if isinstance(node, ScalarNode) and callable(node.value):
                return self._fail(node.mark, path, "is a bare function; mark it with @podpatterns.transform")
            return self._fail(node.mark, path, f'must be a mapping with a "type", not {_found(node)}')
        name = node.entries.get("type", base.DEFAULT and from_python(base.DEFAULT))
        if not isinstance(name, ScalarNode) or not isinstance(name.value, str):
            return self._fail(node.mark, f"{path}.type", f'the key "type" is required: it names the {slot.noun}')
        try:
            cls = load(slot, name.value)
        except UnknownComponent as error:
            message = f'unknown {slot.noun} "{error.name}"{suggest(error.name, error.known)}'
            return self._fail(name.mark, f"{path}.type", message)
        return self._struct(node, cls, path)

    def _dict(self, node: Node, args: tuple[Any, ...], path: str) -> Any:
        if not isinstance(node, MapNode):
            return self._fail(node.mark, path, f"must be a mapping, not {_found(node)}")
        result = {key: self.value(child, args[1], f"{path}.{key}") for key, child in node.entries.items()}
        return INVALID if INVALID in result.values() else result

    def _any(self, node: Node, path: str) -> Any:
        """Plain Python values, with variables replaced in every text."""
        if isinstance(node, ListNode):
            return self._list(node, list[Any], path)
        if isinstance(node, MapNode):
            return self._dict(node, (str, Any), path)
        return self._text(node, path) if isinstance(node.value, str) else node.value

    # --- lists and choices ----------------------------------------------------------------------------------------

    def _list(self, node: Node, hint: Any, path: str) -> Any:
        if not isinstance(node, ListNode):
            return self._fail(node.mark, path, f'must be a list, not {_found(node)}; start each item with "- "')
        item = get_args(hint)[0]
        result = [self.value(child, item, f"{path}[{index}]") for index, child in enumerate(node.items)]
        return INVALID if INVALID in result else get_origin(hint)(result)

    def _union(self, node: Node, options: tuple[Any, ...], path: str) -> Any:
        if isinstance(node, ScalarNode) and node.value is None and types.NoneType in options:
            return None
        options = tuple(option for option in options if option is not types.NoneType)
        fitting = [option for option in options if _takes(option, node)] or list(options[:1])
        attempts = []
        for option in fitting:
            attempt = Decoder(self.env)
            value = attempt.value(node, option, path)
            if not attempt.problems:
                return value
            attempts.append(attempt)
        self.problems += attempts[0].problems
        return INVALID

    def _literal(self, node: Node, options: tuple[Any, ...], path: str) -> Any:
        found = self._text(node, path) if isinstance(node, ScalarNode) else node.python()
        if found is INVALID:
            return INVALID
        for option in options:
            if found == str(option):
                return option
        return self._fail(node.mark, path, f'unknown value "{found}"{suggest(str(found), map(str, options))}')

    # --- leaves ---------------------------------------------------------------------------------------------------

    def _constrained(self, node: Node, hint: Any, path: str) -> Any:
        kind, *metas = get_args(hint)
        value = self.value(node, kind, path)
        if value is INVALID:
            return INVALID
        # Items have been checked one by one; of a list or mapping only the length is left to check.
        plain = _SHAPES.get(type(value), kind)
        try:
            msgspec.convert(value, Annotated[(plain, *metas)], dec_hook=_passed)
        except msgspec.ValidationError as error:
            said = next((meta.extra["is"] for meta in metas if meta.extra and "is" in meta.extra), None)
            if said is not None and "regex" in str(error):  # which says nothing to whoever has not written it
                return self._fail(node.mark, path, f"must be {said}, not {_found(node)}")
            return self._fail(node.mark, path, leaves.bound(str(error)))
        return value

    def _scalar(self, node: Node, cls: Any, path: str) -> Any:
        if not isinstance(node, ScalarNode):
            return self._fail(node.mark, path, f"must be {leaves.NOUNS.get(cls, 'a single value')}, not {_found(node)}")
        if cls in SCALARS and isinstance(node.value, cls):
            return node.value
        if node.value is None:
            return self._fail(node.mark, path, f"must be {leaves.NOUNS.get(cls, 'a single value')}, but is empty")
        text = self._text(node, path)
        if text is INVALID:
            return INVALID
        if cls in SCALARS:
            try:
                return cls(text)
            except ValueError as error:
                return self._fail(node.mark, path, str(error))
        if cls is str:
            return text
        # A quoted "8080" is text; what came out of a ${VARIABLE} may become a number.
        read = leaves.READERS[cls](text) if node.plain or text != node.text else None
        if read is None:
            advice = "; remove the quotes" if not node.plain and leaves.READERS[cls](text) is not None else ""
            return self._fail(node.mark, path, f'must be {leaves.NOUNS[cls]}, not "{text}"{advice}')
        return read

    def _text(self, node: ScalarNode, path: str) -> Any:
        if not isinstance(node.value, str):
            return node.text
        text, complaints = leaves.interpolated(node.value, self.env)
        for complaint in complaints:
            self._fail(node.mark, path, complaint)
        return INVALID if complaints else text


_SHAPES: dict[Any, Any] = {list: list[Any], tuple: tuple[Any, ...], dict: dict[str, Any]}


def _takes(option: Any, node: Node) -> bool:
    """Whether an option of a union has the node's shape."""
    origin = get_origin(option) or option
    if origin is Annotated:
        return _takes(get_args(option)[0], node)
    if isinstance(node, ListNode):
        return origin in (list, tuple, set, frozenset)
    if isinstance(node, MapNode):
        return origin is dict or (isinstance(origin, type) and issubclass(origin, Config))
    return not (
        origin in (list, tuple, set, frozenset, dict) or (isinstance(origin, type) and issubclass(origin, Config))
    )


def _at(node: Node, path: str) -> Node:
    """The node at a path such as `routes[0].split.stable`, or the nearest one above it that is there."""
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(node, MapNode) and step in node.entries:
            node = node.entries[step]
        elif isinstance(node, ListNode) and step.isdigit() and int(step) < len(node.items):
            node = node.items[int(step)]
        else:
            break
    return node


def _found(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return "empty" if node.value is None else f'"{node.text}"'
    return KIND[type(node)]


def _struct_hint(node: Node, cls: type[Config]) -> str:
    if not isinstance(node, ScalarNode) or node.value is None:
        return ""
    first = next((field.encode_name for field in msgspec.structs.fields(cls) if field.required), None)
    return f'; did you mean "{{{first}: {node.text}}}"?' if first else ""


def _passed(_cls: type, value: Any) -> Any:
    return value


@cache
def hints(cls: type[Config]) -> dict[str, Any]:
    """The annotations of a configuration class, resolved."""
    found: dict[str, Any] = typing.get_type_hints(cls, include_extras=True)
    return found


def _from_struct(value: Any) -> Node:
    """Nodes of a config built in Python. A `$` is text there, so it is kept from interpolation."""
    if isinstance(value, Config):
        entries = {
            field.encode_name: _from_struct(getattr(value, field.name)) for field in msgspec.structs.fields(type(value))
        }
        if isinstance(value, ComponentConfig):
            entries["type"] = from_python(component_type(type(value)))
        return MapNode(Mark(), entries, dict.fromkeys(entries, Mark()))
    if isinstance(value, dict):
        entries = {str(key): _from_struct(item) for key, item in value.items()}
        return MapNode(Mark(), entries, dict.fromkeys(entries, Mark()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return ListNode(Mark(), tuple(_from_struct(item) for item in value))
    if isinstance(value, str) and not isinstance(value, Url):
        return ScalarNode(Mark(), value.replace("${", "$${"), str(value), plain=False)
    return ScalarNode(Mark(), value, str(value), plain=not isinstance(value, str))
