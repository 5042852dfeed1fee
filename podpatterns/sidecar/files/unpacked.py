"""A rotated file that was compressed before all of it had been read: unpacked, it is read on like any other."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from pathlib import Path

from podpatterns.errors import StartError
from podpatterns.formats.rotation import hashed
from podpatterns.sidecar.files.identity import Entry

SUFFIX = ".gz"
PIECE = 1 << 20


def unpacked(path: str, entry: Entry, directory: Path) -> int | None:
    """Descriptor of a nameless file with what is in a compressed one, if that is the file of an entry; else None.

    Blocks, and takes as much room in the directory as the log had.

    Raises:
        StartError: there is no room.
    """
    length, digest = entry.prefix
    try:
        with gzip.open(path, "rb") as packed:
            first = packed.read(length)
            if not length or hashed(first) != digest:
                return None
            descriptor = _nameless(directory)
            try:
                while first:
                    _write(descriptor, first, path, directory)
                    first = packed.read(PIECE)
            except BaseException:
                os.close(descriptor)
                raise
    except (OSError, EOFError, zlib.error):
        return None  # cut, still being written, or no gzip at all
    if entry.describes(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _nameless(directory: Path) -> int:
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            return os.dup(file.fileno())
    except OSError as error:
        raise StartError(f"{directory} has no room to unpack a rotated log: {error.strerror}") from None


def _write(descriptor: int, data: bytes, path: str, directory: Path) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise StartError(
            f"{directory} has no room to unpack {path}, of which unread lines are known: {error.strerror}"
        ) from None
