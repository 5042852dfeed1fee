"""Metrics that others post over HTTP."""

from __future__ import annotations

import socket
from pathlib import Path

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.inputs import Input
from podpatterns.adapter.receiving import input_listening, named, unix_socket
from podpatterns.runtime.http_server import Handle, HttpServer
from podpatterns.runtime.units import Address


class Posted(Input):
    """Serves one handler; bodies have at most `max_body` bytes, compressed or not."""

    def __init__(self, noun: str, listen: Address, answer: Handle, events: AdapterEvents, max_body: int) -> None:
        self.name = f"{noun} input on {listen}"
        self.address = listen
        """Where it listens; with the real port after `start` where the configured one is 0."""
        self._noun, self._events = noun, events
        self._server = HttpServer(answer, max_body)
        self._made: Path | None = None
        """The file of a unix socket, once it is ours."""

    async def start(self) -> None:
        """Listen. Raises StartError when the address is taken."""
        with input_listening(self._noun, self.address):
            path = self.address.path
            unix = unix_socket(path, socket.SOCK_STREAM) if path is not None else None
            self._made = Path(path) if path is not None else None
            port = await self._server.start(self.address, unix)
        if self.address.path is None:
            self.address = Address(named(self.address.host, port))
        self._events.input_listening(self._noun, str(self.address))

    async def stop(self) -> None:
        """Answer what is under way, and close; a unix socket's file goes with it."""
        await self._server.close()
        if self._made is not None:
            self._made.unlink(missing_ok=True)
