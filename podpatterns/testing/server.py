"""A fake HTTP server: an upstream, a log store or a scrape target that does as the test says.

It records what it was asked and answers from a script, faults included. What is not scripted gets the
default answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from aiohttp import web


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived; `body` is what came after any content encoding was undone, `raw` before."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer.

    `delay` is in seconds. `fault`: `reset` closes the connection without an answer, `truncate` in the middle of
    the body, `hang` never answers.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    fault: Literal["reset", "truncate", "hang"] | None = None


class FakeServer:
    """`async with FakeServer() as server:` listens on a free port of loopback."""

    def __init__(self, default: Answer = Answer()) -> None:
        self.default = default
        self.seen: list[Seen] = []
        self.delay = 0.0
        """Seconds that it takes before it does anything about a request."""
        self._script: deque[Answer] = deque()
        self._arrived = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Its URL, without a final slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def will(self, *answers: Answer) -> None:
        """Answer the next requests like this, one after the other; then the default again."""
        self._script.extend(answers)

    def reply(self, seen: Seen) -> Answer:  # noqa: ARG002 - for fakes of a protocol, which derive from this
        """What to answer where nothing is scripted."""
        return self.default

    async def received(self, count: int, *, timeout: float = 10.0) -> list[Seen]:  # noqa: ASYNC109 - for the caller
        """Wait until this many requests have arrived altogether; TimeoutError says how many did."""
        try:
            async with asyncio.timeout(timeout), self._arrived:
                await self._arrived.wait_for(lambda: len(self.seen) >= count)
        except TimeoutError:
            raise TimeoutError(f"{len(self.seen)} of {count} requests after {timeout:g} s") from None
        return self.seen

    async def __aenter__(self) -> Self:
        from aiohttp import web

        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True, auto_decompress=False
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        raw = await request.read()
        body = _decoded(raw, request.headers.get("Content-Encoding", "identity"))
        seen = Seen(request.method, request.raw_path, dict(request.headers), body, raw)
        async with self._arrived:
            self.seen.append(seen)
            self._arrived.notify_all()
        await asyncio.sleep(self.delay)
        answer = self._script.popleft() if self._script else self.reply(seen)
        await asyncio.sleep(answer.delay)
        if answer.fault is None:
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        assert request.transport is not None
        if answer.fault == "hang":
            await asyncio.Event().wait()
        if answer.fault == "truncate":
            response = web.StreamResponse(status=answer.status, headers=answer.headers)
            response.content_length = len(answer.body)
            await response.prepare(request)
            await response.write(answer.body[: len(answer.body) // 2])
        request.transport.abort()
        return web.Response()


def _decoded(body: bytes, encoding: str) -> bytes:
    import gzip
    import zlib

    import cramjam

    decoders: Mapping[str, Callable[[bytes], Any]] = {
        "identity": bytes,
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
        "zstd": cramjam.zstd.decompress,
    }
    return bytes(decoders[encoding](body))
