"""The checkpoint of the last moments: written at every acknowledgement, and not waited for.

It survives the process, since what is written is the kernel's; the file beside it, which is flushed to the disk a few
times a second, survives the machine. So after a kill only what was under way at that moment is delivered twice.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

_HEAD = struct.Struct("<8sII")
_MAGIC = b"ppckpt1\n"

SHARE = 0.05
"""Of a core that may go into writing it: with thousands of files it is written less often than acknowledged."""


class Recent:
    """One document in one file, overwritten in place; a checksum tells a write that did not come to its end."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._descriptor: int | None = None
        self._next = 0.0

    def open(self, *, anew: bool = False) -> bytes | None:
        """Begin, and give what was written last; None if it is not whole, or is to be forgotten. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if anew else 0)
        self._descriptor = os.open(self._path, flags, 0o600)
        return _whole(self._descriptor)

    def close(self) -> None:
        """Nothing is written any more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def write(self, snapshot: Callable[[], bytes]) -> None:
        """Write what `snapshot` gives, unless it was written so often that it takes more than its share.

        That it cannot be written is no loss: the checkpoint itself is.
        """
        now = self._clock()
        if self._descriptor is None or now < self._next:
            return
        began = time.thread_time()
        data = snapshot()
        try:
            os.pwrite(self._descriptor, _HEAD.pack(_MAGIC, len(data), crc32(data)) + data, 0)
        except OSError:
            self._next = now + 1.0  # a full disk, which the checkpoint itself reports
            return
        self._next = now + (time.thread_time() - began) * (1 / SHARE - 1)


def _whole(descriptor: int) -> bytes | None:
    head = os.pread(descriptor, _HEAD.size, 0)
    if len(head) < _HEAD.size:
        return None
    magic, length, checksum = _HEAD.unpack(head)
    if magic != _MAGIC or length > os.fstat(descriptor).st_size:
        return None
    data = os.pread(descriptor, length, _HEAD.size)
    return data if len(data) == length and crc32(data) == checksum else None
