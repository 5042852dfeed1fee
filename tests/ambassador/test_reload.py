"""Reload: listeners come, go and move, upstreams change, and nobody who was being served notices."""

import asyncio
import socket

import msgspec
import pytest

from podpatterns import Ambassador, AmbassadorConfig
from podpatterns.ambassador.listeners.http import HttpConfig
from podpatterns.ambassador.listeners.tcp import TcpConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.ambassador.upstreams.hosts import HostsConfig
from podpatterns.errors import ServiceError, StartError
from podpatterns.runtime.service import Context
from podpatterns.runtime.units import Address
from tests.ambassador.load import GET, Crowd


def saying(name):
    return b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" + name.encode().ljust(6)


def http(port, to="stable", **options):
    return HttpConfig(listen=Address(f"127.0.0.1:{port}"), routes=(RouteConfig(name="main", to=to),), **options)


def hosts(*servers):
    return HostsConfig(addresses=tuple(Address(f"127.0.0.1:{getattr(each, 'port', each)}") for each in servers))


def listening_on(config, *listeners):
    return msgspec.structs.replace(config, listeners=listeners)


@pytest.fixture
def ports(unused_tcp_port_factory):
    return [unused_tcp_port_factory() for _ in range(3)]


@pytest.fixture
async def stable(upstream):
    return await upstream(saying("stable"))


async def asked(client):
    await client.send(GET)
    await client.until(b"\r\n\r\n")
    return (await client.exactly(6)).decode().strip()


async def refused(port):
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return True
            writer.close()
            await asyncio.sleep(0.01)


async def left(proxy):
    async with asyncio.timeout(10):
        while proxy._leaving or proxy._retired:  # noqa: ASYNC110 - the runtime knows of no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", ["main", None])
async def test_a_listener_moves(stable, upstream, connect, ports, name):
    """The new address answers at once; the old one takes nobody, closes who waits, and finishes what it has begun."""
    asked_for, go = asyncio.Event(), asyncio.Event()

    async def slow(server, peer):
        await server.head(peer)
        asked_for.set()
        await go.wait()
        await peer.send(saying("slow"))
        await peer.reader.read()

    before, after, _ = ports
    config = AmbassadorConfig(
        listeners=(http(before, name=name),), upstreams={"stable": hosts(await upstream(slow)), "other": hosts(stable)}
    )
    async with Ambassador(config) as proxy:
        idle, busy = await connect(before), await connect(before)
        await busy.send(GET)
        await asked_for.wait()
        await proxy.reload(listening_on(config, http(after, "other", name=name)))
        assert proxy.port() == after
        assert await refused(before)
        assert await asked(await connect(after)) == "stable"
        assert await idle.rest() == b""
        go.set()
        got = await busy.rest()
        assert b"Connection: close" in got
        assert got.endswith(b"slow  ")
        await left(proxy)
        assert proxy.events.dropped == 0


async def test_a_listener_comes_and_goes(stable, connect, ports):
    """Beside one that stays, with its connections."""
    config = AmbassadorConfig(listeners=(http(ports[0]),), upstreams={"stable": hosts(stable)})
    async with Ambassador(config) as proxy:
        stays = await connect(ports[0])
        await proxy.reload(listening_on(config, http(ports[1]), *config.listeners))
        assert proxy.port() == ports[1]
        assert [await asked(await connect(ports[1])), await asked(stays)] == ["stable", "stable"]
        await proxy.reload(config)
        assert await refused(ports[1])
        assert await asked(stays) == "stable"


async def test_an_address_that_is_taken_changes_nothing(stable, connect, ports):
    """Neither routes nor upstreams nor the listeners that could have been opened; the error names the address."""
    config = AmbassadorConfig(listeners=(http(ports[0]),), upstreams={"stable": hosts(stable)})
    async with Ambassador(config) as proxy:
        client = await connect(ports[0])
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            wanted = AmbassadorConfig(
                listeners=(http(ports[0], "new"), http(ports[1], "new"), http(taken.getsockname()[1])),
                upstreams={**config.upstreams, "new": hosts(1)},
            )
            with pytest.raises(StartError, match=r"cannot listen on .* address already in use"):
                await proxy.reload(wanted)
        assert proxy.config == config
        assert set(proxy.upstreams) == {"stable"}
        assert await refused(ports[1])
        assert [await asked(client), await asked(await connect(ports[0]))] == ["stable", "stable"]


async def test_the_number_of_workers(stable, ports):
    """Takes a new process, which the error says."""
    config = AmbassadorConfig(listeners=(http(ports[0]),), upstreams={"stable": hosts(stable)})
    async with Ambassador(config) as proxy:
        with pytest.raises(StartError, match="restart"):
            await proxy.reload(msgspec.structs.replace(config, workers=2))
        assert proxy.config == config


