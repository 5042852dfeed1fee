"""Becomes a container's process: `python -I -S launcher.py FD`, with what to do as a marshalled dict in the file FD.

Runs as a program of its own and imports only what starts fast. It gives the process its own view of the file system,
without root: a user namespace that maps the user to itself, and a mount namespace whose root is a tmpfs. Into that, the
machine's own directories are bound, opened up along the path of each volume mount. Then it executes the command.

What goes wrong before that is written to the descriptor `status` as `stage: message`; the exec closes it.
Keys: argv, env, cwd, status, parent, mounts [(target, source, read_only)], root (an empty folder, or None for no
namespaces), enter (process id whose namespaces are joined instead, or None).
"""

from __future__ import annotations

import ctypes
import marshal
import os
import sys
from typing import Any, Final

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_UNBINDABLE = 1, 32, 4096, 16384, 1 << 18, 1 << 17
MNT_DETACH: Final = 2
PR_SET_PDEATHSIG: Final = 1
SIGKILL, SIGPIPE, SIGXFSZ = 9, 13, 25
SYS_PIVOT_ROOT: Final = {
    "x86_64": 155,
    "aarch64": 41,
    "riscv64": 41,
    "s390x": 217,
    "ppc64le": 203,
    "armv7l": 218,
    "i686": 217,
}

# What a container finds in /dev (OCI runtime specification, "Default Devices"), and nothing of the machine's disks.
DEVICES = (
    "null",
    "zero",
    "full",
    "random",
    "urandom",
    "tty",
    "ptmx",
    "pts",
    "shm",
    "mqueue",
    "fd",
    "stdin",
    "stdout",
    "stderr",
)

_libc: Any = None


class LaunchError(Exception):
    """`stage` names what was being done."""

    def __init__(self, stage: str, message: str) -> None:
        self.stage = stage
        super().__init__(message)


def call(name: str, *args: Any, what: str = "") -> None:
    """A function of the C library that returns 0 or -1."""
    if getattr(_libc, name)(*args) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what or name)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """The system call of that name."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    options = None if data is None else data.encode()
    call("mount", *encoded, ctypes.c_ulong(flags), options, what=f"mount {target}")


def isolate() -> None:
    """A mount namespace of its own; for a user, inside a user namespace that changes nobody's identity."""
    user, group = os.getuid(), os.getgid()
    try:
        call("unshare", CLONE_NEWNS)
    except PermissionError:
        call("unshare", CLONE_NEWUSER | CLONE_NEWNS, what="a user namespace")
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", f"{user} {user} 1")
        write("/proc/self/gid_map", f"{group} {group} 1")
    mount(None, "/", None, MS_REC | MS_PRIVATE)


def write(path: str, text: str) -> None:
    """One write, as these files want it."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def build(root: str, mounts: list[tuple[str, str, bool]]) -> None:
    """The new root at `root`: this machine's directories, and the volumes."""
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
    fill("/", root, wanted)
    for path, source, read_only in inner:
        # As on a cluster, the place for it is made in the outer volume, which has to be writable for that.
        if not os.path.exists(source):
            raise LaunchError("mount", f"{path}: there is no {source}")
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        bind(source, root + path, read_only=read_only)


def resolved(target: str) -> str:
    """The path with the links above its last part followed: /var/run/app is /run/app on most machines."""
    return os.path.join(os.path.realpath(os.path.dirname(target)), os.path.basename(target))


def fill(here: str, there: str, wanted: dict[str, Any]) -> None:
    """Populate the new directory `there` with the old `here` and what is wanted below it."""
    names = DEVICES if here == "/dev" else os.listdir(here) if os.path.isdir(here) else ()
    for name in names:
        if name not in wanted:
            old, new = os.path.join(here, name), os.path.join(there, name)
            if os.path.islink(old):
                os.symlink(os.readlink(old), new)
            elif os.path.exists(old):
                try:
                    bind(old, new)
                except PermissionError:
                    os.rmdir(new) if os.path.isdir(new) else os.unlink(
                        new
                    )  # not visible to this user before, and not now
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


def enter_root(root: str) -> None:
    """Make `root` the root and let go of the old one."""
    os.chdir(root)
    number = SYS_PIVOT_ROOT.get(os.uname().machine)
    # pivot_root(".", ".") stacks the old root below the new one, from where it is detached (pivot_root(2), NOTES).
    if number is not None and _libc.syscall(number, b".", b".") == 0:
        call("umount2", b".", MNT_DETACH)
    else:
        os.chroot(".")
    os.chdir("/")


def join(process: int) -> None:
    """Into the namespaces and the root of a process that runs in them."""
    try:
        root = os.open(f"/proc/{process}/root", os.O_RDONLY | os.O_DIRECTORY)
        for kind, flag in (("user", CLONE_NEWUSER), ("mnt", CLONE_NEWNS)):
            path = f"/proc/{process}/ns/{kind}"
            if os.readlink(path) != os.readlink(f"/proc/self/ns/{kind}"):
                descriptor = os.open(path, os.O_RDONLY)
                call("setns", descriptor, flag)
                os.close(descriptor)
        os.fchdir(root)
        os.chroot(".")
        os.close(root)
    except FileNotFoundError:
        raise LaunchError("enter", "the container has ended") from None


def launch(plan: dict[str, Any]) -> None:
    """Everything up to the exec, which does not return."""
    stage = "namespace"
    try:
        if plan["enter"] is not None:
            stage = "enter"
            join(plan["enter"])
        elif plan["root"] is not None:
            isolate()
            stage = "mount"
            build(plan["root"], plan["mounts"])
            enter_root(plan["root"])
        # After the namespaces, because a change of credentials clears it. Kill -9 of the runner ends the container.
        call("prctl", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        if os.getppid() != plan["parent"]:
            raise LaunchError("start", "the runner has ended")
        stage = "workingDir"
        os.chdir(plan["cwd"])
        stage = "command"
        for number in (SIGPIPE, SIGXFSZ):
            _libc.signal(number, None)  # Python ignores them, and what is ignored stays so in the command
        argv = plan["argv"]
        os.execvpe(argv[0], argv, plan["env"])  # noqa: S606 - running what the manifest says is the point
    except FileNotFoundError as error:
        what = {"command": f'"{plan["argv"][0]}" is not on this machine', "workingDir": f"there is no {plan['cwd']}"}
        raise LaunchError(stage, what.get(stage) or f"there is no {error.filename or error}") from None
    except PermissionError as error:
        what = {"command": f'"{plan["argv"][0]}" cannot be executed: permission denied'}
        raise LaunchError(stage, what.get(stage) or f"{error.filename or ''}: permission denied") from None
    except OSError as error:
        raise LaunchError(stage, f"{error.filename or ''}: {error.strerror}".removeprefix(": ")) from None


def main() -> None:
    """Read the plan and launch."""
    global _libc  # noqa: PLW0603 - a program, not a module: this is its one piece of state
    _libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(sys.argv[1])
    with open(descriptor, "rb") as file:
        plan = marshal.load(file)  # noqa: S302 - written by the runner, in memory, for this very process
    os.set_inheritable(plan["status"], False)  # noqa: FBT003 - takes no keyword
    try:
        launch(plan)
    except LaunchError as error:
        os.write(plan["status"], f"{error.stage}: {error}".encode())
        os._exit(128)


if __name__ == "__main__":
    main()
