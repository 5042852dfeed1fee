"""An HTTP/1.1 client for one thing: send a body of known length over a connection that is kept, and read the answer.

A general client costs more CPU time per delivery than making its body does, and 12 MB of memory. This one is
strict: an answer that it cannot make sense of closes the connection and counts as no answer.
"""

from __future__ import annotations

import asyncio
import email.utils
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_HEAD = 64 * 1024
"""Bytes of a head, or of a line between chunks."""
MAX_BODY = 64 * 1024
"""Bytes of an answer that are kept, for the reason in it, unless more is asked for; the rest is read and dropped."""


class BadAnswer(OSError):  # noqa: N818 - named after what came
    """The far side did not speak HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers with lower-case names, and the beginning of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def retry_after(self, now: float) -> float | None:
        """Seconds that `Retry-After` asks for, given as a number or as a date; None without a sensible one."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit():
            return float(value)
        try:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
        except (ValueError, OverflowError):
            return None


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer. Pure. Raises BadAnswer."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdigit() and len(status) == 3):
        raise BadAnswer("the answer is not HTTP/1.1")
    headers: dict[str, str] = {}
    for line in filter(None, lines):
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadAnswer("the answer has a header that is none")
        headers[name.lower()] = value.strip()
    return int(status), headers


class Client:
    """POSTs to one URL, or sends elsewhere on the same host, one request after the other."""

    def __init__(self, url: str, *, ca: str | None = None, keep: int = MAX_BODY) -> None:
        self._keep = keep
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._netloc = parts.netloc.rpartition("@")[2]
        self._tls = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Answer:  # noqa: ASYNC109 - one deadline over connecting, sending and reading
        """Post, and return the answer. Raises OSError, as `send` does."""
        return await self.send("POST", self._target, body, {"Host": self._netloc, **headers}, timeout)

    async def send(self, method: str, target: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Answer:  # noqa: ASYNC109 - as above
        """Send any request that has a body, and return the answer; the headers name the host.

        Raises:
            OSError: no connection, no answer in time (TimeoutError), or not an HTTP answer. The connection is closed.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {target} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1")
        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(head, body)
        except BaseException as error:
            self.close()
            if isinstance(error, asyncio.IncompleteReadError):
                raise BadAnswer("the connection was closed in the middle of the answer") from None
            if isinstance(error, asyncio.LimitOverrunError):
                raise BadAnswer(f"the answer has a head, or a line, of more than {MAX_HEAD} bytes") from None
            raise

    async def _exchange(self, head: bytes, body: bytes) -> Answer:
        if self._writer is None or self._reader is None or self._reader.at_eof() or self._writer.is_closing():
            self.close()
            self._reader, self._writer = await asyncio.open_connection(
                self._host, self._port, ssl=self._tls, limit=MAX_HEAD, server_hostname=self._host if self._tls else None
            )
        writer = self._writer
        writer.write(head)
        writer.write(body)
        # Nobody waits until all of it is sent: a far side that does not want it answers before, and closes.
        answer = await self._answer(self._reader)
        if writer.transport.get_write_buffer_size():
            self.close()  # what is left of the body would come in front of the next request
        return answer

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        status = 100
        headers: dict[str, str] = {}
        while status < 200:
            status, headers = parse_head(await reader.readuntil(b"\r\n\r\n"))
        keep = headers.get("connection", "").lower() != "close"
        try:
            body, whole = await self._body(reader, status, headers)
        except ConnectionError:
            if status < 400:
                raise
            body, whole = b"", False  # it has refused the request, and reset the connection behind that
        if not (keep and whole):
            self.close()
        return Answer(status, headers, body)

    async def _body(self, reader: asyncio.StreamReader, status: int, headers: Mapping[str, str]) -> tuple[bytes, bool]:
        """The beginning of the body, and whether the connection can go on behind it."""
        if status in (204, 304):
            return b"", True
        if "transfer-encoding" in headers:
            if headers["transfer-encoding"].lower() != "chunked":
                raise BadAnswer("the answer has an unknown transfer encoding")
            return await _chunked(reader, self._keep), True
        if (length := headers.get("content-length")) is not None:
            if not (length.isascii() and length.isdigit()):
                raise BadAnswer("the answer's length is not a number")
            return await _exactly(reader, int(length), self._keep), True
        return await _until_closed(reader, self._keep), False

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._writer is not None:
            let_go(self._writer)
        self._reader = self._writer = None


def let_go(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once: otherwise it would stay, with its data, until a far side that hangs has taken it."""
    if writer.transport.get_write_buffer_size():
        writer.transport.abort()
    writer.close()


async def _until_closed(reader: asyncio.StreamReader, keep: int) -> bytes:
    kept = b""
    while piece := await reader.read(MAX_BODY):
        kept = (kept + piece)[:keep]
    return kept


async def _exactly(reader: asyncio.StreamReader, length: int, keep: int) -> bytes:
    kept = await reader.readexactly(min(length, keep))
    left = length - len(kept)
    while left:
        left -= len(await reader.readexactly(min(left, MAX_BODY)))
    return kept


async def _chunked(reader: asyncio.StreamReader, keep: int) -> bytes:
    kept = b""
    while True:
        line = (await reader.readuntil(b"\r\n")).partition(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError:
            raise BadAnswer("the answer has a chunk without a size") from None
        if size < 0:
            raise BadAnswer("the answer has a chunk without a size")
        if not size:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass  # trailers
            return kept
        piece = await _exactly(reader, size, keep)
        kept = (kept + piece)[:keep]
        if await reader.readexactly(2) != b"\r\n":
            raise BadAnswer("the answer has a chunk of the wrong size")
