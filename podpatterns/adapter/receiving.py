"""Receiving lines over UDP, TCP or a unix socket of either kind, whatever the lines are."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

from podpatterns.adapter.datagrams import AT_ONCE, DATAGRAM, Reader, reader
from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.framing import ByLine, Framing, Lines, Overlong
from podpatterns.adapter.inputs import Input
from podpatterns.adapter.intake import shown
from podpatterns.adapter.quiet import quiet
from podpatterns.runtime.listening import listening
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.units import Address

_BATCH = 512 * 1024
"""Bytes taken per wake-up at most, so that other tasks get their turn under overload."""

_PAUSE = 0.001
"""Seconds between two looks at a UDP socket while datagrams come one by one. A wake-up costs as much as twenty lines;
what comes meanwhile waits in the kernel's buffer, which by default holds some 200 datagrams."""

_MANY = 16 * 1024
"""Bytes in one go that mean a burst: then nothing waits."""


CLIENTS = 1000
"""Connections of an input at a time, each with a line that is not whole yet; the next one is closed at once, and
counted. A pod has one per process or worker."""


class Datagrams(Input):
    """Reads many datagrams per wake-up, as many as there are with each call."""

    def __init__(self, noun: str, listen: Address, buffer: int, lines: Lines, events: AdapterEvents) -> None:
        self.name = f"{noun} input on {listen}"
        self.address = listen
        """Where it listens; with the real port after `start` where the configured one is 0."""
        self._noun, self._listen, self._room = noun, listen, buffer
        self._lines, self._events = lines, events
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop
        self._dropped = 0
        self._take: Reader

    async def start(self) -> None:
        """Bind. Raises StartError when the address is taken."""
        with input_listening(self._noun, self._listen):
            self._socket = self._bound()
        if self._listen.path is None:
            self.address = Address(named(self._listen.host, self._socket.getsockname()[1]))
        self._take = reader(self._socket)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._woken)
        self._events.input_listening(self._noun, str(self.address))

    async def drain(self, deadline: Deadline) -> None:
        """Take in what the kernel holds already."""
        while deadline.remaining and self._readable():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)

    async def stop(self) -> None:
        """Close the socket; a unix socket's file goes with it."""
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        if self._listen.path is not None:
            with contextlib.suppress(FileNotFoundError):
                Path(self._listen.path).unlink()  # noqa: ASYNC240 - one system call, when all is over

    def _bound(self) -> socket.socket:
        listen = self._listen
        if listen.path is not None:
            unix = unix_socket(listen.path, socket.SOCK_DGRAM)
            unix.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._room)
            return unix
        host = listen.host or ("::" if socket.has_dualstack_ipv6() else "0.0.0.0")
        family, _, _, _, address = socket.getaddrinfo(host, listen.port, type=socket.SOCK_DGRAM)[0]
        udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            udp.setblocking(False)  # noqa: FBT003 - the socket module's own signature
            if family == socket.AF_INET6 and not listen.host:
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._room)
            udp.bind(address)
        except OSError:
            udp.close()
            raise
        return udp

    def _woken(self) -> None:
        """Something is there. Few datagrams over UDP: look again after a pause, instead of being woken for each."""
        taken = self._readable()
        if self._listen.path is None and 0 < taken < _MANY and self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.call_later(_PAUSE, self._look)

    def _look(self) -> None:
        """After a pause. In a burst there is none: a process that sleeps finds a cold cache, at twice the cost."""
        if self._socket is None:
            return
        if 0 < self._readable() < _MANY:
            self._loop.call_later(_PAUSE, self._look)
        else:
            self._loop.add_reader(self._socket, self._woken)

    def _readable(self) -> int:
        """Take in what is there, up to a batch. Returns how many bytes that were."""
        if self._socket is None:
            return 0
        size, more = 0, True
        while more and size < _BATCH:
            try:
                datagrams, cut, dropped = self._take()
            except OSError as error:
                # A datagram socket reports what happened to others' datagrams (ICMP); nothing of ours is lost.
                self._events.collect_failed(self._noun, error.strerror or str(error))
                break
            if dropped is not None and dropped != self._dropped:
                self._events.datagrams_dropped(self._noun, (dropped - self._dropped) & 0xFFFFFFFF)
                self._dropped = dropped
            if datagrams:
                data = b"\n".join(self._whole(datagrams, cut) if cut else datagrams)
                size += len(data) + 1
                self._lines.feed(data)
            more = len(datagrams) == AT_ONCE
        return size

    def _whole(self, datagrams: Sequence[memoryview], cut: Sequence[int]) -> list[bytes]:
        """The datagrams without the lines at which some were cut off: half a line may mean something else."""
        found = list(map(bytes, datagrams))
        for place in cut:
            found[place], _, rest = found[place].rpartition(b"\n")
            self._events.lines_taken(1)
            self._events.line_refused("too_long", f"{shown(rest)} (in a datagram longer than {DATAGRAM} bytes)")
        return found


