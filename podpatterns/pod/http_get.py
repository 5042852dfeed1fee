"""One GET request, small enough for a probe every second."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

MAX_BODY = 1 << 20


class BadAnswer(Exception):  # noqa: N818 - what came back
    """What came back is not HTTP."""


async def get(
    host: str,
    port: int,
    path: str = "/",
    headers: Iterable[tuple[str, str]] = (),
    *,
    tls: bool = False,
    body: bool = False,
) -> tuple[int, bytes]:
    """Status and, if asked for, the body. Like the kubelet, does not check certificates. Raises OSError, BadAnswer."""
    context = None
    if tls:
        import ssl

        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        named = {name.lower() for name, _ in headers}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        if "host" not in named:
            lines.append(f"Host: {host}:{port}")
        if "user-agent" not in named:
            lines.append("User-Agent: kube-probe/podpatterns")
        writer.write("\r\n".join([*lines, "Accept: */*", "Connection: close", "", ""]).encode())
        status = await _status(reader)
        if not body:
            return status, b""
        length: int | None = None
        while (line := await reader.readline()).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
        return status, await (reader.read(MAX_BODY) if length is None else reader.readexactly(min(length, MAX_BODY)))
    except (asyncio.IncompleteReadError, ValueError) as error:
        raise BadAnswer(f"an incomplete answer: {error}") from None
    finally:
        writer.transport.abort()


async def _status(reader: asyncio.StreamReader) -> int:
    line = await reader.readline()
    if not line:
        raise BadAnswer("the connection was closed without an answer")
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
        raise BadAnswer("the answer is not HTTP")
    return int(parts[1])
