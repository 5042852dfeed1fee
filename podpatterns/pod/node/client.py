"""The runner's side of the node."""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import podpatterns
from podpatterns.errors import PodpatternsError
from podpatterns.pod.node import wire

_PACKAGES = str(Path(podpatterns.__file__).parents[1])


def program(name: str, descriptor: int) -> list[str]:
    """The command for a program of this package, which starts fast: without what is installed beside Python itself."""
    start = f"from podpatterns.pod.node.{name} import main; main({descriptor})"
    text = f"import sys; sys.path.insert(0, sys.argv[1]); {start}"
    return [sys.executable, "-I", "-S", "-c", text, _PACKAGES]


class NodeError(PodpatternsError):
    """The node could not do what was asked; `number` is the system's error number, if there is one."""

    def __init__(self, message: str, number: int | None = None) -> None:
        self.number = number
        super().__init__(message)


class Node:
    """Asks the node. Requests wait for each other; each takes a few milliseconds at most."""

    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket) -> None:
        self.pid = process.pid
        self._line = line
        self._turn = asyncio.Lock()
        self._asked: set[asyncio.Future[Any]] = set()

    async def ask(self, do: str, /, *descriptors: int, **arguments: Any) -> Any:
        """The result of a request: a value or a socket. Raises NodeError.

        A request is always carried through: when the caller is cancelled, a socket that comes later is closed.
        """
        asked = asyncio.ensure_future(self._exchange(do, descriptors, arguments))
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(_close)
            raise

    async def settle(self) -> None:
        """Until every request has its answer, also those whose callers have been cancelled."""
        while self._asked:
            await asyncio.wait(self._asked)

    async def _exchange(self, do: str, descriptors: Sequence[int], arguments: dict[str, Any]) -> Any:
        loop = asyncio.get_running_loop()
        order = os.memfd_create("request", os.MFD_CLOEXEC)
        try:
            os.write(order, marshal.dumps({"do": do, **arguments}))
            os.lseek(order, 0, os.SEEK_SET)
            async with self._turn:
                wire.send(self._line, b".", [order, *descriptors])
                readable = asyncio.Event()
                loop.add_reader(self._line, readable.set)
                try:
                    await readable.wait()
                finally:
                    loop.remove_reader(self._line)
                body, received = wire.receive(self._line)
        except OSError as error:
            raise NodeError(f"the node has ended: {error.strerror}") from None
        finally:
            os.close(order)
        if not body:
            raise NodeError("the node has ended")
        answer = marshal.loads(body)  # noqa: S302 - from our own child, over our own socket
        if "error" in answer:
            raise NodeError(answer["error"], answer.get("errno"))
        if received:
            found = socket.socket(fileno=received[0])
            found.setblocking(False)  # noqa: FBT003 - takes no keyword
            return found
        return answer["result"]


def _close(asked: asyncio.Future[Any]) -> None:
    if not asked.cancelled() and asked.exception() is None and isinstance(asked.result(), socket.socket):
        asked.result().close()


@asynccontextmanager
async def node(environment: dict[str, str]) -> AsyncIterator[Node]:
    """A node, which ends with the block."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.ExitStack() as stack:
        stack.enter_context(ours)
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own program; some milliseconds
                program("program", theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
                cwd="/",
            )
        asking = Node(process, ours)
        try:
            yield asking
        finally:
            # A descriptor that is closed while the loop watches it would deafen the next one of the same number.
            await asking.settle()
            ours.close()
            process.wait()
