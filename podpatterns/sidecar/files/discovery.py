"""Finding log files: by pattern, and what rotation has made of them.

What rotation leaves (`access.log.1` beside `access.log`) is found as well, whether or not the pattern matches it: a
file may be created, filled and rotated away while nobody is looking.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from podpatterns.formats.rotation import COMPRESSED, ROTATED

Key = tuple[int, int]
"""Device and inode."""
Place = tuple[str, str]
"""A directory, and a name in it."""


class Found(NamedTuple):
    """A file that matches. `path` is where it is now."""

    path: str
    dev: int
    ino: int
    size: int
    mtime: float
    links: int

    @property
    def key(self) -> Key:
        """What tells it from all other files that there are now."""
        return self.dev, self.ino


@dataclass(slots=True)
class Directories:
    """Where files may be: `search` holds the patterns for each directory that is there now.

    `ways` are directories above them in which the appearance of a name (None: of any) changes that: those with a
    wildcard below them, with a symlink, or with nothing yet.
    """

    search: dict[str, list[re.Pattern[str]]] = field(default_factory=dict)
    ways: dict[str, set[str] | None] = field(default_factory=dict)

    def expect(self, directory: str, name: str | None) -> None:
        """A name in a directory leads to files, or will."""
        names = self.ways.setdefault(directory, set())
        if name is None or names is None:
            self.ways[directory] = None
        else:
            names.add(name)


@dataclass(slots=True)
class Sight:
    """What a look has found."""

    files: list[Found]
    """Every file once, the one that was written to longest ago first."""
    places: dict[Place, Key | None]
    """Where the kernel will say that a file has changed: behind its symlinks. None: nothing is there yet."""


@dataclass
class Discovery:
    """Looks for files."""

    paths: Sequence[str]
    exclude: Sequence[str] = ()
    rotated: bool = True
    unreadable: dict[str, str] = field(default_factory=dict)
    """Paths that could not be looked at the last time, and why."""

    @cached_property
    def _patterns(self) -> list[tuple[str, re.Pattern[str]]]:
        patterns = []
        for path in self.paths:
            directory, name = os.path.split(path)
            body = fnmatch.translate(name).removesuffix(r"\Z").removesuffix(r"\z")
            suffix = f"(?:{ROTATED})?" if self.rotated else ""
            patterns.append((directory, re.compile(f"{body}{suffix}")))
        return patterns

    def would_find(self, path: str) -> bool:
        """Whether a file of this name would be read, if it were there. Pure."""
        directory, name = os.path.split(path)
        patterns = [pattern for where, pattern in self._patterns if _matches(where.split("/"), directory.split("/"))]
        return self._wanted(name, path, patterns)

    def directories(self) -> Directories:
        """Where to look."""
        found = Directories()
        for directory, pattern in self._patterns:
            for place in _expanded(directory, found):
                found.search.setdefault(place, []).append(pattern)
        return found

    def look(self, directories: Directories) -> Sight:
        """Every file there is now."""
        found: dict[Key, Found] = {}
        places: dict[Place, Key | None] = {}
        self.unreadable = {}
        for directory, patterns in directories.search.items():
            for file in self._in(directory, patterns, places):
                # Of two names for one file the shorter is the one that it was born with.
                other = found.get(file.key)
                if other is None or len(file.path) < len(other.path):
                    found[file.key] = file
        return Sight(sorted(found.values(), key=lambda file: (file.mtime, file.path)), places)

    def _in(
        self, directory: str, patterns: Sequence[re.Pattern[str]], places: dict[Place, Key | None]
    ) -> Iterator[Found]:
        try:
            entries = list(os.scandir(directory))
        except FileNotFoundError:
            return
        except OSError as error:
            self.unreadable[directory] = error.strerror or str(error)
            return
        for entry in entries:
            if not self._wanted(entry.name, entry.path, patterns):
                continue
            if entry.name.endswith(COMPRESSED):
                self.unreadable[entry.path] = "it is compressed; only files that have not been compressed are read"
                continue
            if not _is_text(entry.path):
                self.unreadable[entry.path] = (
                    "its name is not UTF-8, so no record could say where it is from; rename it"
                )
                continue
            place = os.path.split(os.path.realpath(entry.path)) if entry.is_symlink() else (directory, entry.name)
            try:
                status = entry.stat()
            except OSError:
                places[place] = None  # gone since, or a symlink that leads nowhere for now
                continue
            if stat.S_ISREG(status.st_mode):
                places[place] = status.st_dev, status.st_ino
                yield Found(entry.path, status.st_dev, status.st_ino, status.st_size, status.st_mtime, status.st_nlink)

    def concerns(self, directories: Directories, directory: str, name: str) -> bool:
        """Whether a look would take notice of a name in a directory."""
        if directory in directories.ways:
            names = directories.ways[directory]
            if names is None or name in names:
                return True
        patterns = directories.search.get(directory)
        return patterns is not None and self._wanted(name, os.path.join(directory, name), patterns)  # noqa: PTH118 - as scandir joins them

    def _wanted(self, name: str, path: str, patterns: Iterable[re.Pattern[str]]) -> bool:
        return any(pattern.fullmatch(name) for pattern in patterns) and not any(
            fnmatch.fnmatch(path, each) or fnmatch.fnmatch(name, each) for each in self.exclude
        )


def _matches(pattern: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a directory is one that a pattern stands for, each in its parts."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(pattern[1:], parts[at:]) for at in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(pattern[1:], parts[1:])


def _is_text(path: str) -> bool:
    """Whether a name is UTF-8; where it is not, Python has lone surrogates in it, which nothing can write."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _expanded(pattern: str, found: Directories) -> list[str]:
    """The directories that a pattern stands for, with the ways to them; `**` stands for any depth."""
    root = "/" if pattern.startswith("/") else ""
    here = [root]
    for part in filter(None, pattern.split("/")):
        there: list[str] = []
        for place in here:
            path = os.path.join(place, part)  # noqa: PTH118 - Path would take `./` away, and change what people see
            if glob.has_magic(part):
                path = os.path.join(glob.escape(place), part)  # noqa: PTH118 - as above
                deeper = [each.rstrip("/") or "/" for each in glob.glob(path, recursive=True)]  # noqa: PTH207 - as above
                deeper = [each for each in deeper if os.path.isdir(each)]  # noqa: PTH112
                for each in (place, *deeper) if part == "**" else (place,):
                    found.expect(each or ".", None)
                there += deeper
                continue
            there_now = os.path.isdir(path)  # noqa: PTH112
            if not there_now or os.path.islink(path):  # noqa: PTH114
                found.expect(place or ".", part)
            if there_now:
                there.append(path)
        here = there
    return [place or "." for place in dict.fromkeys(here)]


def neighbours(path: str) -> Iterator[tuple[str, int, int]]:
    """Path, device and inode of every regular file in the same directory."""
    directory = Path(path).parent
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        try:
            status = entry.stat()
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            yield entry.path, status.st_dev, status.st_ino
