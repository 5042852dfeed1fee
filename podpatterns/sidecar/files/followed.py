"""The files that are followed: found, opened, known again after a restart and after every kind of rotation.

Everything here looks at names and at what is in files, at most; reading on is the followers' part, and when to look is
the input's. It is one piece, because each of its parts decides over the same set: a file that one takes for a copy the
other must not open as a new one.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from podpatterns.errors import StartError
from podpatterns.formats.encodings import Encoding
from podpatterns.formats.rotation import hashed
from podpatterns.sidecar.events import SidecarEvents
from podpatterns.sidecar.files.discovery import Directories, Discovery, Found, Key, Place, Sight, neighbours
from podpatterns.sidecar.files.follower import Follower
from podpatterns.sidecar.files.identity import BEFORE, Entry, fresh
from podpatterns.sidecar.files.unpacked import SUFFIX, unpacked
from podpatterns.sidecar.files.watches import Changes, Watches
from podpatterns.sidecar.files.writers import written
from podpatterns.sidecar.ledger import Account

LOOKS = 20
"""Looks at a directory before a file of the checkpoint counts as gone."""

_ROTATED = re.compile(r"([.-]\d+)+$")


class Followed:
    """Followers by their files' device and inode."""

    def __init__(
        self,
        discovery: Discovery,
        watches: Watches,
        follower: Callable[[Entry, int | None], Follower],
        *,
        encoding: Encoding,
        events: SidecarEvents,
        retire: Callable[[Account], None],
        directory: Path,
    ) -> None:
        self.files: dict[Key, Follower] = {}
        self.ended: list[Follower] = []
        """Generations whose file was truncated: their last batches are still on their way."""
        self.polled: set[Follower] = set()
        """Those that nobody tells us about."""
        self._discovery, self._watches = discovery, watches
        self._follower = follower
        self._encoding = encoding
        self._events = events
        self._retire = retire
        self._directory = directory
        self._directories = Directories()
        self._places: dict[Place, Key | None] = {}
        self._empty: list[str] = []
        self._complained: dict[str, str] = {}
        self._doubtful: set[str] = set()

    def __iter__(self) -> Iterator[Follower]:
        yield from self.files.values()
        yield from self.ended

    # --- after a restart ------------------------------------------------------------------------------------------

    def resume(self, entries: Sequence[Entry]) -> None:
        """Match entries of the checkpoint with files, by what is in them. Raises StartError."""
        at = {file.key: file.path for file in self._discovery.look(self._discovery.directories()).files}
        rest: list[Entry] = []
        for entry in sorted(entries, key=lambda entry: -entry.generation):
            key = entry.dev, entry.ino
            descriptor = None if key in self.files else self._locate(entry, at.get(key))
            if descriptor is None or not self._reopen(entry, descriptor):
                rest.append(entry)
        for entry in rest:
            old = self._follower(entry, None)
            copy = self._adopt_copy(old) or self._adopt_compressed(old, entry)
            lost = old.unread if copy is None else 0
            if lost:
                old.account.lose("gone while not running", lost)
            if copy is None:
                self._retire(old.account)
            self._events.file_gone(entry.path, lost)

    def _locate(self, entry: Entry, path: str | None) -> int | None:
        """Open the file with the entry's inode, whatever its name is by now; None if there is none. Raises StartError.

        Rotation may be going on: a name that was seen may lead to another file by the time that it is opened, and a
        file that is renamed may be missing from one look at the directory. Hence several looks.
        """
        for _ in range(LOOKS):
            names = [name for name, *where in neighbours(entry.path) if where == [entry.dev, entry.ino]]
            for name in [path, *names] if path else names:
                descriptor = self._descriptor(name)
                if descriptor is None and name in self._discovery.unreadable:
                    raise StartError(
                        f"{name} cannot be read any more: {self._discovery.unreadable[name]}; "
                        f"the checkpoint knows unread lines in it, so give uid {os.getuid()} access to it"
                    )
                if descriptor is None:
                    continue
                status = os.fstat(descriptor)
                if (status.st_dev, status.st_ino) == (entry.dev, entry.ino):
                    return descriptor
                os.close(descriptor)
        return None

    def _reopen(self, entry: Entry, descriptor: int) -> bool:
        """Go on with a file; False if its contents are others, and a new generation of it has begun."""
        same = entry.describes(descriptor)
        key = entry.dev, entry.ino
        # The same inode with other contents: truncated, or used for another file. Either way a new generation.
        now = entry if same else fresh(entry.id, entry.generation + 1, entry.path, *key)
        self.files[key] = self._follower(now, descriptor)
        self._events.file_found(entry.path, now.offset)
        return same

    # --- looking --------------------------------------------------------------------------------------------------

    def look(self, now: float, *, at_end: bool = False) -> tuple[bool, bool]:
        """Look for files. Returns whether a new one is followed, and whether another look should come soon.

        The second is so when a directory is watched for the first time: what happened in it between the look at its
        names and the watch is not known.
        """
        self._directories = self._discovery.directories()
        again = self._cover(())
        sight = self._discovery.look(self._directories)
        self._places = sight.places
        behind_links = {directory for directory, _ in sight.places} - self._directories.search.keys()
        if behind_links:
            again = self._cover(behind_links) or again
        self._empty = [file.path for file in sight.files if not file.size]
        here = {file.key for file in sight.files}
        for key, file in self.files.items():
            if key in here:
                file.missing_since = None
            elif file.missing_since is None:
                file.missing_since = now
                self._events.file_rotated(file.path, file.unread)
        for old in [old for old in self.ended if old.acknowledged]:
            self.ended.remove(old)
            self._retire(old.account)
        new = self._follow(sight.files, at_end=at_end)
        self.polled = set(self._unwatched(sight))
        self.complain()
        return new, again

    def _cover(self, more: Iterable[str]) -> bool:
        return self._watches.cover([*self._directories.search, *more], self._directories.ways)

    def _unwatched(self, sight: Sight) -> Iterator[Follower]:
        """Followers of files that may grow without a word from the kernel."""
        places: dict[Key, str] = {key: directory for (directory, _), key in sight.places.items() if key is not None}
        links = {file.key: file.links for file in sight.files}
        devices: dict[str, int] = {}
        for key, file in self.files.items():
            directory = places.get(key)
            if directory is None or directory in self._watches.polled or links.get(key) != 1:
                yield file  # out of reach; or it has other names, in directories that are not ours
                continue
            if directory not in devices:
                with suppress(OSError):
                    devices[directory] = os.stat(directory).st_dev  # noqa: PTH116 - one for each directory at every look
            if devices.get(directory) != key[0]:
                yield file  # mounted there by itself, from a directory that is not ours

    def renamed(self, changes: Changes) -> bool:
        """Whether it takes a look to know what has become of some names."""
        return changes.unknown or any(not place[1] or self._concerns(place) for place in changes.places)

    def grown(self, changes: Changes) -> tuple[set[Follower], bool]:
        """Who has something to read, and whether it takes a look to know more."""
        grown: set[Follower] = set()
        look = changes.unknown
        for place in changes.places:
            file = self.files.get(self._places.get(place) or (0, 0))
            if file is not None:
                grown.add(file)
            else:
                look = look or self._concerns(place)  # empty until now, say
        return grown, look

    def _concerns(self, place: Place) -> bool:
        return place in self._places or self._discovery.concerns(self._directories, *place)

    @property
    def looks_often(self) -> bool:
        """Whether names may change without a word from the kernel."""
        return bool(self._watches.polled)

    def complain(self) -> None:
        """Say what cannot be read, once for each reason."""
        for path, reason in self._discovery.unreadable.items():
            if self._complained.get(path) != reason:
                self._events.file_unreadable(path, reason)
        self._complained = dict(self._discovery.unreadable)

    # --- opening --------------------------------------------------------------------------------------------------

    def _follow(self, found: Iterable[Found], *, at_end: bool) -> bool:
        """Open what is new; True if there was something."""
        new = [file for file in found if file.size and file.key not in self.files]
        if not new:
            return False
        opened = False
        originals: dict[str, list[Follower]] = {}
        for file in self:
            originals.setdefault(file.path, []).append(file)
        for each in new:
            # Opened once: a moment later the name may lead to another file.
            descriptor = self._descriptor(each.path)
            if descriptor is None:
                continue
            status = os.fstat(descriptor)
            key = status.st_dev, status.st_ino
            if key in self.files or not status.st_size or self._is_copy(descriptor, each.path, originals):
                os.close(descriptor)
                continue
            opened = True
            follower = self._begin(descriptor, each.path, status, at_end=at_end)
            originals.setdefault(follower.path, []).append(follower)
        return opened

    def _begin(self, descriptor: int, path: str, status: os.stat_result, *, at_end: bool) -> Follower:
        key = status.st_dev, status.st_ino
        # Unique for ever, as inodes are not: and on disk before the first line is delivered, so that it stays the same.
        entry = fresh(f"{key[0]:x}-{key[1]:x}-{time.time_ns():x}", 0, path, *key)
        entry.size = status.st_size
        if at_end:
            entry.offset = _last_line_end(descriptor, status.st_size, self._encoding)
            length = min(BEFORE, entry.offset)
            entry.before = length, hashed(os.pread(descriptor, length, entry.offset - length))
        follower = self.files[key] = self._follower(entry, descriptor)
        self._events.file_found(path, entry.offset)
        return follower

    def _descriptor(self, path: str) -> int | None:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._discovery.unreadable[path] = error.strerror or str(error)
            return None

    # --- copies that rotation makes -------------------------------------------------------------------------------

    def _is_copy(self, descriptor: int, path: str, followed: Mapping[str, Sequence[Follower]]) -> bool:
        """Whether copytruncate is making, or has made, this file of one that is followed: its lines are read there.

        Args:
            descriptor: the file.
            path: of the file; a copy has that of the other, and something behind it.
            followed: followers by their path.
        """
        shorter = (path[:end] for end in range(len(os.path.dirname(path)) + 1, len(path)))  # noqa: PTH120 - as a text
        originals = [other for each in shorter for other in followed.get(each, ()) if other.prefix]
        return any(os.pread(descriptor, len(other.prefix), 0) == other.prefix for other in originals)

    def _adopt_copy(self, old: Follower) -> Follower | None:
        """After a truncation: read on in the copy that rotation has made, if there is one that holds what is unread."""
        entry = old.entry()
        for path, dev, ino in neighbours(old.path):
            if (dev, ino) in self.files or path == old.path or not path.startswith(old.path):
                continue
            descriptor = self._descriptor(path)
            if descriptor is None:
                continue
            size = os.fstat(descriptor).st_size
            if not size or not entry.describes(descriptor) or not old.move(descriptor, dev, ino, size):
                os.close(descriptor)
                continue
            self.files[dev, ino] = old
            return old
        return None

    def _adopt_compressed(self, old: Follower, entry: Entry) -> Follower | None:
        """The same for a copy that was compressed while the sidecar was not running. Raises StartError."""
        for path, _, _ in neighbours(old.path):
            if not (path.endswith(SUFFIX) and path.startswith(_stem(old.path))):
                continue
            descriptor = unpacked(path, entry, self._directory)
            if descriptor is None:
                continue
            status = os.fstat(descriptor)
            if old.move(descriptor, status.st_dev, status.st_ino, status.st_size):
                self.files[status.st_dev, status.st_ino] = old
                return old
            os.close(descriptor)
        return None

    def truncated(self, old: Follower) -> list[Follower]:
        """A file no longer holds what was read: a new generation begins. Returns who has something to read now."""
        key = old.dev, old.ino
        descriptor, old.descriptor = old.descriptor, None
        assert descriptor is not None
        size = old.size
        del self.files[key]
        entry = fresh(old.id, old.generation + 1, old.path, *key)
        new = self.files[key] = self._follower(entry, descriptor)
        if old in self.polled:
            self.polled.add(new)
        copy = self._adopt_copy(old)
        lost = max(0, size - (copy.size if copy else old.offset))
        if lost:
            old.account.lose("truncated before it was read", lost)
        if copy is None:
            self.ended.append(old)
        self._events.file_truncated(old.path, lost, copy.path if copy else None)
        return [new] if copy is None else [copy, new]

    # --- the end of a file ----------------------------------------------------------------------------------------

    def unwritten(self) -> bool:
        """Whether there are files, and nobody has any of them open for writing; also not one that is still empty."""
        if not self.files:
            return False
        for path, descriptor in self._open_files():
            found = written(descriptor)
            if isinstance(found, str) and path not in self._doubtful:
                self._doubtful.add(path)
                self._events.writers_unknown(path, found)
            if found:
                return False
        return True

    def _open_files(self) -> Iterator[tuple[str, int]]:
        for file in self.files.values():
            if file.descriptor is not None:
                yield file.path, file.descriptor
        for path in self._empty:
            descriptor = self._descriptor(path)
            if descriptor is not None:
                yield path, descriptor
                os.close(descriptor)

    def missing(self) -> list[Follower]:
        """Files that no name leads to any more."""
        return [file for file in self.files.values() if file.missing_since is not None]

    def release(self, file: Follower) -> None:
        """Let go of a file that is gone."""
        file.close()
        del self.files[file.dev, file.ino]
        self.polled.discard(file)
        self._retire(file.account)
        self._events.file_closed(file.path)

    def close(self) -> None:
        """Close every file; what they held stays in the checkpoint."""
        self._watches.close()
        for file in self.files.values():
            file.close()


def _stem(path: str) -> str:
    """What all names begin with that rotation may give to a file: `app.log` of `app.log.1` and `app.log-20261123`."""
    return _ROTATED.sub("", path)


def _last_line_end(descriptor: int, size: int, encoding: Encoding) -> int:
    """Where to begin at the end of a file: after its last newline, so that a line is never torn."""
    begin = max(0, size - (1 << 20)) & ~3  # where a unit begins, in every encoding
    encoding = encoding.told_by(os.pread(descriptor, 4, 0))
    found = encoding.rfind(os.pread(descriptor, size - begin, begin))
    return begin + found + len(encoding.newline) if found >= 0 else begin
