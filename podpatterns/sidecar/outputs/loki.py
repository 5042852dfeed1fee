"""Grafana Loki, by its push API."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, ClassVar, Literal, NamedTuple

import msgspec

from podpatterns.errors import Retryable
from podpatterns.formats import jsonlines
from podpatterns.formats.timestamps import nanoseconds, resolution
from podpatterns.runtime.schema import InvalidField, Items
from podpatterns.runtime.units import Url
from podpatterns.sidecar.batch import MESSAGE, Batch
from podpatterns.sidecar.http_client import Answer
from podpatterns.sidecar.posting import NOTHING, Poster, PostingConfig, PostingOutput, Rest, judged, said, under
from podpatterns.sidecar.progress import Progress

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_IGNORED = re.compile(rb"entry with timestamp ([^\n]{10,60}?) ignored, reason: '([^\n]*)',?\n")
_TOTAL = re.compile(rb"total ignored: (\d{1,9}) out of (\d{1,9})")
BLOCKED = 260
"""Loki's answer while a tenant's ingestion is blocked by its limits: nothing was stored."""


class LokiConfig(PostingConfig, frozen=True, kw_only=True):
    """Pushes to Grafana Loki.

    408, 429, 5xx and 260 (ingestion blocked) are tried again. After 400 Loki has stored what was valid in the push, and
    nothing is sent again. If the push was one stream and Loki names every entry that it has ignored, by its time, these
    become dead letters; otherwise all of the push does, for nobody knows which.
    """

    WHERE = ("url", "tenant")
    EXAMPLE: ClassVar[str] = "{type: loki, url: 'http://loki:3100', labels: {app: shop}, label_fields: [level]}"

    url: Url
    """Where Loki is, without the path of its API."""

    labels: dict[str, str]
    """Labels of every stream; Loki wants at least one. What identifies the pod belongs here."""

    label_fields: Items[str] = ()
    """Fields of a record that become labels as well. Each combination of values is a stream of its own in Loki, so
    only fields with few values, such as `level`, are fit for it."""

    line: Literal["record", "message"] = "record"
    """What is stored as the line: the `record` as JSON, with all of its fields, or only its `message`. Of equal lines
    of one nanosecond Loki keeps one: a record has its id in it, which tells them apart; with `message` the line's
    position is added to its time below the precision that it was written with."""

    time_field: str | None = "time"
    """The field that says when a line was written. None, or what is no time: the time of the delivery, which a
    delivery repeated after a restart does not share."""

    tenant: str | None = None
    """The tenant, sent as `X-Scope-OrgID`. None: a Loki without tenants."""

    authorization: Literal["Bearer", "Basic"] = "Bearer"
    """How `token` is sent. `Basic`: the file holds `user:password`."""

    compression: Literal["none", "gzip"] = "gzip"
    """How the body is compressed."""

    def __post_init__(self) -> None:
        """Check the labels."""
        PostingConfig.__post_init__(self)
        if not self.labels:
            raise InvalidField("labels", "Loki wants at least one label, such as {app: shop}")
        for name in self.labels:
            if not _LABEL.fullmatch(name):
                raise InvalidField("labels", f'"{name}" is no label: letters, digits and _ only, and no digit first')
        names: dict[str, str] = {}
        for index, field in enumerate(self.label_fields):
            name = label(field)
            if not _LABEL.fullmatch(name):
                raise InvalidField(f"label_fields[{index}]", f'"{field}" is no label; give it another name by `rename`')
            if name in names:
                raise InvalidField(f"label_fields[{index}]", f'"{field}" and "{names[name]}" are one label, {name}')
            names[name] = field

    def build(self) -> Loki:
        """The output."""
        return Loki(self)


class Entry(NamedTuple):
    """One line: the values of its stream's label fields, its time and its text."""

    stream: tuple[str, ...]
    when: int
    line: str


