"""OpenMetrics 1.0 text: pages to families and back.

Differs from the Prometheus text format in what a page promises: units, `_created`, exemplars, timestamps in seconds,
`# EOF` at the end, counters whose samples end in `_total` while their HELP and TYPE lines do not.
Source: the OpenMetrics 1.0 specification (prometheus/OpenMetrics).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, repeat

from podpatterns.formats.exposition import LABELS, NAME, Dialect, Malformed, Reader, decoded
from podpatterns.formats.families import Blocks, Family, Kind, labels_of
from podpatterns.formats.numbers import canonical, column, floats

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
    return floats([text])[0]


DIALECT = Dialect(
    # One space between the parts and none elsewhere: the format leaves no choice.
    sample=re.compile(
        rf"(?m)^({NAME})({LABELS})? ([^ \n]++)(?: ([-+0-9.eE]++))?(?: # ({LABELS} [^ \n]++(?: [-+0-9.eE]++)?))?$"
    ),
    idle=re.compile(r"# EOF"),
    directive=re.compile(rf"(?m)^# (HELP|TYPE|UNIT) ({NAME}) ?([^\n]*)$"),
    kinds=_KINDS,
    stamp=_seconds,
    bare=True,
)


def parse(data: bytes | str, blocks: Blocks | None = None, problems: list[Malformed] | None = None) -> list[Family]:
    """The families of a page, in its order; arguments and errors as in `prometheus.parse`."""
    reader = _Strict(DIALECT, decoded(data), Blocks() if blocks is None else blocks)
    reader.read()
    reader.check()
    if problems is not None:
        problems += reader.problems
    elif reader.problems:
        raise min(reader.problems, key=lambda problem: problem.line)
    return reader.families()


class _Strict(Reader):
    """Checks what only OpenMetrics promises."""

    def check(self) -> None:
        """The rules that need a whole family, or the whole page."""
        if not self.text.endswith("# EOF\n"):
            self.problem("the page must end with # EOF", len(self.text))
        elif (at := self.text.find("\n# EOF\n")) >= 0 and at + 7 < len(self.text):
            self.problem("nothing may follow # EOF", at + 7)
        for draft in self.drafts.values():
            for message in _mistakes(draft.name, draft.family):
                self.problem(f"{draft.name}: {message}", draft.place)


def _mistakes(name: str, family: Family) -> Iterator[str]:
    if family.unit and not name.endswith(f"_{family.unit}"):
        yield f'the name must end with its unit, "_{family.unit}"'
    if family.unit and family.kind in ("info", "stateset"):
        yield f"a {family.kind} has no unit"
    keys = family.keys()
    if family.stamps is None and len(set(keys)) != len(keys):
        yield "a sample stands there twice"
    if family.kind in ("counter", "histogram") and any(not value >= 0 for value in family.values):
        yield f"a {family.kind} cannot be negative or NaN"
    if family.kind == "info" and any(value != 1 for value in family.values):
        yield "an info is always 1"
    if family.kind == "stateset" and any(value not in (0, 1) for value in family.values):
        yield "a state is 0 or 1"
    if family.kind in ("histogram", "gaugehistogram"):
        yield from _bucket_mistakes(family)


def _bucket_mistakes(family: Family) -> Iterator[str]:
    series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for suffix, text, value in zip(family.suffixes or (), family.blocks, family.values, strict=False):
        if suffix == "_bucket":
            labels = labels_of(text)
            bound = dict(labels).get("le")
            if bound is None:
                yield "a bucket has no le"
                continue
            try:
                limit = floats([bound])[0]
            except ValueError:
                yield f'le="{bound}" is not a number'
                continue
            series.setdefault(tuple(pair for pair in labels if pair[0] != "le"), []).append((limit, value))
    for buckets in series.values():
        bounds = [bound for bound, _ in buckets]
        counts = [count for _, count in buckets]
        if bounds[-1] != float("inf"):
            yield 'the last bucket must be le="+Inf"'
        if bounds != sorted(set(bounds)):
            yield "the buckets must stand in ascending order"
        elif counts != sorted(counts):
            yield "the counts of the buckets must not fall"


def render(families: Iterable[Family]) -> bytes:
    """A page. A counter whose bare name another family bears is written as unknown, in full: neither is lost."""
    families = list(families)
    taken = {family.name for family in families if family.kind not in ("counter", "info")}
    written = [_expressible(family, taken) for family in families]
    return "".join(chain(chain.from_iterable(map(_family, written)), ("# EOF\n",))).encode()


def _expressible(family: Family, taken: set[str]) -> Family:
    if family.kind in ("counter", "info") and family.base in taken:
        kept = family
        if family.suffixes is not None:
            kept = family.keep([index for index, suffix in enumerate(family.suffixes) if not suffix])
        return replace(kept, kind="unknown", suffixes=None, unit="")
    return family


def _family(family: Family) -> Iterator[str]:
    name = family.base
    yield f"# TYPE {name} {family.kind}\n"
    if family.unit and name.endswith(f"_{family.unit}"):
        yield f"# UNIT {name} {family.unit}\n"
    if family.help:
        text = family.help.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
        yield f"# HELP {name} {text}\n"
    plain = {"counter": f"{name}_total", "info": f"{name}_info"}.get(family.kind, name)
    names: Iterable[str] = repeat(plain)
    blocks = family.blocks
    if family.suffixes is not None:
        names = [name + suffix if suffix else plain for suffix in family.suffixes]
    if family.kind in ("histogram", "summary", "gaugehistogram"):
        blocks = list(map(_canonical_bounds, blocks))
    ends = _ends(family)
    rows = zip(names, blocks, repeat(" "), column(family.values), ends)
    yield from chain.from_iterable(rows)


def _ends(family: Family) -> Iterable[str]:
    if family.stamps is None and not family.exemplars:
        return repeat("\n")
    stamps = family.stamps or [None] * len(family.values)
    ends = ["\n" if stamp is None else f" {_stamp(stamp)}\n" for stamp in stamps]
    for index, text in family.exemplars.items():
        ends[index] = f"{ends[index][:-1]} # {text}\n"
    return ends


def _stamp(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


_BOUND = re.compile(r'(?<=[{,])(le|quantile)="([^"]*)"\}$')


def _canonical_bounds(text: str) -> str:
    return _BOUND.sub(_bound, text) if text.endswith('"}') else text


def _bound(match: re.Match[str]) -> str:
    try:
        return f'{match[1]}="{canonical(float(match[2]))}"}}'
    except ValueError:
        return match[0]
