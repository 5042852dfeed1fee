"""What parses the lines of a log, by the name that its configuration has for their format. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podpatterns.formats import combined
from podpatterns.formats.layouts import LAYOUTS, WholeLines, parser, rows_of
from podpatterns.formats.parsers import PARSERS, Parser


def levels_of(name: str | None) -> Mapping[str, str]:
    """The words that a format has for levels, beside the usual ones."""
    layout = LAYOUTS.get(name or "")
    return layout.levels if layout is not None else {}


def parser_of(name: str, pattern: str | None = None) -> Parser:
    """What parses a line; a pattern comes before the name."""
    if pattern is not None:
        return parser(pattern)
    if name == "text":
        return _as_text
    layout = LAYOUTS.get(name)
    return PARSERS[name] if layout is None else parser(*layout.patterns)


def whole_parser_of(name: str, pattern: str | None) -> WholeLines | None:
    """What parses many lines that are alike, to names and columns; None where there is nothing faster."""
    if pattern is not None:
        return rows_of(pattern)
    layout = LAYOUTS.get(name)
    if layout is not None:
        return rows_of(*layout.patterns)
    if name != "combined":
        return None

    def columns(lines: Sequence[bytes]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]] | None:
        text = b"\n".join(lines).decode()
        table = combined.rows(f"{text}\n", len(lines))
        return None if table is None else (table.names, list(zip(*table.rows, strict=True)))

    return columns


def _as_text(line: bytes) -> dict[str, Any]:
    return {"message": line.decode()}
