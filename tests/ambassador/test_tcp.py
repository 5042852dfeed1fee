"""The TCP listener: bytes as they are, a version for each connection, and both sides' wishes passed on."""

import asyncio
import math
import socket
import struct
from contextlib import asynccontextmanager

import msgspec
import pytest

from podpatterns import Ambassador, AmbassadorConfig
from podpatterns.ambassador.endpoints.outliers import OutliersConfig
from podpatterns.ambassador.listeners.tcp import TcpConfig
from podpatterns.ambassador.upstreams.hosts import HostsConfig
from podpatterns.errors import ConfigError, ServiceError
from podpatterns.runtime.config import loads
from podpatterns.runtime.service import Context
from podpatterns.runtime.units import Address, Duration


async def eventually(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition is in code that knows of no event
            await asyncio.sleep(0.005)


def tcp(ports, *, hosts=None, **listener):
    ports = {name: getattr(port, "port", port) for name, port in ports.items()}
    listener = {"to": next(iter(ports))} | listener if "split" not in listener else listener
    return AmbassadorConfig(
        listeners=(TcpConfig(listen=Address("127.0.0.1:0"), **listener),),
        upstreams={
            name: HostsConfig(addresses=(Address(f"127.0.0.1:{port}"),), **(hosts or {}))
            for name, port in ports.items()
        },
    )


@pytest.fixture
def passing(peers):
    """Run a TCP listener in front of ports by name; clients leave first, unless the drain is what is tested."""

    @asynccontextmanager
    async def run(ports, *, grace=10.0, clients_stay=False, **options):
        async with Ambassador(tcp(ports, **options), Context(grace=grace)) as proxy:
            yield proxy
            if not clients_stay:
                for peer in peers:
                    peer.reset()

    return run


async def echo(server, peer):
    while data := await peer.reader.read(65536):
        await peer.send(data)


def greeting(name):
    async def handle(server, peer):
        await peer.send(name)
        await peer.rest()

    return handle


async def to_the_end(server, peer):
    """Answer once the client has said everything."""
    data = await peer.rest()
    await peer.send(b"%d bytes" % len(data))


def ended(proxy):
    """How many streams have ended, by reason."""
    return {labels[1]: cell.value for labels, cell in proxy.events._streams_ended._cells.items()}


# --- bytes --------------------------------------------------------------------------------------------------------


async def test_bytes_pass_as_they_are(upstream, passing, connect):
    """The preface of HTTP/2, zeros, anything; counted in both directions."""
    server = await upstream(echo)
    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" + bytes(range(256)) * 1000
    async with passing({"stable": server}) as proxy:
        client = await connect(proxy)
        await client.send(data)
        assert await client.exactly(len(data)) == data
        (tally,) = proxy.events.tallies.values()
        assert (tally.requests, tally.sent.value, tally.received.value) == (1, len(data), len(data))
        assert proxy.status().facts["connections"] == 1
        assert proxy.upstreams["stable"].describe()["connections"] == 1
        client.reset()
        await eventually(lambda: proxy.upstreams["stable"].describe()["connections"] == 0)
        assert not proxy.listeners[0].connections


async def test_the_upstream_may_speak_first(upstream, passing, connect):
    """As databases and mail servers do."""
    async with passing({"stable": await upstream(greeting(b"hello"))}) as proxy:
        assert await (await connect(proxy)).exactly(5) == b"hello"


async def test_half_close_of_the_client(upstream, passing, connect):
    """The upstream hears the end, and its answer still arrives; what came before the connection was there counts."""
    async with passing({"stable": await upstream(to_the_end)}) as proxy:
        for size in (0, 5, 300_000):
            client = await connect(proxy)
            await client.send(b"x" * size)
            client.writer.write_eof()
            assert await client.rest() == b"%d bytes" % size
        await eventually(lambda: not proxy.listeners[0].connections)
        assert ended(proxy) == {"closed": 3}


async def test_half_close_of_the_upstream(upstream, passing, connect):
    """The client hears the end, and may go on talking."""
    heard = asyncio.get_running_loop().create_future()

    async def first_word(server, peer):
        await peer.send(b"bye")
        peer.writer.write_eof()
        heard.set_result(await peer.rest())

    async with passing({"stable": await upstream(first_word)}) as proxy:
        client = await connect(proxy)
        assert await client.rest() == b"bye"
        await client.send(b"still here")
        client.writer.write_eof()
        async with asyncio.timeout(10):
            assert await heard == b"still here"


async def test_resets_are_passed_on(upstream, passing, connect):
    """In both directions: what was cut off never looks complete."""

    async def cut(server, peer):
        await peer.until(b"\n")
        sock = peer.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.reset()

    async with passing({"stable": await upstream(cut)}) as proxy:
        client = await connect(proxy)
        await client.send(b"\n")
        with pytest.raises(ConnectionResetError):
            await client.rest()
        await eventually(lambda: ended(proxy) == {"reset": 1})


@pytest.mark.parametrize("slow", ["client", "upstream"])
async def test_back_pressure(upstream, passing, connect, slow):
    """Who reads slowly holds the other one back: of 64 MB little is under way, and then all of it arrives."""
    size, block = 64 * 2**20, b"x" * 2**16
    reading, got = asyncio.Event(), asyncio.get_running_loop().create_future()
    sent = 0

    async def send(peer):
        nonlocal sent
        while sent < size:
            peer.writer.write(block)
            await peer.writer.drain()
            sent += len(block)
        peer.writer.write_eof()

    async def take(peer):
        await reading.wait()
        count = 0
        while data := await peer.reader.read(2**20):
            count += len(data)
        got.set_result(count)

    async def handle(server, peer):
        await (send if slow == "client" else take)(peer)

    async with passing({"stable": await upstream(handle)}) as proxy:
        client = await connect(proxy)
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(20):
            tasks.create_task((take if slow == "client" else send)(client))
            last = -1
            while sent != last or not sent:  # until it has come to a stand
                last = sent
                await asyncio.sleep(0.2)
            assert sent < size / 2
            reading.set()
            assert await got == size


# --- versions -----------------------------------------------------------------------------------------------------


async def named(connect, proxy):
    client = await connect(proxy)
    name = await client.exactly(1)
    client.reset()
    return name


async def test_connections_are_split_by_weight(upstream, passing, connect):
    """Within four standard deviations; the check of the shares agrees, and weights can be changed while running."""
    ports = {"a": await upstream(greeting(b"a")), "b": await upstream(greeting(b"b"))}
    async with passing(ports, split={"a": 75, "b": 25}) as proxy:
        names = [await named(connect, proxy) for _ in range(300)]
        assert abs(names.count(b"b") - 75) <= 4 * math.sqrt(300 * 0.75 * 0.25)
        assert all(check.ok for check in proxy.status().checks)
        assert len(proxy.status().checks) == 3
        stays = await connect(proxy)
        (route,) = proxy.all_routes()
        route.reweigh({"a": 0})
        assert {await named(connect, proxy) for _ in range(20)} == {b"b"}
        assert await stays.exactly(1)


async def test_a_version_that_takes_no_connection(upstream, passing, connect, unused_tcp_port):
    """The next one gets it, 2:1 among those that are left; no client notices, and the shares are not judged."""
    ports = {"away": unused_tcp_port, "a": await upstream(greeting(b"a")), "b": await upstream(greeting(b"b"))}
    outliers = OutliersConfig(connect_failures=1_000_000)
    hosts = {"outliers": outliers}  # it is tried again and again, so that the failure itself is what is tested
    async with passing(ports, split={"away": 90, "a": 20, "b": 10}, hosts=hosts) as proxy:
        names = [await named(connect, proxy) for _ in range(300)]
        assert abs(names.count(b"b") - 100) <= 4 * math.sqrt(300 * 2 / 9)
        assert proxy.upstreams["away"].describe()["connections"] == 0
        assert proxy.events.failures > 100
        assert [check.name for check in proxy.status().checks] == ["no request dropped"]


async def test_no_version_at_all(passing, connect, unused_tcp_port):
    """The client is reset, and the reason is counted."""
    async with passing({"a": unused_tcp_port, "b": unused_tcp_port}, split={"a": 1, "b": 1}) as proxy:
        client = await connect(proxy)
        with pytest.raises(ConnectionResetError):
            await client.rest()
        assert ended(proxy) == {"no_upstream": 1}
        await eventually(lambda: not proxy.listeners[0].connections)


# --- bounds -------------------------------------------------------------------------------------------------------


async def test_idle_timeout(upstream, passing, connect):
    """What moves stays, what stands still is reset."""
    async with passing({"stable": await upstream(echo)}, idle=Duration("400ms")) as proxy:
        client = await connect(proxy)
        start = proxy.listeners[0].clock()
        while proxy.listeners[0].clock() < start + 1:
            await client.send(b"x")
            assert await client.exactly(1) == b"x"
        with pytest.raises(ConnectionResetError):
            await client.rest()
        assert ended(proxy) == {"idle_timeout": 1}


async def test_too_many_connections(upstream, passing, connect):
    """The one too many is reset, and there is room again when another one leaves."""
    async with passing({"stable": await upstream(greeting(b"a"))}, max_connections=1) as proxy:
        first = await connect(proxy)
        assert await first.exactly(1) == b"a"
        with pytest.raises(ConnectionResetError):
            await (await connect(proxy)).rest()
        assert proxy.events.refusals == 1
        first.reset()
        await eventually(lambda: not proxy.listeners[0].connections)
        assert await named(connect, proxy) == b"a"


async def test_an_upstream_that_is_full(upstream, passing, connect):
    """Its bound holds for connections too; the client is reset."""
    hosts = {"max_connections": 1}
    async with passing({"stable": await upstream(greeting(b"a"))}, hosts=hosts) as proxy:
        assert await (await connect(proxy)).exactly(1) == b"a"
        with pytest.raises(ConnectionResetError):
            await (await connect(proxy)).rest()


# --- life ---------------------------------------------------------------------------------------------------------


async def test_a_drain_waits_for_connections(upstream, passing, connect):
    """They go on until they are done."""
    async with passing({"stable": await upstream(to_the_end)}, clients_stay=True) as proxy:
        client = await connect(proxy)
        await client.send(b"half ")
        await eventually(lambda: proxy.upstreams["stable"].describe()["connections"] == 1)

        async def later():
            await eventually(lambda: proxy.listeners[0].draining)
            await client.send(b"whole")
            client.writer.write_eof()
            return await client.rest()

        answer = asyncio.create_task(later())
    assert await answer == b"10 bytes"
    assert ended(proxy) == {"closed": 1}


async def test_a_drain_has_an_end(upstream, passing, connect):
    """Connections without an end are closed, not reset, before the grace is over."""
    async with passing({"stable": await upstream(greeting(b"a"))}, clients_stay=True, grace=1.0) as proxy:
        client = await connect(proxy)
        assert await client.exactly(1) == b"a"
    assert await client.rest() == b""
    assert ended(proxy) == {"drained": 1}
    assert proxy.status().checks[0].ok


async def test_what_a_drain_cuts_off_never_looks_complete(upstream, passing, connect):
    """A client that does not read what is left for it within the grace is reset, and the drain has failed."""

    async def flood(server, peer):
        while True:
            await peer.send(b"x" * 2**16)

    server = await upstream(flood)
    with pytest.raises(ServiceError, match="grace"):  # noqa: PT012 - it is the end of the block that raises
        async with passing({"stable": server}, clients_stay=True, grace=1.0) as proxy:
            client = await connect(proxy)
            assert await client.exactly(1) == b"x"
    with pytest.raises(ConnectionResetError):
        await client.rest()


async def test_a_reload_leaves_connections_alone(upstream, passing, connect):
    """They stay with their version, also when it is gone from the configuration; new ones go by the new one."""
    one, two = await upstream(echo), await upstream(greeting(b"2"))
    async with passing({"one": one}) as proxy:
        client = await connect(proxy)
        await client.send(b"a")
        assert await client.exactly(1) == b"a"
        await proxy.reload(tcp({"two": two}))
        assert await named(connect, proxy) == b"2"
        await client.send(b"b")
        assert await client.exactly(1) == b"b"


async def test_a_unix_socket(upstream, tmp_path):
    """As good as any address."""
    server, path = await upstream(to_the_end), tmp_path / "s"
    config = tcp({"stable": server})
    listener = msgspec.structs.replace(config.listeners[0], listen=Address(f"unix:{path}"))
    async with Ambassador(msgspec.structs.replace(config, listeners=(listener,))):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"abc")
        writer.write_eof()
        async with asyncio.timeout(10):
            assert await reader.read() == b"3 bytes"
        writer.close()
    assert not path.exists()


# --- configuration ------------------------------------------------------------------------------------------------

YAML = """
ambassador:
  listeners:
  - type: tcp
    listen: 127.0.0.1:5432
    split: {stable: 90, test: 10}
  upstreams: {stable: "10.0.0.1:80", test: "10.0.0.2:80"}
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("split: {stable: 90, test: 10}", "name: db", 'needs either "to: NAME" or "split'),
        ("test: 10}", "tset: 10}", r"listeners\[0\]\.split\.tset: unknown upstream"),
        ("split: {stable: 90, test: 10}", "to: tset", 'did you mean "test"'),
        ("{stable: 90, test: 10}", "{stable: 0}", "at least one weight must be above 0"),
    ],
)
def test_mistakes_are_named(old, new, expected):
    """With their place."""
    with pytest.raises(ConfigError, match=expected):
        loads([("a.yaml", YAML.replace(old, new))], {})


def test_explain():
    """The shares, whatever the sample is."""
    text = "\n".join(loads([("a.yaml", YAML)], {}).patterns["ambassador"].explain(None))
    assert "90.00% to stable: 10.0.0.1:80" in text
