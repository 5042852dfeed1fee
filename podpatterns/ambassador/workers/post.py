"""The place of one worker, as its parent sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from podpatterns.ambassador.workers.channel import Channel, Configure, Last, Message
from podpatterns.ambassador.workers.events import WorkerEvents
from podpatterns.ambassador.workers.figures import Figures, total
from podpatterns.ambassador.workers.forker import Forker
from podpatterns.errors import PodpatternsError

PATIENCE = 10.0
"""Seconds in which a worker must have answered; its loop has stood still for as long if it has not."""


class Post:
    """Who is in it, and what all who have been in it have counted."""

    def __init__(self, index: int, events: WorkerEvents) -> None:
        self.index = index
        self.pid = 0
        """0 while it is vacant."""
        self.reason = ""
        """How the last one has ended."""
        self.gone = asyncio.Event()
        """Set when it is vacant."""
        self.error = ""
        """What has gone wrong at a regular end."""
        self._events = events
        self._past = Figures()
        """Of those who were here before."""
        self._figures = Figures()
        """Of the one who is here, as far as is known."""
        self._channel: Channel | None = None
        self._doors: socket.socket | None = None
        self._turn = asyncio.Lock()

    @property
    def figures(self) -> Figures:
        """Of all of them."""
        return total([self._past, self._figures])

    # --- come and go ----------------------------------------------------------------------------------------------

    async def fill(self, forker: Forker) -> None:
        """Have a worker forked; it waits for its configuration."""
        self.gone.clear()
        self.error = ""
        control, self._doors = forker.fork(self.index)
        self._channel = await Channel.of(control)

    def ended(self, status: int) -> None:
        """The worker has ended, with an exit status, or a negative number for a signal."""
        self.reason = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
        self.gone.set()

    async def clear(self) -> None:
        """Hear its last words, if there are any, and make room."""
        await self.end()
        self._past, self._figures = total([self._past, self._figures.past()]), Figures()
        if self._channel is not None:
            self._channel.close()
        if self._doors is not None:
            self._doors.close()
        self._channel, self._doors, self.pid = None, None, 0

    def kill(self) -> None:
        """End it at once."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    # --- talk -----------------------------------------------------------------------------------------------------

    async def configure(self, orders: Configure, sockets: Mapping[str, Sequence[socket.socket]]) -> None:
        """Make it go by a configuration. Raises as `ask` does."""
        if self._doors is not None:
            for name, each in sockets.items():
                with suppress(OSError):  # then it has gone, and `ask` says so
                    socket.send_fds(self._doors, [name.encode()], [sock.fileno() for sock in each])
        await self.ask(replace(orders, sockets=tuple(sockets)))

    async def report(self, message: Message) -> None:
        """Bring its figures up to date, unless it has gone."""
        with suppress(EOFError):
            self._figures = await self.ask(message)

    async def ask(self, message: Message) -> Any:
        """Its answer. Raises EOFError if it has gone, or is stuck and therefore killed, or what it has raised."""
        async with self._turn:
            if self._channel is None:
                raise EOFError(f"there is no worker {self.index} at the moment")
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._channel.send(message)
                    answer = await self._channel.receive()
            except TimeoutError:
                self._events.stuck(self.index, self.pid, PATIENCE)
                self.kill()
                raise EOFError(f"worker {self.index} did not answer") from None
            except OSError as error:
                raise EOFError(f"worker {self.index} has gone: {error}") from None
        match answer:
            case Last():
                self._last(answer)
                raise EOFError(f"worker {self.index} has ended: {answer.error or 'it was told to'}")
            case PodpatternsError():
                raise answer
        return answer

    async def end(self) -> None:
        """Wait for its last words, or for its end without any."""
        async with self._turn:
            while self._channel is not None:
                try:
                    answer = await self._channel.receive()
                except EOFError:
                    return
                if isinstance(answer, Last):
                    self._last(answer)

    def _last(self, words: Last) -> None:
        self._figures, self.error = words.figures, words.error
