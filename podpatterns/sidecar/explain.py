"""What the sidecar would do with some lines, in plain text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from podpatterns.formats import jsonlines
from podpatterns.runtime.schema import component_type
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.gathering import leading

if TYPE_CHECKING:
    from podpatterns.sidecar.config import SidecarConfig

SAMPLE = (
    '10.0.0.7 - - [23/Nov/2026:09:36:16 +0000] "GET /products/7 HTTP/1.1" 200 5120 "-" "curl/8.5.0"\n'
    '{"level": "info", "msg": "order placed", "email": "ann@example.org"}\n'
    'level=warn msg="slow answer" took=1.2s\n'
)
"""One line each of the common formats."""


def explain(config: SidecarConfig, sample: str | None) -> Iterator[str]:
    """Each line of the sample with what every transform made of it, and the record that is shipped."""
    transforms = [(component_type(type(each)), each.build()) for each in config.transforms]
    text = (SAMPLE if sample is None else sample).replace("\r\n", "\n").removesuffix("\n")
    whole = Batch.of([line.encode("utf-8", "replace") for line in text.split("\n")] if text else [])
    first = leading([each for _, each in transforms])
    for gathering in first:
        whole = gathering.apply(whole)
    for place in range(len(whole)):
        batch = whole.piece(place, 0)
        shown = batch.lines[0].decode()
        if batch.parsed:
            shown = jsonlines.from_records(batch.records).decode().rstrip()
        yield f"{f'{batch.read} lines' if batch.read > 1 else 'line':9} {shown}"
        for name, transform in transforms[len(first) :]:
            try:
                batch = transform.apply(batch)
            except Exception as error:  # noqa: BLE001 - the user's code: what it raises is the answer
                yield f"{name:9} fails: {type(error).__name__}: {error}; the line becomes a dead letter"
                batch.fail()
                break
            if not len(batch):
                yield f"{name:9} drops it; it is counted as filtered"
                break
            noted = ", ".join(f"{what}: {count}" for what, count in batch.notes.items())
            yield f"{name:9} {noted or 'applied'}"
            batch.notes.clear()
        if len(batch):
            try:
                record = batch.encode(config.fields).decode().removesuffix("\n")
            except Exception as error:  # noqa: BLE001 - as above: it is what a transform has made
                yield f"fails     {type(error).__name__}: {error}; the line becomes a dead letter"
                continue
            yield f"shipped   {record}"
            yield f"to        {', '.join(component_type(type(each)) for each in config.outputs)}"
