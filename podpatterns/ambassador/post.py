"""One POST to a server that is no upstream, such as a token endpoint: a connection of its own, read as strictly as any.

A client library would do as well, and would cost 12 MB in every pod that fetches a token once an hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from podpatterns.ambassador.endpoints import origin
from podpatterns.ambassador.http1.body import reader
from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.response import read_response
from podpatterns.ambassador.tls import Tls
from podpatterns.formats.http1 import Refused
from podpatterns.runtime.units import Url

_LIMITS = Limits()
_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """An answer; it has no `repr`, because it may hold a token."""

    status: int
    head: bytes
    body: bytes

    def field(self, name: bytes) -> str | None:
        """The first value of a field (name in lower case)."""
        found = named(name).search(self.head)
        return found[1].strip().decode("latin-1") if found else None


async def post(url: Url, fields: Mapping[str, str], body: bytes, *, tls: Tls | None, largest: int) -> Reply:
    """The answer to a request with these fields and this body; `largest` bounds the bytes of its own body.

    The caller bounds the time.

    Raises:
        OSError: there is no connection, or it was closed in the middle of the answer.
        Refused: the answer is malformed or too large.
    """
    parts, place = urlsplit(url), origin.place(url)
    secured: dict[str, Any] = {}
    if tls is not None:
        secured = {"ssl": tls.context, "server_hostname": tls.name(place.host)}
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = {
        **fields, "Host": origin.authority([url]), "Content-Length": len(body), "User-Agent": "podpatterns",
        "Connection": "close",
    }  # fmt: skip
    head = f"POST {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    incoming, outgoing = await asyncio.open_connection(place.host, place.port, **secured)
    try:
        outgoing.write(head.encode() + b"\r\n" + body)
        return await _reply(incoming, largest)
    finally:
        outgoing.transport.abort()


async def _reply(incoming: asyncio.StreamReader, largest: int) -> Reply:
    data = b""
    while (response := read_response(data, b"POST", _LIMITS)) is None or response.status < 200:
        if response is not None:
            data = data[response.size :]  # an interim one
            continue
        piece = await incoming.read(_PIECE)
        if not piece:
            raise ConnectionError("it has closed the connection without an answer")
        data += piece
    body = reader(response.length, _LIMITS, response.options)
    payload, rest = body.feed(data[response.size :])
    while len(payload) <= largest:
        if rest is not None:
            return Reply(response.status, response.head, payload)
        piece = await incoming.read(_PIECE)
        if piece:
            more, rest = body.feed(piece)
            payload += more
        elif body.eof():
            rest = b""
        else:
            raise ConnectionError("it has closed the connection in the middle of its answer")
    raise Refused(502, "too_large", f"it has more than {largest} bytes")
