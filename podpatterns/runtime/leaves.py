"""The leaves of a configuration: how the text of one is read, and what is said when it cannot be. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_VARIABLE = re.compile(r"\$(?:\$(?=\{)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|(\{\s*[A-Za-z_]\w*))")
"""The escape, a variable, or what looks like one and is not. `${1}` is a group of a pattern, and stays."""
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+)")


def interpolated(text: str, env: Mapping[str, str]) -> tuple[str, list[str]]:
    """The text with its variables replaced, and what is wrong with those that could not be."""
    missing: list[str] = []
    broken: list[str] = []

    def replace(match: re.Match[str]) -> str:
        name: str | None = match[1]
        if match[3]:
            broken.append(match[0])
        if name is None:  # the escape, `$${`
            return "$"
        value: str | None = env.get(name, match[2])
        if value is None:
            missing.append(name)
        return value or ""

    result = _VARIABLE.sub(replace, text)
    choice = "write ${NAME} or ${NAME:-default}, or $${ for a literal ${"
    return result, [
        *(f"the environment variable {name} is not set; set it or give a default: ${{{name}:-…}}" for name in missing),
        *(f'what begins with "{start}" is no variable; {choice}' for start in broken),
    ]


_IN_OUR_WORDS = {
    "int ": "", "float ": "", ">= ": "at least ", "<= ": "at most ", "> ": "more than ", "< ": "less than ",
    "array": "a list", "object": "a mapping", "str": "text",
}  # fmt: skip


def bound(message: str) -> str:
    """Put msgspec's "Expected `int` >= 1 - at `$`" in our words."""
    expected = message.partition(" - at")[0].replace("`", "").removeprefix("Expected ")
    for word, plain in _IN_OUR_WORDS.items():
        expected = expected.replace(word, plain)
    shape, of_length, number = expected.partition(" of length ")
    if of_length:
        noun = "character" if shape == "text" else "item"
        expected = f"{shape} with {number} {noun}{'' if number.endswith(' 1') else 's'}"
    return f"must be {expected}"


def _integer(text: str) -> int | None:
    return int(text.replace("_", ""), 0) if _INTEGER.fullmatch(text) else None


def _float(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


READERS: dict[Any, Any] = {
    int: _integer,
    float: _float,
    bool: {"true": True, "True": True, "false": False, "False": False}.get,
}
NOUNS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
