"""Reading exposition pages: what the Prometheus text format and OpenMetrics have in common.

A page is cut at its HELP, TYPE and UNIT lines; the samples between two of them are found by one `findall`, and become
columns by `zip`. Only what does not fit is looked at line by line, to say where the mistake is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from podpatterns.formats.families import SUFFIXES, Blocks, Family, InvalidLabels, Kind
from podpatterns.formats.numbers import floats

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*+"
LABELS = r"\{[^\n}\"]*+(?:\"[^\"\n\\]*+(?:\\[^\n][^\"\n\\]*+)*+\"[^\n}\"]*+)*+\}"
"""A block as far as it must be read to find its end; what is in it is checked once for each text, by `Blocks`."""


class Malformed(ValueError):  # noqa: N818 - named after the page
    """A page that breaks its format; `line` and `column` count from 1."""

    def __init__(self, message: str, line: int, column: int = 1) -> None:
        self.message, self.line, self.column = message, line, column
        super().__init__(f"line {line}, column {column}: {message}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where the two formats differ.

    `sample` matches a whole sample line, with the groups name, block, value, stamp and exemplar; `idle` a line that
    says nothing; `directive` a HELP, TYPE or UNIT line, with the groups keyword, name and text.
    """

    sample: re.Pattern[str]
    idle: re.Pattern[str]
    directive: re.Pattern[str]
    kinds: dict[str, Kind]
    stamp: Callable[[str], float]
    bare: bool
    """Whether HELP and TYPE bear the name without `_total` and `_info`."""


@dataclass(slots=True)
class Draft:
    """A family in the making: `name` as its TYPE line has it."""

    name: str
    family: Family
    typed: bool = False
    helped: bool = False
    place: int = 0
    samples: dict[str, str] = field(default_factory=dict)
    """The suffix, by name of sample."""


