"""Reading exposition pages: what the Prometheus text format and OpenMetrics have in common.

A page is cut at its HELP, TYPE and UNIT lines. Samples between two of them whose series stood on an earlier page cost
one look-up and one float each, and those whose labels are written plainly little more. Where any is written otherwise,
the samples are found by one `findall`, and become columns by `zip`. Only what does not fit is looked at line by line,
to say where the mistake is.

One piece, for the three ways of reading samples share their places and their owners.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from podpatterns.formats.families import SUFFIXES, TEXT, Blocks, Family, InvalidLabels, Kind, named, unquoted
from podpatterns.formats.numbers import floats

_OLD_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*+"
NAME = rf"(?:{_OLD_NAME}|{TEXT})"
"""The name in a HELP, TYPE or UNIT line."""
SERIES_NAME = rf"(?:{_OLD_NAME}|(?=\{{))"
"""The name of a sample; empty where it stands in the block."""
LABELS = r"\{[^\n}\"]*+(?:\"[^\"\n\\]*+(?:\\[^\n][^\"\n\\]*+)*+\"[^\n}\"]*+)*+\}"
"""A block as far as it must be read to find its end; what is in it is checked once for each text, by `Blocks`."""

_PAIR = rf"(?:[a-zA-Z_][a-zA-Z0-9_]*+|{TEXT})(?:={TEXT})?+"
PLAIN_LABELS = rf"\{{(?:{_PAIR}(?:,{_PAIR})*+)?+\}}"
"""A block without blanks, and without a comma at its end."""

_CREATED = ("counter", "histogram", "summary")
Row = tuple[str, str, str, str, str]
"""Name, block, value, stamp and exemplar of a sample, as text."""


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
    """Whether HELP and TYPE bear the name without `_total` and `_info`, and `_created` belongs to its family."""


@dataclass(slots=True)
class Draft:
    """A family in the making: `name` as its TYPE line has it."""

    name: str
    family: Family
    typed: bool = False
    said: set[str] = field(default_factory=set)
    """Its HELP, TYPE and UNIT lines."""
    place: int = 0
    samples: dict[str, str] = field(default_factory=dict)
    """The suffix, by name of sample."""
    created: dict[str, float] = field(default_factory=dict)
    """When each series began, by its block."""


class Reader:
    """Reads one page; `problems` collects what is wrong, and `families` what is right all the same."""

    def __init__(self, dialect: Dialect, text: str, blocks: Blocks) -> None:
        self.dialect, self.text, self.blocks = dialect, text, blocks
        self.problems: list[Malformed] = []
        self.drafts: dict[str, Draft] = {}
        self._owners: dict[str, Draft] = {}
        self._current: Draft | None = None
        self._left_out: set[int] = set()
        """Where samples stand that are part of no family."""

    def read(self) -> None:
        """Go through the page."""
        at, end = 0, len(self.text)
        if self.dialect.bare and f"\n{self.text}".endswith("\n# EOF\n"):
            end -= 6
        for match in self._directives():
            self._samples(at, match.start())
            at = match.end()
            self._directive(match)
        self._samples(at, end)

    def _directives(self) -> Iterator[re.Match[str]]:
        """The HELP, TYPE and UNIT lines: a search for # is many times faster than one for lines that begin with it."""
        text, pattern = self.text, self.dialect.directive
        at = text.find("#")
        while at >= 0:
            line = text.rfind("\n", 0, at) + 1
            if not text[line:at].strip(" \t"):
                match = pattern.match(text, line)
                if match is not None:
                    yield match
                at = text.find("\n", at)
            at = text.find("#", at + 1)

    def families(self) -> list[Family]:
        """What was read, without families that have neither samples nor a type."""
        for draft in self.drafts.values():
            if draft.created:
                draft.family.starts = list(map(draft.created.get, draft.family.blocks))
        return [draft.family for draft in self.drafts.values() if draft.family.values or draft.typed]

    # --- places ---------------------------------------------------------------------------------------------------

    def problem(self, message: str, at: int) -> None:
        """Note a mistake at an offset of the text."""
        line = self.text.count("\n", 0, at) + 1
        self.problems.append(Malformed(message, line, at - (self.text.rfind("\n", 0, at) + 1) + 1))

    def told(self, problems: list[Malformed] | None) -> None:
        """Add what is wrong to a list, in the order of the page; without a list, raise the first."""
        found = sorted(self.problems, key=lambda problem: (problem.line, problem.column))
        if problems is not None:
            problems += found
        elif found:
            raise found[0]

    def place(self, draft: Draft, index: int) -> int:
        """Where the sample stands that has become this one of the family's; looked for when it is asked."""
        found = (at for at, name in self._found() if draft.samples.get(name, "_created") != "_created")
        return next((at for count, at in enumerate(found) if count == index), draft.place)

    def _found(self) -> Iterator[tuple[int, str]]:
        """The place and name of each sample that is part of a family."""
        for match in self.dialect.sample.finditer(self.text):
            if match.start() not in self._left_out:
                yield match.start(), match[1] or named(match[2])[0]

    # --- directives -----------------------------------------------------------------------------------------------

    def _directive(self, match: re.Match[str]) -> None:
        keyword, name, text = match.groups()
        at = match.start()
        if name[0] == '"':
            name = unquoted(name)
        draft = self._draft(name, at)
        if keyword in draft.said:
            self.problem(f"a second {keyword} line for {name}", at)
            return
        draft.said.add(keyword)
        if draft.family.values and (self.dialect.bare or keyword == "TYPE"):
            self.problem(f"the {keyword} line of {name} stands behind its samples", at)
            return
        if keyword == "TYPE":
            # OpenMetrics allows no blank at the end of a line, the older format ignores it behind a type.
            kind = self.dialect.kinds.get(text if self.dialect.bare else text.rstrip(" \t"))
            if kind is None:
                self.problem(f'unknown type "{text}"; known: {", ".join(self.dialect.kinds)}', match.start(3))
                return
            draft.typed = True
            draft.family.kind = kind
            if self.dialect.bare and kind in ("counter", "info"):
                draft.family.name = f"{name}_total" if kind == "counter" else f"{name}_info"
            self._claim(draft)
        elif keyword == "UNIT":
            draft.family.unit = text
        else:
            draft.family.help = unescaped(text, quotes=self.dialect.bare)

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
        draft.samples.clear()
        if self._owners.get(draft.name) is draft:
            del self._owners[draft.name]
        suffixes = list(SUFFIXES[family.kind])
        if self.dialect.bare and family.kind in _CREATED:
            suffixes.append("_created")  # the text format has them as families of their own
        for suffix in suffixes:
            sample = f"{base}{suffix}" if suffix else family.name
            draft.samples[sample] = suffix
            owner = self._owners.setdefault(sample, draft)
            if owner is not draft and self.dialect.bare:
                self.problem(f"{sample} would be a sample of both {owner.name} and {draft.name}", draft.place)

    # --- samples --------------------------------------------------------------------------------------------------

    def _samples(self, start: int, end: int) -> None:
        start += start > 0 and self.text.startswith("\n", start)  # the end of a directive's line
        if start >= end or self._known(start, end):
            return
        rows = self.dialect.sample.findall(self.text, start, end)
        if len(rows) != self.text.count("\n", start, end):
            self._check_lines(start, end)
        if rows:
            self._rows(rows, start)

    def _known(self, start: int, end: int) -> bool:
        """Take in samples whose series are known or plain, and have neither time nor exemplar."""
        known = self.blocks.series
        lines = self.text[start : end - 1].split("\n")
        try:
            series, _, values = zip(*[line.rpartition(" ") for line in lines], strict=True)
            try:
                found = list(map(known.__getitem__, series))
            except KeyError:
                self.blocks.learn(series)
                found = list(map(known.__getitem__, series))
            names, blocks = zip(*found, strict=True)
            self._grouped(names, blocks, floats(values), start)
        except (KeyError, ValueError):
            return False
        return True

    def _grouped(self, names: Sequence[str], blocks: Sequence[str], values: list[float], at: int) -> None:
        """Columns to families. Raises KeyError, before anything is added, where a family does not take a sample."""
        owners: dict[str, Draft] = {}
        for name in dict.fromkeys(names):
            owner = self._owner(name, at)
            if owner is None or owner.samples[name] == "_created":
                raise KeyError(name)
            owners[name] = owner
        runs: list[tuple[Draft, int, int]] = []
        if len({id(owner) for owner in owners.values()}) == 1:
            runs.append((owners[names[0]], 0, len(names)))
        else:
            at = 0
            for _, group in groupby(names, key=lambda name: id(owners[name])):
                count = len(list(group))
                runs.append((owners[names[at]], at, at + count))
                at += count
        if self.dialect.bare and any(draft.family.values for draft, _, _ in runs):
            raise KeyError
        for draft, first, last in runs:
            part = Family(
                draft.family.name, draft.family.kind, blocks=list(blocks[first:last]), values=values[first:last]
            )
            self._append(draft, part, names[first:last])

    def _check_lines(self, start: int, end: int) -> None:
        """Say which lines are no samples, and why they should be."""
        at = start
        for line in self.text[start : end - 1].split("\n"):
            if not self.dialect.idle.fullmatch(line) and not self.dialect.sample.fullmatch(line):
                message, offset = _broken(line, strict=self.dialect.bare)
                self.problem(message, at + offset)
            at += len(line) + 1

    def _rows(self, rows: Sequence[Row], at: int) -> None:
        if not all(row[0] for row in rows):
            rows = self._with_names(rows, at)
        owners = {name: self._owner(name, at) for name in dict.fromkeys(row[0] for row in rows)}
        for _, group in groupby(rows, key=lambda row: id(owners[row[0]])):
            run = list(group)
            owner = owners[run[0][0]]
            if owner is None:
                for row in run:
                    kind = self.drafts[row[0]].family.kind
                    self._leave_out(row, at, f"{row[0]} is of type {kind}, whose samples bear other names", 0)
            elif self.dialect.bare and owner.family.values and owner is not self._current:
                self.problem(f"the samples of {owner.name} do not stand together", self._find(run[0], at))
            else:
                self._columns(owner, run, at)

    def _owner(self, name: str, at: int) -> Draft | None:
        """The family that a sample of this name is part of; None where its type has no such sample."""
        owner = self._owners.get(name)
        if owner is None and name not in self.drafts:
            owner = self._draft(name, at)
        return owner

    def _with_names(self, rows: Sequence[Row], at: int) -> list[Row]:
        """Names in quotes, which stand in the blocks, put where others have theirs."""
        found = []
        for row in rows:
            if row[0]:
                found.append(row)
                continue
            try:
                name, labels = named(row[1])
            except InvalidLabels as error:
                self._leave_out(row, at, str(error), error.offset)
                continue
            if name:
                found.append((name, self.blocks.block(labels), *row[2:]))
            else:
                self._leave_out(row, at, "a sample without a name", 0)
        return found

    def _columns(self, draft: Draft, rows: Sequence[Row], at: int) -> None:
        columns: Iterator[tuple[str, ...]] = zip(*rows, strict=True)
        names: Sequence[str]
        names, blocks, values, stamps, exemplars = columns
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
        self.blocks.remember(names, blocks, part.blocks)
        if any(exemplars):
            part.exemplars = {index: text for index, text in enumerate(exemplars) if text}
        if "_created" in draft.samples.values():
            part, names = self._without_created(draft, part, names, at)
        if part.values:
            self._append(draft, part, names)

    def _append(self, draft: Draft, part: Family, names: Sequence[str]) -> None:
        family = draft.family
        self._current = draft
        if len(draft.samples) > 1 or family.suffixes is not None:
            suffixes = list(map(draft.samples.__getitem__, names))
            part.suffixes = suffixes if any(suffixes) else None
        if not family.values:
            family.blocks, family.values, family.suffixes = part.blocks, part.values, part.suffixes
            family.stamps, family.exemplars = part.stamps, part.exemplars
        else:
            family.extend(part)

    def _without_created(
        self, draft: Draft, part: Family, names: Sequence[str], at: int
    ) -> tuple[Family, Sequence[str]]:
        """A part without the samples that say when the others began."""
        kept = []
        for index, name in enumerate(names):
            if draft.samples[name] != "_created":
                kept.append(index)
                continue
            if index in part.exemplars:
                self.problem(f"{name} has no exemplar", self._last(name, at))
            if part.blocks[index] in draft.created:
                self.problem(f"{name} stands there twice", self._last(name, at))
            self._current = draft
            draft.created[part.blocks[index]] = part.values[index]
        return (part, names) if len(kept) == len(names) else (part.keep(kept), [names[index] for index in kept])

    def _last(self, name: str, at: int) -> int:
        return max(self.text.rfind(f"\n{name}") + 1, at)

    def _columns_one_by_one(self, draft: Draft, rows: Sequence[Row], at: int) -> None:
        good = []
        for row in rows:
            trouble = self._trouble(row)
            if trouble is None:
                good.append(row)
            else:
                self._leave_out(row, at, *trouble)
        if good:
            self._columns(draft, good, at)

    def _find(self, row: Row, at: int) -> int:
        """Where a row stands; of several that are the same, the last one."""
        found = (match.start() for match in self.dialect.sample.finditer(self.text, at) if match.groups("") == row)
        return max(found, default=at)

    def _leave_out(self, row: Row, at: int, message: str, offset: int) -> None:
        place = self._find(row, at)
        self._left_out.add(place)
        self.problem(message, place + offset)

    def _trouble(self, row: Row) -> tuple[str, int] | None:
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
                return f'"{text[:60]}" is not a {what}', len(name) + len(block) + 1
        return None


