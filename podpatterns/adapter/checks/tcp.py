"""Whether something listens."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from podpatterns.adapter.checks import AddressedConfig, Check, CheckContext
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address


class TcpConfig(AddressedConfig, frozen=True, kw_only=True):
    """Passes if a connection is accepted; nothing is sent."""

    EXAMPLE: ClassVar[str] = "{type: tcp, address: 127.0.0.1:8080}"

    address: Address
    """`host:port`, or a socket as `unix:/path`."""

    def __post_init__(self) -> None:
        if self.address.path is None and not self.address.host:
            raise InvalidField("address", f'"{self.address}" names no host, such as "127.0.0.1:8080"')
        super().__post_init__()

    def build(self, context: CheckContext) -> Check:  # noqa: ARG002 - it needs nothing of the adapter
        """The check."""
        return Tcp(self)

    def asks(self) -> str:
        """What is asked."""
        return f"connect to {self.address}"


class Tcp(Check):
    """Connects and hangs up."""

    def __init__(self, config: TcpConfig) -> None:
        self._address = config.address

    async def probe(self) -> None:
        """Connect."""
        address = self._address
        if address.path is not None:
            _, writer = await asyncio.open_unix_connection(address.path)
        else:
            _, writer = await asyncio.open_connection(address.host, address.port)
        writer.transport.abort()
