"""What the fakes share that speak over TCP: connections, faults, and what they keep."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Any, Literal, Self

Fault = Literal["reset", "late", "hang"]


class Fatal(Exception):  # noqa: N818 - named after what becomes of the connection
    """The connection is closed."""


class FakeStream:
    """`async with FakeForward() as server:` listens on a free port of loopback."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.malformed: list[str] = []
        self.port = 0
        self.connections = 0
        self.delay = 0.0
        """Seconds that it takes before it does anything about a message."""
        self._script: deque[Fault] = deque()
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def will(self, *faults: Fault) -> None:
        """What happens to the next messages."""
        self._script.extend(faults)

    async def quiet(self) -> None:
        """Return when every connection has ended, and so everything has been read."""
        while self._talks:
            await asyncio.wait(self._talks)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        if self._talks:
            await asyncio.wait(self._talks)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        self.connections += 1
        try:
            await self.talk(reader, writer)
        except (Fatal, OSError, asyncio.IncompleteReadError):
            pass
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            self.malformed.append(f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:
            pass  # the server is being closed
        finally:
            self._talks.discard(task)
            writer.transport.abort()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        raise NotImplementedError

    async def fate(self) -> bool:
        """What the script says about a message that has arrived: whether the connection ends after it is kept."""
        await asyncio.sleep(self.delay)
        fault = self._script.popleft() if self._script else None
        if fault == "reset":
            raise Fatal
        if fault == "hang":
            await asyncio.Event().wait()
        return fault == "late"
