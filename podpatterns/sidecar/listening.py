"""Connections that others open to an input, over TCP or a unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
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

    def __init__(self, address: Address, talk: Talk, turn_away: Callable[[str], None]) -> None:
        self.port = address.port
        """The port that is listened on, once started."""
        self._address = address
        self._talk, self._turn_away = talk, turn_away
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises StartError."""
        address = self._address
        with taking(address):
            if address.path is not None:
                self._server = await asyncio.start_unix_server(self._client, address.path, limit=LIMIT)
            else:
                self._server = await asyncio.start_server(self._client, address.host or None, address.port, limit=LIMIT)
                self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()

    async def ended(self) -> None:
        """Return when every connection has ended by itself."""
        while self._clients:
            await asyncio.wait(list(self._clients))

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
            else:
                self._turn_away(f"{MAX_CLIENTS} connections are open already")
        except (OSError, EOFError):
            pass  # the client has gone
        except asyncio.CancelledError:
            pass  # by `stop`, which waits for the end; asyncio's streams would log a task that ends as cancelled
        finally:
            writer.close()
            try:
                async with asyncio.timeout(LAST_WORDS):
                    await writer.wait_closed()
            except TimeoutError:  # the client does not read what it was sent
                writer.transport.abort()
            except OSError:
                pass
            self._clients.discard(task)


@contextmanager
def taking(address: Address) -> Iterator[None]:
    """Begin to listen on an address in this block. Raises StartError.

    A socket that the process before this one has left is removed, and the new one is open to everybody who can reach
    it: the application runs as another user.
    """
    path = Path(address.path) if address.path is not None else None
    with listening("the input", address, "set its `listen` to a free address"):
        if path is not None:
            if path.is_socket():
                path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
        if path is not None:
            path.chmod(0o666)
