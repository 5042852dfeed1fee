"""One GET request, small enough for a probe every second. A whole HTTP client would cost 12 MB for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import unquote, urlsplit

from podpatterns.runtime.units import Url

MAX_BODY = 1 << 20
"""Bytes of a body that are read, unless the caller says otherwise; what comes after them is not looked at."""


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[..., Awaitable[Streams]]
"""Like `asyncio.open_connection`: takes host, port and `ssl`. Raises OSError."""


class BadAnswer(Exception):  # noqa: N818 - what came back
    """What came back is not HTTP."""


async def get_url(url: Url, *, verify: bool = True, body: bool = False, limit: int = MAX_BODY) -> tuple[int, bytes]:
    """The same for a URL, with the user and password in it. Redirects are not followed. Raises OSError, BadAnswer."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    assert parts.hostname is not None, "checked by Url"
    headers = [("Host", parts.netloc.rpartition("@")[2]), ("User-Agent", "podpatterns")]
    if parts.username is not None:
        from base64 import b64encode

        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers.append(("Authorization", f"Basic {b64encode(pair.encode()).decode()}"))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    port = parts.port or (443 if tls else 80)
    return await get(parts.hostname, port, target, headers, tls=tls, verify=verify, body=body, limit=limit)


async def get(
    host: str,
    port: int,
    path: str = "/",
    headers: Iterable[tuple[str, str]] = (),
    *,
    tls: bool = False,
    verify: bool = False,
    body: bool = False,
    limit: int = MAX_BODY,
    connect: Connect = asyncio.open_connection,
) -> tuple[int, bytes]:
    """Status and, if asked for, the first `limit` bytes of the body.

    Like the kubelet, does not check certificates unless `verify` says so; `connect` reaches hosts that are on another
    network. Raises OSError, BadAnswer.
    """
    context = None
    if tls:
        import ssl

        if verify:
            context = ssl.create_default_context()
        else:  # without the system's certificates, which take longer to read than all the rest
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await connect(host, port, ssl=context)
    try:
        named = {name.lower() for name, _ in headers}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        if "host" not in named:
            lines.append(f"Host: {host}:{port}")
        if "user-agent" not in named:
            lines.append("User-Agent: kube-probe/podpatterns")
        writer.write("\r\n".join([*lines, "Accept: */*", "Connection: close", "", ""]).encode())
        status = await _status(reader)
        return status, await _body(reader, limit) if body else b""
    except (asyncio.IncompleteReadError, ValueError) as error:
        raise BadAnswer(f"an incomplete answer: {error}") from None
    finally:
        writer.transport.abort()


async def _status(reader: asyncio.StreamReader) -> int:
    try:
        line = await reader.readline()
    except ValueError:  # longer than a line of a head may be
        raise BadAnswer("the answer is not HTTP") from None
    if not line:
        raise BadAnswer("the connection was closed without an answer")
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not (parts[1].isdigit() and len(parts[1]) == 3):
        raise BadAnswer("the answer is not HTTP")
    return int(parts[1])


async def _body(reader: asyncio.StreamReader, limit: int) -> bytes:
    """What follows the status line: fields, then a body of a known length, in chunks, or up to the end."""
    length: int | None = None
    chunked = False
    while line := await reader.readline():
        if not line.strip():
            break
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
        elif name.lower() == b"transfer-encoding":
            chunked = value.strip().lower() == b"chunked"
    else:
        raise BadAnswer("the connection was closed in the middle of the head")
    if not chunked:
        return await _up_to(reader, limit) if length is None else await reader.readexactly(min(length, limit))
    found = bytearray()
    while (size := int((await reader.readline()).partition(b";")[0], 16)) and len(found) < limit:
        found += await reader.readexactly(min(size, limit - len(found)))
        await reader.readline()
    return bytes(found)


async def _up_to(reader: asyncio.StreamReader, limit: int) -> bytes:
    found = bytearray()
    while len(found) < limit and (piece := await reader.read(limit - len(found))):
        found += piece
    return bytes(found)
