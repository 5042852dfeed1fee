"""Markers: what is inserted into a text stands between two comments, so that it can be taken out to the byte.

    spec:
      # podpatterns:begin
      volumes:
      - ...
      # podpatterns:end
      containers:

In flow style (`{a: 1, b: 2}`) the insertion begins behind a bracket, in the middle of a line:

    metadata: { # podpatterns:begin
      annotations: {...},
      # podpatterns:end
      name: shop}
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

BEGIN = "# podpatterns:begin"
END = "# podpatterns:end"
AT_END = " (the file had no final line break)"

_BEGIN = re.compile(rf"[ ]*{BEGIN}(?P<at_end>{re.escape(AT_END)})?(?=\r?\n)")
_END = re.compile(rf"^(?P<indent>[ ]*){END}(?P<line>\r?\n|\Z)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Splice:
    """Lines to be inserted at an offset: in block style at a line's start, in flow style behind a bracket."""

    offset: int
    lines: tuple[str, ...]
    """Without line ends, indented as they are to stand."""
    indent: str
    """The indentation of the markers."""
    flow: bool = False


def insert(source: str, splices: Iterable[Splice]) -> str:
    """The text with all splices."""
    end = "\r\n" if "\r\n" in source else "\n"
    for splice in sorted(splices, key=lambda each: each.offset, reverse=True):
        before, after = source[: splice.offset], source[splice.offset :]
        body = [*splice.lines, f"{splice.indent}{END}"]
        if splice.flow:
            source = f"{before} {BEGIN}{end}{end.join(body)}{end}{splice.indent}{after}"
        elif before and not before.endswith("\n"):
            source = f"{before}{end}{end.join([f'{splice.indent}{BEGIN}{AT_END}', *body])}{after}"
        else:
            source = f"{before}{end.join([f'{splice.indent}{BEGIN}', *body])}{end}{after}"
    return source


def marked(source: str) -> bool:
    """Whether anything was inserted."""
    return _BEGIN.search(source) is not None


def remove(source: str) -> str:
    """The text as it was before `insert`. Raises ValueError, with the line, for a marker without its counterpart."""
    pieces: list[str] = []
    rest = 0
    while (begin := _BEGIN.search(source, rest)) is not None:
        end = _END.search(source, begin.end())
        if end is None:
            line = source.count("\n", 0, begin.end()) + 1
            raise ValueError(f'line {line}: "{BEGIN}" without "{END}" below it')
        start, stop = begin.start(), end.end()
        if begin["at_end"]:
            # The line break in front was added with it, and the text ends as it did.
            start -= 2 if source.startswith("\r\n", start - 2) else 1
            stop = end.start("line")
        elif start and source[start - 1] != "\n":
            stop += len(end["indent"])  # in flow style: what followed the bracket stands behind this
        pieces.append(source[rest:start])
        rest = stop
    pieces.append(source[rest:])
    return "".join(pieces)
