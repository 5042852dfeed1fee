"""What parent and worker say to each other: pickled messages in frames, over a socket that only the two have."""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

from podpatterns.ambassador.config import AmbassadorConfig

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Configure:
    """Go by this configuration; `sockets` names the listening sockets that have been sent along."""

    config: AmbassadorConfig
    sockets: tuple[str, ...]
    limits: dict[tuple[str, str], float] = field(default_factory=dict)
    """Times that the versions of a route are judged by, by listener and route."""


@dataclass(frozen=True, slots=True)
class Call:
    """Do what an admin route does."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """Say how you are doing."""


@dataclass(frozen=True, slots=True)
class Level:
    """Log from this level on."""

    level: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Accept nothing new, finish what was taken within so many seconds, and end."""

    grace: float
    reason: str


Message = Configure | Call | Report | Level | Drain


@dataclass(frozen=True, slots=True)
class Last:
    """A worker's last words: its figures, and what has gone wrong; empty if nothing has."""

    figures: Any
    error: str


class Channel:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def of(cls, sock: socket.socket) -> Channel:
        """An end that uses this socket."""
        return cls(*await asyncio.open_unix_connection(sock=sock))

    async def send(self, message: Any) -> None:
        """Send a message. Raises OSError if the other side has gone."""
        body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._writer.write(_LENGTH.pack(len(body)) + body)
        await self._writer.drain()

    async def receive(self) -> Any:
        """The next message. Raises EOFError if the other side has gone."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            return pickle.loads(await self._reader.readexactly(length))  # noqa: S301 - written by a fork of ourselves
        except (asyncio.IncompleteReadError, OSError):
            raise EOFError("the other side has gone") from None

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
