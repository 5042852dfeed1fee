"""Which metrics something is about: regular expressions that match a name as a whole. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from podpatterns.runtime.schema import InvalidField


def check_selection(field: str, expressions: Sequence[str]) -> None:
    """Blame the item of `field` that is no regular expression. Raises InvalidField."""
    for index, expression in enumerate(expressions):
        try:
            re.compile(expression)
        except re.error as error:
            message = f'"{expression}" is no regular expression: {error}'
            raise InvalidField(f"{field}[{index}]", message) from None


class Selection:
    """Names that match one of the expressions; all names where there are none."""

    def __init__(self, expressions: Sequence[str]) -> None:
        self._patterns = [re.compile(each) for each in expressions]

    def __str__(self) -> str:
        return ", ".join(pattern.pattern for pattern in self._patterns) or "all metrics"

    def __contains__(self, name: str) -> bool:
        return not self._patterns or any(pattern.fullmatch(name) for pattern in self._patterns)
