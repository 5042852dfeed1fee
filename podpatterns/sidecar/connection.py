"""What the outputs share that speak over TCP or TLS with a protocol of their own."""

from __future__ import annotations

import array
import asyncio
import fcntl
import ssl
import termios

from podpatterns.errors import StartError
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address, Duration
from podpatterns.sidecar.http_client import let_go
from podpatterns.sidecar.outputs import OutputConfig

LOOK = 0.002
"""Seconds between two looks at what the peer's kernel has acknowledged."""


class ConnectingConfig(OutputConfig, frozen=True, kw_only=True):
    """What every output over a connection of its own can be told."""

    tls: bool = False
    """Whether the connection is encrypted, and the far side's name checked."""

    ca: str | None = None
    """With `tls`: a file of certificates to trust. None: the system's."""

    timeout: Duration = Duration("30s")
    """How long one delivery may take, from connecting to the last answer."""

    def __post_init__(self) -> None:
        """Check what one field cannot say alone."""
        if self.ca is not None and not self.tls:
            raise InvalidField("ca", "stands beside `tls: true`, and only there")
        if not self.timeout:
            raise InvalidField("timeout", "must be longer than 0s")


class Connection:
    """One connection that is kept; whoever sees it fail closes it, and the next use opens another."""

    def __init__(self, address: Address, config: ConnectingConfig) -> None:
        self._address = address
        self._tls: ssl.SSLContext | None = None
        if config.tls:
            try:
                self._tls = ssl.create_default_context(cafile=config.ca)
            except OSError as error:
                raise StartError(f"the certificates {config.ca} cannot be read: {error.strerror or error}") from None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is one that nobody has closed, as far as is known here."""
        return self._streams is not None and not self._streams[0].at_eof() and not self._streams[1].is_closing()

    async def open(self) -> None:
        """Connect anew. Raises OSError."""
        self.close()
        address = self._address
        if address.path is not None:
            self._streams = await asyncio.open_unix_connection(address.path)
        else:
            name = address.host or "127.0.0.1"
            self._streams = await asyncio.open_connection(
                name, address.port, ssl=self._tls, server_hostname=name if self._tls else None
            )
        self.writer.transport.set_write_buffer_limits(0)  # `drain` waits until the kernel has everything

    @property
    def reader(self) -> asyncio.StreamReader:
        """To read answers."""
        assert self._streams is not None, "open"
        return self._streams[0]

    @property
    def writer(self) -> asyncio.StreamWriter:
        """To send."""
        assert self._streams is not None, "open"
        return self._streams[1]

    async def read(self) -> bytes:
        """Some bytes. Raises ConnectionError if there are no more."""
        data = await self.reader.read(65536)
        if not data:
            raise ConnectionResetError("the far side has closed the connection")
        return data

    async def settled(self) -> None:
        """Return when the far side's kernel has acknowledged every byte. Raises ConnectionError if it cannot now."""
        queued = array.array("i", [0])
        number = self.writer.get_extra_info("socket").fileno()
        while True:
            if not self.is_open:
                raise ConnectionResetError("the far side has closed the connection")
            fcntl.ioctl(number, termios.TIOCOUTQ, queued)
            if not queued[0]:
                return
            await asyncio.sleep(LOOK)

    def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            let_go(self._streams[1])
        self._streams = None
