"""Prometheus' `metric_relabel_configs`, rule for rule.

Source: prometheus/prometheus model/relabel. Regular expressions are anchored at both ends and their dot matches a
newline; `$1x` is the variable `1x`, which no group bears, so it expands to nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec

from podpatterns.adapter.transforms import Transform, TransformConfig
from podpatterns.formats.families import SUFFIXES, Family, Rewritten, block, labels_of
from podpatterns.runtime.regex import check_regex
from podpatterns.runtime.schema import Config, InvalidField

Labels = dict[str, str]
Step = Callable[[Labels], bool]
"""Changes labels in place; False drops the sample."""

_NEEDS_TARGET = ("replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal")


class RuleConfig(Config, frozen=True, kw_only=True):
    """One rule. Field names and defaults are Prometheus' own."""

    action: Literal[
        "replace",
        "keep",
        "drop",
        "keepequal",
        "dropequal",
        "hashmod",
        "labelmap",
        "labeldrop",
        "labelkeep",
        "lowercase",
        "uppercase",
    ] = "replace"
    """What is done where the expression matches."""

    source_labels: list[str] = []
    """The labels whose values are joined and matched; `__name__` is the sample's name. A label that is missing counts
    as empty."""

    separator: str = ";"
    """What stands between the joined values."""

    regex: str = "(.*)"
    """What the joined values must match as a whole; for `labelmap`, `labeldrop` and `labelkeep`, the names of
    labels."""

    target_label: str = ""
    """The label that is written, or compared by `keepequal` and `dropequal`; may hold `$1`."""

    replacement: str = "$1"
    """The value that is written; `$1` or `${name}` are groups of the expression. An empty result deletes the label."""

    modulus: Annotated[int, msgspec.Meta(ge=0)] = 0
    """For `hashmod`: the number of shards."""

    def __post_init__(self) -> None:
        check_regex(self.regex, "regex")
        if self.action in _NEEDS_TARGET and not self.target_label:
            raise InvalidField("target_label", f"the action {self.action} needs a target_label")
        if self.action == "hashmod" and not self.modulus:
            raise InvalidField("modulus", "the action hashmod needs a modulus above 0")


class RelabelConfig(TransformConfig, frozen=True, kw_only=True):
    """Changes, keeps and drops series by their labels and names, as Prometheus' `metric_relabel_configs` do."""

    EXAMPLE: ClassVar[str] = """
    type: relabel
    rules:
    - {action: drop, source_labels: [__name__], regex: "debug_.*"}
    - {action: labeldrop, regex: "pod_template_hash"}
    """

    rules: list[RuleConfig]
    """Applied one after the other to each series."""

    def build(self) -> Transform:
        """The transform."""
        return Relabel(self.rules)


class Relabel:
    """Remembers, for each name, what becomes of each label text; a page of known series is one look-up per sample."""

    def __init__(self, rules: Sequence[RuleConfig]) -> None:
        self._steps = [_step(rule) for rule in rules]
        self._known: dict[str, Rewritten[tuple[str, str]]] = {}
        """By name of sample: name and block by block; no name where the sample is dropped."""

    def relabel(self, labels: Mapping[str, str]) -> Labels | None:
        """What becomes of one series' labels, `__name__` among them; None if it is dropped."""
        found = dict(labels)
        for step in self._steps:
            if not step(found):
                return None
        return found

    def apply(self, families: list[Family]) -> list[Family]:
        """Every series relabelled. One whose new name does not fit its family's type becomes of unknown type."""
        done: list[Family] = []
        for family in families:
            done += self._family(family)
        return done

    def _family(self, family: Family) -> list[Family]:
        if not family.values:
            return [family]
        if family.suffixes is None:
            results = list(map(self._rewritten(family.name).__getitem__, family.blocks))
        else:
            results = [
                self._rewritten(family.base + suffix if suffix else family.name)[text]
                for suffix, text in zip(family.suffixes, family.blocks, strict=True)
            ]
        names, blocks = zip(*results, strict=True)
        if family.suffixes is None and set(names) == {family.name}:
            family.blocks = list(blocks)
            return [family]
        return _regrouped(family, names, blocks)

    def _rewritten(self, name: str) -> Rewritten[tuple[str, str]]:
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= 10_000:
                self._known.clear()
            known = self._known[name] = Rewritten(lambda text: self._text(name, text))
        return known

    def _text(self, name: str, text: str) -> tuple[str, str]:
        labels = self.relabel({"__name__": name, **dict(labels_of(text))})
        if labels is None:
            return "", ""
        new = labels.pop("__name__", "")
        # Names that begin with __ are the rules' own scratch space.
        kept = block((label, value) for label, value in labels.items() if not label.startswith("__"))
        return (name if new == name else new), (text if kept == text else kept)


