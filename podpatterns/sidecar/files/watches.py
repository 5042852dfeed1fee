"""The directories that are watched, and those that have to be looked at again and again because they cannot be.

Directories and not files: there are fewer of them, and a file is noticed from its first moment and under its next
name. There are two instances of inotify, for names and for growth. What a name leads to may be gone in a moment, so
that is told at once; who writes line by line would wake us a thousand times a second, so that is asked for in its time.

Two things make a directory one to be polled: a file system to which others write as well (see `mounts`), and a kernel
that has no watch to give, for there is a limit for each user of a node, over all containers.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from podpatterns.sidecar.files.discovery import Place
from podpatterns.sidecar.files.inotify import GROWTH, NAMES, Happening, Inotify
from podpatterns.sidecar.files.mounts import SILENT, file_system


class Changes(NamedTuple):
    """What has happened since it was last asked."""

    places: set[Place]
    """Where; an empty name stands for the directory itself."""
    unknown: bool
    """More has happened than is said here: everything has to be looked at."""


class Watches:
    """Watches directories: `wake` is set when something has happened in one."""

    def __init__(self, fell_back: Callable[[str, str], None]) -> None:
        self.wake = asyncio.Event()
        self.polled: dict[str, str] = {}
        """Directories that are not watched, and why."""
        self._fell_back = fell_back
        self._silence: dict[tuple[str, int], str] = {}
        self._without = ""
        self._names: _Watched | None = None
        self._growth: _Watched | None = None

    def open(self) -> None:
        """Ask the kernel for the two instances; without them everything is polled."""
        try:
            self._names = _Watched(NAMES)
            self._growth = _Watched(GROWTH)
        except OSError as error:
            self.close(_reason(error))

    def cover(self, files: Iterable[str], ways: Iterable[str]) -> bool:
        """Watch these directories, and no others: `files` for growth as well, `ways` for names alone.

        Returns whether a watch is new: what has happened before it is not known.
        """
        growing = dict.fromkeys(files)
        polled: dict[str, str] = {}
        for directory in {**growing, **dict.fromkeys(ways)}:
            reason = self._silent(directory)
            try:
                if not reason and self._names is not None and self._growth is not None:
                    self._names.add(directory)
                    if directory in growing:
                        self._growth.add(directory)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                reason = _reason(error)
            if reason:
                polled[directory] = reason
        for directory, reason in polled.items():
            if self.polled.get(directory) != reason:
                self._fell_back(directory, reason)
        self.polled = polled
        new = [each.changed() for each in (self._names, self._growth) if each is not None]
        return any(new)

    def _silent(self, directory: str) -> str:
        """Why nothing would be heard of what happens there; empty if it would."""
        if self._without:
            return self._without
        try:
            at = directory, os.stat(directory).st_dev  # noqa: PTH116 - asked at every look
        except OSError:
            return ""
        if at not in self._silence:
            kind = file_system(os.path.realpath(directory), _mountinfo())
            self._silence[at] = f"others may write to {kind} unnoticed" if SILENT.fullmatch(kind) else ""
        return self._silence[at]

    def names(self) -> Changes:
        """Names that have come, gone, or changed who may read them; without waiting."""
        return self._names.taken() if self._names is not None else NOTHING

    def growth(self) -> Changes:
        """Files that were written to; without waiting."""
        return self._growth.taken() if self._growth is not None else NOTHING

    async def wait(self, seconds: float, *, growth: bool) -> None:
        """Return when something has happened, `wake` was set by somebody else, or the time is over.

        Args:
            seconds: the time.
            growth: whether to wake up for what was written.
        """
        loop = asyncio.get_running_loop()
        descriptors = [each.inotify.descriptor for each in (self._names, self._growth if growth else None) if each]
        for descriptor in descriptors:
            loop.add_reader(descriptor, self.wake.set)
        try:
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        except TimeoutError:
            return
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)
            self.wake.clear()

    def close(self, reason: str = "closed") -> None:
        """End all of them."""
        self._without = reason
        for each in (self._names, self._growth):
            if each is not None:
                each.inotify.close()
        self._names = self._growth = None


class _Watched:
    """An instance of inotify, and the directories by the number of their watch."""

    def __init__(self, what: Happening) -> None:
        self.inotify = Inotify()
        self._what = what
        self._now: dict[int, list[str]] = {}
        self._next: dict[int, list[str]] = {}

    def add(self, directory: str) -> None:
        """Also where it is watched already: the path may lead to another directory by now. Raises OSError."""
        self._next.setdefault(self.inotify.watch(directory, self._what), []).append(directory)

    def changed(self) -> bool:
        """Forget those that were not added since the last time; True if one is new."""
        before, self._now, self._next = self._now.keys(), self._next, {}
        for watch in before - self._now.keys():
            with suppress(OSError):  # it has gone with its directory
                self.inotify.forget(watch)
        return not self._now.keys() <= before

    def taken(self) -> Changes:
        places: set[Place] = set()
        unknown = False
        for watch, what, name in set(self.inotify.told()):
            unknown = unknown or bool(what & Happening.OVERFLOWED)
            if not what & Happening.IGNORED:
                places.update((directory, name) for directory in self._now.get(watch, ()))
        return Changes(places, unknown)


NOTHING = Changes(set(), unknown=False)
_LIMITS: Mapping[int | None, str] = {
    errno.ENOSPC: "no watch is left of what fs.inotify.max_user_watches allows",
    errno.EMFILE: "no instance is left of what fs.inotify.max_user_instances allows",
}


def _reason(error: OSError) -> str:
    return _LIMITS.get(error.errno) or error.strerror or str(error)


def _mountinfo() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return ""
