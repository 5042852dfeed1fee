"""Prometheus' `metric_relabel_configs`, rule for rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec

from podpatterns.adapter.reasons import Tried, by_outcome
from podpatterns.adapter.relabelling import Labels, Rule, compiled
from podpatterns.adapter.transforms import Transform, TransformConfig
from podpatterns.formats.families import SUFFIXES, Family, Rewritten, block, labels_of
from podpatterns.runtime.regex import check_regex
from podpatterns.runtime.schema import Config, InvalidField, InvalidFields

_NEEDS_TARGET = ("replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal")
_BY_NAME = ("source_labels", "separator", "target_label", "replacement", "modulus")
_EQUAL = ("separator", "regex", "replacement", "modulus")
_UNUSED: dict[str, tuple[str, ...]] = {
    "keepequal": _EQUAL,
    "dropequal": _EQUAL,
    "labeldrop": _BY_NAME,
    "labelkeep": _BY_NAME,
    "lowercase": ("replacement",),
    "uppercase": ("replacement",),
}
"""By action, what Prometheus refuses beside it: whoever writes that means something else."""
_INSTEAD = {
    "labeldrop": "`regex` is for the names of labels; to drop samples by the value of one, use the action drop",
    "labelkeep": "`regex` is for the names of labels; to keep samples by the value of one, use the action keep",
    "keepequal": "the joined `source_labels` are compared with the value of `target_label`",
    "dropequal": "the joined `source_labels` are compared with the value of `target_label`",
    "lowercase": "the joined `source_labels` are written as they are, in lower case",
    "uppercase": "the joined `source_labels` are written as they are, in upper case",
}


REMEMBERED = 200_000
"""Series whose outcome is remembered, some 60 MB of names and labels; when a page begins with more, it starts anew."""


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
        unused = [field for field in _UNUSED.get(self.action, ()) if getattr(self, field) != getattr(_DEFAULT, field)]
        if unused:
            hint = _INSTEAD[self.action]
            raise InvalidFields(
                [InvalidField(each, f"the action {self.action} has no {each}: {hint}") for each in unused]
            )
        if self.action in ("labeldrop", "labelkeep"):
            matched = compiled(self.regex).fullmatch("__name__") is not None
            if matched == (self.action == "labeldrop"):
                way = (
                    f'"{self.regex}|__name__"' if self.action == "labelkeep" else "an expression that does not match it"
                )
                raise InvalidField(
                    "regex", f"this would take the name off every sample, and a sample without one is none; write {way}"
                )


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
        self._rules = [Rule(number, rule) for number, rule in enumerate(rules, 1)]
        self._steps = [rule.step for rule in self._rules]
        self._known: dict[str, Rewritten[tuple[str, str]]] = {}
        """By name of sample: name and block by block; no name where the sample is dropped."""

    def relabel(self, labels: Mapping[str, str]) -> Labels | None:
        """What becomes of one series' labels, `__name__` among them; None if it is dropped."""
        found = dict(labels)
        for apply in self._steps:
            if not apply(found):
                return None
        return found

    def apply(self, families: list[Family]) -> list[Family]:
        """Every series relabelled. One whose new name does not fit its family's type becomes of unknown type."""
        if sum(map(len, self._known.values())) > REMEMBERED:
            self._known.clear()
        done: list[Family] = []
        for family in families:
            done += self._family(family)
        return done

    def tried(self, family: Family) -> Iterator[Tried]:
        """For people: every rule with its reason, for all samples that fare alike together."""
        return by_outcome(family, self._tried)

    def _tried(self, name: str, text: str) -> Iterator[Tried]:
        labels = {"__name__": name, **dict(labels_of(text))}
        for rule in self._rules:
            outcome, kept = rule.tried(labels)
            yield outcome
            if not kept:
                return

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


_DEFAULT = RuleConfig(action="keep")
"""What stands in fields that nobody has set."""
