"""Metric families as columns: what flows through the adapter.

A family holds its samples as parallel columns of label text and values, so that the work on a sample is what
`map`, `zip` and `join` do for the column. Label text is a *block*: `{code="200",method="GET"}` with names sorted,
`le` and `quantile` last, values escaped as in the exposition formats; no labels are the empty block "". Two blocks are
equal exactly when their labels are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "summary", "unknown", "info", "stateset", "gaugehistogram"]
Labels = tuple[tuple[str, str], ...]

SUFFIXES: dict[str, tuple[str, ...]] = {
    "counter": ("", "_created"),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
    "summary": ("", "_count", "_sum", "_created"),
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

    @property
    def base(self) -> str:
        """The name that OpenMetrics and the `_created` sample use: without `_total` or `_info`."""
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

    def keys(self) -> list[str]:
        """What tells the samples apart: suffix and block."""
        if self.suffixes is None:
            return self.blocks
        return list(map(str.__add__, self.suffixes, self.blocks))

    def keep(self, indices: Sequence[int]) -> Family:
        """A family of some of the samples, in the order of `indices`."""
        exemplars = {}
        if self.exemplars:
            exemplars = {new: self.exemplars[old] for new, old in enumerate(indices) if old in self.exemplars}
        return Family(
            self.name,
            self.kind,
            self.help,
            self.unit,
            [self.blocks[i] for i in indices],
            [self.values[i] for i in indices],
            None if self.suffixes is None else [self.suffixes[i] for i in indices],
            None if self.stamps is None else [self.stamps[i] for i in indices],
            exemplars,
            self.source,
        )

    def extend(self, other: Family) -> None:
        """Append the samples of another family of the same kind."""
        at = len(self.values)
        if self.suffixes is not None or other.suffixes is not None:
            self.suffixes = (self.suffixes or [""] * at) + (other.suffixes or [""] * len(other.values))
        if self.stamps is not None or other.stamps is not None:
            mine: list[float | None] = self.stamps or [None] * at
            theirs: list[float | None] = other.stamps or [None] * len(other.values)
            self.stamps = mine + theirs
        self.exemplars = {**self.exemplars, **{at + index: text for index, text in other.exemplars.items()}}
        self.blocks = self.blocks + other.blocks
        self.values = self.values + other.values


# --- label blocks -----------------------------------------------------------------------------------------------------

_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"([^"\\\n]*(?:\\[^\n][^"\\\n]*)*)"[ \t]*(,?)')
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


def block(labels: Iterable[tuple[str, str]]) -> str:
    """The block of some labels; an empty value is no label. Names must be valid: see `label_name`."""
    inner = ",".join([f'{name}="{escape(value)}"' for name, value in sorted(labels, key=_order) if value])
    return f"{{{inner}}}" if inner else ""


def parsed(text: str) -> Labels:
    """The labels of a block as it is found on a page, in its order.

    Raises:
        InvalidLabels: with the offset of the mistake.
    """
    if not text:
        return ()
    found: dict[str, str] = {}
    at, end, more = 1, len(text) - 1, True
    while text[at:end].strip(" \t"):
        match = _LABEL.match(text, at, end)
        if match is None or not more:
            raise InvalidLabels('expected name="value", separated by commas', at)
        name, value, comma = match.groups()
        if name in found:
            raise InvalidLabels(f'the label "{name}" stands there twice', at)
        found[name] = _unescape(value)
        at, more = match.end(), bool(comma)
    return tuple(found.items())


@lru_cache(maxsize=65_536)
def labels_of(text: str) -> Labels:
    """The labels of a block, remembered by its text."""
    return parsed(text)


def with_label(text: str, name: str, value: str) -> str:
    """A canonical block with one more label, for `le` and `quantile`, which stand last."""
    return f'{text[:-1]},{name}="{value}"}}' if text else f'{{{name}="{value}"}}'


class Blocks(dict[str, str]):
    """Remembers the canonical block of each text seen: `map(blocks.__getitem__, texts)` costs a look-up per known text.

    Bounded: beyond `limit` it starts anew, which costs one slow page.
    """

    def __init__(self, limit: int = 200_000) -> None:
        super().__init__()
        self.limit = limit

    def __missing__(self, text: str) -> str:
        canonical = block(parsed(text))
        if len(self) >= self.limit:
            self.clear()
        # The same object where nothing changed: the text is then held once.
        self[text] = canonical = text if canonical == text else canonical
        return canonical


class Rewritten(dict[str, "str | None"]):
    """Remembers what a function makes of each block, None for a dropped sample. Bounded like `Blocks`."""

    def __init__(self, function: Callable[[str], str | None], limit: int = 200_000) -> None:
        super().__init__()
        self.function, self.limit = function, limit

    def __missing__(self, text: str) -> str | None:
        if len(self) >= self.limit:
            self.clear()
        self[text] = result = self.function(text)
        return result


# --- names ------------------------------------------------------------------------------------------------------------

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_NOT_METRIC = re.compile(r"[^a-zA-Z0-9_:]")
_NOT_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def is_metric_name(text: str) -> bool:
    """Whether every Prometheus accepts this as the name of a metric."""
    return _METRIC.fullmatch(text) is not None


def metric_name(text: str) -> str:
    """A name made fit: each other character becomes `_`, and a digit does not stand first. "" stays ""."""
    name = _NOT_METRIC.sub("_", text)
    return f"_{name}" if name[:1].isdigit() else name


def label_name(text: str) -> str:
    """The same for a label, which has no colons."""
    name = _NOT_LABEL.sub("_", text)
    return f"_{name}" if name[:1].isdigit() else name
