"""Becomes a command inside of a container for whoever is no runner: `pod exec`, with its input, output and terminal.

`python -c "…; main(FD)"`, with `(plan, status)` marshalled in the file FD. Waits for the command and ends as it does.
"""

from __future__ import annotations

import marshal
import os
import signal
from typing import Any

from podpatterns.pod.node import launching
from podpatterns.pod.node.rootfs import LaunchError
from podpatterns.pod.node.syscalls import CLONE_NEWPID, CLONE_NEWUSER, call


def main(descriptor: int) -> None:
    """Join the container, start the command, and wait for it."""
    with open(descriptor, "rb") as file:
        plan, status = marshal.load(file)  # noqa: S302 - written by our parent, in memory, for this very process
    os.set_inheritable(status, False)  # noqa: FBT003 - takes no keyword
    namespaces: list[tuple[int, int]] = []
    try:
        if plan["enter"] is not None:
            namespaces = _join(plan["enter"])
    except (LaunchError, OSError) as error:
        os.write(status, f"enter: {error}".encode())
        os._exit(128)
    process = os.fork()
    if process == 0:
        _to_the_front()
        launching.become(plan, status, namespaces)
    os.close(status)
    # Ctrl-C on the terminal is the command's affair, and reaches it by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        _, state = os.waitpid(process, os.WUNTRACED)
        if not os.WIFSTOPPED(state):
            break
        os.killpg(process, signal.SIGCONT)  # Ctrl-Z: there is no shell that could let it go on
    _to_the_front(group=os.getpgrp())
    code = os.waitstatus_to_exitcode(state)
    os._exit(code if code >= 0 else 128 - code)


def _to_the_front(group: int | None = None) -> None:
    """On a terminal, make a group the foreground job; None: one of our own.

    A shell gives the terminal back in the end to whom it has had it from, and in a PID namespace it must know its name.
    """
    if group is None and os.isatty(0):
        os.setpgid(0, 0)
        group = os.getpid()
    if group is not None and os.isatty(0):
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # or we were stopped for this
        os.tcsetpgrp(0, group)
        signal.signal(signal.SIGTTOU, before)


def _join(process: int) -> list[tuple[int, int]]:
    """Into the user namespace, and the PID namespace for children; the rest, opened, is for the child."""
    found: dict[str, Any] = {name: launching.opened(process, name) for name in ("user", "pid")}
    namespaces = launching.inside(process)
    for name, kind in (("user", CLONE_NEWUSER), ("pid", CLONE_NEWPID)):
        if found[name] is not None:
            call("setns", found[name], kind)
            os.close(found[name])
    return namespaces
