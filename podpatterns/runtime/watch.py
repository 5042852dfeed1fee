"""Watching files for changes, by their path.

A ConfigMap or Secret volume changes by a rename of its `..data` symlink: the file that a process had looked at
is never written to. So what is watched is what the path leads to *now*; one `stat` per look follows
the links anew, and no inotify watch can be left behind on a directory that is gone. (Files mounted with
subPath never change, in any way.)
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

Fingerprint = tuple[int, int, int, int] | None


def fingerprint(path: str | Path) -> Fingerprint:
    """What tells one content from the next without reading it; None while there is no such file."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


class Watch:
    """Remembers the fingerprints of some files; `changed` says whether any differs from the last look."""

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self.paths = tuple(paths)
        self._seen = [fingerprint(path) for path in self.paths]

    def changed(self) -> bool:
        """True once for each change; a file that is missing is in the middle of a swap, which is no change yet."""
        now = [fingerprint(path) for path in self.paths]
        if None in now or now == self._seen:
            return False
        self._seen = now
        return True
