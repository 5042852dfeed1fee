"""The pods' way out: TCP connections to any address outside of their networks, and name look-ups.

Nothing is translated and no packet filter is needed. The node's routing takes every foreign address for one of its own,
port by port: a listening socket gets the connections, knows from its own address where they were meant to go, and the
runner connects there from this machine. A port is opened when the first packet of a connection to it is seen; the one
that is lost over it is sent again by the kernel after a second, which is why common ports are open from the start.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any, Final

from podpatterns.pod.forwarding import forward
from podpatterns.pod.network import GATEWAY, RANGE, connected, name_server
from podpatterns.pod.node.client import Node, NodeError

COMMON_PORTS: Final = (22, 53, 80, 443, 5432, 6379, 8080, 8443, 9418)
PATIENCE: Final = 5.0
"""Seconds to wait for a name server's answer; whoever has asked asks again after five."""
_BURST: Final = 64

LIMITS: Final = "TCP and name look-ups only: no UDP, no ping, no IPv6"


class Outbound:
    """`await open()`, then `run()` until cancelled."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ports: set[int] = set()
        self._server = (name_server(), 53)
        self._sockets: list[socket.socket] = []

    async def open(self) -> None:
        """Make what is needed in the node. Raises NodeError."""
        self._sockets.append(await self._node.ask("beginnings"))
        self._sockets.append(await self._node.ask("names", address=GATEWAY))

    def close(self) -> None:
        """Close what is open."""
        for each in self._sockets:
            each.close()

    @property
    def _packets(self) -> socket.socket:
        return self._sockets[0]

    @property
    def _names(self) -> socket.socket:
        return self._sockets[1]

    async def run(self) -> None:
        """Serve, until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            loop.add_reader(self._packets, self._see, tasks)
            loop.add_reader(self._names, self._asked, tasks)
            try:
                for port in COMMON_PORTS:
                    self._want(port, tasks)
                await asyncio.Event().wait()
            finally:
                loop.remove_reader(self._packets)
                loop.remove_reader(self._names)

    # --- connections ----------------------------------------------------------------------------------------------

    def _see(self, tasks: asyncio.TaskGroup) -> None:
        for _ in range(_BURST):
            try:
                packet = self._packets.recv(64)
            except BlockingIOError:
                return
            start = (packet[0] & 15) * 4
            if ipaddress.ip_address(packet[16:20]) not in RANGE:
                self._want(int.from_bytes(packet[start + 2 : start + 4], "big"), tasks)

    def _want(self, port: int, tasks: asyncio.TaskGroup) -> None:
        if port and port not in self._ports:
            self._ports.add(port)
            tasks.create_task(self._outlet(port))

    async def _outlet(self, port: int) -> None:
        try:
            listening = await self._node.ask("outlet", port=port)
        except NodeError:
            self._ports.discard(port)  # the next connection tries again
            return
        await forward(listening, self._dial)

    async def _dial(self, near: socket.socket) -> socket.socket:
        """To where the near end wanted to go."""
        return await connected(socket.socket(), near.getsockname())

    # --- names ----------------------------------------------------------------------------------------------------

    def _asked(self, tasks: asyncio.TaskGroup) -> None:
        for _ in range(_BURST):
            try:
                question, whom = self._names.recvfrom(4096)
            except BlockingIOError:
                return
            tasks.create_task(self._look_up(question, whom))

    async def _look_up(self, question: bytes, whom: Any) -> None:
        loop = asyncio.get_running_loop()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.setblocking(False)  # noqa: FBT003 - takes no keyword
                asking.connect(self._server)
                async with asyncio.timeout(PATIENCE):
                    await loop.sock_sendall(asking, question)
                    answer = await loop.sock_recv(asking, 1 << 16)
                self._names.sendto(answer, whom)
        except (TimeoutError, OSError):
            return  # as from a name server that does not answer: the resolver asks again, and then says so
