"""Files that survive a crash: replaced as a whole, or appended to by whole lines. Everything here blocks."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that after a crash it is whole: the old one or the new one, never a mixture. Raises OSError."""
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)  # the rename itself
    finally:
        os.close(directory)


def append(path: Path, data: bytes) -> None:
    """Append whole lines and fsync; a line that a crash has torn is cut off first. Raises OSError.

    Several threads and processes may do so at once, and one may take the file away: see `locked`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, os.O_RDWR | os.O_CREAT | os.O_APPEND) as descriptor:
        mend(descriptor)
        append_whole(descriptor, data)


@contextmanager
def locked(path: Path, flags: int) -> Iterator[int]:
    """A file that nobody else has under this lock, and that has this name now that we have it. Raises OSError."""
    while True:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if leads_to(path, descriptor):  # nobody has taken it away while we waited
                yield descriptor
                return
        finally:
            os.close(descriptor)


def leads_to(path: Path, descriptor: int) -> bool:
    """Whether an open file still has this name. Raises OSError."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def append_whole(descriptor: int, data: bytes) -> None:
    """Append and fsync; on failure the file is as it was, and a second try repeats nothing. Raises OSError."""
    end = os.fstat(descriptor).st_size
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, end)
        raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; the kernel may take fewer at once. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def mend(descriptor: int) -> int:
    """Cut a file back to the end of its last whole line; returns how many bytes were cut."""
    size = end = os.fstat(descriptor).st_size
    while end:
        begin = max(0, end - 65536)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        end = begin + found + 1
        if found >= 0:
            break
    if end != size:
        os.ftruncate(descriptor, end)
    return size - end
