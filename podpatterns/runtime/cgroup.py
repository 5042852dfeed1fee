"""The memory that this process may take, as its control group says: version 1, version 2, and both at once.

Source: the kernel's documentation of cgroup v1 memory and of cgroup v2; proc(5) for `/proc/self/cgroup` and for
`/proc/self/mountinfo`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

_NO_LIMIT = 1 << 60
"""Version 1 writes the largest number of pages that it knows where there is no limit."""
_FILES = {"cgroup2": ("memory.max", "memory.high"), "cgroup": ("memory.limit_in_bytes",)}


def memory_limit(read: Callable[[str], str] = lambda path: Path(path).read_text(errors="replace")) -> int | None:
    """Bytes that the processes of this one's group may take together; None for no limit.

    Args:
        read: gives the text of a file, or raises OSError.
    """
    try:
        files = list(memory_files(read("/proc/self/cgroup"), read("/proc/self/mountinfo")))
    except OSError:
        return None  # no Linux, or no /proc
    limits = []
    for file in files:
        try:
            limits.append(int(read(file)))
        except (OSError, ValueError):
            continue  # not at the root of all groups; or `max`
    return min((limit for limit in limits if limit < _NO_LIMIT), default=None)


def memory_files(groups: str, mountinfo: str) -> Iterator[str]:
    """Where limits may stand: in the group's directory, and in those above it. Pure.

    Args:
        groups: the text of `/proc/self/cgroup`: lines of `number:controllers:path`.
        mountinfo: the text of `/proc/self/mountinfo`, which says where a tree of groups is mounted, and which of its
            groups is the root there: in a container it is often the container's own.
    """
    paths = {"cgroup2": "", "cgroup": ""}
    for line in groups.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            paths["cgroup2"] = path
        elif "memory" in controllers.split(","):
            paths["cgroup"] = path
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3 or not paths.get(kind[0]):
            continue
        if kind[0] == "cgroup" and "memory" not in kind[2].split(","):
            continue
        root, point = PurePosixPath(fields[3]), PurePosixPath(fields[4])
        own = PurePosixPath(paths[kind[0]])
        # A path that is not below the root is one of another namespace: then the root is all that can be seen.
        below = own.relative_to(root) if own.is_relative_to(root) else PurePosixPath()
        for group in (below, *below.parents):
            yield from (str(point / group / name) for name in _FILES[kind[0]])
