"""Mapping: dotted StatsD names to metric names and labels, by the rules that statsd_exporter has.

Rules are looked at only when a series is new; what became of a name is remembered. All globs come before all regular
expressions, whatever their order in the file; among each, the first one that matches wins.

Source: prometheus/statsd_exporter README.md, "Metric Mapping and Configuration".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from podpatterns.adapter.mapping_config import GROUP, MappingDefaultsConfig, MappingRuleConfig, Observed
from podpatterns.adapter.relabelling import expand
from podpatterns.formats.families import metric_name
from podpatterns.formats.refusal import Refused
from podpatterns.formats.statsd import Type

KINDS: dict[Type, str] = {"c": "counter", "g": "gauge", "ms": "observer", "h": "observer", "d": "observer", "s": "set"}
"""What rules call the types of lines."""

REMEMBERED = 10_000
"""Names whose result is remembered, usually 5 MB at most; beyond, it starts anew."""

LONGEST = 200
"""Characters of a name that is remembered. Longer ones are rare, and would make the memory theirs."""

SEARCHED = 255
"""Characters of a name that expressions are searched in. An expression with three `.*` takes the third power of the
length where it does not match: some 20 ms for 255 characters, minutes for the 8 KB that a line may have."""

_NEVER_IN_A_NAME = re.compile(r"[:|#,\[\n]")
_EVERYTHING = {"", ".*", "^.*", ".*$", "^.*$", ".+", "^.+", ".+$", "^.+$", "(.*)", "^(.*)$", "(.+)", "^(.+)$"}


@dataclass(frozen=True, slots=True)
class Target:
    """What becomes of a name: the metric and the rule's labels; `name` is empty where the rule drops it."""

    rule: Rule
    name: str
    labels: tuple[tuple[str, str], ...]

    def tags(self, own: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
        """The labels of a series whose line has these tags."""
        if not self.labels:
            return own
        pairs = (*self.labels, *own) if self.rule.config.honor_labels else (*own, *self.labels)
        return tuple(dict(pairs).items())


class Rule:
    """One rule, made ready. `number` is its place in the file, from 1."""

    def __init__(self, number: int, config: MappingRuleConfig, defaults: MappingDefaultsConfig) -> None:
        self.number, self.config = number, config.under(defaults)
        self.observed = config.observed.under(defaults.observed)
        self.glob = self.config.match_type == "glob"
        self.segments = config.match.split(".") if self.glob else []
        self._stars = [index for index, segment in enumerate(self.segments) if segment == "*"]
        self._pattern = None if self.glob else re.compile(config.match, re.ASCII)
        only = config.match_metric_type
        self.kinds = frozenset({"observer" if only == "timer" else only} if only else KINDS.values())

    def __str__(self) -> str:
        return f"rule {self.number} ({self.config.match_type} {self.config.match})"

    def groups(self, name: str) -> Sequence[str] | re.Match[str] | None:
        """What the wildcards or groups stand for in a name; None where the rule does not match it."""
        if self._pattern is not None:
            return self._pattern.search(name)
        parts = name.split(".")
        if len(parts) != len(self.segments) or any(
            mine not in ("*", part) for mine, part in zip(self.segments, parts, strict=True)
        ):
            return None
        return [parts[index] for index in self._stars]

    def target(self, groups: Sequence[str] | re.Match[str]) -> Target:
        """The metric for what `groups` has found."""
        if self.config.action == "drop":
            return Target(self, "", ())
        text = partial(expand, match=groups) if isinstance(groups, re.Match) else partial(_filled, groups=groups)
        labels = ((label, text(value)) for label, value in self.config.labels.items())
        return Target(self, metric_name(text(self.config.name)), tuple(pair for pair in labels if pair[1]))

    def why_not(self, name: str, kind: str) -> str:
        """Why the rule does not match, for people; "" if it does."""
        if kind not in self.kinds:
            return f"it is for the type {self.config.match_metric_type} only, and this is a {kind}"
        if self.groups(name) is not None:
            return ""
        if not self.glob:
            return "the expression is found nowhere in the name"
        parts = name.split(".")
        if len(parts) != len(self.segments):
            return f"it has {_counted(len(self.segments))}, the name has {len(parts)}"
        differs = next(i for i, mine in enumerate(self.segments) if mine not in ("*", parts[i]))
        return f'segment {differs + 1} is "{parts[differs]}", not "{self.segments[differs]}"'

    def covers(self, other: Rule) -> bool:
        """Whether every name that `other` matches is matched by this one. For expressions, only the plain cases."""
        if self.glob != other.glob:
            return False  # a glob has a number of segments, which an expression need not have
        if not self.glob:
            return self.config.match in _EVERYTHING or self.config.match == other.config.match
        return len(self.segments) == len(other.segments) and all(
            mine in ("*", theirs) for mine, theirs in zip(self.segments, other.segments, strict=True)
        )

    def rivals(self, other: Rule) -> bool:
        """Whether neither is more specific than the other."""
        return not self.glob or self.segments == other.segments


@dataclass(slots=True)
class _Node:
    """The globs that begin alike: by their next segment, and those that end here."""

    next: dict[str, _Node] = field(default_factory=dict)
    rules: list[int] = field(default_factory=list)


class Mapper:
    """All rules. A name costs one look-up if it came before, and otherwise two per segment for all globs together.

    With `glob_disable_ordering` the most specific glob wins: the one whose first segments are no wildcards.
    """

    def __init__(self, configs: Sequence[MappingRuleConfig], defaults: MappingDefaultsConfig | None = None) -> None:
        defaults = defaults or MappingDefaultsConfig()
        rules = [Rule(number, config, defaults) for number, config in enumerate(configs, 1)]
        self.unmatched = Observed().under(defaults.observed)
        """What becomes of timers and their kin where no rule matches."""
        self._ordered = not defaults.glob_disable_ordering
        self.rules = sorted(rules, key=lambda rule: not rule.glob)
        """In the order in which they are tried."""
        self._root = _Node()
        for index, rule in enumerate(self.rules):
            if rule.glob:
                node = self._root
                for segment in rule.segments:
                    node = node.next.setdefault(segment, _Node())
                node.rules.append(index)
        self._expressions = [rule for rule in self.rules if not rule.glob]
        self._known: dict[tuple[str, Type], Target | None] = {}

    def find(self, name: str, kind: Type) -> Target | None:
        """What becomes of a name; None where no rule matches, and the name stays as it is."""
        if not self.rules:
            return None
        key = name, kind
        try:
            return self._known[key]
        except KeyError:
            found = self._search(name, KINDS[kind])
            if len(name) <= LONGEST:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[key] = found
            return found

    def _search(self, name: str, kind: str) -> Target | None:
        nodes = [self._root]
        for segment in name.split("."):
            nodes = [
                child
                for node in nodes
                for child in (node.next.get(segment), node.next.get("*") if segment != "*" else None)
                if child is not None
            ]
        rules = self.rules
        # Of the paths that lead here, the most specific one comes first.
        found = (i for node in nodes for i in node.rules if kind in rules[i].kinds)
        first = min(found, default=None) if self._ordered else next(found, None)
        for rule in self._expressions if first is None else (rules[first],):
            if kind in rule.kinds:
                if not rule.glob and len(name) > SEARCHED:
                    raise Refused("too_long", f"{name[:80]}…")
                groups = rule.groups(name)
                if groups is not None:
                    return rule.target(groups)
        return None

    def unreachable(self) -> Iterator[tuple[Rule, str]]:
        """Rules that can never match, each with the reason."""
        for index, rule in enumerate(self.rules):
            if rule.glob and (mark := _NEVER_IN_A_NAME.search(rule.config.match)):
                yield rule, f"the name of a metric never holds {mark[0]!r}"
                continue
            covering = [
                other
                for other in self.rules[:index]
                if other.covers(rule) and other.kinds & rule.kinds and (self._ordered or other.rivals(rule))
            ]
            alone = next((other for other in covering if other.kinds >= rule.kinds), None)
            if alone is not None:
                yield rule, f"{alone} comes first"
            elif rule.kinds <= {kind for other in covering for kind in other.kinds}:
                yield rule, f"{' and '.join(map(str, covering))} come first"

    def tried(self, name: str, kind: Type) -> Iterator[str]:
        """For people: the rules in the order in which they are tried, up to the one that matches."""
        target = None if self._ordered else self._search(name, KINDS[kind])
        for rule in self.rules:
            reason = rule.why_not(name, KINDS[kind])
            if not reason and target is not None and rule is not target.rule:
                reason = f"{target.rule} is more specific"
            if not reason:
                yield f"matched   {rule}"
                return
            yield f"no match  {rule}: {reason}"


def _filled(text: str, groups: Sequence[str]) -> str:
    return GROUP.sub(lambda found: groups[int(found[1] or found[2]) - 1], text)


def _counted(segments: int) -> str:
    return "1 segment" if segments == 1 else f"{segments} segments"
