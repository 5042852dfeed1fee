"""Templates with `${NAME}` and `${NAME:-default}`, as in the configuration; `$${` stands for `${`. Pure.

A lone `$` is text: what is rendered are mostly configurations of servers, which have variables of their own ($host).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from podpatterns.errors import PodpatternsError

_PLACE = re.compile(r"\$(?:\$(?=\{)|\{([^}\n]*)\}|\{)")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at one place; line and column count from 1."""

    line: int
    column: int
    message: str

    def __str__(self) -> str:
        """As `line 3, column 8: NAME is not defined`."""
        return f"line {self.line}, column {self.column}: {self.message}"


class TemplateError(PodpatternsError):
    """A template cannot be rendered; `faults` holds every reason in it."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        super().__init__("; ".join(map(str, faults)))


def render(text: str, values: Mapping[str, str]) -> str:
    """The text with every placeholder replaced; what is put in is not looked at again.

    Raises:
        TemplateError: with each name that is not defined and each placeholder that is malformed.
    """
    faults: list[Fault] = []

    def fault(match: re.Match[str], message: str) -> str:
        before = text[: match.start()]
        faults.append(Fault(before.count("\n") + 1, len(before) - before.rfind("\n"), message))
        return ""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match[1] is None:
            return fault(match, "${ is not closed in its line; write $${ for a literal ${")
        inside = _INSIDE.fullmatch(match[1])
        if inside is None:
            return fault(match, f"{match[0]} is not a placeholder; write ${{NAME}} or ${{NAME:-default}}")
        default: str | None = inside[2]
        value = values.get(inside[1], default)
        return fault(match, f"{inside[1]} is not defined") if value is None else value

    rendered = _PLACE.sub(replace, text)
    if faults:
        raise TemplateError(tuple(faults))
    return rendered
