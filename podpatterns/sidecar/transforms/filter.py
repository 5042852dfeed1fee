"""Leaving out what nobody needs."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from podpatterns.runtime.regex import check_regex
from podpatterns.sidecar.batch import MESSAGE, Batch
from podpatterns.sidecar.transforms import Transform, TransformConfig


class FilterConfig(TransformConfig, frozen=True, kw_only=True):
    """Keeps or drops records by a pattern; what is dropped is counted as filtered."""

    EXAMPLE: ClassVar[str] = "{type: filter, drop: 'GET /healthz'}"

    field: str = MESSAGE
    """The field that is looked at. While nothing has been parsed that is the line, `message`. A record without it
    matches no pattern."""

    keep: str | None = None
    """A regular expression: only records in which it is found are kept. None: all."""

    drop: str | None = None
    """A regular expression: records in which it is found are dropped. None: none."""

    def __post_init__(self) -> None:
        """Check the expressions."""
        if self.keep is None and self.drop is None:
            raise ValueError("needs a pattern: keep or drop")
        for name in ("keep", "drop"):
            check_regex(getattr(self, name) or "", name, text=True)

    def build(self) -> Filter:
        """The transform."""
        return Filter(self)


class Filter(Transform):
    """Searches each line, as bytes where nothing has been parsed."""

    def __init__(self, config: FilterConfig) -> None:
        self._field = config.field
        self._keep, self._drop = config.keep, config.drop
        self._texts = [(re.compile(each), wanted) for each, wanted in self._patterns()]

    def _patterns(self) -> list[tuple[str, bool]]:
        return [(each, wanted) for each, wanted in ((self._keep, True), (self._drop, False)) if each is not None]

    def apply(self, batch: Batch) -> Batch:
        """The batch with fewer records."""
        texts: list[str | None]
        if batch.parsed or self._field != MESSAGE:
            texts = [_text(record.get(self._field)) for record in batch.records]
        else:
            texts = [*batch.decoded.split("\n")] if len(batch) else []
        for pattern, wanted in self._texts:
            found = [text is not None and pattern.search(text) is not None for text in texts]
            verdict = found if wanted else [not each for each in found]
            batch = batch.keep(verdict)
            texts = [text for text, stays in zip(texts, verdict, strict=True) if stays]
        return batch


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)
