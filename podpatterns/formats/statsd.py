"""StatsD lines, in every dialect that is in use.

    name:value[:value...]|type[|@rate][|#tag:value,...][|c:container][|Tunix][|e:external][|card:level]

Types are c, g, ms, h, d and s. Tags stand in one of four styles: DogStatsD's `|#k:v`, Librato's `name#k=v`, InfluxDB's
`name,k=v` and SignalFx's `name[k=v]`. The module is pure: it says what a line means, or why it is refused.

Sources: etsy/statsd docs/metric_types.md; DogStatsD datagram format 1.0 to 1.6 (docs.datadoghq.com).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from podpatterns.formats.families import foreign_label
from podpatterns.formats.refusal import Refused, number

Type = Literal["c", "g", "ms", "h", "d", "s"]

MIN_RATE = 1e-6
"""The smallest sample rate that is believed: one sample then stands for a million. A smaller one is a typing error
or an attack, and a single line with it would drown every other."""

SKIPPED = {"_e{": "event", "_sc|": "service_check"}
"""What DogStatsD carries beside metrics, by its beginning: counted, and skipped."""


class Skipped(ValueError):  # noqa: N818 - named after what happened to the line
    """A line that is fine but no metric; `what` is a value of SKIPPED."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what.replace('_', ' ')}s are no metrics; this one is counted and skipped")


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says. `values` stay text: a set's members are no numbers, and a gauge's sign is a change.

    `stamp` is in seconds since 1970, None for now. `lasting` is False where the next line of the same series
    will differ in more than the value, so that remembering this one's text would be in vain.
    """

    name: str
    type: Type
    values: tuple[str, ...]
    rate: float = 1.0
    tags: tuple[tuple[str, str], ...] = ()
    stamp: int | None = None

    @property
    def lasting(self) -> bool:
        """Whether the text around the value is worth remembering."""
        return self.stamp is None

    @property
    def weight(self) -> float:
        """How many happenings one sample stands for; a fraction counts too: @0.3 is 3⅓, not 3."""
        return 1 / self.rate


_TYPES: dict[str, Type] = {"c": "c", "g": "g", "ms": "ms", "h": "h", "d": "d", "s": "s", "m": "c"}
# "m" is what old clients call a meter: a counter.
_CHECK = re.compile(r"_sc\|[^|]+\|[0-3](?:\|.*)?", re.DOTALL)
_EVENT = re.compile(r"_e\{([0-9]{1,9}),([0-9]{1,9})\}:")


def parse(raw: bytes) -> Line:
    """Read one line, without its line end.

    Raises:
        Refused: it means nothing, and why.
        Skipped: it is an event or a service check.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Refused("not_utf8") from None
    text = text.removesuffix("\r")
    for start, what in SKIPPED.items():
        if text.startswith(start):
            _check_event(text)
            raise Skipped(what)
    head, colon, rest = _split_head(text)
    if not colon:
        raise Refused("no_value")
    value, bar, sections = rest.partition("|")
    if not value:
        raise Refused("no_value")
    if not bar:
        raise Refused("no_type")
    kind, *extras = sections.split("|")
    if kind not in _TYPES:
        raise Refused("no_type" if not kind else "unknown_type", kind)
    name, tags = _head(head)
    rate, stamp, dog = 1.0, None, None
    for extra in extras:
        if extra.startswith("@"):
            rate = _rate(extra[1:])
        elif extra.startswith("#"):
            dog = list(_dogstatsd_tags(extra[1:]))
        elif extra.startswith("T"):
            stamp = _stamp(extra[1:])
        elif extra and not extra.startswith(("c:", "e:", "card:")):
            raise Refused("unknown_section", extra)
    if dog and tags:
        raise Refused("mixed_tags", text[:80])
    values = (value,) if _TYPES[kind] == "s" else tuple(value.split(":"))
    unique = dict(tags or dog or ())
    return Line(name, _TYPES[kind], values, rate, tuple(unique.items()), stamp)


def render(line: Line) -> bytes:
    """A line as DogStatsD has it, without its line end. The name must hold none of `:|#,[`, and no tag `,` or `|`."""
    parts = [f"{line.name}:{':'.join(line.values)}", line.type]
    if line.rate != 1:
        parts.append(f"@{line.rate!r}")
    if line.tags:
        parts.append("#" + ",".join(f"{name}:{value}" for name, value in line.tags))
    if line.stamp is not None:
        parts.append(f"T{line.stamp}")
    return "|".join(parts).encode()


def _split_head(text: str) -> tuple[str, str, str]:
    """Name with tags, colon, rest. Tag values of the styles that stand in the name may hold colons."""
    bracket = text.find("[")
    if 0 <= bracket < text.find(":"):
        close = text.find("]:", bracket)
        close = close if close >= 0 else text.find("]", bracket)
        if close >= 0:
            head, colon, rest = text[close:].partition(":")
            return text[:close] + head, colon, rest
    return text.partition(":")


def _head(head: str) -> tuple[str, list[tuple[str, str]]]:
    """The name, and the tags in it."""
    for mark, style in (("[", _signalfx), ("#", _tail_tags), (",", _tail_tags)):
        if mark in head:
            name, inside = style(head, mark)
            break
    else:
        return _named(head), []
    if any(mark in name for mark in "[#,"):
        raise Refused("mixed_tags", head[:80])
    return _named(name), list(_equal_tags(inside))


def _named(name: str) -> str:
    if not name.strip("."):
        raise Refused("no_name")
    return name


def _tail_tags(head: str, mark: str) -> tuple[str, str]:
    name, _, inside = head.partition(mark)
    return name, inside


def _signalfx(head: str, _mark: str) -> tuple[str, str]:
    before, _, rest = head.partition("[")
    inside, bracket, after = rest.partition("]")
    if not bracket:
        raise Refused("bad_tags", head)
    return before + after, inside


def _equal_tags(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise Refused("bad_tags", part)
        yield foreign_label(name), value


def _dogstatsd_tags(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        if not part:
            continue  # clients write `|#` and a trailing comma when there are none
        name, colon, value = part.partition(":")
        if not name:
            raise Refused("bad_tags", part)
        # A bare tag is a statement: it is true.
        yield foreign_label(name), value if colon else "true"


def _rate(text: str) -> float:
    try:
        rate = number(text)
    except Refused:
        raise Refused("sample_rate", text) from None
    if not MIN_RATE <= rate <= 1:
        raise Refused("sample_rate", text)
    return rate


def _stamp(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Refused("timestamp", text)
    return int(text)


def _check_event(text: str) -> None:
    if text.startswith("_sc|"):
        if _CHECK.fullmatch(text) is None:
            raise Refused("bad_check")
        return
    match = _EVENT.match(text)
    if match is None or len(text[match.end() :].encode()) < int(match[1]) + 1 + int(match[2]):
        raise Refused("bad_event")
