"""A function of your own, in Python."""

from __future__ import annotations

from typing import ClassVar

from podpatterns.runtime.units import FunctionRef
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.transforms import Transform, TransformConfig


class PythonConfig(TransformConfig, frozen=True, kw_only=True):
    """Calls a Python function with each batch; in an application, `@podpatterns.transform` on it does the same."""

    EXAMPLE: ClassVar[str] = "{type: python, function: 'podpatterns.sidecar.transforms.python:unchanged'}"

    function: FunctionRef
    """`package.module:function`. It takes a `Batch` and returns one: `batch.map(f)`, `batch.filter(f)`, or a loop over
    `batch.records` that changes them. It must not block. A line that it raises on becomes a dead letter."""

    def build(self) -> Python:
        """The transform."""
        return Python(self)


class Python(Transform):
    """Calls the function."""

    def __init__(self, config: PythonConfig) -> None:
        self._function = config.function

    def apply(self, batch: Batch) -> Batch:
        """What the function returns, if it is a batch."""
        result: object = self._function(batch)
        if result is not batch:
            # Positions hang on the batch: with another one, nobody would know what has been acknowledged.
            raise TypeError(f"{self._function} returned another {type(result).__name__}; return the batch it was given")
        return batch


def unchanged(batch: Batch) -> Batch:
    """The batch as it is: the shortest transform."""
    return batch
