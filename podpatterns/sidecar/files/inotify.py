"""inotify(7): the kernel says what happens in directories.

Python's library has no binding; the C library's three calls are all that there is to it. What to watch, and what to do
where it cannot be, is decided in `watches`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from enum import IntFlag
from functools import cache
from typing import Any, NamedTuple


class Happening(IntFlag):
    """What can be asked for and is told; the numbers of `<sys/inotify.h>`."""

    MODIFIED = 0x2
    ATTRIBUTES = 0x4
    CLOSED = 0x8
    """By somebody who could write."""
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATED = 0x100
    DELETED = 0x200
    SELF_DELETED = 0x400
    SELF_MOVED = 0x800
    UNMOUNTED = 0x2000
    OVERFLOWED = 0x4000
    """More has happened than the kernel keeps for us: what, it does not say."""
    IGNORED = 0x8000
    """The watch is gone."""
    ONLY_DIRECTORY = 0x1000000
    IS_DIRECTORY = 0x40000000


GROWTH = Happening.MODIFIED | Happening.CLOSED | Happening.ONLY_DIRECTORY
"""Files are written to."""
NAMES = (
    Happening.MOVED_FROM
    | Happening.MOVED_TO
    | Happening.CREATED
    | Happening.DELETED
    | Happening.ATTRIBUTES
    | Happening.SELF_DELETED
    | Happening.SELF_MOVED
    | Happening.ONLY_DIRECTORY
)
"""Which files there are changes, or who may read them."""

_HEAD = struct.Struct("iIII")
_BUFFER = 64 * 1024


class Told(NamedTuple):
    """One event: the watch, what has happened, and the name in the directory (empty: to the directory itself)."""

    watch: int
    what: int
    """A sum of `Happening`s, as a plain number: making flags of it would take longer than all the rest."""
    name: str


class Inotify:
    """An instance with its watches. Raises OSError where the kernel has none, or has no more to give."""

    def __init__(self) -> None:
        self.descriptor = _call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)

    def watch(self, directory: str, what: Happening) -> int:
        """Watch a directory; one number for each, however often it is asked for. Raises OSError."""
        return _call("inotify_add_watch", self.descriptor, os.fsencode(directory), ctypes.c_uint32(what))

    def forget(self, watch: int) -> None:
        """End a watch. Raises OSError when there is no such watch (any more)."""
        _call("inotify_rm_watch", self.descriptor, watch)

    def told(self) -> Iterator[Told]:
        """What has happened since, without waiting."""
        while True:
            try:
                data = os.read(self.descriptor, _BUFFER)
            except BlockingIOError:
                return
            yield from parsed(data)
            if len(data) < _BUFFER // 2:
                return  # there was no more

    def close(self) -> None:
        """End all of it."""
        os.close(self.descriptor)


def parsed(data: bytes) -> Iterator[Told]:
    """Events as read(2) gives them: four numbers, and a name that is filled up with NULs."""
    place = 0
    while place < len(data):
        watch, what, _, length = _HEAD.unpack_from(data, place)
        place += _HEAD.size + length
        yield Told(watch, what, os.fsdecode(data[place - length : place].rstrip(b"\0")))


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> int:
    try:
        result: int = getattr(_library(), name)(*arguments)
    except AttributeError:
        raise OSError(errno.ENOSYS, f"the C library has no {name}") from None
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
