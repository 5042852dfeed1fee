"""Clients and servers that were not written for these tests: aiohttp on both sides of the ambassador."""

import asyncio
import hashlib
from io import BytesIO

import pytest
from aiohttp import ClientSession, WSMsgType, web


@pytest.fixture
async def shop():
    """An application with every kind of answer; its port."""

    async def echo(request):
        body = await request.read()
        return web.json_response({"sha": hashlib.sha256(body).hexdigest(), "size": len(body), "host": request.host})

    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(100):
            await response.write(b"%d\n" % number)
        await response.write_eof()
        return response

    async def compressed(_request):
        response = web.Response(body=b"a" * 100_000)
        response.enable_compression()
        return response

    async def socket(request):
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                await ws.send_str(message.data.upper())
        return ws

    async def nothing(_request):
        return web.Response(status=204)

    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/echo", echo)
    app.router.add_get("/stream", stream)
    app.router.add_get("/compressed", compressed)
    app.router.add_get("/socket", socket)
    app.router.add_get("/nothing", nothing)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_every_kind_of_exchange(shop, running):
    """What one side sends, the other receives."""
    async with running(shop) as proxy, ClientSession(proxy.url) as session:
        for _ in range(2):
            for size in (0, 1, 70_000, 3_000_000):
                body = b"0123456789" * (size // 10) + b"x" * (size % 10)
                async with session.post("/echo", data=BytesIO(body)) as answer:
                    data = await answer.json()
                assert (data["size"], data["sha"]) == (size, hashlib.sha256(body).hexdigest())
                assert data["host"] == f"127.0.0.1:{proxy.port()}"

            async def pieces():
                for number in range(50):
                    yield b"%d" % number * 100

            async with session.put("/echo", data=pieces(), expect100=True) as answer:
                assert (await answer.json())["size"] == sum(len(b"%d" % number) * 100 for number in range(50))
            async with session.get("/stream") as answer:
                assert (await answer.text()).split() == [str(number) for number in range(100)]
            async with session.get("/compressed") as answer:
                assert answer.headers["Content-Encoding"] in {"gzip", "deflate"}
                assert await answer.read() == b"a" * 100_000
            async with session.get("/nothing") as answer:
                assert answer.status == 204
            async with session.head("/stream") as answer:
                assert answer.status == 200
            async with session.get("/missing") as answer:
                assert answer.status == 404
        assert proxy.events.failures == 0
        assert proxy.events.refusals == 0


async def test_websocket_against_a_real_client(shop, running):
    """Handshake, messages in both directions, close."""
    async with running(shop) as proxy, ClientSession(proxy.url) as session:
        async with session.ws_connect("/socket") as ws:
            for size in (1, 200, 200_000):
                await ws.send_str("a" * size)
                assert await ws.receive_str() == "A" * size
        assert ws.close_code == 1000


async def test_many_clients_at_once(shop, running):
    """A hundred at the same time, each with its own answer."""
    async with running(shop) as proxy, ClientSession(proxy.url) as session:

        async def one(number):
            async with session.post("/echo", data=b"%d" % number) as answer:
                return (await answer.json())["sha"] == hashlib.sha256(b"%d" % number).hexdigest()

        assert all(await asyncio.gather(*(one(number) for number in range(100))))
