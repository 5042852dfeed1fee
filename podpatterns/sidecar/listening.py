"""Connections that others open to an input, over TCP or a unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from podpatterns.runtime.listening import listening
from podpatterns.runtime.units import Address

MAX_CLIENTS = 256
"""Connections at a time: each may hold a message in memory. The next one is closed at once."""
LIMIT = 64 * 1024
LAST_WORDS = 1.0
"""Seconds for the acknowledgements that are under way when the input stops."""

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""One connection, from its beginning to its end."""


class Listener:
    """Listens on one address, and owns the connections."""

    def __init__(self, address: Address, talk: Talk) -> None:
        self.port = address.port
        """The port that is listened on, once started."""
        self._address = address
        self._talk = talk
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises StartError."""
        address = self._address
        with listening("the input", address, "set its `listen` to a free address"):
            if address.path is not None:
                self._server = await asyncio.start_unix_server(self._client, make_way(address.path), limit=LIMIT)
                open_to_all(address.path)
            else:
                self._server = await asyncio.start_server(self._client, address.host or None, address.port, limit=LIMIT)
                self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()

    async def stop(self) -> None:
        """End the connections, those in the middle of something a moment later."""
        self.close()
        if self._clients:
            await asyncio.wait(self._clients, timeout=LAST_WORDS)
        for client in list(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; asyncio owns its task."""
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._clients) < MAX_CLIENTS:
                self._clients.add(task)
                await self._talk(reader, writer)
        except (OSError, EOFError):
            pass  # the client has gone
        except asyncio.CancelledError:
            pass  # by `stop`, which waits for the end; asyncio's streams would log a task that ends as cancelled
        finally:
            self._clients.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def make_way(path: str) -> str:
    """Remove the socket that a process before this one has left. Raises OSError."""
    with suppress(FileNotFoundError):
        if Path(path).is_socket():
            Path(path).unlink()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return path


def open_to_all(path: str) -> None:
    """Let everybody connect who can reach the socket: the application runs as another user."""
    Path(path).chmod(0o666)
