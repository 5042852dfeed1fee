"""The reverse proxy that people write with aiohttp: `python -m benchmarks.ambassador.reverse PORT STABLE TEST`.

Server and client of the library, 90/10: no limits, no metrics, no strictness beyond the library's.
"""

from __future__ import annotations

import asyncio
import random
import sys

import aiohttp
import uvloop
from aiohttp import web

HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "host"}


async def serve(port: int, stable: int, test: int) -> None:
    """Serve until the process is ended."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, skip_auto_headers=("User-Agent",)
    )

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await forward(request)
        except (aiohttp.ClientError, ConnectionError):  # above all clients that leave when a round is over
            return web.Response(status=502)

    async def forward(request: web.Request) -> web.StreamResponse:
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

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(*(int(each) for each in sys.argv[1:])))
