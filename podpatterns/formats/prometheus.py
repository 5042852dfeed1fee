"""The Prometheus text format, 0.0.4 and 1.0.0: pages to families and back.

    families = parse(page)
    page = render(families)

`parse(render(x)) == x` for families that the format can express; exemplars and units are OpenMetrics' own. The two
versions differ in the names that may stand in a page: since 1.0.0 any UTF-8, in quotes.
Source: prometheus.io/docs/instrumenting/exposition_formats; prometheus/common expfmt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from podpatterns.formats.bounds import BOUNDS, unbounded, without
from podpatterns.formats.escaping import Scheme, escaped
from podpatterns.formats.exposition import LABELS, NAME, SERIES_NAME, Dialect, Malformed, Reader, decoded
from podpatterns.formats.families import Blocks, Family, Kind
from podpatterns.formats.sample_lines import sample_lines, shown_name

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CONTENT_TYPE_1 = "text/plain; version=1.0.0; charset=utf-8"
"""The same with names in UTF-8, in quotes."""

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
    stamp = int(text)
    if not -(2**63) <= stamp < 2**63:
        raise ValueError("a time has 64 bits")
    return stamp / 1000


DIALECT = Dialect(
    sample=re.compile(
        rf"(?m)^[ \t]*+({SERIES_NAME})[ \t]*+({LABELS})?[ \t]*+(?<![^ \t}}])([^ \t\n{{]++)"
        r"(?:[ \t]++(-?[0-9]++))?[ \t]*+()$"
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
    for draft in reader.drafts.values():
        lost = unbounded(draft.family)
        for index in lost:
            reader.problem(f"{draft.name}: {BOUNDS[draft.family.kind]} is not a number", reader.place(draft, index))
        draft.family = without(draft.family, lost)
    reader.told(problems)
    return reader.families()


def render(families: Iterable[Family], escaping: Scheme = "allow-utf-8") -> bytes:
    """A page, with names escaped for those who take none but the old ones.

    What the format has no place for is left out: units, exemplars, start times, native histograms. The sums and counts
    of a gauge histogram become gauges.
    """
    known = chain.from_iterable(map(_expressible, escaped(families, escaping)))
    return "".join(chain.from_iterable(map(_family, known))).encode()


def _expressible(family: Family) -> Iterator[Family]:
    """The family as one or several that the format knows."""
    if family.kind != "gaugehistogram" or family.suffixes is None:
        yield family
        return
    for suffix in sorted(set(family.suffixes)):
        part = family.keep([index for index, each in enumerate(family.suffixes) if each == suffix])
        part.name, part.kind, part.suffixes = family.name + suffix, "gauge", None
        yield part


def _family(family: Family) -> Iterator[str]:
    name = shown_name(family.name)
    if family.help:
        yield f"# HELP {name} {_escaped(family.help)}\n"
    yield f"# TYPE {name} {_WRITTEN[family.kind]}\n"
    ends = None
    if family.stamps is not None:
        ends = ["\n" if stamp is None else f" {round(stamp * 1000)}\n" for stamp in family.stamps]
    yield sample_lines(family.name, family.blocks, family.values, family.suffixes, ends)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
