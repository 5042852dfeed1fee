"""Log files that others write to, followed through their rotation: what is new in them, the oldest first.

A file is known by device, inode and its first bytes. Rotation by renaming gives its name to another one, and what had
the name in between is found beside it; copytruncate leaves a copy, in which the rest is read. How much of a file has
been taken is said by who takes it, and the rest is offered again: nothing is read on from what is not safe.

A sidecar's `tail` does more: acknowledgements that come later, encodings, copies that were compressed meanwhile.

One piece, because which file is new, which one a copy and which one done with is decided over the same list.
"""

from __future__ import annotations

import glob
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence

from podpatterns.adapter.log_events import LogEvents
from podpatterns.adapter.log_generation import Generation, Key, Piece, Position
from podpatterns.formats.rotation import COMPRESSED, PREFIX, rotated


class LogFiles:
    """Follows files by their names. Nothing here waits: who follows looks again and again.

    Args:
        name: whose files they are, in events.
        paths: their names, perhaps with wildcards, which may match what rotation leaves as well.
        piece: bytes that are offered at once; of a longer line so much, and its rest is passed over.
        every: seconds between two looks at the names while there is something to read.
        events: what is told.
    """

    def __init__(self, name: str, paths: Sequence[str], *, piece: int, every: float, events: LogEvents) -> None:
        self.open: list[Generation] = []
        """The older ones first."""
        self._name, self._paths, self._piece, self._every, self._events = name, paths, piece, every, events
        self._passed: dict[Key, Passed] = {}
        self._missing: set[str] = set()
        self._complaints: dict[str, str] = {}
        self._looked = float("-inf")

    def start(self, position: Position | None = None, *, at_end: bool = False) -> None:
        """Begin with what is there, at the end or at the beginning; or go on where one file had been taken up to.

        With a position, what rotation has made since of the file is found, whatever its name is by now.
        """
        if position is not None:
            self._resume(position)
            return
        for path in self._found():
            file = self._opened(path, path)
            if file is not None and at_end:
                file.pass_over()
            if file is not None and not self._follows(file):
                self._follow(file, path)
        for path in self._paths:
            self._pass_over(path, _beside(path))

    def _resume(self, position: Position) -> None:
        path = self._paths[0]
        beside = list(_beside(path))
        same = [name for name, key in _listed(path) if key == (position.dev, position.ino)]
        for name in [path, *same]:
            file = self._opened(path, name)
            if file is not None and file.is_at(position):
                file.offset = position.offset
                self._follow(file, name)
                # What is older is nothing that came after it.
                self._pass_over(path, beside[: beside.index(name)] if name in beside else beside)
                return
            if file is not None:
                file.close()
        self._events.gone(self._name, path)

    @property
    def position(self) -> Position | None:
        """All before it has been taken; None while there is no file."""
        behind = (file for file in self.open if file.offset < file.size)
        file = next(behind, self.open[-1] if self.open else None)
        return None if file is None else file.position

    def close(self) -> None:
        """Let go of all files."""
        for file in self.open:
            file.close()
        self.open.clear()

    # --- reading --------------------------------------------------------------------------------------------------

    def pieces(self, *, final: bool = False) -> Iterator[Piece]:
        """What there is to take, until there is nothing more; what is not taken is passed by for now.

        A piece of each name at a time, lest one that grows fast holds up the others.

        Args:
            final: nothing more is waited for: a last line without an end is offered as well.
        """
        moved = True
        while moved:
            moved, had = False, set[str]()
            for file in list(self.open):
                if file.path in had or file.descriptor < 0:
                    continue
                before = file.offset
                if file.look():
                    yield from self._piece_of(file, final=final)
                else:
                    self._truncated(file)
                    moved = True
                if file.offset != before:
                    moved = True
                    had.add(file.path)
            if not moved or time.monotonic() - self._looked >= self._every:
                moved = self.look() or moved

    def _piece_of(self, file: Generation, *, final: bool) -> Iterator[Piece]:
        if file.offset == file.size:
            return
        data = file.read(self._piece)
        end = data.rfind(b"\n") + 1
        cut = not end and len(data) == self._piece
        if cut or (not end and (final or file.quiet)):
            end = len(data)
        before = file.offset
        grown, file.seen = before + len(data) != file.seen, before + len(data)
        if end:
            yield Piece(file, data if end == len(data) else data[:end], grown=grown)
            file.skipping = cut and file.offset != before

    # --- which files ----------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """Find what has the names by now, and what has had them since; True if there is a file that is new."""
        self._looked = time.monotonic()
        before, here = len(self.open), set[Key]()
        for path in self._found():
            try:
                status = os.stat(path)  # noqa: PTH116 - a plain path, several times a second
            except (FileNotFoundError, NotADirectoryError):
                self._missed(path)
                continue
            except OSError as error:
                self._complain(path, error.strerror or str(error))
                continue
            key = status.st_dev, status.st_ino
            here.add(key)
            if any(file.key == key for file in self.open):
                continue
            if stat.S_ISREG(status.st_mode):
                self._arrived(path)
            elif path in self._paths:
                self._complain(path, "it is no regular file")
        new = len(self.open) > before
        for file in list(self.open):
            self._note(file, here)
        return new

    def _arrived(self, path: str) -> None:
        """Another file has the name."""
        self._follow_between(path)
        file = self._opened(path, path)
        if file is None:
            return
        if path in self._paths:
            self._passed.pop(file.key, None)  # whatever it has been: it is the file now
            known = self._follows(file)
        else:
            known = self._knows(file, *(each.path for each in self.open if _is_of(path, each.path)), partly=True)
        if not known:
            self._follow(file, path)

    def _follow_between(self, path: str) -> None:
        """What has had the name, and has it no more, since the last look."""
        if not any(file.path == path for file in self.open):
            return
        beside = _beside(path)
        self._passed = {key: each for key, each in self._passed.items() if each.path != path or key in beside.values()}
        for name in beside:
            file = self._opened(path, name)
            if file is not None and not self._knows(file, path):
                self._follow(file, name)

    def _note(self, file: Generation, here: set[Key]) -> None:
        """Whether it has a name, and is still of interest."""
        if file.key in here:
            file.away = False
        elif not file.away:
            file.away, file.changed = True, time.monotonic()
            self._events.rotated_away(self._name, file.path)
        elif file.quiet and file.offset == file.size:
            self.open.remove(file)
            self._pass(file)

    def _truncated(self, file: Generation) -> None:
        """What had not been taken is in the copy, if there is one; the file begins anew."""
        lost, rest = file.size - file.offset, None  # as far as is known
        for name in reversed(_beside(file.path)):
            copy = self._opened(file.path, name)
            if copy is None or self._follows(copy):
                continue
            passed = self._has_passed(copy)
            if not _copied(copy, file) or copy.size < file.offset or (passed and not passed.copy):
                copy.close()
            elif rest is None:
                rest = copy
            else:
                self._pass(copy, copy=True)
        if rest is not None:
            lost = 0
            rest.go_on(file)
            self.open.insert(self.open.index(file), rest)
        self._events.truncated(self._name, file.path, lost)
        file.begin_anew()
        self._follow_between(file.path)  # it may have happened twice since the last look
        if not file.away:
            self.open.remove(file)
            self.open.append(file)

    def _follow(self, file: Generation, name: str) -> None:
        self.open.append(file)
        self._complaints.pop(name, None)
        self._events.opened(self._name, name, file.offset)

    def _pass_over(self, path: str, names: Iterable[str]) -> None:
        for name in names:
            file = self._opened(path, name) if os.access(name, os.R_OK) else None
            if file is not None and not self._follows(file):
                self._pass(file)

    # --- which of them are known ----------------------------------------------------------------------------------

    def _opened(self, path: str, name: str) -> Generation | None:
        """The file of a name, as one that has, or had, the path."""
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        except FileNotFoundError:
            return None  # renamed once more since
        except OSError as error:
            self._complain(name, error.strerror or str(error))
            return None
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return Generation(path, descriptor)
        os.close(descriptor)
        return None

    def _follows(self, file: Generation) -> bool:
        """Whether it is followed already; it is closed then."""
        if any(file.key == each.key for each in self.open):
            file.close()
            return True
        return False

    def _knows(self, file: Generation, *paths: str, partly: bool = False) -> bool:
        """Whether it is followed, has been passed over, or is a copy of what is followed by these paths.

        It is closed then. `partly`: nor is it opened while it may become a copy, for copying takes its time.
        """
        if self._follows(file):
            return True
        others = [each for each in self.open if each.path in paths]
        if any(_copied(file, each) for each in others):
            self._pass(file, copy=True)
            return True
        begun = partly and file.size < PREFIX and any(each.head.startswith(file.head) for each in others)
        if begun or self._has_passed(file):
            file.close()
            return True
        return False

    def _has_passed(self, file: Generation) -> Passed | None:
        each = self._passed.get(file.key)
        return each if each is not None and file.head.startswith(each.head) else None

    def _pass(self, file: Generation, *, copy: bool = False) -> None:
        self._passed[file.key] = Passed(file, copy=copy)
        file.close()

    def _missed(self, path: str) -> None:
        self._follow_between(path)
        if path not in self._missing and not any(file.path == path for file in self.open):
            self._missing.add(path)
            self._events.missing(self._name, path)

    def _complain(self, path: str, reason: str) -> None:
        self._events.unreadable(self._name, path, reason, again=self._complaints.get(path) == reason)
        self._complaints[path] = reason

    def _found(self) -> Iterator[str]:
        for path in self._paths:
            if not glob.has_magic(path):
                yield path
                continue
            for each in sorted(glob.glob(path, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute pattern
                if not each.endswith(COMPRESSED):
                    yield each


class Passed:
    """What lies beside a file and is not to be read: it is from before we came, is a copy, or has been read."""

    __slots__ = ("copy", "head", "path")

    def __init__(self, file: Generation, *, copy: bool) -> None:
        self.path, self.head, self.copy = file.path, file.head, copy


def _copied(file: Generation, other: Generation) -> bool:
    return bool(other.head) and file.head.startswith(other.head)


def _is_of(name: str, path: str) -> bool:
    """Whether rotation may have made this name of the path."""
    (folder, base), (its, now) = os.path.split(path), os.path.split(name)
    return folder == its and rotated(base).fullmatch(now) is not None


def _beside(path: str) -> dict[str, Key]:
    """What rotation has made of a path: names with the files that they stand for, the one first that is oldest."""
    return {name: key for name, key in _listed(path) if _is_of(name, path)}


def _listed(path: str) -> list[tuple[str, Key]]:
    """Every name in the same folder, the one first that was written to longest ago."""
    found: list[tuple[int, str, Key]] = []
    folder = os.path.split(path)[0]
    try:
        entries = list(os.scandir(folder or "."))
    except OSError:
        return []
    for entry in entries:
        try:
            status = entry.stat()
        except OSError:
            continue  # renamed once more since
        name = os.path.join(folder, entry.name)  # noqa: PTH118 - as the path is written
        found.append((status.st_mtime_ns, name, (status.st_dev, status.st_ino)))
    return [(name, key) for _, name, key in sorted(found)]
