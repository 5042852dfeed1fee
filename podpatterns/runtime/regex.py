"""Regular expressions from a configuration, which are matched against what others send. Pure.

Python's matching goes back and tries again, and one kind of expression that people do write makes that exponential: a
repetition within a repetition, with nothing required in between. `(a+)+` divides thirty letters in half a billion ways
before it gives up, and the whole process waits for it. Such expressions are refused; there is always a plain one that
says the same.
"""

from __future__ import annotations

import re
from re import _parser as parser  # type: ignore[attr-defined]  # nothing public knows an expression's structure
from typing import Any

from podpatterns.runtime.schema import InvalidField

_REPEATS = (parser.MAX_REPEAT, parser.MIN_REPEAT)  # a possessive repetition never goes back


def check_regex(regex: str, place: str, *, text: bool = False) -> None:
    """Raise InvalidField for `place`, unless this is a regular expression that comes to an end.

    It may be matched against bytes, or against text as if all of it were ASCII; or else against `text` alone.
    """
    try:
        re.compile(regex, 0 if text else re.ASCII)
        if not text:
            re.compile(regex.encode())
    except re.error as error:
        raise InvalidField(place, f"is not a regular expression: {error}") from None
    if runs_away(regex if text else regex.encode()):
        raise InvalidField(
            place, f'"{regex}" can take forever: it repeats a repetition, as "(a+)+" does; one of the two is enough'
        )


def runs_away(regex: str | bytes) -> bool:
    """True if there are texts for which the time doubles with each character, because of a repeated repetition."""
    return _inside(parser.parse(regex))


def _inside(sequence: Any) -> bool:
    """Whether there is such a repetition anywhere in a sequence."""
    for kind, value in sequence:
        if kind in _REPEATS and value[1] is parser.MAXREPEAT and _loose(value[2]):
            return True
        if any(_inside(part) for part in _parts(value)):
            return True
    return False


def _parts(value: Any) -> list[Any]:
    """The sequences within an item, whatever its kind."""
    if isinstance(value, parser.SubPattern):
        return [value]
    if isinstance(value, (tuple, list)):
        return [part for each in value for part in _parts(each)]
    return []


def _loose(sequence: Any) -> bool:
    """Whether all that a sequence requires is one repetition: then its end and its next start can be anywhere."""
    items = list(sequence)
    return any(
        _repeats(item) and not any(_required(sequence, other) for other in items if other is not item) for item in items
    )


def _repeats(item: Any) -> bool:
    kind, value = item
    if kind in _REPEATS:
        return bool(value[1] is parser.MAXREPEAT and value[2].getwidth()[1]) or _loose(value[2])
    if kind in (parser.SUBPATTERN, parser.BRANCH):
        return any(_loose(part) for part in _parts(value))
    return False


def _required(sequence: Any, item: Any) -> bool:
    """Whether an item takes at least one character."""
    return bool(parser.SubPattern(sequence.state, [item]).getwidth()[0])
