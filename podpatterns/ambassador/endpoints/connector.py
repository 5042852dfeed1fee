"""Opens connections to endpoints."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from podpatterns.ambassador.endpoints.endpoint import Endpoint
from podpatterns.ambassador.tls import Tls, explained
from podpatterns.errors import UpstreamError
from podpatterns.runtime.units import Duration

P = TypeVar("P", bound=asyncio.Protocol)


class Connector:
    """Knows how: the time that it may take, and whether to speak TLS."""

    def __init__(self, name: str, patience: Duration, tls: Tls | None = None) -> None:
        self._name = name
        self.patience = patience
        self._tls = tls

    async def open(self, endpoint: Endpoint, make: Callable[[], P]) -> P:
        """A new connection. Raises UpstreamError, whose flag says what kind of failure it is."""
        try:
            async with asyncio.timeout(self.patience):
                return await self._open(endpoint, make)
        except TimeoutError:
            raise UpstreamError(
                504, "connect_timeout", f"{self._name} took no connection within {self.patience}"
            ) from None
        except ssl.SSLError as cause:
            raise UpstreamError(
                502, "tls_failure", f"{self._name} at {endpoint} cannot be spoken to: {explained(cause)}"
            ) from None
        except OSError as cause:
            raise UpstreamError(
                502, "connect_failure", f"{self._name} cannot be reached: {cause.strerror or cause}"
            ) from None

    async def _open(self, endpoint: Endpoint, make: Callable[[], P]) -> P:
        loop, address = asyncio.get_running_loop(), endpoint.address
        secured: dict[str, Any] = {}
        if self._tls is not None:
            secured = {"ssl": self._tls.context, "server_hostname": self._tls.name(address.host)}
        if address.path is not None:
            transport, protocol = await loop.create_unix_connection(make, address.path, **secured)
        else:
            transport, protocol = await loop.create_connection(make, endpoint.host, address.port, **secured)
        if transport.is_closing():
            raise ConnectionResetError("the connection was closed as soon as it was open")
        return protocol
