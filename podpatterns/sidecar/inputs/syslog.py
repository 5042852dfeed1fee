"""Syslog messages that others send."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Coroutine
from typing import Any, ClassVar, Literal

from podpatterns.formats import syslog
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address, Size
from podpatterns.sidecar.inputs import Emit, InputConfig, InputContext
from podpatterns.sidecar.listening import LAST_WORDS, Listener, taking
from podpatterns.sidecar.pushed import PushedInput

READ = 64 * 1024
AT_ONCE = 0.05
"""Seconds in which what the kernel has of a stream has come."""
BUFFER = 4 * 1024 * 1024
"""Bytes that the kernel is asked to keep of datagrams, for the moments when nobody reads; it may grant fewer."""
ROWS = 1000
"""Datagrams that make a batch, if so many are there."""
SO_RXQ_OVFL = 40
"""Linux: each datagram comes with the number of those that the kernel has dropped before it."""


class SyslogConfig(InputConfig, frozen=True, kw_only=True):
    """Takes syslog messages, in any format; `{type: parse, format: syslog}` makes fields of RFC 5424 and RFC 3164.

    Syslog has no acknowledgements. What was received and not yet delivered when the process is killed is lost. While
    the outputs are away nothing more is read: over a stream the sender waits; datagrams are dropped by the kernel when
    its buffer is full, and counted.
    """

    EXAMPLE: ClassVar[str] = "{type: syslog, listen: '127.0.0.1:5514', protocol: tcp}"

    listen: Address
    """Where to listen: `127.0.0.1:5514`, or `unix:/path` for a socket on a volume that the containers share."""

    protocol: Literal["udp", "tcp"] = "udp"
    """`udp`: datagrams, a message each. `tcp`: a stream, in which each message has its length in front or a newline
    behind it, as each message itself shows. On a unix socket the two mean datagrams and a stream as well."""

    max_message: Size = Size("64KiB")
    """Bytes of a message that are kept; a longer one is cut, marked and counted."""

    peer_field: str | None = None
    """The field that holds the sender's address, where it has one; None for none."""

    def __post_init__(self) -> None:
        """Check what a type cannot say."""
        if not self.max_message:
            raise InvalidField("max_message", "a message needs at least one byte")

    def build(self, context: InputContext) -> Syslog:
        """The input."""
        return Syslog(self, context)


class Syslog(PushedInput):
    """Listens for datagrams or connections."""

    def __init__(self, config: SyslogConfig, context: InputContext) -> None:
        super().__init__(context, where=context.name, limit=config.max_message, fields={})
        self.config = config
        self._listener = Listener(config.listen, self._talk, self.turn_away) if config.protocol == "tcp" else None
        self._socket: socket.socket | None = None
        self._dropped = 0
        self._done = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that is listened on, once started."""
        if self._listener is not None:
            return self._listener.port
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    async def start(self, entries: Any) -> None:
        """Listen. Raises StartError."""
        await super().start(entries)
        if self._listener is not None:
            await self._listener.start()
            return
        with taking(self.config.listen):
            self._socket = _bound(self.config.listen)

    # --- streams ---------------------------------------------------------------------------------------------------

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fields = self._fields(writer.get_extra_info("peername"))
        frames = syslog.Frames(self.config.max_message)
        while data := await self._until_draining(reader.read(READ)):
            await self.pass_on(frames.feed(data), fields)
        # The sender takes for delivered what its kernel has sent: what of it is there when the sidecar drains is read.
        end = time.monotonic() + LAST_WORDS
        while self.draining.is_set() and time.monotonic() < end and (data := await _there(reader)):
            await self.pass_on(frames.feed(data), fields)
        if rest := frames.rest():
            await self.pass_on([rest], fields)

    async def _until_draining(self, reading: Coroutine[Any, Any, bytes]) -> bytes:
        """What was read, or nothing when the sidecar is draining."""
        read, draining = asyncio.ensure_future(reading), asyncio.ensure_future(self.draining.wait())
        try:
            await asyncio.wait([read, draining], return_when=asyncio.FIRST_COMPLETED)
            return read.result() if read.done() else b""
        finally:
            read.cancel()
            draining.cancel()
            await asyncio.wait([read, draining])  # a stream has one reader at a time

    # --- datagrams -------------------------------------------------------------------------------------------------

    async def run(self, emit: Emit) -> None:
        """Let what comes pass; after `drain` was called, what is there by then."""
        self._emit = emit
        self._ready.set()
        while self._socket is not None:
            received = self._received(self._socket)
            if received:
                for peer, messages in received:
                    await self.pass_on(messages, self._fields(peer))
            elif self.draining.is_set():
                break
            else:
                await self._readable(self._socket)
        self._done.set()
        await asyncio.Event().wait()

    def _received(self, receiver: socket.socket) -> list[tuple[Any, list[bytes]]]:
        """What is there, by whom it was sent, in order."""
        found: list[tuple[Any, list[bytes]]] = []
        most = self.config.max_message + 1  # which shows that one is too long
        for _ in range(ROWS):
            try:
                data, more, flags, peer = receiver.recvmsg(most, 64)
            except BlockingIOError:
                break
            for level, kind, value in more:
                if (level, kind) == (socket.SOL_SOCKET, SO_RXQ_OVFL):
                    self._count(int.from_bytes(value[:4], sys.byteorder))
            message = data if flags & socket.MSG_TRUNC else data.rstrip(b"\r\n\0")
            if not message:
                continue
            if not found or found[-1][0] != peer:
                found.append((peer, []))
            found[-1][1].append(message)
        return found

    def _count(self, dropped: int) -> None:
        if dropped != self._dropped:
            self._events.datagrams_dropped(self._context.name, (dropped - self._dropped) % 2**32)
            self._dropped = dropped

    async def _readable(self, receiver: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(receiver, readable.set)
        try:
            waits = [asyncio.ensure_future(readable.wait()), asyncio.ensure_future(self.draining.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()
        finally:
            loop.remove_reader(receiver)

    def _fields(self, peer: Any) -> dict[str, Any] | None:
        if self.config.peer_field is None or not isinstance(peer, tuple):
            return None
        return {self.config.peer_field: peer[0]}

    # --- end -------------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Take no more connections; read what is there, of datagrams and of streams."""
        self.draining.set()
        if self._listener is not None:
            self._listener.close()
            await self._listener.ended()
        await self._done.wait()
        await super().drain()

    async def stop(self) -> None:
        """Close."""
        if self._listener is not None:
            await self._listener.stop()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


async def _there(reader: asyncio.StreamReader) -> bytes:
    """What has come already; nothing at the end, or where nothing comes at once."""
    try:
        async with asyncio.timeout(AT_ONCE):
            return await reader.read(READ)
    except TimeoutError:
        return b""


def _bound(address: Address) -> socket.socket:
    """A socket for datagrams. Raises OSError."""
    host = address.host or ("::" if socket.has_dualstack_ipv6() else "0.0.0.0")
    family = socket.AF_UNIX if address.path else socket.AF_INET6 if ":" in host else socket.AF_INET
    receiver = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if address.path is not None:  # whose senders wait while the buffer is full
            receiver.bind(address.path)
            return receiver
        if host == "::":
            receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        receiver.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        receiver.bind((host, address.port))
    except OSError:
        receiver.close()
        raise
    return receiver
