"""What the sidecar would do with some lines, in plain text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from podpatterns.formats import jsonlines
from podpatterns.runtime.schema import component_type
from podpatterns.sidecar.batch import MESSAGE, Batch
from podpatterns.sidecar.gathering import leading

if TYPE_CHECKING:
    from podpatterns.sidecar.config import SidecarConfig

SAMPLE = (
    '10.0.0.7 - - [23/Nov/2026:09:36:16 +0000] "GET /products/7 HTTP/1.1" 200 5120 "-" "curl/8.5.0"\n'
    '{"level": "info", "msg": "order placed", "email": "ann@example.org"}\n'
    'level=warn msg="slow answer" took=1.2s\n'
)
"""One line each of the common formats."""
SHORT = 60
"""Characters of a value that are shown."""


def explain(config: SidecarConfig, sample: str | None) -> Iterator[str]:
    """Each line of the sample with what every transform made of it and why, and the record that is shipped."""
    transforms = [(component_type(type(each)), each, each.build()) for each in config.transforms]
    text = (SAMPLE if sample is None else sample).replace("\r\n", "\n").removesuffix("\n")
    whole = Batch.of([line.encode("utf-8", "replace") for line in text.split("\n")] if text else [])
    first = leading([each for _, _, each in transforms])
    for gathering in first:
        whole = gathering.apply(whole)
    for place in range(len(whole)):
        batch = whole.piece(place, 0)
        shown = batch.lines[0].decode()
        if batch.parsed:
            shown = jsonlines.from_records(batch.records).decode().rstrip()
        yield f"{f'{batch.read} lines' if batch.read > 1 else 'line':9} {shown}"
        for name, given, transform in transforms[len(first) :]:
            before = _record(batch)
            reason = transform.reason(batch)
            try:
                batch = transform.apply(batch)
            except Exception as error:  # noqa: BLE001 - the user's code: what it raises is the answer
                yield f"{name:9} fails: {type(error).__name__}: {error}; the line becomes a dead letter"
                batch.fail()
                break
            if not len(batch):
                yield f"{name:9} drops it; it is counted as filtered"
                break
            if batch.notes.pop("parse_failed", 0):
                yield f"{name:9} it is not {getattr(given, 'format', 'as expected')}; it stays as it is"
            else:
                made = changes(before, _record(batch)) or "leaves it as it is"
                yield f"{name:9} {made}{f' ({reason})' if reason else ''}"
            batch.notes.clear()
        if len(batch):
            try:
                record = batch.encode(config.fields).decode().removesuffix("\n")
            except Exception as error:  # noqa: BLE001 - as above: it is what a transform has made
                yield f"fails     {type(error).__name__}: {error}; the line becomes a dead letter"
                continue
            yield f"shipped   {record}"
            yield f"to        {', '.join(component_type(type(each)) for each in config.outputs)}"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What is different: `level: "info" → "INFO"`, `msg → message` for another name, `+ pod: "a"`, `- trace`."""
    gone = {name: value for name, value in before.items() if name not in after}
    new = {name: value for name, value in after.items() if name not in before}
    said = []
    for name, value in list(gone.items()):
        other = next((there for there, same in new.items() if same == value), None)
        if other is not None:
            said.append(f"{name} → {other}")
            del gone[name], new[other]
    if gone.keys() == {MESSAGE} and new:  # it has been parsed
        return ", ".join([*said, *(f"{name}: {_short(value)}" for name, value in new.items())])
    said += [
        f"{name}: {_short(before[name])} → {_short(value)}"
        for name, value in after.items()
        if name in before and before[name] != value
    ]
    said += [f"+ {name}: {_short(value)}" for name, value in new.items()]
    return ", ".join(said + [f"- {name}" for name in gone])


def _record(batch: Batch) -> dict[str, Any]:
    return deepcopy(batch.records[0]) if batch.parsed else {MESSAGE: batch.lines[0].decode()}


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"
