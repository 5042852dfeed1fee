"""System calls that Python has no function for. Linux only; imports nothing that is slow."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final

CLONE_PARENT: Final = 0x00008000
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
MS_UNBINDABLE, MS_PRIVATE = 1 << 17, 1 << 18
MNT_DETACH: Final = 2
PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
SIGKILL, SIGCHLD = 9, 17
SIGNALS: Final = range(1, 32)
"""All of them, but for those of real time."""

_MACHINE: Final = os.uname().machine
_PIVOT_ROOT: Final = {
    "x86_64": 155, "aarch64": 41, "riscv64": 41, "s390x": 217, "ppc64le": 203, "armv7l": 218, "i686": 217,
}  # fmt: skip
_CLONE: Final = {
    "x86_64": 56, "aarch64": 220, "riscv64": 220, "s390x": 120, "ppc64le": 120, "armv7l": 120, "i686": 120,
}  # fmt: skip

libc: Any = ctypes.CDLL(None, use_errno=True)


def call(name: str, *args: Any, what: str = "") -> int:
    """A function of the C library that returns -1 when it fails. Raises OSError, which names `what`."""
    result = getattr(libc, name)(*args)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what or name)
    return int(result)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """The system call of that name."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    options = None if data is None else data.encode()
    call("mount", *encoded, ctypes.c_ulong(flags), options, what=f"mount {target}")


def pivot_root() -> None:
    """Make the working directory the root, and let go of the old one."""
    number = _PIVOT_ROOT.get(_MACHINE)
    # pivot_root(".", ".") stacks the old root below the new one, from where it is detached (pivot_root(2), NOTES).
    if number is not None and libc.syscall(number, b".", b".") == 0:
        call("umount2", b".", MNT_DETACH)
    else:
        os.chroot(".")
    os.chdir("/")


def fork_sibling(flags: int = 0) -> int:
    """Like `os.fork`, but the new process is a child of our parent, and gets new namespaces by `flags`."""
    number = _CLONE.get(_MACHINE)
    if number is None:
        raise OSError(f"machines of the kind {_MACHINE} are not known here")
    words = [ctypes.c_ulong(flags | CLONE_PARENT | SIGCHLD), ctypes.c_ulong(0)]
    if _MACHINE == "s390x":
        words.reverse()  # the stack comes first there (clone(2), C library/kernel differences)
    return call("syscall", number, *words, 0, 0, 0, what="clone")


def write(path: str, text: str) -> None:
    """One write, as the files of /proc want it."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