async def test_two_listeners_change_places(stable, upstream, connect, ports):
    """Sockets go from one to the other: at no time is an address without a listener."""
    other = await upstream(saying("other"))
    upstreams = {"stable": hosts(stable), "other": hosts(other)}
    one, two = http(ports[0], name="one"), http(ports[1], "other", name="two")
    config = AmbassadorConfig(listeners=(one, two), upstreams=upstreams)
    swapped = (http(ports[1], name="one"), http(ports[0], "other", name="two"))
    async with Ambassador(config) as proxy:
        assert await asked(await connect(ports[0])) == "stable"
        await proxy.reload(listening_on(config, *swapped))
        assert await asked(await connect(ports[0])) == "other"
        assert await asked(await connect(ports[1])) == "stable"
        assert (proxy.port("one"), proxy.port("two")) == (ports[1], ports[0])


async def test_another_kind_at_the_same_address(stable, connect, ports):
    """A listener for HTTP becomes one for TCP: who is connected stays with the old one, who comes gets the new one."""
    config = AmbassadorConfig(listeners=(http(ports[0]),), upstreams={"stable": hosts(stable)})
    async with Ambassador(config) as proxy:
        before = await connect(ports[0])
        await before.send(GET[:5])
        await proxy.reload(listening_on(config, TcpConfig(listen=config.listeners[0].listen, to="stable")))
        after = await connect(ports[0])
        await before.send(GET[5:])
        assert b"Connection: close" in await before.until(b"\r\n\r\n")
        assert await asked(after) == "stable"
        assert proxy.status().facts["connections"] == 1
        after.reset()


async def test_a_stream_outlives_its_listener(upstream, connect, ports):
    """Nobody knows where its protocol could be cut; the end of the process is its end."""

    async def echo(server, peer):
        while data := await peer.reader.read(100):
            await peer.send(data)

    upstreams = {"stable": hosts(await upstream(echo))}
    config = AmbassadorConfig(
        listeners=(TcpConfig(listen=Address(f"127.0.0.1:{ports[0]}"), to="stable"), http(ports[1])),
        upstreams=upstreams,
    )
    async with Ambassador(config, Context(grace=0.5)) as proxy:
        client = await connect(ports[0])
        await client.send(b"a")
        assert await client.exactly(1) == b"a"
        await proxy.reload(listening_on(config, config.listeners[1]))
        assert await refused(ports[0])
        await client.send(b"b")
        assert await client.exactly(1) == b"b"
    assert await client.rest() == b""


async def test_the_grace_holds_for_those_who_have_left_the_configuration(upstream, connect, ports):
    """A request that a removed listener has taken is waited for, and counted if it is given up."""
    heard = asyncio.Event()

    async def silent(server, peer):
        await server.head(peer)
        heard.set()
        await peer.reader.read()

    config = AmbassadorConfig(listeners=(http(ports[0]),), upstreams={"stable": hosts(await upstream(silent))})
    with pytest.raises(ServiceError, match="grace"):  # noqa: PT012 - the failure comes out of the block
        async with Ambassador(config, Context(grace=0.2)) as proxy:
            client = await connect(ports[0])
            await client.send(GET)
            await heard.wait()
            await proxy.reload(listening_on(config, http(ports[1])))
    assert proxy.events.dropped == 1


async def test_unix_sockets(stable, tmp_path):
    """A listener that goes removes its file, unless another one goes on with it."""
    one, two = tmp_path / "one", tmp_path / "two"

    def at(path, name):
        return HttpConfig(listen=Address(f"unix:{path}"), routes=(RouteConfig(to="stable"),), name=name)

    async def ask(path):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(GET)
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()

    config = AmbassadorConfig(listeners=(at(one, "a"),), upstreams={"stable": hosts(stable)})
    async with Ambassador(config) as proxy:
        await ask(one)
        await proxy.reload(listening_on(config, at(one, "b")))
        await left(proxy)
        await ask(one)
        await proxy.reload(listening_on(config, at(two, "b")))
        await left(proxy)
        assert not one.exists()
        await ask(two)
    assert not two.exists()


async def test_a_hundred_reloads_under_load(stable, upstream, ports):
    """Weights, endpoints, and listeners that come, go and are renamed, while clients ask: no request fails."""
    other, third = await upstream(saying("other")), await upstream(saying("third"))
    stays, renamed, comes = ports

    def step(number):
        split = {"stable": 100 - number, "test": number + 1}
        listeners = [
            HttpConfig(listen=Address(f"127.0.0.1:{stays}"), routes=(RouteConfig(name="main", split=split),)),
            http(renamed, name=f"generation-{number}"),
            *([http(comes, "test")] if number % 2 else []),
        ]
        servers = (stable, other, third)
        upstreams = {"stable": hosts(*servers[: 1 + number % 3]), "test": hosts(servers[number % 3])}
        return AmbassadorConfig(listeners=tuple(listeners), upstreams=upstreams)

    async with Ambassador(step(0)) as proxy:
        crowd = Crowd(stays, renamed)
        for number in range(1, 101):
            await proxy.reload(step(number % 100))
            await crowd.more(10)
        await crowd.leave()
        assert crowd.failures == []
        assert proxy.events.failures == 0
        await left(proxy)
