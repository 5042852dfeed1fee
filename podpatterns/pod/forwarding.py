"""Carries TCP connections from where they come in to where they are wanted, across network namespaces."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

CHUNK = 1 << 16
PAUSE = 0.1
"""Seconds after a connection could not be accepted."""
_RESET = struct.pack("ii", 1, 0)

Dial = Callable[[socket.socket], Awaitable[socket.socket]]
"""Given the accepted connection, the far end, connected. Raises OSError."""


async def forward(listening: socket.socket, dial: Dial) -> None:
    """Accept connections until cancelled; a far end that cannot be had resets the near one."""
    loop = asyncio.get_running_loop()
    listening.setblocking(False)  # noqa: FBT003 - takes no keyword
    with listening:
        async with asyncio.TaskGroup() as connections:
            while True:
                try:
                    near, _ = await loop.sock_accept(listening)
                except OSError:  # no descriptors are left, or who came has gone: whoever waits is served afterwards
                    await asyncio.sleep(PAUSE)
                    continue
                near.setblocking(False)  # noqa: FBT003 - takes no keyword
                connections.create_task(_carry(near, dial))


async def _carry(near: socket.socket, dial: Dial) -> None:
    with near:
        try:
            far = await dial(near)
        except OSError:
            _reset(near)
            return
        with far:
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pour(near, far))
                    both.create_task(_pour(far, near))
            except* OSError:  # one side has reset the connection, so the other hears the same
                _reset(near)
                _reset(far)


async def _pour(source: socket.socket, target: socket.socket) -> None:
    """Everything up to the end of one direction, which is passed on: a half-close is not an abort."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, CHUNK):
        await loop.sock_sendall(target, data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