class Reader:
    """Reads one page; `problems` collects what is wrong, and `families` what is right all the same."""

    def __init__(self, dialect: Dialect, text: str, blocks: Blocks) -> None:
        self.dialect, self.text, self.blocks = dialect, text, blocks
        self.problems: list[Malformed] = []
        self.drafts: dict[str, Draft] = {}
        self._owners: dict[str, Draft] = {}

    def read(self) -> None:
        """Go through the page."""
        at = 0
        for match in self.dialect.directive.finditer(self.text):
            self._samples(at, match.start())
            at = match.end()
            self._directive(match)
        self._samples(at, len(self.text))

    def families(self) -> list[Family]:
        """What was read, without families that have neither samples nor a type."""
        return [draft.family for draft in self.drafts.values() if draft.family.values or draft.typed]

    # --- places ---------------------------------------------------------------------------------------------------

    def problem(self, message: str, at: int) -> None:
        """Note a mistake at an offset of the text."""
        line = self.text.count("\n", 0, at) + 1
        self.problems.append(Malformed(message, line, at - (self.text.rfind("\n", 0, at) + 1) + 1))

    # --- directives -----------------------------------------------------------------------------------------------

    def _directive(self, match: re.Match[str]) -> None:
        keyword, name, text = match.groups()
        at = match.start()
        if keyword == "TYPE":
            # OpenMetrics allows no blank at the end of a line, the older format ignores it behind a type.
            kind = self.dialect.kinds.get(text if self.dialect.bare else text.rstrip(" \t"))
            if kind is None:
                self.problem(f'unknown type "{text}"; known: {", ".join(self.dialect.kinds)}', match.start(3))
                return
            self._type(name, kind, at)
            return
        draft = self._draft(name, at)
        if keyword == "UNIT":
            draft.family.unit = text
            return
        if draft.helped:
            self.problem(f"a second HELP line for {name}", at)
            return
        draft.helped = True
        draft.family.help = unescaped(text, quotes=self.dialect.bare)

    def _type(self, name: str, kind: Kind, at: int) -> None:
        draft = self._draft(name, at)
        if draft.typed:
            self.problem(f"a second TYPE line for {name}", at)
            return
        if draft.family.values:
            self.problem(f"the TYPE line of {name} stands behind its samples", at)
            return
        draft.typed = True
        draft.family.kind = kind
        if self.dialect.bare and kind in ("counter", "info"):
            draft.family.name = f"{name}_total" if kind == "counter" else f"{name}_info"
        self._claim(draft)

    def _draft(self, name: str, at: int) -> Draft:
        draft = self.drafts.get(name)
        if draft is None:
            draft = self.drafts[name] = Draft(name, Family(name), place=at)
            self._claim(draft)
        return draft

    def _claim(self, draft: Draft) -> None:
        """Take the names that the samples of this family bear."""
        family = draft.family
        base = family.base
        if family.name != draft.name:
            self._owners.pop(draft.name, None)
        for suffix in SUFFIXES[family.kind]:
            sample = f"{base}{suffix}" if suffix else family.name
            if suffix == "_created" and not self.dialect.bare:
                continue  # the text format has them as families of their own
            draft.samples[sample] = suffix
            self._owners.setdefault(sample, draft)

    # --- samples --------------------------------------------------------------------------------------------------

    def _samples(self, start: int, end: int) -> None:
        if start >= end:
            return
        rows = self.dialect.sample.findall(self.text, start, end)
        lines = self.text.count("\n", start, end) - (self.text[start] == "\n")
        if len(rows) != lines:
            self._check_lines(start, end)
        if rows:
            self._rows(rows, start)

    def _check_lines(self, start: int, end: int) -> None:
        """Say which lines are no samples, and why they should be."""
        at = start
        for line in self.text[start:end].split("\n"):
            if line and not self.dialect.idle.fullmatch(line) and not self.dialect.sample.fullmatch(line):
                broken = "a broken comment" if line[:1] == "#" else 'expected a sample: name{label="value"} number'
                self.problem(broken, at)
            at += len(line) + 1

    def _rows(self, rows: Sequence[tuple[str, ...]], at: int) -> None:
        names = [row[0] for row in rows]
        owners = {name: self._owners.get(name) or self._draft(name, at) for name in dict.fromkeys(names)}
        if len({id(owner) for owner in owners.values()}) == 1:
            self._columns(next(iter(owners.values())), rows, at)
            return
        for _, group in groupby(rows, key=lambda row: id(owners[row[0]])):
            run = list(group)
            self._columns(owners[run[0][0]], run, at)

    def _columns(self, draft: Draft, rows: Sequence[tuple[str, ...]], at: int) -> None:
        names, blocks, values, stamps, exemplars = zip(*rows, strict=True)
        family = draft.family
        try:
            part = Family(
                family.name,
                family.kind,
                blocks=list(map(self.blocks.__getitem__, blocks)),
                values=floats(values),
                stamps=[self.dialect.stamp(stamp) if stamp else None for stamp in stamps] if any(stamps) else None,
            )
        except ValueError:
            self._columns_one_by_one(draft, rows, at)
            return
        if len(draft.samples) > 1 or family.suffixes is not None:
            suffixes = list(map(draft.samples.__getitem__, names))
            part.suffixes = suffixes if any(suffixes) else None
        if any(exemplars):
            part.exemplars = {index: text for index, text in enumerate(exemplars) if text}
        if not family.values:
            family.blocks, family.values, family.suffixes = part.blocks, part.values, part.suffixes
            family.stamps, family.exemplars = part.stamps, part.exemplars
        else:
            family.extend(part)

    def _columns_one_by_one(self, draft: Draft, rows: Sequence[tuple[str, ...]], at: int) -> None:
        good = []
        for row in rows:
            trouble = self._trouble(row)
            if trouble is None:
                good.append(row)
                continue
            message, offset = trouble
            place = self.text.find(f"{row[0]}{row[1]}", at)
            self.problem(message, max(place, at) + offset)
        if good:
            self._columns(draft, good, at)

    def _trouble(self, row: tuple[str, ...]) -> tuple[str, int] | None:
        """What is wrong with a row, and how far from its beginning."""
        name, block, value, stamp, _ = row
        try:
            self.blocks[block]
        except InvalidLabels as error:
            return str(error), len(name) + error.offset
        checks = ((value, "number", _float), (stamp, "timestamp", self.dialect.stamp))
        for text, what, read in checks:
            try:
                if text:
                    read(text)
            except ValueError:
                return f'"{text}" is not a {what}', len(name) + len(block) + 1
        return None


def _float(text: str) -> float:
    return floats((text,))[0]


_HELP = re.compile(r"\\(.)")
_HELP_TEXT = {"n": "\n", "\\": "\\", '"': '"'}


def unescaped(text: str, *, quotes: bool) -> str:
    """A HELP text as it is meant; OpenMetrics escapes quotes in it too."""
    if "\\" not in text:
        return text
    known: dict[str, Any] = _HELP_TEXT if quotes else {"n": "\n", "\\": "\\"}
    return _HELP.sub(lambda match: known.get(match[1], match[0]), text)


def decoded(data: bytes | str) -> str:
    """A page as text that ends with a newline.

    Raises:
        Malformed: with the place of the byte that is not UTF-8.
    """
    if isinstance(data, str):
        text = data
    else:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            before = data[: error.start]
            column = error.start - (before.rfind(b"\n") + 1) + 1
            raise Malformed("not UTF-8", before.count(b"\n") + 1, column) from None
    return text if text.endswith("\n") or not text else text + "\n"
