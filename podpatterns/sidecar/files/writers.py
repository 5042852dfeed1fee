"""Whether anybody still has a file open for writing: asked of the kernel, which knows it across all containers.

A lease (fcntl(2), F_SETLEASE) is the question itself: one for reading is given only while no process has the file open
for writing, wherever that process is. It asks for no shared process namespace, but that the file is ours (the same uid,
or CAP_LEASE), and a local file system. It is given back at once; who opens the file for writing in that microsecond
waits for it, and who does so with O_NONBLOCK is refused.

Where there are no leases, `/proc` is asked: the descriptors of all processes, if they are those of the whole pod
(`shareProcessNamespace`) and each of them may be looked at (the same uid).
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path

HOST_NAMESPACE = "pid:[4026531836]"
"""The process namespace of the machine: there all processes can be seen."""


def written(descriptor: int) -> bool | str:
    """Whether somebody has an open file, which we read, open for writing; or why that cannot be told."""
    try:
        # Who breaks the lease has a signal sent to us. The usual one would end the process; this one is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return True
        found = written_by_a_process(descriptor)
        if isinstance(found, bool):
            return found
        if error.errno in {errno.EACCES, errno.EPERM}:
            owner = os.fstat(descriptor).st_uid
            return f"it belongs to uid {owner}, this is uid {os.geteuid()} without CAP_LEASE, and {found}"
        return f"its file system has no leases ({error.strerror}), and {found}"
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def written_by_a_process(descriptor: int, proc: Path = Path("/proc")) -> bool | str:
    """The same, by looking at every process."""
    reason = sees_the_pod(proc)
    if reason:
        return reason
    status = os.fstat(descriptor)
    hidden = ""
    for process in proc.iterdir():
        # Process 1 of a pod is the pause container, or the machine's init: neither writes logs, and both are others'.
        if not process.name.isdecimal() or process.name in {"1", str(os.getpid())}:
            continue
        try:
            for each in (process / "fd").iterdir():
                if _writes(process, each, status):
                    return True
        except PermissionError:
            hidden = f"process {process.name} may not be looked at"
        except OSError:
            continue  # it has ended
    return hidden or False


def sees_the_pod(proc: Path) -> str:
    """Why `/proc` may not show all processes of the pod; empty if it does."""
    try:
        if str((proc / "self/ns/pid").readlink()) == HOST_NAMESPACE:
            return ""
        parent, process = os.getppid(), os.getpid()
        while parent > 1:
            process, parent = parent, _parent(proc, parent)
    except OSError as error:
        return f"/proc cannot be read: {error.strerror}"
    # A container's processes descend from its own first one; in a namespace that is shared that one is another's.
    return "" if parent == 0 and process != 1 else "the pod does not share its process namespace"


def _parent(proc: Path, process: int) -> int:
    return int((proc / str(process) / "stat").read_text().rpartition(")")[2].split()[1])


def _writes(process: Path, each: Path, status: os.stat_result) -> bool:
    try:
        other = each.stat()
        if (other.st_dev, other.st_ino) != (status.st_dev, status.st_ino):
            return False
        flags = (process / "fdinfo" / each.name).read_text().partition("flags:")[2].split()[0]
    except FileNotFoundError:
        return False  # closed since
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
