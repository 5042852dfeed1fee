"""Cleans up after a runner that was killed: `python -I -S guard.py FD MARK FOLDER…`.

Runs beside the runner, in a session of its own, and reads from a pipe whose other end only the runner holds. One byte
means that the runner has ended in order. The end of the pipe without it means that the runner is dead: every process
whose environment carries MARK is killed, and the folders are removed. Needs no rights that the runner does not have.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

SIGKILL = 9


def marked(mark: bytes) -> list[int]:
    """The processes that carry the mark in their environment, this one excepted."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                descriptor = os.open(f"/proc/{name}/environ", os.O_RDONLY)
            except OSError:
                continue  # another user's, or gone
            try:
                if mark in os.read(descriptor, 1 << 20):
                    found.append(int(name))
            except OSError:
                continue
            finally:
                os.close(descriptor)
    return found


def kill_marked(mark: bytes) -> None:
    """Kill them, and those that they have started meanwhile."""
    for _ in range(50):
        processes = marked(mark)
        for process in processes:
            try:
                os.kill(process, SIGKILL)
            except ProcessLookupError:
                continue
        if not processes:
            return
        time.sleep(0.02)


def remove(path: str) -> None:
    """Remove a folder with everything in it, also what was made read-only; what another user owns stays, alone."""
    try:
        os.chmod(path, 0o700)
        entries = list(os.scandir(path))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            remove(entry.path)
        else:
            with suppress(OSError):
                os.unlink(entry.path)
    with suppress(OSError):
        os.rmdir(path)


def main() -> None:
    """Wait for the runner's end."""
    descriptor, mark, *folders = sys.argv[1:]
    if os.read(int(descriptor), 1):
        return
    kill_marked(mark.encode())
    for folder in folders:
        remove(folder)


if __name__ == "__main__":
    main()
