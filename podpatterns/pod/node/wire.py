"""Messages between the runner and the node: a few bytes and some descriptors each. The socket keeps them apart."""

from __future__ import annotations

import array
import socket
from collections.abc import Sequence
from typing import Final

LONGEST: Final = 1 << 16
MOST: Final = 8
"""Descriptors with one message."""


def send(line: socket.socket, body: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send a message. Raises OSError."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    line.sendmsg([body], rights)


def receive(line: socket.socket) -> tuple[bytes, list[int]]:
    """The next message; its descriptors are not inherited. Empty: the other side is gone. Raises OSError."""
    # Not socket.recv_fds, which in Python 3.11 ignores the flag.
    found = array.array("i")
    body, rights, _, _ = line.recvmsg(LONGEST, socket.CMSG_SPACE(MOST * found.itemsize), socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return body, list(found)
