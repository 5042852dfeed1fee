"""Fields out of lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from podpatterns.formats import cri, docker
from podpatterns.formats.parsers import PARSERS, Parser
from podpatterns.runtime.schema import InvalidField
from podpatterns.sidecar.batch import MESSAGE, Batch
from podpatterns.sidecar.transforms import Gathered, Gathering, TransformConfig

PARTS: Mapping[str, Callable[[str], object]] = {
    "cri": lambda text: any(part in text for part in cri.PARTS),
    "docker": docker.PART.search,
}
"""Whether a text has parts of lines, by the format that cuts them; a quick look, which may be wrong if it says so."""


class ParseConfig(TransformConfig, frozen=True, kw_only=True):
    """Parses each line into fields."""

    EXAMPLE: ClassVar[str] = "{type: parse, format: combined}"

    format: Literal["json", "logfmt", "combined", "cri", "docker", "syslog", "regex"]
    """How the lines are written: `json` objects, `logfmt` pairs, `combined` access logs of Apache and nginx (also
    common ones), `cri` as container runtimes write, `docker` as its json-file driver does, `syslog` messages of
    RFC 5424 and RFC 3164, or `regex` for a pattern of your own."""

    pattern: str | None = None
    """With `format: regex`: an expression whose named groups, `(?P<name>…)`, become fields. It must match the whole
    line."""

    on_error: Literal["keep", "drop"] = "keep"
    """What happens to a line that cannot be parsed: `keep` ships it as it is, in the field `message`, so that
    nothing is
    lost; `drop` filters it. Both are counted as `parse_failed`."""

    def __post_init__(self) -> None:
        """Check the pattern."""
        if (self.format == "regex") != (self.pattern is not None):
            raise InvalidField("pattern", "stands with format: regex, and only there")
        if self.pattern is None:
            return
        try:
            groups = re.compile(self.pattern).groupindex
        except re.error as error:
            raise InvalidField("pattern", f"is not a regular expression: {error}") from None
        if not groups:
            raise InvalidField("pattern", "has no named group, (?P<name>…), to make a field of")

    def build(self) -> Parse:
        """The transform."""
        return Parse(self)


class Parse(Gathering):
    """Calls the parser on each line: the first work per line in a pipeline, because fields were asked for.

    With `format: cri` or `docker` it also joins the parts into which the container runtime has cut long lines.
    """

    def __init__(self, config: ParseConfig) -> None:
        self._drop = config.on_error == "drop"
        self._parse = _regex(config.pattern) if config.pattern is not None else PARSERS[config.format]
        self._part = PARTS.get(config.format)
        self.gathers = self._part is not None

    def prepare(self, batch: Batch) -> Batch:
        """Records in place of lines; after another parser, what that left in `message` is parsed further."""
        parsed = (
            [self._parse(_line(record)) for record in batch.records]
            if batch.parsed
            else list(map(self._parse, batch.lines))
        )
        failed = parsed.count(None)
        if batch.parsed:
            parsed = [
                new if new is None else {**_without_message(old), **new}
                for old, new in zip(batch.records, parsed, strict=True)
            ]
        if failed:
            batch.note("parse_failed", failed)
            if self._drop:
                batch = batch.keep([record is not None for record in parsed])
                parsed = [record for record in parsed if record is not None]
            else:
                parsed = [old if new is None else new for old, new in zip(batch.records, parsed, strict=True)]
        return batch.with_records([record for record in parsed if record is not None])

    def concerns(self, text: str) -> bool:
        """Whether there is a part of a line."""
        return self._part is not None and bool(self._part(text))

    def gather(self, batch: Batch) -> Gathered | None:
        """The parts of a line of the same stream, up to the one that is its end."""
        records = batch.records
        if not any("partial" in record for record in records):
            return None
        members: list[list[int]] = []
        begun: dict[Any, list[int]] = {}
        for place, record in enumerate(records):
            stream = record.get("stream")
            line = begun.get(stream)
            if line is None:
                line = []
                members.append(line)
            line.append(place)
            if record.get("partial"):
                begun[stream] = line
            else:
                begun.pop(stream, None)
        return Gathered(members, min((line[0] for line in begun.values()), default=len(records)))

    def join(self, batch: Batch, members: Sequence[Sequence[int]]) -> Batch:
        """The texts of the parts, one behind the other; a line whose end is missing stays `partial`."""
        return batch.merge(members, [_joined([batch.records[place] for place in places]) for places in members])


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if len(parts) == 1:
        return parts[0]
    record = {**parts[0], MESSAGE: "".join(str(part[MESSAGE]) for part in parts)}
    if not parts[-1].get("partial"):
        del record["partial"]
    return record


def _line(record: Mapping[str, Any]) -> bytes:
    message = record.get(MESSAGE)
    return message.encode("utf-8", "replace") if isinstance(message, str) else b""


def _without_message(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != MESSAGE}


def _regex(pattern: str) -> Parser:
    expression = re.compile(pattern)

    def parse(line: bytes) -> dict[str, Any] | None:
        match = expression.fullmatch(line.decode())
        return match.groupdict() if match is not None else None

    return parse
