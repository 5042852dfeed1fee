"""Fields that a configuration may set, add or remove: which names, which values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.grammar import TOKEN
from podpatterns.ambassador.http1.request import Request
from podpatterns.runtime.regex import check_regex
from podpatterns.runtime.schema import Config, InvalidField

_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")

_FRAMING = "says where a body ends, and follows from the body itself"
_HOP = "concerns one connection alone; each side sets its own"

REFUSED: Final[dict[str, str]] = {
    **dict.fromkeys(("content-length", "transfer-encoding", "trailer"), _FRAMING),
    **dict.fromkeys(
        ("connection", "keep-alive", "proxy-connection", "te", "upgrade", "http2-settings", "expect"), _HOP
    ),
    "host": "is changed with `rewrite: {host: NAME}`",
    "via": "is how loops are found",
}
"""Fields that are no policy's business, with the reason."""


def check_name(name: str, place: str) -> None:
    """Raise InvalidField for `place`, unless this is the name of a field that may be set, added or removed.

    Servers are known to read an underscore as a hyphen, so that `content_length` would pass for the framing field.
    """
    if TOKEN.fullmatch(name.encode("utf-8", "surrogateescape")) is None:
        raise InvalidField(place, f'"{name}" is not the name of a field')
    reason = REFUSED.get(name.lower().replace("_", "-"))
    if reason is not None:
        raise InvalidField(place, f'"{name}" {reason}')


def check_value(value: str, place: str) -> None:
    """Raise InvalidField for `place`, unless this can be the value of a field as it stands."""
    if _VALUE.fullmatch(value.encode("utf-8", "surrogateescape")) is None:
        raise InvalidField(
            place, "a value has neither line ends nor other control characters, and no space at its ends"
        )


def check_demand(name: str, place: str) -> None:
    """Raise InvalidField for `place`, unless this is the name of a field that a request may be asked for."""
    if TOKEN.fullmatch(name.encode()) is None:
        raise InvalidField(place, f'"{name}" is not the name of a field')


def lines(names: Iterable[str]) -> re.Pattern[bytes]:
    """Finds every field of one of these names, in any case: its line from the CRLF before it."""
    choice = "|".join(re.escape(name) for name in names)
    return re.compile(rb"\r\n(?i:" + choice.encode() + rb"):[^\r\n]*")


class ValueConfig(Config, frozen=True, kw_only=True):
    """A value that is not known as a whole."""

    regex: str
    """A regular expression (Python's) for the whole value."""

    def __post_init__(self) -> None:
        """An expression."""
        check_regex(self.regex, "regex")


class Demand:
    """What the values of one field must be: one of them equal to a text or like an expression, or just there."""

    __slots__ = ("_like", "_lines", "_text")

    def __init__(self, name: str, value: str | ValueConfig) -> None:
        self._lines = named(name.lower().encode())
        self._text: bytes | None = None
        self._like: re.Pattern[bytes] | None = None
        if isinstance(value, ValueConfig):
            self._like = re.compile(value.regex.encode())
        elif value != "*":
            self._text = value.encode()

    def __call__(self, request: Request) -> bool:
        """Whether a request meets it."""
        if self._text is not None:
            return any(value.strip(b" \t") == self._text for value in self._lines.findall(request.head))
        if self._like is not None:
            like = self._like.fullmatch
            return any(like(value.strip(b" \t")) for value in self._lines.findall(request.head))
        return self._lines.search(request.head) is not None
