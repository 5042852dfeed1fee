"""Finding log files: by pattern, and what rotation has made of them.

What rotation leaves (`access.log.1` beside `access.log`) is found as well, whether or not the pattern matches it: a
file
may be created, filled and rotated away while nobody is looking.
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

ROTATED = r"[.\-_](?:\d[\dT:.\-_]*|old)"
"""What log rotation appends to a name: `.1`, `-20261123`, `.2026-11-23T10`, `.old`."""

COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip")


class Found(NamedTuple):
    """A file that matches. `path` is where it is now."""

    path: str
    dev: int
    ino: int
    size: int
    mtime: float


@dataclass
class Discovery:
    """Looks for files; `directories` is where it looked the last time."""

    paths: Sequence[str]
    exclude: Sequence[str] = ()
    rotated: bool = True
    directories: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    """Paths that could not be looked at the last time, and why."""

    @cached_property
    def _patterns(self) -> list[tuple[str, re.Pattern[str]]]:
        patterns = []
        for path in self.paths:
            directory, name = os.path.split(path)
            body = fnmatch.translate(name).removesuffix(r"\Z").removesuffix(r"\z")
            suffix = f"(?:{ROTATED})?" if self.rotated else ""
            patterns.append((directory or ".", re.compile(f"{body}{suffix}")))
        return patterns

    def look(self) -> list[Found]:
        """Every file there is now, once, the one that was written to longest ago first."""
        found: dict[tuple[int, int], Found] = {}
        self.unreadable = {}
        by_directory: dict[str, list[re.Pattern[str]]] = {}
        for directory, pattern in self._patterns:
            places = glob.glob(directory, recursive=True) if glob.has_magic(directory) else [directory]  # noqa: PTH207 - Path.glob takes no absolute pattern
            for place in places:
                by_directory.setdefault(place, []).append(pattern)
        self.directories = [place for place in by_directory if Path(place).is_dir()]
        for place, patterns in by_directory.items():
            for file in self._in(place, patterns):
                # Of two names for one file the shorter is the one that it was born with.
                other = found.get((file.dev, file.ino))
                if other is None or len(file.path) < len(other.path):
                    found[file.dev, file.ino] = file
        return sorted(found.values(), key=lambda file: (file.mtime, file.path))

    def _in(self, place: str, patterns: Iterable[re.Pattern[str]]) -> Iterator[Found]:
        try:
            entries = list(os.scandir(place))
        except FileNotFoundError:
            return
        except OSError as error:
            self.unreadable[place] = error.strerror or str(error)
            return
        for entry in entries:
            if not any(pattern.fullmatch(entry.name) for pattern in patterns) or self._excluded(entry):
                continue
            if entry.name.endswith(COMPRESSED):
                self.unreadable[entry.path] = "it is compressed; only files that have not been compressed are read"
                continue
            try:
                status = entry.stat()
            except OSError:
                continue  # gone since, or a symlink that leads nowhere for now
            if stat.S_ISREG(status.st_mode):
                yield Found(entry.path, status.st_dev, status.st_ino, status.st_size, status.st_mtime)

    def _excluded(self, entry: os.DirEntry[str]) -> bool:
        return any(fnmatch.fnmatch(entry.path, each) or fnmatch.fnmatch(entry.name, each) for each in self.exclude)


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
