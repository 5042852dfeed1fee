"""What the pod knows about itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from podpatterns.formats import downward
from podpatterns.runtime.schema import InvalidField, Items
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.transforms import Transform, TransformConfig

LARGEST = 1 << 20
"""Bytes of a file of the volume; annotations of an object may have 256 KiB."""


class EnrichConfig(TransformConfig, frozen=True, kw_only=True):
    """Adds what the downward API says of the pod, from environment variables and a volume, with no cluster permissions.

    The fields are added when a record is encoded: they win over fields of the same name, other transforms do not see
    them, and they cost nothing for each line. What is not there is left out, and counted as `enrich_missing`.
    """

    EXAMPLE: ClassVar[str] = "{type: enrich, environment: {pod: POD_NAME, node: NODE_NAME}}"

    environment: dict[str, str] = {}
    """The variable by the field that its value becomes, such as `{pod: POD_NAME}`; a `fieldRef` in the manifest sets
    it."""

    volume: str | None = None
    """Where a volume of the kind `downwardAPI` is mounted. Its files are read again when the kubelet has changed them.
    None: no such volume."""

    labels: Items[str] | None = None
    """Labels of the pod to add, from the volume's file `labels`. None: all that are there."""

    annotations: Items[str] = ()
    """Annotations to add, from the volume's file `annotations`. None of them by default, because they may be large."""

    field: str | None = "kubernetes"
    """The field below which all of it stands, labels as `labels` and annotations as `annotations` in it. None: at the
    top of the record."""

    def __post_init__(self) -> None:
        """Check that there is something to add."""
        if not self.environment and self.volume is None:
            raise ValueError("needs something to add: environment or volume")
        if self.volume is None and (self.labels is not None or self.annotations):
            raise InvalidField("volume", "must say where the downwardAPI volume is, for labels and annotations")

    def build(self) -> Enrich:
        """The transform."""
        return Enrich(self, os.environ)


class Enrich(Transform):
    """Adds the same fields to every record of a batch."""

    def __init__(self, config: EnrichConfig, environment: Mapping[str, str]) -> None:
        self._config = config
        names = config.environment
        self._variables = {field: environment[name] for field, name in names.items() if environment.get(name)}
        self._unset = len(names) - len(self._variables)
        self._volume = Path(config.volume) if config.volume is not None else None
        self._seen: object = None
        self._fields: dict[str, Any] = {}
        self._missing = 0

    def apply(self, batch: Batch) -> Batch:
        """The batch with more fields, and as many records as before."""
        if not len(batch):
            return batch
        state = _state(self._volume) if self._volume is not None else ()
        if state != self._seen:
            self._seen = state
            self._read()
        batch.fields = {**batch.fields, **self._fields}
        batch.note("enrich_missing", self._missing)
        return batch

    def _read(self) -> None:
        found: dict[str, Any] = dict(self._variables)
        self._missing = self._unset
        for kind, wanted in (("labels", self._config.labels), ("annotations", self._config.annotations)):
            if self._volume is None or wanted == ():
                continue
            there = _pairs(self._volume / kind)
            chosen = there if wanted is None else {name: there[name] for name in wanted if name in there}
            self._missing += 0 if wanted is None else len(wanted) - len(chosen)
            if chosen:
                found[kind] = chosen
        field = self._config.field
        self._fields = found if field is None else {field: found} if found else {}


def _state(volume: Path) -> object:
    """Differs when the volume has been changed: the kubelet swaps the link `..data`."""
    marks: list[tuple[int, int, int] | None] = []
    for name in ("..data", "labels", "annotations"):
        try:
            status = (volume / name).stat()
        except OSError:
            marks.append(None)
        else:
            marks.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return marks


def _pairs(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            return downward.parse(file.read(LARGEST).decode("utf-8", "replace"))
    except OSError:
        return {}
