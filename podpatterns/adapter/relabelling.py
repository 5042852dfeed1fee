"""What a relabelling rule does to the labels of one series, action by action, and why.

Source: prometheus/prometheus model/relabel. Regular expressions are anchored at both ends and their dot matches a
newline; `$1x` is the variable `1x`, which no group bears, so it expands to nothing. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from podpatterns.adapter.reasons import Tried, quoted
from podpatterns.formats.families import is_utf8_name

if TYPE_CHECKING:
    from podpatterns.adapter.transforms.relabel import RuleConfig

Labels = dict[str, str]
Step = Callable[[Labels], bool]
"""Changes labels in place; False drops the sample."""

_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))", re.ASCII)


def compiled(regex: str) -> re.Pattern[str]:
    """An expression as Go reads it: what stands for digits, letters and blanks knows ASCII alone."""
    return re.compile(regex, re.DOTALL | re.ASCII)


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


def _lower(character: str) -> str:
    """One character for one, as Go has it: Python's own makes two of some."""
    return character.lower() if len(character.lower()) == 1 else character


def _upper(character: str) -> str:
    return character.upper() if len(character.upper()) == 1 else character


def step(rule: RuleConfig) -> Step:
    """The rule, made ready."""
    pattern = compiled(rule.regex)
    sources, separator, target = rule.source_labels, rule.separator, rule.target_label

    def joined(labels: Labels) -> str:
        return separator.join([labels.get(name, "") for name in sources])

    def write(labels: Labels, name: str, value: str) -> None:
        if not is_utf8_name(name):
            return  # where the groups of an expression make no name
        if value:
            labels[name] = value
        else:
            labels.pop(name, None)

    def replace(labels: Labels) -> bool:
        match = pattern.fullmatch(joined(labels))
        if match is not None:
            write(labels, expand(target, match), expand(rule.replacement, match))
        return True

    def hashmod(labels: Labels) -> bool:
        digest = hashlib.md5(joined(labels).encode(), usedforsecurity=False).digest()
        labels[target] = str(int.from_bytes(digest[8:], "big") % rule.modulus)
        return True

    def cased(change: Callable[[str], str]) -> Step:
        def apply(labels: Labels) -> bool:
            write(labels, target, "".join(map(change, joined(labels))))
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
        "lowercase": cased(_lower),
        "uppercase": cased(_upper),
    }
    return steps[rule.action]


class Rule:
    """A rule, made ready. `number` is its place among the rules, from 1."""

    def __init__(self, number: int, config: RuleConfig) -> None:
        self.number, self.config = number, config
        self.step = step(config)

    def __str__(self) -> str:
        config = self.config
        sources, target = ",".join(config.source_labels), config.target_label
        what = {
            "replace": f"{target} from {sources} {config.regex}" if sources else f"{target}: {config.replacement}",
            "keep": f"{sources} {config.regex}",
            "drop": f"{sources} {config.regex}",
            "hashmod": f"{target} from {sources} mod {config.modulus}",
            "labelmap": config.regex,
            "labeldrop": config.regex,
            "labelkeep": config.regex,
        }
        return f"rule {self.number} ({config.action} {what.get(config.action, f'{target} from {sources}')})"

    def joined(self, labels: Mapping[str, str]) -> str:
        """What the expression is compared with, where it is not the names of labels."""
        return self.config.separator.join([labels.get(name, "") for name in self.config.source_labels])

    def tried(self, labels: Labels) -> tuple[Tried, bool]:
        """For people: do the step, and say what came of it and why; False where the sample is dropped."""
        config, before, joined = self.config, dict(labels), self.joined(labels)
        kept = self.step(labels)
        changes = ", ".join(_changes(before, labels))
        sources = f"{','.join(config.source_labels) or 'what is joined of no label'} is {quoted(joined)}"
        if config.action in _FILTERS:
            matches = kept == config.action.startswith("keep")
            if config.action.endswith("equal"):
                sources += f", {config.target_label} is {quoted(before.get(config.target_label, ''))}"
            why = sources if kept else f"{sources}; the sample is dropped"
        elif config.action == "replace":
            matches = compiled(config.regex).fullmatch(joined) is not None
            why = (changes or "it changes nothing") if matches else sources
        elif config.action in ("labelmap", "labeldrop", "labelkeep"):
            matches = bool(changes)
            why = changes or f"{'every' if config.action == 'labelkeep' else 'no'} name of a label matches"
        else:
            matches, why = True, changes or "it changes nothing"
        if kept and not labels.get("__name__"):
            why, kept = f"{why}; a sample without a name is dropped", False
        return Tried("matched" if matches else "no match", str(self), why), kept


_FILTERS = ("keep", "drop", "keepequal", "dropequal")


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name, value in after.items():
        if before.get(name) != value:
            yield f"{name} is {quoted(value)} now"
    for name in before:
        if name not in after:
            yield f"{name} is gone"
