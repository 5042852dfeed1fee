"""Metric families as columns: what flows through the adapter.

A family holds its samples as parallel columns of label text and values, so that the work on a sample is what
`map`, `zip` and `join` do for the column. Label text is a *block*: `{code="200",method="GET"}` with names sorted,
`le` and `quantile` last, values escaped as in the exposition formats; no labels are the empty block "". Names that are
not of the old alphabet stand in quotes: `{"http.status"="200"}`. Two blocks are equal exactly when their labels are.

One piece: families, the blocks in them and the names in those are told apart by the same few expressions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, TypeVar

Kind = Literal["counter", "gauge", "histogram", "summary", "unknown", "info", "stateset", "gaugehistogram"]
Labels = tuple[tuple[str, str], ...]
C = TypeVar("C")

SUFFIXES: dict[str, tuple[str, ...]] = {
    "counter": ("",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("", "_count", "_sum"),
    "unknown": ("",),
    "info": ("",),
    "stateset": ("",),
    "gaugehistogram": ("_bucket", "_gcount", "_gsum"),
}
"""What may follow the family's name in the names of its samples, by kind."""


@dataclass(slots=True)
class Family:
    """One metric with all its series.

    `name` is the name that samples bear, `_total` and `_info` included. `suffixes` is None where every sample bears
    just that name. `stamps` are seconds since 1970; None where no sample has one. `exemplars` maps a sample's index to
    the text behind its `#`. `source` is the name before it was made fit for Prometheus; mapping rules read it.

    `starts` says since when a series has been counting, in seconds since 1970, beside each sample whose labels are the
    series' own (not beside buckets and quantiles): OpenMetrics' `_created`. `natives` maps the index of a histogram's
    `_count` to the fields of its native histogram, as protobuf has them.
    """

    name: str
    kind: Kind = "unknown"
    help: str = ""
    unit: str = ""
    blocks: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    suffixes: list[str] | None = None
    stamps: list[float | None] | None = None
    exemplars: dict[int, str] = field(default_factory=dict)
    source: str = ""
    starts: list[float | None] | None = None
    natives: dict[int, bytes] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The name that OpenMetrics uses: without `_total` or `_info`."""
        if self.kind == "counter":
            return self.name.removesuffix("_total")
        return self.name.removesuffix("_info") if self.kind == "info" else self.name

    def add(self, value: float, labels: Iterable[tuple[str, str]] = (), suffix: str = "") -> None:
        """Append a sample; for those who build a family by hand. Labels need not be in order."""
        if suffix and self.suffixes is None:
            self.suffixes = [""] * len(self.values)
        self.blocks.append(block(labels))
        self.values.append(value)
        if self.suffixes is not None:
            self.suffixes.append(suffix)
        if self.stamps is not None:
            self.stamps.append(None)
        if self.starts is not None:
            self.starts.append(None)

    def keys(self) -> list[str]:
        """What tells the samples apart: suffix and block."""
        if self.suffixes is None:
            return self.blocks
        return list(map(str.__add__, self.suffixes, self.blocks))

    def copy(self) -> Family:
        """A family of the same samples with columns of its own."""

        def own(column: list[C] | None) -> list[C] | None:
            return None if column is None else column.copy()

        return replace(
            self,
            blocks=self.blocks.copy(),
            values=self.values.copy(),
            suffixes=own(self.suffixes),
            stamps=own(self.stamps),
            exemplars=self.exemplars.copy(),
            starts=own(self.starts),
            natives=self.natives.copy(),
        )

    def keep(self, indices: Sequence[int]) -> Family:
        """A family of some of the samples, in the order of `indices`."""
        return Family(
            self.name,
            self.kind,
            self.help,
            self.unit,
            [self.blocks[i] for i in indices],
            [self.values[i] for i in indices],
            None if self.suffixes is None else [self.suffixes[i] for i in indices],
            None if self.stamps is None else [self.stamps[i] for i in indices],
            _renumbered(self.exemplars, indices),
            self.source,
            None if self.starts is None else [self.starts[i] for i in indices],
            _renumbered(self.natives, indices),
        )

    def extend(self, other: Family) -> None:
        """Append the samples of another family of the same kind."""
        at, more = len(self.values), len(other.values)
        if self.suffixes is not None or other.suffixes is not None:
            self.suffixes = (self.suffixes or [""] * at) + (other.suffixes or [""] * more)
        self.stamps = _joined(self.stamps, other.stamps, at, more)
        self.starts = _joined(self.starts, other.starts, at, more)
        self.exemplars = {**self.exemplars, **{at + index: text for index, text in other.exemplars.items()}}
        self.natives = {**self.natives, **{at + index: found for index, found in other.natives.items()}}
        self.blocks = self.blocks + other.blocks
        self.values = self.values + other.values


V = TypeVar("V")


def _renumbered(found: dict[int, V], indices: Sequence[int]) -> dict[int, V]:
    return {new: found[old] for new, old in enumerate(indices) if old in found} if found else {}


def _joined(
    mine: list[float | None] | None, theirs: list[float | None] | None, at: int, more: int
) -> list[float | None] | None:
    """Two columns of which either may be missing, with `at` and `more` samples."""
    if mine is None and theirs is None:
        return None
    none: list[float | None] = [None]
    return (mine or none * at) + (theirs or none * more)


# --- label blocks -----------------------------------------------------------------------------------------------------

TEXT = r'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"'
"""A text in quotes."""
_PART = re.compile(rf"[ \t]*+([a-zA-Z_][a-zA-Z0-9_]*+|{TEXT})[ \t]*+(?:=[ \t]*+({TEXT})[ \t]*+)?(,?)")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_PLAIN = re.compile(r'[^\\"\n]*')
_UNESCAPED = {"n": "\n", "\\": "\\", '"': '"'}
_LAST = {"le": 1, "quantile": 1}


class InvalidLabels(ValueError):  # noqa: N818 - named after what is wrong
    """A block that is not well formed; `offset` is where in it."""

    def __init__(self, message: str, offset: int) -> None:
        self.offset = offset
        super().__init__(message)


def escape(text: str) -> str:
    """A label value as it stands between quotes."""
    if _PLAIN.fullmatch(text):
        return text
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _unescape(text: str) -> str:
    # An unknown escape stays as it is, as in Prometheus.
    return _ESCAPE.sub(lambda match: _UNESCAPED.get(match[1], match[0]), text) if "\\" in text else text


def _order(label: tuple[str, str]) -> tuple[int, str]:
    return _LAST.get(label[0], 0), label[0]


def unquoted(text: str) -> str:
    """What stands between quotes, as it is meant."""
    return _unescape(text[1:-1])


def quoted(text: str) -> str:
    """A name or value in quotes."""
    return f'"{escape(text)}"'


def block(labels: Iterable[tuple[str, str]]) -> str:
    """The block of some labels; an empty value is no label."""
    inner = ",".join(
        [
            f'{name if _LABEL_NAME.fullmatch(name) else quoted(name)}="{escape(value)}"'
            for name, value in sorted(labels, key=_order)
            if value
        ]
    )
    return f"{{{inner}}}" if inner else ""


def named(text: str) -> tuple[str, Labels]:
    """The name in a block, "" if there is none, and its labels in their order: `{"http.requests",code="200"}`.

    Raises:
        InvalidLabels: with the offset of the mistake.
    """
    metric = ""
    found: dict[str, str] = {}
    at, end, more = 1, len(text) - 1, True
    while text[at:end].strip(" \t"):
        match = _PART.match(text, at, end)
        if match is None or not more:
            raise InvalidLabels('expected name="value", separated by commas', at)
        name, value, comma = match.groups()
        if name[0] == '"':
            name = unquoted(name)
        elif value is None:
            raise InvalidLabels('expected name="value", separated by commas', at)
        if value is None:
            if metric or not name:
                raise InvalidLabels("a name in quotes stands there twice or is empty", at)
            metric = name
        elif name in found or not name or name == "__name__":
            trouble = f'the label "{name}" stands there twice' if name in found else f'"{name}" cannot be a label here'
            raise InvalidLabels(trouble, at)
        else:
            found[name] = unquoted(value)
        at, more = match.end(), bool(comma)
    return metric, tuple(found.items())


def parsed(text: str) -> Labels:
    """The labels of a block as it is found on a page, in its order.

    Raises:
        InvalidLabels: with the offset of the mistake.
    """
    metric, labels = named(text) if text else ("", ())
    if metric:
        raise InvalidLabels(f'"{metric}" is a second name, or a label without its value', 1)
    return labels


@lru_cache(maxsize=65_536)
def labels_of(text: str) -> Labels:
    """The labels of a block, remembered by its text."""
    return parsed(text)


def with_label(text: str, name: str, value: str) -> str:
    """A canonical block with one more label, for `le` and `quantile`, which stand last."""
    return f'{text[:-1]},{name}="{value}"}}' if text else f'{{{name}="{value}"}}'


class Blocks(dict[str, str]):
    """Remembers the canonical block of each text seen: `map(blocks.__getitem__, texts)` costs a look-up per known text.

    `series` remembers whole series as pages have them, `name{labels}`, with their name and canonical block. Both are
    bounded: beyond `limit` they start anew, which costs one slow page.
    """

    def __init__(self, limit: int = 200_000) -> None:
        super().__init__()
        self.limit = limit
        self.series: dict[str, tuple[str, str]] = {}

    def __missing__(self, text: str) -> str:
        canonical = block(parsed(text))
        if len(self) >= self.limit:
            self.clear()
        # The same object where nothing changed: the text is then held once.
        self[text] = canonical = text if canonical == text else canonical
        return canonical

    def block(self, labels: Labels) -> str:
        """The one object that is the block of these labels."""
        canonical = block(labels)
        return self.setdefault(canonical, canonical) if len(self) < self.limit else canonical

    def remember(self, names: Sequence[str], texts: Sequence[str], canonical: Sequence[str]) -> None:
        """Remember series by their names and blocks, as they were written and as they are meant."""
        if len(self.series) >= self.limit:
            self.series.clear()
        self.series.update(zip(map(str.__add__, names, texts), zip(names, canonical, strict=True), strict=True))

    def learn(self, lines: Sequence[str]) -> None:
        """Remember those of some series, `name{labels}`, that are canonical; the others are left to be read one by one.

        Whether one is canonical is told by its shape, the text without its values: a page has few shapes, and one
        substitution finds those of all its series.
        """
        # An escape may be one that is not needed, an empty value is no label: both are looked at one by one.
        new = [
            line for line in dict.fromkeys(lines) if line not in self.series and "\\" not in line and '""' not in line
        ]
        shapes = _VALUES.sub('=""', "\n".join(new)).split("\n")
        if len(self) + len(new) > self.limit or len(shapes) != len(new):
            return
        names = list(map(_name_of, shapes))
        if not all(names):
            good = [index for index, name in enumerate(names) if name]
            new, names = [new[index] for index in good], [names[index] for index in good]
        texts = [line[len(name) :] for line, name in zip(new, names, strict=True)]
        self.series.update(zip(new, zip(names, map(self.setdefault, texts, texts), strict=True), strict=True))


_VALUES = re.compile(r'="[^"]*"')


@lru_cache(maxsize=4096)
def _name_of(shape: str) -> str:
    """The name of a series of this shape, `name{a="",b=""}`, if its block is canonical; otherwise ""."""
    name, brace, inner = shape.partition("{")
    text = (brace + inner).replace('=""', '="x"')
    try:
        return name if is_metric_name(name) and block(parsed(text)) == text else ""
    except InvalidLabels:
        return ""


class Rewritten(dict[str, V]):
    """Remembers what a function makes of each block. Bounded like `Blocks`."""

    def __init__(self, function: Callable[[str], V], limit: int = 200_000) -> None:
        super().__init__()
        self.function, self.limit = function, limit

    def __missing__(self, text: str) -> V:
        if len(self) >= self.limit:
            self.clear()
        self[text] = result = self.function(text)
        return result


# --- names ------------------------------------------------------------------------------------------------------------

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NOT_METRIC = re.compile(r"[^a-zA-Z0-9_:]")
_NOT_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def is_metric_name(text: str) -> bool:
    """Whether every Prometheus accepts this as the name of a metric."""
    return _METRIC.fullmatch(text) is not None


def is_label_name(text: str) -> bool:
    """Whether every Prometheus accepts this as the name of a label."""
    return _LABEL_NAME.fullmatch(text) is not None


def is_utf8_name(text: str) -> bool:
    """Whether a Prometheus since 3.0 accepts this as a name: it is there, and can be written."""
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def metric_name(text: str) -> str:
    """A name made fit: each other character becomes `_`, and a digit does not stand first. "" stays ""."""
    name = _NOT_METRIC.sub("_", text)
    return f"_{name}" if name[:1].isdigit() else name


RESERVED = frozenset({"le", "quantile", "__name__"})
"""Labels that mean something of their own: nobody's tag may bear one of these names."""


def label_name(text: str) -> str:
    """The same for a label, which has no colons."""
    name = _NOT_LABEL.sub("_", text)
    return f"_{name}" if name[:1].isdigit() else name


def foreign_label(text: str) -> str:
    """The same for a tag that others send, out of the way of the labels that are reserved."""
    label = label_name(text)
    return f"exported_{label}" if label in RESERVED else label
