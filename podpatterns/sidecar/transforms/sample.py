"""A share of the records."""

from __future__ import annotations

import re
from typing import ClassVar
from zlib import crc32

from podpatterns.runtime.regex import check_regex
from podpatterns.runtime.units import Share
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.transforms import Transform, TransformConfig


class SampleConfig(TransformConfig, frozen=True, kw_only=True):
    """Keeps a share of the records; the others are counted as filtered.

    No dice are rolled: a record's id decides, or the value of a field. So a delivery that is repeated after a restart
    has the same records, and with `by: trace_id` every sidecar keeps or drops the whole of a trace.
    """

    EXAMPLE: ClassVar[str] = "{type: sample, share: 10%, always: 'error|fatal', always_field: level}"

    share: Share
    """The share that is kept."""

    by: str | None = None
    """The field whose value decides, so that records with the same value share their fate; records without it are
    kept. None: each record for itself."""

    always: str | None = None
    """A regular expression: records in which it is found are kept in any case. None: no such records."""

    always_field: str = "level"
    """The field in which `always` is looked for."""

    def __post_init__(self) -> None:
        """Check the expression."""
        check_regex(self.always or "", "always", text=True)

    def build(self) -> Sample:
        """The transform."""
        return Sample(self)


class Sample(Transform):
    """Compares a checksum with the share."""

    def __init__(self, config: SampleConfig) -> None:
        self._bound = round(config.share * 2**32)
        self._by = config.by
        self._always = re.compile(config.always) if config.always is not None else None
        self._field = config.always_field

    def apply(self, batch: Batch) -> Batch:
        """The batch with fewer records."""
        if not len(batch):
            return batch
        bound, by, always = self._bound, self._by, self._always
        if by is None:
            wanted = [crc32(name.encode()) < bound for name in batch.ids]
        else:
            values = [record.get(by) for record in batch.records]
            wanted = [value is None or crc32(str(value).encode()) < bound for value in values]
        if always is not None:
            levels = [record.get(self._field) for record in batch.records]
            wanted = [
                stays or (level is not None and always.search(str(level)) is not None)
                for stays, level in zip(wanted, levels, strict=True)
            ]
        return batch.keep(wanted)
