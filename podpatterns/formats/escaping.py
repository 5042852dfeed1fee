"""Names of any characters, made fit for readers that know only the old alphabet: the schemes of `escaping=`.

    escape_name("http.requests", "dots")    # http_dot_requests

Prometheus since 3.0 takes any UTF-8 in the names of metrics and labels, and says so (`escaping=allow-utf-8`); who does
not gets them escaped. Source: prometheus/common model/metric.go (EscapeName, UnescapeName).

Two things are done otherwise than there, so that a page stays valid: where two names become the same one, the second
is escaped by `values`, which never does that; and a colon is escaped in the name of a label, where it never stood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Literal

from podpatterns.formats.families import Family, Labels, Rewritten, block, is_label_name, is_metric_name, labels_of

Scheme = Literal["allow-utf-8", "underscores", "dots", "values"]
SCHEMES: tuple[Scheme, ...] = ("allow-utf-8", "underscores", "dots", "values")

_FOREIGN = re.compile(r"^[0-9]|[^a-zA-Z0-9_:]")
_OR_UNDERSCORE = re.compile(r"^[0-9]|[^a-zA-Z0-9:]")
_FOREIGN_TO_LABELS = re.compile(r"^[0-9]|[^a-zA-Z0-9_]")
_OR_UNDERSCORE_TO_LABELS = re.compile(r"^[0-9]|[^a-zA-Z0-9]")
_CODE = re.compile(r"_(?:(_)|([0-9a-fA-F]{0,6})_)|_")


def _dots(match: re.Match[str]) -> str:
    return "_dot_" if match[0] == "." else "__"


def _values(match: re.Match[str]) -> str:
    return "__" if match[0] == "_" else f"_{ord(match[0]):x}_"


def escape_name(name: str, scheme: Scheme, *, label: bool = False) -> str:
    """The name in the old alphabet, of a metric or of a label; `allow-utf-8` leaves it as it is."""
    either = _OR_UNDERSCORE_TO_LABELS if label else _OR_UNDERSCORE
    if scheme == "dots":
        return either.sub(_dots, name)  # in names of the old alphabet, too: their underscores are doubled
    foreign = _FOREIGN_TO_LABELS if label else _FOREIGN
    if scheme == "allow-utf-8" or not foreign.search(name):
        return name
    return foreign.sub("_", name) if scheme == "underscores" else "U__" + either.sub(_values, name)


def unescape_name(name: str, scheme: Scheme) -> str:
    """The name that `escape_name` was given, where the scheme lets it be known; otherwise the name as it is."""
    if scheme == "dots":
        return name.replace("_dot_", ".").replace("__", "_")
    if scheme != "values" or not name.startswith("U__"):
        return name

    def character(match: re.Match[str]) -> str:
        if match[1]:
            return "_"
        code = int(match[2], 16) if match[2] else -1
        if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise ValueError(match[0])
        return chr(code)

    try:
        return _CODE.sub(character, name[3:])
    except ValueError:
        return name


def escaped(families: Iterable[Family], scheme: Scheme) -> Iterator[Family]:
    """The families with every name in the old alphabet; those that need no change as they are."""
    if scheme == "allow-utf-8":
        yield from families
        return
    families = list(families)
    taken = {family.name for family in families if is_metric_name(family.name)}
    blocks = Rewritten(_escaped_block(scheme))
    for family in families:
        name = family.name
        if not is_metric_name(name):
            name = escape_name(name, scheme)
            if name in taken:
                name = escape_name(family.name, "values")
            taken.add(name)
        texts = family.blocks
        if any('{"' in text or ',"' in text for text in texts):  # rarely a value holds the same
            texts = [blocks[text] for text in texts]
        yield family if name == family.name and texts is family.blocks else replace(family, name=name, blocks=texts)


def _escaped_block(scheme: Scheme) -> Callable[[str], str]:
    def rewrite(text: str) -> str:
        return block(_labels(labels_of(text), scheme).items())

    return rewrite


def _labels(labels: Labels, scheme: Scheme) -> dict[str, str]:
    found = {name: value for name, value in labels if is_label_name(name)}
    for name, value in labels:
        if not is_label_name(name):
            new = escape_name(name, scheme, label=True)
            if new in found:
                new = escape_name(name, "values", label=True)
            found[new] = value
    return found
