"""Paths into JSON documents: `queues[*].depth`, `components.*.status`, `["odd.key"][0]`.

A small part of what JMESPath and JSONPath share. It can neither compute nor filter; what is left is a walk without
surprises, for which a dependency would be a lot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

_STEP = re.compile(
    r"""(?:\.?(?P<name>[A-Za-z_$@][\w$@-]*|\*)|\[(?:(?P<index>-?[0-9]{1,9})|(?P<all>\*)|(?P<text>"[^"\n]*"))\])"""
)

EVERYTHING = "*"
"""The step that goes to every element of an array or value of an object."""


class Path:
    """A path, made ready. The empty one stays where it is.

    Raises:
        ValueError: the text is no path.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.steps: list[str | int] = []
        self._wild: list[bool] = []
        at = 0
        while at < len(text):
            match = _STEP.match(text, at)
            if match is None or (not at and text[0] == "."):
                raise ValueError(f'"{text}" is no path: at "{text[at:]}"; write a.b, a[0], a[*], a.* or a["odd key"]')
            at = match.end()
            name, index, everything, quoted = match.group("name", "index", "all", "text")
            self._wild.append(everything is not None or name == EVERYTHING)
            self.steps.append(int(index) if index is not None else quoted[1:-1] if quoted else name or EVERYTHING)

    def find(self, document: Any) -> Iterator[tuple[str, Any]]:
        """Every value that the path leads to, with the key or number by which the last `*` was passed."""
        yield from self._walk(document, 0, "")

    def first(self, document: Any) -> Any:
        """The first one; None where there is none."""
        return next((value for _, value in self.find(document)), None)

    def _walk(self, value: Any, at: int, key: str) -> Iterator[tuple[str, Any]]:
        if at == len(self.steps):
            yield key, value
            return
        step = self.steps[at]
        if self._wild[at]:
            pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            for each, inner in pairs:
                yield from self._walk(inner, at + 1, str(each))
        elif isinstance(step, int):
            if isinstance(value, list) and -len(value) <= step < len(value):
                yield from self._walk(value[step], at + 1, key)
        elif isinstance(value, dict) and step in value:
            yield from self._walk(value[step], at + 1, key)


def text(value: Any) -> str:
    """A value of JSON as a label: `true`, `12`, the text itself; nothing for null."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
