"""The Prometheus text format 0.0.4: pages to families and back.

    families = parse(page)
    page = render(families)

`parse(render(x)) == x` for families that the format can express; exemplars and units are OpenMetrics' own.
Source: prometheus.io/docs/instrumenting/exposition_formats; prometheus/common expfmt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, repeat

from podpatterns.formats.exposition import LABELS, NAME, Dialect, Malformed, Reader, decoded
from podpatterns.formats.families import Blocks, Family, Kind
from podpatterns.formats.numbers import column

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_KINDS: dict[str, Kind] = {
    "counter": "counter",
    "gauge": "gauge",
    "histogram": "histogram",
    "summary": "summary",
    "untyped": "unknown",
}
_WRITTEN = {
    "counter": "counter",
    "gauge": "gauge",
    "histogram": "histogram",
    "summary": "summary",
    "unknown": "untyped",
    "info": "gauge",
    "stateset": "gauge",
}


def _milliseconds(text: str) -> float:
    return int(text) / 1000


DIALECT = Dialect(
    sample=re.compile(
        rf"(?m)^[ \t]*+({NAME})[ \t]*+({LABELS})?[ \t]*+(?<![^ \t}}])([^ \t\n{{]++)(?:[ \t]++(-?[0-9]++))?[ \t]*+()$"
    ),
    idle=re.compile(r"[ \t]*(?:#.*)?"),
    directive=re.compile(rf"(?m)^[ \t]*+#[ \t]++(HELP|TYPE)[ \t]++({NAME})(?:[ \t]++|$)([^\n]*)$"),
    kinds=_KINDS,
    stamp=_milliseconds,
    bare=False,
)


def parse(data: bytes | str, blocks: Blocks | None = None, problems: list[Malformed] | None = None) -> list[Family]:
    """The families of a page, in its order.

    Args:
        data: the whole page.
        blocks: remembers label texts from page to page; pages of the same series are then read several times faster.
        problems: where to put what is wrong; the rest of the page is read all the same.

    Raises:
        Malformed: the first mistake, where `problems` is not given.
    """
    reader = Reader(DIALECT, decoded(data), Blocks() if blocks is None else blocks)
    reader.read()
    if problems is not None:
        problems += reader.problems
    elif reader.problems:
        raise min(reader.problems, key=lambda problem: problem.line)
    return reader.families()


def render(families: Iterable[Family]) -> bytes:
    """A page. Samples that the format has no place for (`_created`, those of a gauge histogram) become gauges."""
    return "".join(chain.from_iterable(map(_family, chain.from_iterable(map(_expressible, families))))).encode()


def _expressible(family: Family) -> Iterator[Family]:
    """The family as one or several that the format knows."""
    if family.suffixes is None:
        yield family
        return
    own = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("", "_count", "_sum")}.get(family.kind, ("",))
    present = set(family.suffixes)
    apart = [suffix for suffix in sorted(present) if suffix not in own]
    if not apart:
        yield family
        return
    if present - set(apart):
        yield family.keep([index for index, suffix in enumerate(family.suffixes) if suffix in own])
    for suffix in apart:
        part = family.keep([index for index, each in enumerate(family.suffixes) if each == suffix])
        part.name, part.kind, part.suffixes = family.base + suffix, "gauge", None
        yield part


def _family(family: Family) -> Iterator[str]:
    name = family.name
    if family.help:
        yield f"# HELP {name} {_escaped(family.help)}\n"
    yield f"# TYPE {name} {_WRITTEN[family.kind]}\n"
    names = repeat(name) if family.suffixes is None else map(name.__add__, family.suffixes)
    if family.stamps is None:
        ends: Iterable[str] = repeat("\n")
    else:
        ends = ["\n" if stamp is None else f" {round(stamp * 1000)}\n" for stamp in family.stamps]
    rows = zip(names, family.blocks, repeat(" "), column(family.values), ends)
    yield from chain.from_iterable(rows)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
