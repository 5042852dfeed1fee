"""Graphite's plaintext lines: `name;tag=value;tag=value number seconds`.

    points = parse_lines(lines)
    lines = render(points)

`-1` or `N` as the time, or none at all, is now. Source: graphite.readthedocs.io, "Feeding In Your Data" and "Tag
Support".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from podpatterns.formats.families import foreign_label
from podpatterns.formats.points import Point
from podpatterns.formats.refusal import Refused, number

_NOT_NAME = re.compile(r"[\s;~]")
_NOT_TAG = re.compile(r"[\s;~!^=]")
_NOT_VALUE = re.compile(r"[\s;]")


def split(raw: bytes) -> tuple[bytes, str, str]:
    """Series, number and time of a line without its end, as text; the time is "" where the line has none.

    Raises:
        Refused: the line has another number of parts, or its number or time is none.
    """
    parts = raw.split()
    if not 2 <= len(parts) <= 3:
        raise Refused("bad_line")
    try:
        value, stamp = parts[1].decode("ascii"), parts[2].decode("ascii") if len(parts) == 3 else ""
    except UnicodeDecodeError:
        raise Refused("bad_line") from None
    if stamp not in ("", "N", "-1"):
        try:
            number(stamp)
        except Refused:
            raise Refused("timestamp", stamp) from None
    return parts[0], value, stamp


def series(raw: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Name and tags of a series.

    Raises:
        Refused: not_utf8, no_name or bad_tags.
    """
    try:
        name, *tags = raw.decode().split(";")
    except UnicodeDecodeError:
        raise Refused("not_utf8") from None
    if not name.strip("."):
        raise Refused("no_name")
    found: dict[str, str] = {}
    for tag in tags:
        key, equals, value = tag.partition("=")
        if not key or not equals:
            raise Refused("bad_tags", tag)
        found[foreign_label(key)] = value
    return name, tuple(found.items())


def parse(raw: bytes) -> Point:
    """Read one line.

    Raises:
        Refused: it means nothing, and why.
    """
    key, value, stamp = split(raw)
    name, labels = series(key)
    return Point(name, labels, number(value), None if stamp in ("", "N", "-1") else float(stamp))


def render(points: Iterable[Point], *, tags: bool = True) -> Iterator[str]:
    """A line for each point. Without `tags` labels become segments of the name, as Graphite before 1.1 needs it."""
    for point in points:
        name = _NOT_NAME.sub("_", point.name)
        if tags:
            series = "".join(
                [name, *(f";{_NOT_TAG.sub('_', label)}={_value(value)}" for label, value in point.labels if value)]
            )
        else:
            series = ".".join([name, *(_segment(part) for pair in point.labels for part in pair)])
        yield f"{series} {_number(point.value)} {'-1' if point.stamp is None else round(point.stamp)}\n"


def _value(text: str) -> str:
    value = _NOT_VALUE.sub("_", text)
    return f"_{value[1:]}" if value.startswith("~") else value  # a tilde in front would ask for an expression


def _segment(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_:-]", "_", text)


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")
