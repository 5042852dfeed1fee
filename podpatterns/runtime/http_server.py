"""A small HTTP/1.1 server for the admin endpoint and for what is posted to a runtime, such as metrics.

A framework would do as well, and would be the largest thing that a runtime imports: 11 MB in every pod. What is not
served here is refused, not guessed: folded lines, other codings than chunked, fields that contradict each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from podpatterns.formats.http1 import ChunkBounds, ChunkedBody, Refused
from podpatterns.runtime.units import Address

MAX_HEAD = 16 * 1024
"""Bytes of a request's head; browsers send about one."""

MAX_BODY = 1 << 20
"""Bytes of a request's body, where nobody says otherwise; weights and levels need a few dozen."""

MAX_CLIENTS = 100
"""Connections at a time; probes and scrapes need a handful. For one more, the one that has been idle longest is closed,
so that nobody keeps the kubelet out by holding connections; where all are in the middle of a request, the new one."""

PATIENCE = 60.0
"""Seconds for a request to come, also the first; Prometheus keeps its connection from one scrape to the next."""

LAST_WORDS = 1.0
"""Seconds for the requests under way when the server is closed."""

_LINE = re.compile(rb"([A-Z]{1,16}) ([\x21-\x7e]+) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")


class BadRequest(Exception):  # noqa: N818 - the name of the status
    """A request that is not served, and the status that says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class HttpRequest:
    """One request. `fields` by name in lower case; `peer` is None where the connection has no address."""

    method: str
    path: str
    query: dict[str, str]
    fields: dict[str, str]
    persistent: bool
    chunked: bool = False
    peer: str | None = None
    body: bytes = b""

    @property
    def length(self) -> int:
        """Bytes of the body, where they are known in advance."""
        return int(self.fields.get("content-length", "0"))


@dataclass(frozen=True, slots=True)
class HttpReply:
    """One response; the body is left out where the request was a HEAD."""

    status: int
    body: bytes
    content_type: str
    fields: tuple[tuple[str, str], ...] = ()


Handle = Callable[[HttpRequest], Awaitable[HttpReply]]
"""Answers a request; may raise BadRequest."""


def read_head(head: bytes, max_body: int = MAX_BODY) -> HttpRequest:
    """The request whose head this is, up to and with the empty line. Pure.

    Raises:
        BadRequest: malformed, ambiguous, or something that is not served here.
    """
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise BadRequest(400, "the first line must be: method, target, HTTP/1.1")
    fields: dict[str, str] = {}
    for each in lines:
        field = _FIELD.fullmatch(each)
        if field is None:
            raise BadRequest(400, "a field must be: name, colon, value")
        name, value = field[1].decode("ascii").lower(), field[2].decode("latin-1")
        if name in fields and name in _SINGLE:
            raise BadRequest(400, f"several {name} fields")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    coding = fields.get("transfer-encoding")
    if coding is not None:
        if "content-length" in fields or line[3] != b"1":  # readers disagree about where such a body ends
            raise BadRequest(400, "a body is chunked, in HTTP/1.1, or has a Content-Length")
        if coding.lower() != "chunked":
            raise BadRequest(501, "the only transfer coding that is known is chunked")
    if re.fullmatch("[0-9]{1,9}", fields.get("content-length", "0")) is None:
        raise BadRequest(400, "Content-Length must be a number")
    if line[3] == b"1" and "host" not in fields:
        raise BadRequest(400, "the Host field is missing")
    target = line[2].decode("ascii")
    if target[0] != "/":  # a target such as //name/path is a path: what follows the slashes is no host
        try:
            url = urlsplit(target)
        except ValueError:
            raise BadRequest(400, "the target is not a path") from None
        if url.scheme != "http" or not url.netloc:
            raise BadRequest(400, "the target is not a path")
        fields["host"] = url.netloc
        target = f"{url.path or '/'}?{url.query}"
    path, _, query = target.partition("?")
    options = {option.strip().lower() for option in fields.get("connection", "").split(",")}
    request = HttpRequest(
        line[1].decode("ascii"),
        unquote(path),
        dict(parse_qsl(query, keep_blank_values=True)),
        fields,
        "close" not in options if line[3] == b"1" else "keep-alive" in options,
        chunked=coding is not None,
    )
    if request.length > max_body:
        raise _too_large(max_body)
    return request


def _too_large(max_body: int) -> BadRequest:
    return BadRequest(413, f"a body may have {max_body} bytes")


_SINGLE: Final = frozenset({"host", "content-length", "origin", "transfer-encoding"})


def write_reply(reply: HttpReply, *, persistent: bool, bodiless: bool, now: float) -> bytes:
    """The bytes of a response; `bodiless` for HEAD, `now` in seconds since 1970. Pure."""
    fields = [
        f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
        time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime(now)),
        f"Content-Type: {reply.content_type}",
        f"Content-Length: {len(reply.body)}",
        *(f"{name}: {value}" for name, value in reply.fields),
    ]
    if not persistent:
        fields.append("Connection: close")
    head = "\r\n".join(fields).encode("latin-1") + b"\r\n\r\n"
    return head if bodiless else head + reply.body


def url(listen: Address, port: int, path: str = "") -> str:
    """Where people and clients find what listens there: `http://127.0.0.1:9102/metrics` for all interfaces."""
    if listen.path is not None:
        return f"{listen}{path}"
    host = listen.host if listen.host not in ("", "0.0.0.0", "::") else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"


class HttpServer:
    """Serves one handler, on one address. `max_body` bounds the bytes of a body as they come in."""

    def __init__(self, handle: Handle, max_body: int = MAX_BODY) -> None:
        self._handle, self._max_body = handle, max_body
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], bool] = {}
        """The connections, and whether each is in the middle of a request."""

    async def start(self, address: Address, unix: socket.socket | None = None) -> int:
        """Listen; returns the port, 0 for a unix socket, which may be there already. Raises OSError."""
        if address.path is not None:
            where: dict[str, Any] = {"path": address.path} if unix is None else {"sock": unix}
            self._server = await asyncio.start_unix_server(self._client, **where, limit=MAX_HEAD)
            return 0
        self._server = await asyncio.start_server(self._client, address.host or None, address.port, limit=MAX_HEAD)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return any(self._clients.values())

    async def close(self) -> None:
        """Take no more, and give what is under way a moment to end."""
        if self._server is None:
            return
        self._server.close()
        for task, busy in self._clients.items():
            if not busy:
                task.cancel()
        if self._clients:
            await asyncio.wait(list(self._clients), timeout=LAST_WORDS)
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; asyncio owns its task."""
        task = asyncio.current_task()
        assert task is not None
        complete = False
        try:
            if self._make_room():
                self._clients[task] = False
                while await self._exchange(task, reader, writer):
                    del self._clients[task]  # to the end of the row: the one that has been idle longest stands first
                    self._clients[task] = False
                complete = True
        except (OSError, EOFError, TimeoutError):
            pass  # the client has gone, or says nothing
        except asyncio.CancelledError:
            pass  # by close(), which waits for the end; asyncio's streams would log a task that ends as cancelled
        finally:
            if not complete:
                writer.transport.abort()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._clients.pop(task, None)

    def _make_room(self) -> bool:
        """Whether there is room for one more; the connection that has been idle longest may have to go for it."""
        if len(self._clients) < MAX_CLIENTS:
            return True
        idle = next((task for task, busy in self._clients.items() if not busy), None)
        if idle is None:
            return False
        idle.cancel()
        self._clients[idle] = True  # it is ours to the end, and is not closed twice
        return True

    async def _exchange(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request and its response; False if it was the last one on its connection."""
        persistent = bodiless = refused = False
        try:
            async with asyncio.timeout(PATIENCE):
                request = read_head(await reader.readuntil(b"\r\n\r\n"), self._max_body)
                self._clients[task] = True
                if request.fields.get("expect", "").lower() == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                if request.chunked:
                    request.body, alone = await _chunks(reader, self._max_body)
                    request.persistent &= alone
                else:
                    request.body = await reader.readexactly(request.length)
            peer = writer.get_extra_info("peername")
            request.peer = peer[0] if isinstance(peer, tuple) else None
            bodiless = request.method == "HEAD"
            reply = await self._handle(request)
            persistent = request.persistent and self._server is not None and self._server.is_serving()
        except asyncio.LimitOverrunError:
            reply, refused = _refusal(BadRequest(431, f"a head may have {MAX_HEAD} bytes")), True
        except BadRequest as error:
            reply, refused = _refusal(error), True
        writer.write(write_reply(reply, persistent=persistent, bodiless=bodiless, now=time.time()))
        async with asyncio.timeout(PATIENCE):
            await writer.drain()
            if refused:  # what was not read would reset the connection, and the answer with it
                writer.write_eof()
                while await reader.read(MAX_HEAD):
                    pass
        return persistent


async def _chunks(reader: asyncio.StreamReader, most: int) -> tuple[bytes, bool]:
    """A chunked body, and whether nothing stood behind it.

    A request that a client sends without waiting for the answer to a chunked one is not served: the connection is
    closed behind the answer, and the client sends it again. No client that we know does so.
    """
    chunks, parts, size = ChunkedBody(ChunkBounds()), list[bytes](), 0
    while True:
        data = await reader.read(65_536)
        if not data:
            raise EOFError("the client has gone in the middle of a body")
        try:
            part, rest = chunks.feed(data)
        except Refused as error:
            raise BadRequest(error.status, str(error)) from None
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
        if rest is not None:
            return b"".join(parts), not rest


def _refusal(error: BadRequest) -> HttpReply:
    return HttpReply(error.status, f"{error}\n".encode(), "text/plain; charset=utf-8")
