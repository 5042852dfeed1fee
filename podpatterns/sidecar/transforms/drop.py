"""Fields that nobody needs."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from podpatterns.runtime.schema import Items
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.transforms import Transform, TransformConfig


class DropConfig(TransformConfig, frozen=True, kw_only=True):
    """Leaves fields out of each record, or all but some; whole records are left out by `filter`."""

    EXAMPLE: ClassVar[str] = "{type: drop, fields: [pid, thread]}"

    fields: Annotated[Items[str], msgspec.Meta(min_length=1)] | None = None
    """The fields to leave out. None: those that `keep` does not name."""

    keep: Annotated[Items[str], msgspec.Meta(min_length=1)] | None = None
    """The fields to keep; all others are left out. None: all but those in `fields`."""

    def __post_init__(self) -> None:
        """Check that it says one thing."""
        if (self.fields is None) == (self.keep is None):
            raise ValueError("needs either the fields to leave out or those to keep")

    def build(self) -> Drop:
        """The transform."""
        return Drop(self)


class Drop(Transform):
    """Removes fields in place, or makes smaller records."""

    def __init__(self, config: DropConfig) -> None:
        self._fields = config.fields or ()
        self._keep = frozenset(config.keep) if config.keep is not None else None

    def apply(self, batch: Batch) -> Batch:
        """The batch with fewer fields."""
        if not len(batch):
            return batch
        keep = self._keep
        if keep is not None:
            return batch.map(lambda record: {name: value for name, value in record.items() if name in keep})
        for record in batch.records:
            for name in self._fields:
                record.pop(name, None)
        return batch
