"""One question to Redis, over a connection of its own: one that is kept would count as a client."""

from __future__ import annotations

import asyncio
import contextlib

from podpatterns.adapter.fetching import Unusable
from podpatterns.formats.resp import BadReply, ErrorReply, Replies, Value, command
from podpatterns.runtime.units import Address


async def ask(address: Address, *words: bytes, user: str, password: str | None) -> Value:
    """The reply to one command, which is sent behind AUTH where there is a password.

    Raises:
        Unusable: Redis has answered with an error, or with what is no reply.
        OSError, EOFError: it has not answered.
    """
    commands = [command(*words)]
    if password is not None:
        commands.insert(0, command(b"AUTH", user.encode(), password.encode()))
    if address.path is not None:
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        reader, writer = await asyncio.open_connection(address.host or "localhost", address.port)
    try:
        writer.write(b"".join(commands))
        replies = await _replies(reader, len(commands))
    except BadReply as error:
        raise Unusable(str(error)) from None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    for reply in replies:
        if isinstance(reply, ErrorReply):
            raise Unusable(f"Redis says: {reply}")
    return replies[-1]


async def _replies(reader: asyncio.StreamReader, count: int) -> list[Value]:
    parser, found = Replies(), list[Value]()
    while len(found) < count:
        data = await reader.read(65_536)
        if not data:
            raise EOFError("Redis has closed the connection")
        found += parser.feed(data)
    return found