_START = {True: re.compile(f"({SERIES_NAME})"), False: re.compile(rf"[ \t]*({SERIES_NAME})[ \t]*")}
_WHOLE_BLOCK = re.compile(LABELS)
_PLAIN_BLOCK = re.compile(PLAIN_LABELS)
_VALUE = {True: re.compile(r" [^ \t\n{]+"), False: re.compile(r"[ \t]*[^ \t\n{]+")}


def _broken(line: str, *, strict: bool) -> tuple[str, int]:
    """What is wrong with a line that is no sample, and where in it."""
    if not line.strip():
        return "an empty line", 0
    if line.lstrip(" \t")[:1] == "#":
        return "a broken comment; known are HELP, TYPE and UNIT lines with a name and a text, and # EOF", 0
    start = _START[strict].match(line)
    if start is None:
        return 'expected a sample: name{label="value"} number', 0
    at = start.end()
    if line[at : at + 1] == "{":
        block = _WHOLE_BLOCK.match(line, at)
        if block is None:
            return "the labels do not end", at
        try:
            named(block[0])
        except InvalidLabels as error:
            return str(error), at + error.offset
        if strict and not _PLAIN_BLOCK.fullmatch(block[0]):
            return "labels have neither blanks between them nor a comma at the end", at
        at = block.end()
    value = _VALUE[strict].match(line, at)
    if value is None or (at == len(start[1]) and line[at : at + 1] not in " \t{"):
        return f"expected {'one blank and ' if strict else ''}a number behind the series", at
    return "what stands here does not fit; blanks and commas count", value.end()


def _float(text: str) -> float:
    return floats((text,))[0]


_HELP = re.compile(r"\\(.)")
_HELP_TEXT = {"n": "\n", "\\": "\\", '"': '"'}


def unescaped(text: str, *, quotes: bool) -> str:
    """A HELP text as it is meant; OpenMetrics escapes quotes in it too."""
    if "\\" not in text:
        return text
    known = _HELP_TEXT if quotes else {"n": "\n", "\\": "\\"}
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
