"""What a relabelling rule does to the labels of one series, action by action.

Source: prometheus/prometheus model/relabel. Regular expressions are anchored at both ends and their dot matches a
newline; `$1x` is the variable `1x`, which no group bears, so it expands to nothing. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

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