class Connections(Input):
    """The same over TCP or a unix stream; `framing` says how what comes is cut, by default into lines."""

    def __init__(
        self,
        noun: str,
        listen: Address,
        lines: Lines,
        events: AdapterEvents,
        framing: Callable[[Lines], Framing] = ByLine,
    ) -> None:
        self.name = f"{noun} input on {listen} ({'tcp' if listen.path is None else 'stream'})"
        self.address = listen
        self._noun, self._listen = noun, listen
        self._lines, self._events, self._framing = lines, events, framing
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self._moves = 0
        """How often something has come: a client, or something of one."""

    async def start(self) -> None:
        """Listen. Raises StartError when the address is taken."""
        listen = self._listen
        loop = asyncio.get_running_loop()

        def connection() -> _Connection:
            return _Connection(self, self._framing(self._lines))

        with input_listening(self._noun, listen):
            if listen.path is not None:
                unix = unix_socket(listen.path, socket.SOCK_STREAM)
                self._server = await loop.create_unix_server(connection, sock=unix)
            else:
                self._server = await loop.create_server(connection, listen.host or None, listen.port)
        if listen.path is None:
            self.address = Address(named(listen.host, self._server.sockets[0].getsockname()[1]))
        self._events.input_listening(self._noun, f"{self.address} ({'tcp' if listen.path is None else 'stream'})")

    async def drain(self, deadline: Deadline) -> None:
        """Take in what has arrived, also of clients that have not been accepted yet."""
        await quiet(lambda: self._moves, deadline)

    async def stop(self) -> None:
        """Close the listener and every connection."""
        if self._server is not None:
            self._server.close()
            if self._listen.path is not None:
                with contextlib.suppress(FileNotFoundError):
                    Path(self._listen.path).unlink()  # noqa: ASYNC240 - as above
        for connection in list(self._open):
            connection.close()

    def opened(self, connection: _Connection) -> bool:
        """A client has come. Returns whether there is room for it."""
        self._moves += 1
        if len(self._open) >= CLIENTS:
            self._events.connection_refused(self._noun)
            return False
        self._open.add(connection)
        self._events.connection_opened(self._noun)
        return True

    def moved(self) -> None:
        """Something of a client has come."""
        self._moves += 1

    def refused(self, why: str) -> None:
        """What a client sends cannot be cut into pieces."""
        self._events.line_refused("too_long", why)

    def closed(self, connection: _Connection, why: str) -> None:
        """A client has gone, or was sent away."""
        self._moves += 1
        if connection in self._open:
            self._open.discard(connection)
            self._events.connection_closed(self._noun, why)


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, among: Connections, framing: Framing) -> None:
        self._among, self._framing = among, framing
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if not self._among.opened(self):
            cast("asyncio.Transport", transport).abort()

    def data_received(self, data: bytes) -> None:
        self._among.moved()
        try:
            self._framing.feed(data)
        except Overlong as error:
            self._among.refused(str(error))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._framing.end()
        self._among.closed(self, str(exc) if exc else "closed")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def unix_socket(path: str, kind: socket.SocketKind) -> socket.socket:
    """A socket at a path, for everyone in the pod to write to. Raises OSError when another program listens there."""
    unix = socket.socket(socket.AF_UNIX, kind)
    try:
        unix.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        # A socket file without a listener is what a killed process left behind; one with a listener is taken.
        if Path(path).is_socket():
            with socket.socket(socket.AF_UNIX, kind) as probe:
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    Path(path).unlink()
        unix.bind(path)
        Path(path).chmod(0o666)  # containers of a pod run as different users
    except OSError:
        unix.close()
        raise
    return unix


def input_listening(noun: str, address: Address) -> AbstractContextManager[None]:
    """An input opens its listener in this block. Raises StartError where it cannot."""
    return listening(f"the {noun} input", address, f"set `listen` of the {noun} input to a free address")


def named(host: str, port: int) -> str:
    """An address for people and clients, with brackets around IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
