"""A container's view of the file system: this machine's directories, with the volumes at their paths.

The root is a tmpfs. Into it the machine's own directories are bound, opened up along the path of each volume mount: for
a volume at /var/log/app, /var and /var/log become directories of binds of their children. Needs a mount namespace
of one's own, and no root.
"""

from __future__ import annotations

import os
from typing import Any

from podpatterns.pod.node.syscalls import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_UNBINDABLE,
    mount,
)

# What a container finds in /dev (OCI runtime specification, "Default Devices"), and nothing of the machine's disks.
DEVICES = (
    "null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "fd", "stdin",
    "stdout", "stderr",
)  # fmt: skip


class LaunchError(Exception):
    """`stage` names what was being done."""

    def __init__(self, stage: str, message: str) -> None:
        self.stage = stage
        super().__init__(message)


def build(root: str, mounts: list[tuple[str, str, bool]], *, processes: bool) -> None:
    """The new root at `root`, an empty folder: this machine's directories, and the mounts (target, source, read-only).

    With `processes`, /proc shows those of our own PID namespace. Raises LaunchError, OSError.
    """
    # Unbindable: a bind of the directory that holds it must not copy it into itself.
    mount("podpatterns", root, "tmpfs", 0, "mode=755")
    mount(None, root, None, MS_UNBINDABLE)
    wanted: dict[str, Any] = {}
    inner: list[tuple[str, str, bool]] = []
    outer: list[str] = []
    # An outer path sorts before the paths inside it.
    for path, source, read_only in sorted(
        (resolved(target), source, read_only) for target, source, read_only in mounts
    ):
        place = wanted
        if any(path.startswith(f"{other}/") for other in outer):
            inner.append((path, source, read_only))
            continue
        outer.append(path)
        parts = path.strip("/").split("/")
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        if parts[-1] in place:
            raise LaunchError("mount", f"{path} is the path of two mounts, by way of a link")
        place[parts[-1]] = (path, source, read_only)
    fill("/", root, wanted, {"proc"} if processes else set())
    if processes:
        os.mkdir(f"{root}/proc")
        try:
            mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        except PermissionError:  # in many containers, where parts of the machine's own /proc are hidden
            raise LaunchError("processes", "/proc cannot be mounted") from None
    for path, source, read_only in inner:
        # As on a cluster, the place for it is made in the outer volume, which has to be writable for that.
        if not os.path.exists(source):
            raise LaunchError("mount", f"{path}: there is no {source}")
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        bind(source, root + path, read_only=read_only)


def resolved(target: str) -> str:
    """The path with the links above its last part followed: /var/run/app is /run/app on most machines."""
    return os.path.join(os.path.realpath(os.path.dirname(target)), os.path.basename(target))


def fill(here: str, there: str, wanted: dict[str, Any], left_out: set[str] | frozenset[str] = frozenset()) -> None:
    """Populate the new directory `there` with the old `here` and what is wanted below it."""
    names = DEVICES if here == "/dev" else os.listdir(here) if os.path.isdir(here) else ()
    for name in names:
        if name not in wanted and name not in left_out:
            old, new = os.path.join(here, name), os.path.join(there, name)
            if os.path.islink(old):
                os.symlink(os.readlink(old), new)
            elif os.path.exists(old):
                try:
                    bind(old, new)
                except PermissionError:  # not visible to this user before, and not now
                    os.rmdir(new) if os.path.isdir(new) else os.unlink(new)
    for name, below in wanted.items():
        new = os.path.join(there, name)
        if isinstance(below, tuple):
            target, source, read_only = below
            if not os.path.exists(source):
                raise LaunchError("mount", f"{target}: there is no {source}")
            bind(source, new, read_only=read_only)
        else:
            os.mkdir(new)
            fill(os.path.join(here, name), new, below)


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Show `source` at `target` too."""
    if os.path.lexists(target):
        pass  # inside another volume, which has kept it from an earlier run
    elif os.path.isdir(source):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, None, MS_BIND | MS_REC)
    if read_only:
        # Flags that the mount has already cannot be taken off by a user, so they are given again (ST_* = MS_*).
        kept = os.statvfs(target).f_flag & 0xE | os.statvfs(target).f_flag & 0x1C00
        mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)
