"""WebSockets through the ambassador, with a client and a server that were written by others (`websockets`)."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect as client_of
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from podpatterns.ambassador.route import RouteConfig


@asynccontextmanager
async def server_of(handler):
    """A WebSocket server on a free port; the port."""
    async with serve(handler, "127.0.0.1", 0, max_size=None, close_timeout=5, ping_interval=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@asynccontextmanager
async def talking(proxy, path="/", **options):
    """A client of the ambassador."""
    url = f"ws://127.0.0.1:{proxy.port()}{path}"
    async with asyncio.timeout(30), client_of(url, max_size=None, ping_interval=None, **options) as socket:
        yield socket


async def echo(socket):
    async for message in socket:
        await socket.send(message)


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_messages_of_every_size(running, compression):
    """Text and bytes, empty to 4 MiB, come back as they were sent, also when the extension compresses them."""
    async with server_of(echo) as port, running(port) as proxy, talking(proxy, compression=compression) as socket:
        for message in ("", "a", "ü" * 70_000, b"", b"\x00\xff" * 2_000_000):
            await socket.send(message)
            assert await socket.recv() == message


async def test_many_messages_at_once_both_ways(running):
    """A sender that never waits is held back, not cut off; the order stays."""
    count, piece = 2000, b"x" * 2000

    async def flood(socket):
        sending = asyncio.create_task(sent(socket))
        numbers = [int((await socket.recv())[:6]) for _ in range(count)]
        assert numbers == list(range(count))
        await sending

    async def sent(socket):
        for number in range(count):
            await socket.send(b"%06d" % number + piece)

    async with server_of(flood) as port, running(port) as proxy, talking(proxy) as socket:
        sending = asyncio.create_task(sent(socket))
        assert [int((await socket.recv())[:6]) for _ in range(count)] == list(range(count))
        await sending


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_close_codes(running, code):
    """Code and reason of a close reach the other side, whichever side closes."""
    seen = asyncio.get_running_loop().create_future()

    async def close_or_wait(socket):
        if await socket.recv() == "you":
            await socket.close(code, "because")
            return
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            seen.set_result((closed.rcvd.code, closed.rcvd.reason))

    async with server_of(close_or_wait) as port, running(port) as proxy:
        async with talking(proxy) as socket:
            await socket.send("you")
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (code, "because")
        async with talking(proxy) as socket:
            await socket.send("me")
            await socket.close(code, "because")
        assert await seen == (code, "because")


async def test_ping_and_pong(running):
    """Control frames pass in both directions, with what they carry."""
    ponged = asyncio.get_running_loop().create_future()

    async def ping(socket):
        await (await socket.ping(b"down"))
        ponged.set_result(True)
        await echo(socket)

    async with server_of(ping) as port, running(port) as proxy, talking(proxy) as socket:
        await (await socket.ping(b"up"))
        await socket.send("x")
        assert await socket.recv() == "x"
        assert await ponged


async def test_a_server_that_dies(running):
    """The client sees an abnormal closure (1006), not a regular one."""

    async def die(socket):
        await socket.recv()
        socket.transport.abort()

    async with server_of(die) as port, running(port) as proxy, talking(proxy) as socket:
        await socket.send("x")
        with pytest.raises(ConnectionClosedError) as caught:
            await socket.recv()
        assert caught.value.rcvd is None


async def test_a_client_that_dies(running):
    """The server sees it, and its connection is not used for anything else."""
    died = asyncio.get_running_loop().create_future()

    async def wait(socket):
        try:
            await socket.recv()
        except ConnectionClosedError as closed:
            died.set_result(closed.rcvd)

    async with server_of(wait) as port, running(port) as proxy:
        async with talking(proxy) as socket:
            socket.transport.abort()
            assert await died is None
        async with asyncio.timeout(10):
            while proxy.upstreams["stable"].busy:  # noqa: ASYNC110 - the pool knows of no event
                await asyncio.sleep(0.005)


async def test_a_refused_handshake(running):
    """A server that says no says so to the client, with its own status, and nothing is switched."""
    async with (
        serve(echo, "127.0.0.1", 0, process_request=lambda socket, _: socket.respond(403, "not you\n")) as server,
        running(next(iter(server.sockets)).getsockname()[1]) as proxy,
    ):
        with pytest.raises(InvalidStatus) as caught:
            async with talking(proxy):
                raise AssertionError("the handshake was refused")
        assert caught.value.response.status_code == 403
        assert caught.value.response.body == b"not you\n"


async def test_subprotocol_and_extensions_are_agreed_end_to_end(running):
    """What the two negotiate passes through."""
    async with (
        serve(echo, "127.0.0.1", 0, subprotocols=["b"]) as server,
        running(next(iter(server.sockets)).getsockname()[1]) as proxy,
        talking(proxy, subprotocols=["a", "b"]) as socket,
    ):
        assert socket.subprotocol == "b"
        assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]


async def test_versions_share_websockets(running):
    """The split applies to handshakes; a conversation stays with the version it was given."""

    def named(name):
        async def answer(socket):
            async for _ in socket:
                await socket.send(name)

        return answer

    seen = set()
    async with server_of(named("a")) as a, server_of(named("b")) as b:
        routes = (RouteConfig(split={"a": 1, "b": 1}),)
        async with running({"a": a, "b": b}, routes=routes) as proxy:
            for _ in range(40):
                async with talking(proxy) as socket:
                    names = set()
                    for _ in range(3):
                        await socket.send("")
                        names.add(await socket.recv())
                    assert len(names) == 1
                    seen |= names
    assert seen == {"a", "b"}


async def test_a_drain_lets_conversations_end_by_themselves(running):
    """Within the grace a conversation that ends is not cut; one that does not is closed before the grace is over."""
    over = asyncio.Event()

    async def drained(proxy, socket):
        await socket.send("last")
        assert await socket.recv() == "last"
        await socket.close()
        over.set()

    async with server_of(echo) as port:
        async with running(port, grace=10.0, clients_stay=True) as proxy:
            socket = await client_of(f"ws://127.0.0.1:{proxy.port()}/", ping_interval=None)
            ending = asyncio.get_running_loop().create_task(drained(proxy, socket))
        assert over.is_set()
        await ending
        assert socket.close_code == 1000
    assert proxy.status().checks[0].ok
