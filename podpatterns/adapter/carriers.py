"""What takes a body of lines to its place: a connection, datagrams, a file, or standard output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator

from podpatterns.adapter.standard_output import LineWriter
from podpatterns.errors import Rejected, Retryable
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address

DATAGRAM = 1432
"""Bytes of a datagram over IP, which fit into one packet on nearly every network."""

UNIX_DATAGRAM = 8192
"""The same over a unix socket, where the usual clients send as much."""


def check_destination(address: Address | None, example: str) -> None:
    """Blame the field `address` if it is one to listen at, and none to connect to. Raises InvalidField."""
    if address is not None and address.path is None and not (address.host and address.port):
        raise InvalidField("address", f'"{address}" must name host and port, such as "{example}"')


class Carrier(ABC):
    """Takes bodies to one place, in order."""

    where: str
    """Which place, for people."""

    @abstractmethod
    async def send(self, body: bytes) -> None:
        """Hand one over. Raises Retryable or OSError where it can be sent again as a whole, Rejected where not."""

    def close(self) -> None:  # noqa: B027 - what most need not do
        """Close what is open; what was written is still sent."""

    async def stop(self) -> None:
        """The same at the end of all: nothing is under way any more when it returns."""
        self.close()


_BROKEN = "the far side was lost in the middle of a body, which is not sent again: a part of it may have been counted"


class Stream(Carrier):
    """One connection over TCP or a unix socket, opened anew when it breaks.

    The far side acknowledges nothing: a body counts when the kernel has taken it. A body of which a part may have been
    taken is sent again only if it is `repeatable`: if it says the same when it comes twice.
    """

    def __init__(self, address: Address, noun: str, *, repeatable: bool) -> None:
        self.where = str(address)
        self._address, self._noun, self._repeatable = address, noun, repeatable
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, body: bytes) -> None:
        """Send it; after a failure the next try begins with a new connection."""
        reader, writer = self._streams or await self._connect()
        self._streams = None
        try:
            if reader.at_eof() or writer.is_closing():
                raise Retryable(f"{self._noun} has closed the connection", after=0)
            writer.write(body)
            await writer.drain()
            self._streams = reader, writer
        except OSError as error:
            if self._repeatable:
                raise
            raise Rejected(_BROKEN) from error
        finally:
            if self._streams is None:
                writer.close()

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._address.path is not None:
            return await asyncio.open_unix_connection(self._address.path)
        return await asyncio.open_connection(self._address.host, self._address.port)


class Datagrams(Carrier):
    """As many whole lines in each datagram as fit; a longer line goes alone. What is lost on the way is lost.

    Where nobody listens, the kernel says so with the datagram after the first one: the rest of the body is given up.
    """

    def __init__(self, address: Address, size: int | None = None) -> None:
        self.where = str(address)
        self._address = address
        self._size = size or (DATAGRAM if address.path is None else UNIX_DATAGRAM)
        self._socket: socket.socket | None = None

    async def send(self, body: bytes) -> None:
        """Send it, waiting where a unix socket is full."""
        loop = asyncio.get_running_loop()
        if self._socket is None:
            self._socket = await self._connect()
        sent = 0
        try:
            for datagram in _datagrams(body, self._size):
                await loop.sock_sendall(self._socket, datagram)
                sent += 1
        except OSError as error:
            self.close()  # whoever is there again may have another address: look anew
            if not sent:
                raise
            raise Rejected(f"{_BROKEN}: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _connect(self) -> socket.socket:
        address = self._address
        if address.path is not None:
            family, where = socket.AF_UNIX, address.path
        else:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
            family, _, _, _, where = found[0]  # type: ignore[assignment]  # whatever that family has for an address
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)  # noqa: FBT003 - the socket module's own signature
            sock.connect(where)
        except OSError:
            sock.close()
            raise
        return sock


def _datagrams(body: bytes, size: int) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        end = body.rfind(b"\n", at, at + size + 1)
        if end < 0:
            end = body.find(b"\n", at)
            end = end if end >= 0 else len(body)
        if end > at:
            yield body[at:end]
        at = end + 1


class File(Carrier):
    """Appends to a file, which is opened for each body: whoever rotates it need tell nobody."""

    def __init__(self, path: str) -> None:
        self.where = path

    async def send(self, body: bytes) -> None:
        """Append it."""
        await asyncio.to_thread(self._append, body)

    def _append(self, body: bytes) -> None:
        descriptor = os.open(self.where, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            rest = memoryview(body)
            try:
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            except OSError:  # the disk is full: nothing is written by halves, for it will be written again
                with contextlib.suppress(OSError):  # what cannot be cut is no file: a device, a pipe
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)


class StandardOutput(Carrier):
    """Writes to the process's standard output, whole lines among those of others.

    In a thread, for a pipe that nobody reads holds up whoever writes. A body whose deadline passes meanwhile is not
    begun anew but waited for by its next try.
    """

    where = "standard output"

    def __init__(self) -> None:
        self._lines = LineWriter()
        self._under_way: tuple[bytes, asyncio.Task[None]] | None = None
        self._over = False

    async def send(self, body: bytes) -> None:
        """Write it."""
        if self._under_way is None or self._under_way[0] is not body:
            writing = asyncio.create_task(asyncio.to_thread(self._write, body), name="writing to standard output")
            self._under_way = body, writing
        await asyncio.shield(self._under_way[1])
        self._under_way = None

    def close(self) -> None:
        """Let go of what cannot be written."""
        self._over = True
        self._lines.close()

    async def stop(self) -> None:
        """The thread looks several times a second whether it has to let go."""
        self.close()
        if self._under_way is not None:
            await asyncio.gather(self._under_way[1], return_exceptions=True)
            self._under_way = None

    def _write(self, body: bytes) -> None:
        while body and not self._over:
            body = body[self._lines.write(body) :]