def _regrouped(family: Family, names: Sequence[str], blocks: Sequence[str]) -> list[Family]:
    """Families by the new names of the samples, where names have changed or samples were dropped."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, name in enumerate(names):
        if not name:
            continue
        suffix = family.suffixes[index] if family.suffixes is not None else ""
        if suffix and name.endswith(suffix):
            key = (name.removesuffix(suffix), family.kind)
        else:
            key = (name, "unknown" if suffix else family.kind)
        groups.setdefault(key, []).append(index)
    found = []
    for (name, kind), indices in groups.items():
        part = family.keep(indices)
        part.name, part.kind = name, kind  # type: ignore[assignment]  # one of the family's own, or unknown
        part.blocks = [blocks[index] for index in indices]
        if not SUFFIXES[kind][1:]:
            part.suffixes = None
        found.append(part)
    return found


# --- rules ------------------------------------------------------------------------------------------------------------

_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))", re.ASCII)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def expand(template: str, match: re.Match[str]) -> str:
    """A template with the groups of a match, as Go's regexp.Expand does it: an unknown group is empty."""

    def group(variable: re.Match[str]) -> str:
        if variable[1]:
            return "$"
        name = variable[2] or variable[3]
        try:
            return match[int(name) if name.isdigit() else name] or ""
        except IndexError:
            return ""

    return _VARIABLE.sub(group, template)


def _step(rule: RuleConfig) -> Step:
    pattern = re.compile(rule.regex, re.DOTALL)
    sources, separator, target = rule.source_labels, rule.separator, rule.target_label

    def joined(labels: Labels) -> str:
        return separator.join([labels.get(name, "") for name in sources])

    def write(labels: Labels, name: str, value: str) -> None:
        if value:
            labels[name] = value
        else:
            labels.pop(name, None)

    def replace(labels: Labels) -> bool:
        match = pattern.fullmatch(joined(labels))
        if match is not None:
            name = expand(target, match)
            if _LABEL_NAME.fullmatch(name):
                write(labels, name, expand(rule.replacement, match))
        return True

    def hashmod(labels: Labels) -> bool:
        digest = hashlib.md5(joined(labels).encode(), usedforsecurity=False).digest()
        labels[target] = str(int.from_bytes(digest[8:], "big") % rule.modulus)
        return True

    def cased(change: Callable[[str], str]) -> Step:
        def apply(labels: Labels) -> bool:
            write(labels, target, change(joined(labels)))
            return True

        return apply

    def labelmap(labels: Labels) -> bool:
        for name, value in list(labels.items()):
            match = pattern.fullmatch(name)
            if match is not None:
                write(labels, expand(rule.replacement, match), value)
        return True

    def without(drop: bool) -> Step:
        def apply(labels: Labels) -> bool:
            for name in [name for name in labels if (pattern.fullmatch(name) is not None) == drop]:
                del labels[name]
            return True

        return apply

    steps: dict[str, Step] = {
        "replace": replace,
        "keep": lambda labels: pattern.fullmatch(joined(labels)) is not None,
        "drop": lambda labels: pattern.fullmatch(joined(labels)) is None,
        "keepequal": lambda labels: labels.get(target, "") == joined(labels),
        "dropequal": lambda labels: labels.get(target, "") != joined(labels),
        "hashmod": hashmod,
        "labelmap": labelmap,
        "labeldrop": without(drop=True),
        "labelkeep": without(drop=False),
        "lowercase": cased(str.lower),
        "uppercase": cased(str.upper),
    }
    return steps[rule.action]
