"""More than there is room for: who is too many is told so at once, and everybody else is served."""

import asyncio
import resource

import msgspec
import pytest

from podpatterns.ambassador import downstream
from podpatterns.ambassador.overload import SPARE, descriptors
from podpatterns.ambassador.sockets import reset
from tests.ambassador.load import GET


def saying_when(event):
    async def handle(server, peer):
        while True:
            await server.head(peer)
            await event.wait()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    return handle


async def heard(server, count):
    async with asyncio.timeout(10):
        while len(server.heads) < count:  # noqa: ASYNC110 - the fake knows of no event
            await asyncio.sleep(0.005)


async def test_requests_at_the_same_time(upstream, running, connect):
    """One more than `max_requests` is answered 503, with when to come again, on a connection that stays."""
    go = asyncio.Event()
    server = await upstream(saying_when(go))
    async with running(server, max_requests=2) as proxy:
        clients = [await connect(proxy) for _ in range(3)]
        for client in clients[:2]:
            await client.send(GET)
        await heard(server, 2)
        await clients[2].send(GET)
        head = await clients[2].until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 1" in head
        assert b"Connection: close" not in head
        await clients[2].until(b"same time\n")
        assert proxy.events.in_flight(proxy.listeners[0].name).value == 2
        # A reload starts no new count.
        config = msgspec.structs.replace(proxy.config.listeners[0], max_requests=1)
        await proxy.reload(msgspec.structs.replace(proxy.config, listeners=(config,)))
        await clients[2].send(GET)
        assert (await clients[2].until(b"same time\n")).startswith(b"HTTP/1.1 503")
        go.set()
        for client in clients[:2]:
            assert (await client.until(b"ok")).startswith(b"HTTP/1.1 200")
        await clients[2].send(GET)
        assert (await clients[2].until(b"ok")).startswith(b"HTTP/1.1 200")
        assert proxy.events.in_flight(proxy.listeners[0].name).value == 0
        assert proxy.events.refusals == 2


async def test_a_client_that_leaves_makes_room(upstream, running, connect):
    """However a request ends, it is no longer counted."""
    server = await upstream(saying_when(asyncio.Event()))
    async with running(server, max_requests=1) as proxy:
        for count in range(1, 4):
            client = await connect(proxy)
            await client.send(GET)
            await heard(server, count)
            reset(client.writer.transport)
            async with asyncio.timeout(10):
                while proxy.events.in_flight(proxy.listeners[0].name).value:  # noqa: ASYNC110 - a plain counter
                    await asyncio.sleep(0.005)


async def test_too_many_who_are_too_many(upstream, running, connect, monkeypatch):
    """Who is turned away is told so as long as there is room for that; then reset. Nobody of them keeps others out."""
    monkeypatch.setattr(downstream, "TURNED_AWAY", 1)
    async with running(await upstream(), max_connections=1) as proxy:
        first = await connect(proxy)
        await first.send(GET)
        await first.until(b"ok")
        told = await connect(proxy)
        head = await told.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert b"Retry-After" in head
        with pytest.raises(ConnectionResetError):
            await (await connect(proxy)).rest()
        assert len(proxy.listeners[0].connections) == 1
        first.close()
        async with asyncio.timeout(10):
            while proxy.listeners[0].connections:  # noqa: ASYNC110 - the listener knows of no event
                await asyncio.sleep(0.005)
        assert proxy.listeners[0].turned_away  # still being told
        again = await connect(proxy)
        await again.send(GET)
        assert (await again.until(b"ok")).startswith(b"HTTP/1.1 200")


def test_descriptors(monkeypatch):
    """The soft limit is raised to what is needed, never above the hard one, never lowered."""
    limits = [1024, 5000]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: limits.__setitem__(slice(None), wanted))
    assert descriptors(100) == (200 + SPARE, 200 + SPARE)
    assert limits == [1024, 5000]
    assert descriptors(1000) == (2000 + SPARE, 2000 + SPARE)
    assert limits == [2000 + SPARE, 5000]
    assert descriptors(10_000) == (20_000 + SPARE, 5000)
    assert limits == [5000, 5000]
    limits[:] = [1024, resource.RLIM_INFINITY]
    assert descriptors(10_000) == (20_000 + SPARE, 20_000 + SPARE)
