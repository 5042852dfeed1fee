"""Other names for fields."""

from __future__ import annotations

from typing import ClassVar

from podpatterns.runtime.schema import InvalidField
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.transforms import Transform, TransformConfig


class RenameConfig(TransformConfig, frozen=True, kw_only=True):
    """Gives fields other names, such as those that a store expects. Records without a field are left as they are."""

    EXAMPLE: ClassVar[str] = "{type: rename, fields: {message: msg, lvl: level}}"

    fields: dict[str, str]
    """The new name by the old one. A field that has the new name already is replaced, and counted as `replaced`; two
    fields can change places."""

    def __post_init__(self) -> None:
        """Check that no field would be lost."""
        if not self.fields:
            raise InvalidField("fields", "name at least one field, as {old: new}")
        names = list(self.fields.values())
        for name in names:
            if names.count(name) > 1:
                raise InvalidField("fields", f'two fields cannot both become "{name}"')

    def build(self) -> Rename:
        """The transform."""
        return Rename(self)


class Rename(Transform):
    """Takes out all old names before it puts in the new ones."""

    def __init__(self, config: RenameConfig) -> None:
        self._names = [(old, new) for old, new in config.fields.items() if old != new]

    def apply(self, batch: Batch) -> Batch:
        """The batch with its fields renamed."""
        replaced = 0
        for record in batch.records if len(batch) else ():
            moved = [(new, record.pop(old)) for old, new in self._names if old in record]
            for new, value in moved:
                replaced += new in record
                record[new] = value
        batch.note("replaced", replaced)
        return batch
