"""The other ends of the benchmark: a cheap back end, and the reverse proxy that people write with aiohttp."""

from __future__ import annotations

import asyncio
import random
import sys
from typing import cast

import uvloop

BODY = b"x" * 64
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Backend(asyncio.Protocol):
    """Answers every head with the same 64 bytes; wrk sends no bodies, and one head at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """One head."""
        if data.endswith(b"\r\n\r\n"):
            self.transport.write(ANSWER)


async def backend(ports: list[int]) -> None:
    """Two versions in one process."""
    loop = asyncio.get_running_loop()
    for port in ports:
        await loop.create_server(Backend, "127.0.0.1", port)
    await asyncio.Event().wait()


HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "host"}


async def aiohttp_proxy(port: int, stable: int, test: int) -> None:
    """Server and client of aiohttp, 90/10: no limits, no metrics, no strictness beyond the library's."""
    import aiohttp
    from aiohttp import web

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, skip_auto_headers=("User-Agent",)
    )

    async def handle(request: web.Request) -> web.StreamResponse:
        upstream = stable if random.random() < 0.9 else test
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        body = request.content if request.body_exists else None
        url = f"http://127.0.0.1:{upstream}{request.path_qs}"
        async with session.request(request.method, url, headers=headers, data=body) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            if answer.content_length is not None and answer.content_length < 65536:
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    kind, *numbers = sys.argv[1:]
    if kind == "backend":
        uvloop.run(backend([int(each) for each in numbers]))
    else:
        uvloop.run(aiohttp_proxy(*(int(each) for each in numbers)))
