"""Finding components: a slot is a package, a component is a module in it, its `type` is the module's name.

There is no list of components to keep. Only what a configuration names is imported, so that an unused
output costs no memory; `list` and the reference documentation import everything.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TypeVar

from podpatterns.runtime.schema import ComponentConfig, component_type, is_slot

C = TypeVar("C", bound=ComponentConfig)


class UnknownComponent(LookupError):  # noqa: N818 - carries what is known instead
    """No component of this type in the slot; `known` lists the types that there are."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name, self.known = name, known
        super().__init__(name)


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for components: `package` is where they live, `base` what their config classes derive from."""

    package: str
    base: type[ComponentConfig]

    @property
    def noun(self) -> str:
        """What one of them is called: `sidecar output`."""
        _, pattern, kind = self.package.rsplit(".", 2)
        return f"{pattern} {kind.removesuffix('s')}"


def slot_of(base: type[ComponentConfig]) -> Slot:
    """The slot that a base class stands for."""
    assert is_slot(base), f"{base.__name__} is a component, not a slot"
    return Slot(base.__module__, base)


@cache
def known(package: str) -> tuple[str, ...]:
    """The types of a slot, sorted: the modules of its package, and the entry points of its name."""
    own = {
        module.name
        for module in pkgutil.iter_modules(import_module(package).__path__)
        if not module.name.startswith("_")
    }
    return tuple(sorted(own | set(_plugins(package))))


@cache
def _plugins(package: str) -> dict[str, str]:
    from importlib.metadata import entry_points  # 10 ms, for what `pod run` never asks

    return {point.name: point.value for point in entry_points(group=package)}


def load(slot: Slot, name: str) -> type[ComponentConfig]:
    """The config class of one type; imports its module and nothing else.

    Raises:
        UnknownComponent: there is no such type.
    """
    if name not in known(slot.package):
        raise UnknownComponent(name, known(slot.package))
    plugin = _plugins(slot.package).get(name)
    module = import_module(plugin.partition(":")[0] if plugin else f"{slot.package}.{name}")
    for cls in _classes(module, slot.base):
        if component_type(cls) == name:
            return cls
    raise TypeError(f"{module.__name__} must define a {slot.base.__name__} whose type is {name!r}")


def _classes(module: ModuleType, base: type[C]) -> Iterator[type[C]]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, base) and value is not base:
            yield value


def load_all(slot: Slot) -> list[type[ComponentConfig]]:
    """Every component of a slot, in order of their types."""
    return [load(slot, name) for name in known(slot.package)]
