"""The adapter's transforms: what changes families on their way to the page.

A transform is synchronous and pure; what it makes of a name and a label text is remembered, since the same series come
again with every page. To add one: a file here, or an entry point in the group `podpatterns.adapter.transforms`.
"""

from __future__ import annotations

from typing import ClassVar

from podpatterns.adapter.page import Transform
from podpatterns.runtime.schema import ComponentConfig


class TransformConfig(ComponentConfig, frozen=True, kw_only=True):
    """Base of the adapter's transforms."""

    REMEMBERS: ClassVar[bool] = False
    """Whether it makes something of the difference to the time before: then it can serve one output alone."""

    def build(self) -> Transform:
        """The transform."""
        raise NotImplementedError


__all__ = ["Transform", "TransformConfig"]
