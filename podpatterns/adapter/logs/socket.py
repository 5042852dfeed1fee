"""Lines that the application sends: to a unix socket such as /dev/log, by UDP or by TCP."""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar, Literal

from podpatterns.adapter.log_stream import CHUNK, LogStream
from podpatterns.adapter.logs import LogConfig, LogContext
from podpatterns.adapter.quiet import soon
from podpatterns.adapter.receiving import Connections, Datagrams
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.units import Address, Size


class SocketConfig(LogConfig, frozen=True, kw_only=True):
    """A socket on which the adapter listens, for applications that write to syslog or to a port.

    A socket keeps nothing: what was received and not yet written when the process is killed is lost.
    """

    EXAMPLE: ClassVar[str] = "{type: socket, listen: 'unix:/run/shop/log', format: syslog, then: json}"

    listen: Address
    """Where lines are received: `unix:/path` for datagrams on a socket that the containers share, or `host:port`."""

    protocol: Literal["udp", "tcp"] = "udp"
    """`udp`: datagrams, each with one or several lines. `tcp`: connections with a line per line. For `unix:` it must
    stay `udp`."""

    buffer: Size = Size("4MiB")
    """Bytes that wait here at most while what is written to is slow, and as many in the kernel. What comes beyond
    them is lost, and counted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.listen.path is not None and self.protocol == "tcp":
            raise InvalidField("protocol", "a unix socket is a datagram socket here; leave `protocol` out")
        if self.buffer < CHUNK:
            raise InvalidField("buffer", "must be at least 256KiB")

    def build(self, context: LogContext) -> Socket:
        """The log."""
        return Socket(self, context)

    @property
    def where(self) -> str:
        """Where it comes from."""
        return f"{self.listen} ({'unix' if self.listen.path is not None else self.protocol})"


class Socket(LogStream):
    """Takes in what comes, at once; what it has is written anew as fast as that can be done."""

    config: SocketConfig

    def __init__(self, config: SocketConfig, context: LogContext) -> None:
        super().__init__(config, context)
        noun = f"log on {config.where}"
        self._receiver = (
            Connections(noun, config.listen, self, context.receiving)
            if config.protocol == "tcp"
            else Datagrams(noun, config.listen, config.buffer, self, context.receiving)
        )
        self._waiting = bytearray()
        self._wake = asyncio.Event()

    @property
    def address(self) -> Address:
        """Where it listens; with the real port after `start` where the configured one is 0."""
        return self._receiver.address

    def feed(self, data: bytes) -> None:
        """Lines have come; empty ones are what framing leaves."""
        lines = [line for line in data.split(b"\n") if line]
        if lines and len(self._waiting) + len(data) > self.config.buffer:
            self._events.lost(self._context.name, "buffer_full", len(data))
        elif lines:
            self._waiting += b"\n".join(lines) + b"\n"
            self._wake.set()

    async def start(self) -> None:
        """Open both ends. Raises StartError."""
        await super().start()
        await self._receiver.start()

    async def run(self) -> None:
        """Write what comes, until a drain has taken in the last of it."""
        whole = b""
        while self._waiting or not self._draining.is_set():
            if not self._waiting:
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.config.hold if whole else None):
                        await self._wake.wait()
            piece = bytes(self._waiting[:CHUNK])
            piece = piece[: piece.rfind(b"\n") + 1] or bytes(self._waiting)
            del self._waiting[: len(piece)]
            if piece:
                self.grown()
                whole += piece
            if whole:
                whole = whole[await self.pass_on(whole, final=not piece) :]
        if whole:
            await self.pass_on(whole, final=True)
        self._drained.set()
        await asyncio.Event().wait()

    async def drain(self, deadline: Deadline) -> None:
        """Take in what the kernel holds, and write it."""
        await self._receiver.drain(soon(deadline))
        self._draining.set()
        self._wake.set()
        await super().drain(deadline)

    async def stop(self) -> None:
        """Close both ends."""
        await self._receiver.stop()
        await super().stop()
