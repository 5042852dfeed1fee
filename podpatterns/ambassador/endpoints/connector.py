"""Opens connections to endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from podpatterns.ambassador.endpoints.endpoint import Endpoint
from podpatterns.errors import UpstreamError
from podpatterns.runtime.units import Duration

P = TypeVar("P", bound=asyncio.Protocol)


class Connector:
    """Knows how: the time that it may take."""

    def __init__(self, name: str, patience: Duration) -> None:
        self._name = name
        self.patience = patience

    async def open(self, endpoint: Endpoint, make: Callable[[], P]) -> P:
        """A new connection. Raises UpstreamError, whose flag says what kind of failure it is."""
        try:
            async with asyncio.timeout(self.patience):
                return await self._open(endpoint, make)
        except TimeoutError:
            raise UpstreamError(
                504, "connect_timeout", f"{self._name} took no connection within {self.patience}"
            ) from None
        except OSError as cause:
            raise UpstreamError(
                502, "connect_failure", f"{self._name} cannot be reached: {cause.strerror or cause}"
            ) from None

    async def _open(self, endpoint: Endpoint, make: Callable[[], P]) -> P:
        loop, address = asyncio.get_running_loop(), endpoint.address
        if address.path is not None:
            transport, protocol = await loop.create_unix_connection(make, address.path)
        else:
            transport, protocol = await loop.create_connection(make, endpoint.host, address.port)
        if transport.is_closing():
            raise ConnectionResetError("the connection was closed as soon as it was open")
        return protocol
