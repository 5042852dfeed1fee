"""Transforms: what happens to records between input and output; synchronous, pure, a whole batch at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod

from podpatterns.runtime.schema import ComponentConfig
from podpatterns.sidecar.batch import Batch


class Transform(ABC):
    """A compiled transform."""

    @abstractmethod
    def apply(self, batch: Batch) -> Batch:
        """The batch as it goes on. Must not block; a line on which it raises becomes a dead letter."""


class TransformConfig(ComponentConfig, frozen=True, kw_only=True):
    """Base of the transforms' configurations."""

    def build(self) -> Transform:
        """The transform, compiled."""
        raise NotImplementedError
