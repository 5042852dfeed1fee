"""Becomes a container's process, or a command inside of one: from the fork to the exec. Runs in the new process.

What goes wrong before the exec is written to the descriptor `status` as `stage: message`; the exec closes it.
"""

from __future__ import annotations

import os
import select
from typing import Any

from podpatterns.pod.node.rootfs import LaunchError, build
from podpatterns.pod.node.syscalls import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    MS_PRIVATE,
    MS_REC,
    PR_SET_PDEATHSIG,
    SIGKILL,
    SIGNALS,
    call,
    libc,
    mount,
    pivot_root,
)


def become(
    plan: dict[str, Any], status: int, namespaces: list[tuple[int, int]], output: tuple[int, int] | None = None
) -> None:
    """Execute `plan["argv"]`; does not return. `output`: what it writes to; None: it keeps our terminal and session.

    Keys of the plan: argv, env, cwd, mounts [(target, source, read_only)], root (an empty folder, or None for this
    machine's own), processes (whether we are in a PID namespace of our own), enter (process id of the container whose
    root and mounts are joined instead, or None). `namespaces`: (descriptor, kind) that are joined first.
    """
    try:
        if output is not None:
            os.setsid()
            for target, source in enumerate((os.open(os.devnull, os.O_RDONLY), *output)):
                os.dup2(source, target)
        _execute(plan, status, namespaces)
    except LaunchError as error:
        os.write(status, f"{error.stage}: {error}".encode())
    except BaseException as error:  # noqa: BLE001 - nothing may come back into the process that was forked
        os.write(status, f"start: {type(error).__name__}: {error}".encode())
    finally:
        os._exit(128)


def _execute(plan: dict[str, Any], status: int, namespaces: list[tuple[int, int]]) -> None:
    stage = "namespace"
    try:
        for descriptor, kind in namespaces:
            call("setns", descriptor, kind)
        if plan["enter"] is not None:
            stage = "enter"
            _enter(plan["enter"])
        elif plan["root"] is not None:
            call("unshare", CLONE_NEWNS)
            mount(None, "/", None, MS_REC | MS_PRIVATE)
            stage = "mount"
            build(plan["root"], plan["mounts"], processes=plan["processes"])
            os.chdir(plan["root"])
            pivot_root()
        # After the namespaces, because a change of credentials clears it. Kill -9 of the runner ends the container.
        call("prctl", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        poll = select.poll()
        poll.register(status, 0)
        if poll.poll(0):  # the other end of the pipe is closed
            raise LaunchError("start", "the runner has ended")
        stage = "workingDir"
        os.chdir(plan["cwd"])
        stage = "command"
        for number in SIGNALS:
            # What is ignored stays so in the command: Python does that, and whoever begins a run with `nohup` or `&`.
            libc.signal(number, None)
        argv = plan["argv"]
        os.execvpe(argv[0], argv, plan["env"])  # noqa: S606 - running what the manifest says is the point
    except FileNotFoundError as error:
        what = {"command": f'"{plan["argv"][0]}" is not on this machine', "workingDir": f"there is no {plan['cwd']}"}
        raise LaunchError(stage, what.get(stage) or f"there is no {error.filename or error}") from None
    except PermissionError as error:
        what = {"command": f'"{plan["argv"][0]}" cannot be executed: permission denied'}
        raise LaunchError(stage, what.get(stage) or f"{error.filename or ''}: permission denied") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        said = getattr(error, "strerror", None) or str(error)
        where = f"{getattr(error, 'filename', None) or ''}: {said}".removeprefix(": ")
        raise LaunchError(stage, f"cannot be started: {said}" if stage == "command" else where) from None


def inside(process: int) -> list[tuple[int, int]]:
    """The namespaces of the pod that a container's process is in, opened. Raises LaunchError."""
    return [
        (descriptor, kind)
        for name, kind in (("net", CLONE_NEWNET), ("uts", CLONE_NEWUTS))
        if (descriptor := opened(process, name)) is not None
    ]


def opened(process: int, name: str) -> int | None:
    """A namespace of a process, opened; None if it is ours, too. Raises LaunchError."""
    path = f"/proc/{process}/ns/{name}"
    try:
        same = os.readlink(path) == os.readlink(f"/proc/self/ns/{name}")
        return None if same else os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise LaunchError("enter", "the container has ended") from None


def _enter(process: int) -> None:
    """Into the mounts and the root of a container's process; our /proc is still the node's."""
    try:
        root = os.open(f"/proc/{process}/root", os.O_RDONLY | os.O_DIRECTORY)
        mounts = opened(process, "mnt")
    except FileNotFoundError:
        raise LaunchError("enter", "the container has ended") from None
    if mounts is not None:
        call("setns", mounts, CLONE_NEWNS)
        os.close(mounts)
    os.fchdir(root)
    os.chroot(".")
    os.close(root)
