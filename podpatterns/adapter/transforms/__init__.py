"""The adapter's transforms: what changes families on their way to the page.

A transform is synchronous and pure; what it makes of a name and a label text is remembered, since the same series come
again with every page. To add one: a file here, or an entry point in the group `podpatterns.adapter.transforms`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Protocol, runtime_checkable

from podpatterns.adapter.page import Transform
from podpatterns.adapter.reasons import Tried
from podpatterns.formats.families import Family
from podpatterns.runtime.schema import ComponentConfig, component_type


class TransformConfig(ComponentConfig, frozen=True, kw_only=True):
    """Base of the adapter's transforms."""

    REMEMBERS: ClassVar[bool] = False
    """Whether it makes something of the difference to the time before: then it can serve one output alone."""

    @property
    def label(self) -> str:
        """What people call it: its type, and perhaps what tells it from others of that type."""
        return component_type(type(self))

    def build(self) -> Transform:
        """The transform."""
        raise NotImplementedError


@runtime_checkable
class Explained(Protocol):
    """A transform that can say what it does and why. Of others `explain` says what they have changed."""

    def tried(self, family: Family) -> Iterator[Tried]:
        """For people: what will be done with a family, before it is; the family is not changed."""


__all__ = ["Explained", "Transform", "TransformConfig", "Tried"]
