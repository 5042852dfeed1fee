"""A function of the operator's own as a transform."""

from __future__ import annotations

from typing import ClassVar

from podpatterns.adapter.transforms import Transform, TransformConfig
from podpatterns.formats.families import Family
from podpatterns.runtime.units import FunctionRef


class PythonConfig(TransformConfig, frozen=True, kw_only=True):
    """A Python function: it is given the list of families and returns one, changed as it likes.

    It runs whenever a page is wanted, and must not block. If it raises, it is tried again family by family, and those
    it raises on are left out and named in `podpatterns_adapter_quarantined_samples`.
    """

    EXAMPLE: ClassVar[str] = """
    type: python
    function: builtins:list
    """

    function: FunctionRef
    """`package.module:function`. It takes `list[podpatterns.formats.families.Family]` and returns the same."""

    @property
    def label(self) -> str:
        """With the function."""
        return f"python {self.function}"

    def build(self) -> Transform:
        """The transform."""
        return Python(self.function)


class Python:
    """Calls the function."""

    def __init__(self, function: FunctionRef) -> None:
        self._function = function

    def apply(self, families: list[Family]) -> list[Family]:
        """What the function makes of them; anything but families is an error of the function."""
        # Copies: if it raises half-way, what it has changed until then must not be changed twice.
        result = self._function([family.copy() for family in families])
        changed = list(result) if isinstance(result, (list, tuple)) else None
        if changed is None or not all(isinstance(each, Family) for each in changed):
            raise TypeError(f"{self._function} must return a list of families")
        return changed
