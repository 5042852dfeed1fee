"""One record for lines that belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from podpatterns.formats.multiline import Patterns, Traces
from podpatterns.runtime.regex import check_regex
from podpatterns.runtime.schema import Items
from podpatterns.sidecar.batch import MESSAGE, Batch
from podpatterns.sidecar.transforms import Gathered, Gathering, TransformConfig


class MultilineConfig(TransformConfig, frozen=True, kw_only=True):
    """Makes one record of a stack trace, or of lines that patterns of your own say belong together.

    It stands first, or right behind `parse` with `format: cri` or `docker`, where lines of stdout and stderr are told
    apart. The tail input keeps back the lines of which more may come, for as long as its `hold` says. A group of more
    than 256 KiB is cut.
    """

    EXAMPLE: ClassVar[str] = "{type: multiline, traces: [python, java]}"

    traces: Items[Literal["python", "java", "go", "node", "ruby"]] = ()
    """Languages whose stack traces are one record each: with chained causes and, for Python, carets and exception
    groups. The line of the log in front of a trace is a record of its own."""

    start: str | None = None
    """A regular expression that is found in the first line of each record, such as `'^\\d{4}-'` for lines that begin
    with a date. All lines up to the next one belong to it. None: see `more`."""

    more: str | None = None
    """A regular expression that is found in lines which belong to the one before, such as `'^\\s'`. With `start` as
    well, a line that neither is found in is a record of its own."""

    by: str | None = "stream"
    """The field that tells streams apart, whose lines come mixed; `format: cri` and `docker` make it. None: there is
    only one."""

    def __post_init__(self) -> None:
        """Check the patterns."""
        if bool(self.traces) == (self.start is not None or self.more is not None):
            raise ValueError("needs either traces, or start, more or both")
        for name in ("start", "more"):
            check_regex(getattr(self, name) or "", name, text=True)

    def build(self) -> Multiline:
        """The transform."""
        return Multiline(self)


class Multiline(Gathering):
    """Looks at each line only if the whole batch has something that begins a group."""

    def __init__(self, config: MultilineConfig) -> None:
        self._by = config.by
        self._rules: Traces | Patterns
        if config.traces:
            self._rules = Traces(config.traces)
        else:
            start, more = (re.compile(each) if each is not None else None for each in (config.start, config.more))
            self._rules = Patterns(start, more)

    def concerns(self, text: bytes) -> bool:
        """Whether a line begins a group."""
        return self._rules.concerns(text.decode("utf-8", "replace"))

    def gather(self, batch: Batch) -> Gathered | None:
        """By stream, if there are several."""
        if not batch.parsed and not self._rules.concerns(batch.decoded):
            return None
        texts = _texts(batch)
        if batch.parsed and not self._rules.concerns("\n".join(texts)):
            return None
        streams: dict[Any, list[int]] = {}
        if self._by is not None and batch.parsed:
            for place, record in enumerate(batch.records):
                streams.setdefault(str(record.get(self._by)), []).append(place)
        else:
            streams[None] = list(range(len(texts)))
        members: list[list[int]] = []
        open_from = len(texts)
        for places in streams.values():
            starts, first_open = self._rules.groups([texts[place] for place in places])
            ends = [*starts[1:], len(places)]
            members += [places[start:end] for start, end in zip(starts, ends, strict=True)]
            if first_open < len(places):
                open_from = min(open_from, places[first_open])
        return Gathered(sorted(members), open_from)

    def join(self, batch: Batch, members: Sequence[Sequence[int]]) -> Batch:
        """The messages of a group joined by newlines; its other fields are those of its first record."""
        texts = _texts(batch)
        joined = ["\n".join([texts[place] for place in places]) for places in members]
        if not batch.parsed:
            return batch.merge(members, [{MESSAGE: text} for text in joined])
        records = batch.records
        return batch.merge(
            members,
            [
                {**records[places[0]], MESSAGE: text} if len(places) > 1 else records[places[0]]
                for places, text in zip(members, joined, strict=True)
            ],
        )


def _texts(batch: Batch) -> list[str]:
    if not len(batch):
        return []
    if batch.parsed:
        return [str(record.get(MESSAGE, "")) for record in batch.records]
    return batch.decoded.split("\n")
