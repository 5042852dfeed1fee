"""Metrics that others post over HTTP."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.inputs import Input
from podpatterns.adapter.quiet import quiet
from podpatterns.adapter.receiving import input_listening, named, unix_socket
from podpatterns.runtime.http_server import Handle, HttpReply, HttpRequest, HttpServer
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.units import Address


class Posted(Input):
    """Serves one handler; bodies have at most `max_body` bytes, compressed or not."""

    def __init__(self, noun: str, listen: Address, answer: Handle, events: AdapterEvents, max_body: int) -> None:
        self.name = f"{noun} input on {listen}"
        self.address = listen
        """Where it listens; with the real port after `start` where the configured one is 0."""
        self._noun, self._events = noun, events
        self._answer, self._requests = answer, 0
        self._server = HttpServer(self._counted, max_body)
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

    async def drain(self, deadline: Deadline) -> None:
        """Answer what has arrived, and what is on its way in the middle of a request."""
        await quiet(lambda: self._requests, deadline)
        while self._server.busy and deadline.remaining:  # noqa: ASYNC110 - no event tells that all have an answer
            await asyncio.sleep(0.005)

    async def _counted(self, request: HttpRequest) -> HttpReply:
        self._requests += 1
        return await self._answer(request)

    async def stop(self) -> None:
        """Answer what is under way, and close; a unix socket's file goes with it."""
        await self._server.close()
        if self._made is not None:
            self._made.unlink(missing_ok=True)
