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
from functools import lru_cache
from itertools import chain

from podpatterns.formats.escaping import Scheme, escaped
from podpatterns.formats.exposition import LABELS, NAME, SERIES_NAME, Dialect, Malformed, Reader, decoded
from podpatterns.formats.families import Blocks, Family, Kind, labels_of
from podpatterns.formats.numbers import floats
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
    return int(text) / 1000


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
        for index in _without_bound(draft.family):
            bound = _BOUNDS[draft.family.kind]
            reader.problem(f"{draft.name}: {bound} is not a number", reader.place(draft, index))
    reader.told(problems)
    return reader.families()


_BOUNDS = {"histogram": "le", "summary": "quantile"}


def _without_bound(family: Family) -> list[int]:
    """The samples of a histogram or summary whose `le` or `quantile` is no number."""
    if family.kind not in _BOUNDS:
        return []
    suffixes = family.suffixes if family.suffixes is not None else [""] * len(family.blocks)
    numbered = "_bucket" if family.kind == "histogram" else ""
    bounds = zip(suffixes, family.blocks, strict=True)
    return [index for index, (suffix, text) in enumerate(bounds) if suffix == numbered and not _bounded(text)]


@lru_cache(maxsize=65_536)
def _bounded(text: str) -> bool:
    labels = dict(labels_of(text))
    try:
        floats([labels.get("le") or labels.get("quantile") or "none"])
    except ValueError:
        return False
    return True


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
