"""The base classes of everything that can be configured.

A configuration class is a frozen msgspec struct whose fields carry their documentation as a string
below them: unit, meaning of None, reason of the default. That text is the reference documentation,
the description in the JSON Schema and what `podpatterns show` prints.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache, wraps
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

import msgspec

from podpatterns.runtime.units import SCALARS

T = TypeVar("T")

if TYPE_CHECKING:
    Items: TypeAlias = list[T] | tuple[T, ...]
else:
    Items = tuple[T, ...]
"""Several values of a field. Who builds a configuration in Python may write a list; what is decoded is a tuple. It is
no `Sequence`, since a text is a sequence of texts, and `paths="app.log"` a mistake."""


class InvalidField(ValueError):  # noqa: N818 - raised by `__post_init__`, turned into a Problem
    """Raised in a config's `__post_init__` to blame one field, or a place below it: `routes[0].split.stable`.

    A plain ValueError blames the whole mapping.
    """

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)
        self.add_note(f"the field: {field}")  # for who builds a configuration in Python, and sees the exception itself


class InvalidFields(ValueError):  # noqa: N818 - as above
    """Several of them at once, so that one run shows all."""

    def __init__(self, fields: list[InvalidField]) -> None:
        self.fields = fields
        super().__init__("; ".join(map(str, fields)))


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every configuration class: immutable, built by keyword, unknown keys refused."""

    READS: ClassVar[frozenset[str]] = frozenset()
    """Fields with paths or globs of files that are read; whoever makes a container mounts what they lie in."""

    WRITES: ClassVar[frozenset[str]] = frozenset()
    """Fields with paths of files or folders that are written."""

    PRIVATE: ClassVar[frozenset[str]] = frozenset()
    """Those of WRITES that no other container has to see: a folder of its own will do."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Its `__post_init__` meets plain values where somebody in Python has written `{"type": …}`: say so."""
        super().__init_subclass__(**options)
        own = cls.__dict__.get("__post_init__")
        if own is None:
            return

        @wraps(own)
        def checked(self: Any) -> None:
            try:
                own(self)
            except (AttributeError, TypeError) as error:
                if plain := _plain(self):
                    advice = "give an object of its class, or read plain values with the parse() of a pattern's Config"
                    raise TypeError(f"{cls.__name__}: {plain} is no configuration; {advice}") from error
                raise

        cls.__post_init__ = checked  # type: ignore[attr-defined]


def _plain(config: Any) -> str:
    """The first item of a list that is a mapping, as `routes[0]`; empty if none is."""
    lists = {name: value for name in config.__struct_fields__ if isinstance(value := getattr(config, name), list)}
    found = (f"{name}[{n}]" for name, items in lists.items() for n, item in enumerate(items) if isinstance(item, dict))
    return next(found, "")


def _type_name(qualname: str) -> str:
    """`NginxStatusConfig` → `nginx_status`: the component's `type`, which is also its file's name."""
    name = qualname.rpartition(".")[2].removesuffix("Config")
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")


class ComponentConfig(Config, frozen=True, kw_only=True, tag_field="type", tag=_type_name):
    """Base of the slots; a slot is a direct subclass, defined in the package that holds its components.

    `podpatterns/sidecar/inputs/__init__.py` defines the slot `InputConfig`; `podpatterns/sidecar/inputs/tail.py`
    defines `TailConfig(InputConfig)`, found as `type: tail`. Third parties add to a slot with an entry point in the
    group named after the package (`podpatterns.sidecar.inputs`), whose name is the type.
    """

    DEFAULT: ClassVar[str | None] = None
    """Of a slot: the type of a mapping that names none, where one is what nearly everybody means."""

    SHORT: ClassVar[str | None] = None
    """Of a slot with a default: the field that a bare value or list stands for, as in `stable: 10.0.0.7:8080`."""

    EXAMPLE: ClassVar[str] = ""
    """A valid example, as YAML; the compliance test decodes it."""


def is_slot(cls: Any) -> bool:
    """True for the class that stands for "any component of this package"."""
    return isinstance(cls, type) and ComponentConfig in cls.__bases__


def component_type(cls: type[Config]) -> str:
    """The `type` by which a configuration names this class."""
    return str(cls.__struct_config__.tag)


@cache
def field_docs(cls: type[Config]) -> dict[str, str]:
    """The text that stands below each field of a class and of its bases; empty where the source is not at hand."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not (issubclass(base, Config) and base is not Config):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for statement, below in pairwise(body):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                docs[statement.target.id] = inspect.cleandoc(below.value.value)
    return docs


def to_builtins(value: Any) -> Any:
    """A configuration as plain values, for JSON. Secrets are paths and stay paths; URLs lose their passwords."""
    return msgspec.to_builtins(value, enc_hook=_encode, str_keys=True)


def _encode(value: Any) -> Any:
    if hasattr(value, "redacted"):
        return value.redacted
    if isinstance(value, SCALARS):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no form in a configuration")