class Loki(PostingOutput[Entry]):
    """Pushes everything at once."""

    DIVISIBLE = frozenset({413})  # after which nothing was stored, unlike after 400

    def __init__(self, config: LokiConfig) -> None:
        super().__init__()
        self.config = config

    async def start(self) -> None:
        """Read the certificates. Raises StartError."""
        config = self.config
        if config.tenant is not None:
            config = msgspec.structs.replace(config, headers={"X-Scope-OrgID": config.tenant, **config.headers})
        self._poster = Poster(
            config,
            under(config.url, "/loki/api/v1/push"),
            content_type="application/json",
            compression=config.compression,
            scheme=config.authorization,
        )

    def items(self, batches: Sequence[Batch]) -> list[Entry]:
        """Made once: a try that is repeated carries the same times, by which Loki knows what it has."""
        now = time.time_ns()
        return [entry for batch in batches for entry in entries(self.config, batch, now)]

    def body(self, items: list[Entry]) -> bytes:
        """A push."""
        return push(self.config, items)

    def judge(self, answer: Answer) -> str | None:
        """As HTTP says, but for 260 and 400; what was valid in the same push has been stored then."""
        if answer.status == BLOCKED:
            raise Retryable(f"{said(answer)}: ingestion is blocked")
        if answer.status == 400 and 400 not in self.config.hold:
            return None
        return judged(answer, self.config.hold)

    async def taken(self, progress: Progress[Entry], numbers: Sequence[int], answer: Answer) -> Rest:
        """Settle the push; after 400 what Loki has ignored becomes dead letters, or all of it."""
        if answer.status == 400:
            items = [progress.items[number] for number in numbers]
            named = ignored(answer.body, items)
            if named is None:
                why = f"{said(answer)} (what was valid in the same push has been stored)"
                progress.reject(dict.fromkeys(numbers, why))
            else:
                progress.reject({numbers[place]: f"400 {reason}" for place, reason in named.items()})
                progress.settle(numbers)
            return NOTHING
        return await super().taken(progress, numbers, answer)


def ignored(body: bytes, items: Sequence[Entry]) -> dict[int, str] | None:
    """Which entries of a push Loki says it has ignored, with the reason; None if that is not sure.

    Loki lists at most `max_returned_stream_errors` entries, of one stream alone, and by nothing but their times; and it
    says of how many, which are fewer than were sent if some had been refused before. So it is sure if the push had one
    stream, the numbers agree, and each time is that of one entry.
    """
    total = _TOTAL.search(body)
    found = _IGNORED.findall(body)
    one_stream = len({item.stream for item in items}) == 1
    if total is None or not one_stream or int(total[1]) != len(found) or int(total[2]) != len(items):
        return None
    places: dict[int, list[int]] = {}
    for place, item in enumerate(items):
        places.setdefault(item.when, []).append(place)
    named: dict[int, str] = {}
    for time_text, reason in found:
        # As Go writes times: 2026-11-28 10:15:39.5 +0000 UTC
        when = nanoseconds(" ".join(time_text.decode("utf-8", "replace").split(" ")[:3]))
        here = places.get(when, []) if when is not None else []
        if len(here) != 1 or here[0] in named:
            return None
        named[here[0]] = reason.decode("utf-8", "replace")
    return named


def entries(config: LokiConfig, batch: Batch, now: int) -> Iterator[Entry]:
    """The entries of a batch. Pure; `now` in nanoseconds."""
    columns = [_texts(jsonlines.column(batch.ndjson, name)) for name in config.label_fields]
    streams = zip(*columns, strict=True) if columns else repeat((), len(batch))
    yield from map(Entry, streams, _times(config, batch, now), _lines(config, batch))


def push(config: LokiConfig, items: Iterable[Entry]) -> bytes:
    """The body of a push: entries by their stream."""
    names = [label(name) for name in config.label_fields]
    streams: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for texts, when, line in items:
        streams.setdefault(texts, []).append((str(when), line))
    pushed: list[dict[str, Any]] = []
    for texts, values in streams.items():
        labels = {name: text for name, text in zip(names, texts, strict=True) if text}
        pushed.append({"stream": {**labels, **config.labels}, "values": values})
    return msgspec.json.encode({"streams": pushed})


def label(field: str) -> str:
    """The label that a field becomes."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", field)


def _texts(column: list[Any]) -> list[str]:
    """Values as labels have them; what is missing or no scalar is empty, which means no label."""
    return [
        value if isinstance(value, str) else str(value).lower() if isinstance(value, (int, float)) else ""
        for value in column
    ]


def _times(config: LokiConfig, batch: Batch, now: int) -> list[int]:
    column = jsonlines.column(batch.ndjson, config.time_field) if config.time_field else [None] * len(batch)
    times = [nanoseconds(value) or now for value in column]
    if config.line == "message":
        return [when + offset % resolution(when) for when, offset in zip(times, batch.offsets, strict=True)]
    return times


def _lines(config: LokiConfig, batch: Batch) -> list[str]:
    if config.line == "record":
        return [record.decode() for record in jsonlines.split(jsonlines.with_ids(batch.ndjson, batch.ids))]
    messages = jsonlines.column(batch.ndjson, MESSAGE)
    records = jsonlines.split(batch.ndjson)
    return [
        message if isinstance(message, str) else record.decode()
        for message, record in zip(messages, records, strict=True)
    ]
