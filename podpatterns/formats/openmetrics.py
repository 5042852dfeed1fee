"""OpenMetrics 1.0 text: pages to families and back.

Differs from the Prometheus text format in what a page promises: units, `_created`, exemplars, timestamps in seconds,
`# EOF` at the end, counters whose samples end in `_total` while their HELP and TYPE lines do not.
Source: the OpenMetrics 1.0 specification (prometheus/OpenMetrics).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

from podpatterns.formats.bounds import unbounded, without
from podpatterns.formats.escaping import Scheme, escaped
from podpatterns.formats.exposition import NAME, PLAIN_LABELS, SERIES_NAME, Dialect, Malformed, Reader, decoded
from podpatterns.formats.families import Blocks, Family, Kind, is_metric_name
from podpatterns.formats.numbers import canonical, floats
from podpatterns.formats.openmetrics_rules import REAL, mistakes
from podpatterns.formats.sample_lines import quoted_series, sample_lines, shown_name

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_KINDS: dict[str, Kind] = {
    "counter": "counter",
    "gauge": "gauge",
    "histogram": "histogram",
    "summary": "summary",
    "unknown": "unknown",
    "info": "info",
    "stateset": "stateset",
    "gaugehistogram": "gaugehistogram",
}


def _seconds(text: str) -> float:
    if not REAL.fullmatch(text):
        raise ValueError("a time is finite")
    return floats((text,))[0]


DIALECT = Dialect(
    # One space between the parts and none elsewhere: the format leaves no choice.
    sample=re.compile(
        rf"(?m)^({SERIES_NAME})({PLAIN_LABELS})? ([^ \n]++)(?: ([^ #\n]++))?"
        rf"(?: # ({PLAIN_LABELS} [^ \n]++(?: [^ \n]++)?))?$"
    ),
    idle=re.compile(r"# EOF"),
    directive=re.compile(rf"(?m)^# (HELP|TYPE|UNIT) ({NAME}) ([^\n]*)$"),
    kinds=_KINDS,
    stamp=_seconds,
    bare=True,
)


def parse(data: bytes | str, blocks: Blocks | None = None, problems: list[Malformed] | None = None) -> list[Family]:
    """The families of a page, in its order; arguments and errors as in `prometheus.parse`."""
    reader = Reader(DIALECT, decoded(data), Blocks() if blocks is None else blocks)
    reader.read()
    reader.problems += _page_mistakes(reader)
    for draft in reader.drafts.values():
        for message, index in mistakes(draft.name, draft.family, draft.created):
            reader.problem(f"{draft.name}: {message}", draft.place if index is None else reader.place(draft, index))
        if reader.problems:
            draft.family = without(draft.family, unbounded(draft.family))
    reader.told(problems)
    return reader.families()


def _page_mistakes(reader: Reader) -> Iterator[Malformed]:
    text = reader.text
    end = f"\n{text}".find("\n# EOF\n")
    if end < 0:
        yield Malformed("the page must end with # EOF", text.count("\n") + 1)
    elif end + 6 < len(text):
        yield Malformed("nothing may follow # EOF", text.count("\n", 0, end + 6) + 1)


def render(families: Iterable[Family], escaping: Scheme = "allow-utf-8") -> bytes:
    """A page. A counter whose bare name another family bears is written as unknown, in full: neither is lost."""
    families = list(escaped(families, escaping))
    taken = {family.name for family in families if family.kind not in ("counter", "info")}
    written = chain.from_iterable(_family(_expressible(family, taken)) for family in families)
    return "".join(chain(written, ("# EOF\n",))).encode()


def _expressible(family: Family, taken: set[str]) -> Family:
    unmarked = family.base == family.name and family.kind in ("counter", "info")
    if family.kind in ("counter", "info") and (unmarked or family.base in taken):
        return replace(family, kind="unknown", suffixes=None, starts=None, exemplars={})
    if family.starts is not None and f"{family.base}_created" in taken:
        return replace(family, starts=None)
    return family


def _family(family: Family) -> Iterator[str]:
    name = family.base
    shown = shown_name(name)
    yield f"# TYPE {shown} {family.kind}\n"
    if family.unit and name.endswith(f"_{family.unit}") and family.kind not in ("info", "stateset"):
        yield f"# UNIT {shown} {family.unit}\n"
    if family.help:
        text = family.help.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
        yield f"# HELP {shown} {text}\n"
    blocks = family.blocks
    if family.kind in ("histogram", "summary", "gaugehistogram"):
        blocks = list(map(_canonical_bounds, blocks))
    yield sample_lines(family.name, blocks, family.values, family.suffixes, _ends(family))


def _ends(family: Family) -> list[str] | None:
    """What stands behind each value: its time, its exemplar, and when its series began, which is a line of its own."""
    if family.stamps is None and family.starts is None and not family.exemplars:
        return None
    stamps = family.stamps or [None] * len(family.values)
    ends = ["\n" if stamp is None else f" {_stamp(stamp)}\n" for stamp in stamps]
    allowed = _EXEMPLARS.get(family.kind)
    for index, text in family.exemplars.items():
        if (family.suffixes[index] if family.suffixes else "") == allowed:
            ends[index] = f"{ends[index][:-1]} # {text}\n"
    if family.starts is not None and family.kind in ("counter", "histogram", "summary"):
        last = {text: index for index, text in enumerate(family.blocks) if family.starts[index] is not None}
        for text, index in last.items():
            ends[index] += _created(family, text, family.starts[index], stamps[index])
    return ends


_EXEMPLARS = {"counter": "", "histogram": "_bucket", "gaugehistogram": "_bucket"}
"""By kind, the suffix of the samples that may have one."""


def _created(family: Family, text: str, start: float | None, stamp: float | None) -> str:
    assert start is not None
    name = f"{family.base}_created"
    series = name + text if is_metric_name(name) else quoted_series(name, text)
    return f"{series} {_stamp(start)}{'' if stamp is None else f' {_stamp(stamp)}'}\n"


def _stamp(seconds: float) -> str:
    return repr(float(seconds)).removesuffix(".0")


_BOUND = re.compile(r'(?<=[{,])(le|quantile)="([^"]*)"\}$')


def _canonical_bounds(text: str) -> str:
    return _BOUND.sub(_bound, text) if text.endswith('"}') else text


def _bound(match: re.Match[str]) -> str:
    try:
        return f'{match[1]}="{canonical(float(match[2]))}"}}'
    except ValueError:
        return match[0]
