r"""Rows out of log lines: the fields of each line that has the form, for many lines at once.

    form = matching(r"(?P<method>[A-Z]+) (?P<path>\S+)")
    rows = form.read("GET /a\nnonsense\n")
    paths = [row[form.places["path"]] for row in rows]  # ["/a"]

An expression is matched against the whole text, by one `findall`: a call for each line would cost more than the
matching. It means the same as matched against each line alone, for it is rewritten so that nothing in it matches the
end of a line. And it is made to give up sooner: where what follows a repetition cannot be part of it, as in `[^"]*"`,
there is no use in going back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from podpatterns.formats import jsonlines, logfmt

Row = tuple[Any, ...]


class Form(NamedTuple):
    """Reads whole lines, each with its line end, to a row for each line that has the form; where fields are in it."""

    read: Callable[[str], list[Row]]
    places: Mapping[str, int]


_LEADING = re.compile(r"\(\?([a-zA-Z]+)\)")
_PIECE = re.compile(r"(?s)\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?#[^)]*\)|\(\?[a-zA-Z-]+[:)]|.")
_CASELESS = re.compile(r"\(\?[a-zA-Z-]*[iL]")
_CLASSES = frozenset({"\\S", "\\w", "\\d"})
_SPECIAL = frozenset("^$*+?{}[]\\|().")
_OPTIONAL = frozenset("*?{")
_ESCAPES = {"\\A": "^", "\\Z": "$", "\\s": "[^\\S\\n]", "\\W": "[^\\w\\n]", "\\D": "[^\\d\\n]"}


def within_lines(regex: str) -> re.Pattern[str]:
    """The expression that finds, in a text of whole lines, at most one match in each line, and its line's end with it.

    Raises:
        ValueError: it is none, or asks for what a line cannot have.
    """
    flags, rest = "", regex
    if (leading := _LEADING.match(regex)) is not None:
        flags, rest = leading[0], regex[leading.end() :]
    if set(flags) & set("sx"):
        raise ValueError("the flags s and x are not taken: a line holds no line end, and a pattern stands in one line")
    groups = re.compile(regex).groups  # if something is wrong with it, this says so in its own words
    pieces = list(map(_piece, _PIECE.findall(rest)))
    if not _CASELESS.search(regex):
        _hasten(pieces)
    # With two groups or more, empty ones if need be, `findall` returns tuples.
    return re.compile(f"{flags}(?:{''.join(pieces)}){'()' * (2 - groups)}[^\\n]*+\\n", re.MULTILINE)


def _hasten(pieces: list[str]) -> None:
    """Make repetitions possessive where that changes nothing: what must follow is a character that they do not take."""
    for at in range(1, len(pieces) - 1):
        what, following = pieces[at - 1], pieces[at + 1 :]
        if pieces[at] not in ("+", "*") or not (what[0] == "[" or what in _CLASSES):
            continue
        if following[0] == ")" and len(following) > 1 and following[1] not in _OPTIONAL:
            following = following[1:]
        must, optional = following[0], following[1] if len(following) > 1 else ""
        if len(must) == 1 and must not in _SPECIAL and optional not in _OPTIONAL and not re.fullmatch(what, must):
            pieces[at] += "+"


def _piece(text: str) -> str:
    """One piece of an expression, such that it does not match the end of a line."""
    if text in _ESCAPES:
        return _ESCAPES[text]
    if text.startswith("[^"):
        return f"[^\\n{text[2:]}" if text[2] != "]" else f"[^\\n\\]{text[3:]}"
    if text[0] == "[":
        return f"(?:(?!\\n){text})" if re.fullmatch(text, "\n") else text
    if text.startswith("(?#"):
        return ""
    if text.startswith("(?") and set(text) & set("sx"):
        raise ValueError("the flags s and x are not taken: a line holds no line end, and a pattern stands in one line")
    if text in ("\\n", "\n"):
        raise ValueError("a line holds no line end; patterns are matched line by line")
    return text


def matching(regex: str) -> Form:
    """Reads lines that match an expression somewhere; the fields are its named groups, "" where one took no part.

    Raises:
        ValueError: as `within_lines`.
    """
    pattern = within_lines(regex)
    return Form(pattern.findall, {name: number - 1 for name, number in pattern.groupindex.items()})


def json(names: Sequence[str]) -> Form:
    """Reads lines that are JSON objects; `names` are those of top-level fields, None where a line has it not."""
    fields = [f"field{number}" for number in range(len(names))]
    row = msgspec.defstruct(
        "Row", [(field, Any, None) for field in fields], rename=dict(zip(fields, names, strict=True)), gc=False
    )
    decoder = msgspec.json.Decoder(row)

    def read(text: str) -> list[Row]:
        try:
            return list(map(msgspec.structs.astuple, decoder.decode_lines(text)))
        except msgspec.DecodeError:  # some line is none
            found = (jsonlines.parse(line.encode()) for line in text.split("\n"))
            return [tuple(map(each.get, names)) for each in found if each is not None]

    return Form(read, _numbered(names))


def key_values(names: Sequence[str]) -> Form:
    """Reads lines of logfmt; `names` are those of keys, None where a line has it not."""

    def read(text: str) -> list[Row]:
        found = (logfmt.parse(line.encode()) for line in text.split("\n"))
        return [tuple(map(each.get, names)) for each in found if each is not None]

    return Form(read, _numbered(names))


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}
