"""Start, drain, reload, weights, admin: nothing of it costs a request."""

import asyncio
import json
import socket

import msgspec
import pytest

from podpatterns import Ambassador, AmbassadorConfig, ServiceError, StartError
from podpatterns.ambassador.listeners import ListenerConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.ambassador.runtime import share_checks
from podpatterns.ambassador.upstreams import UpstreamConfig
from podpatterns.ambassador.upstreams.hosts import HostsConfig
from podpatterns.runtime.components import load_all, slot_of
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.service import Context, Request
from podpatterns.runtime.units import Address

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SPLIT = (RouteConfig(name="main", split={"stable": 90, "test": 10}),)


async def versions(upstream):
    """Two upstreams that say who they are."""
    return {
        name: await upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" + name.encode().ljust(6))
        for name in ("stable", "test")
    }


async def asked(client, times):
    got = []
    for _ in range(times):
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        got.append((await client.exactly(6)).decode().strip())
    return got


async def put(proxy, body):
    (route,) = [each for each in proxy.routes() if each.path == "/ambassador/weights"]
    reply = await route.handle(Request({}, json.dumps(body).encode() if not isinstance(body, bytes) else body))
    return reply.status, reply.data


async def test_a_port_that_is_taken(running):
    """Is named, with what to do about it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with running(1) as proxy:
            config = proxy.config
        listener = msgspec.structs.replace(config.listeners[0], listen=Address(address))
        with pytest.raises(
            StartError, match=rf"cannot listen on {address}: address already in use; .* another address"
        ):
            async with Ambassador(msgspec.structs.replace(config, listeners=(listener,))):
                pass


async def test_shares_and_status(upstream, running, connect):
    """Both versions get their share, and the closing summary says so."""
    async with running(await versions(upstream), routes=SPLIT) as proxy:
        got = await asked(await connect(proxy), 400)
    status = proxy.status()
    assert status.facts["requests"] == 400
    assert status.facts["stable"] == f"{got.count('stable')} ({got.count('stable') / 4:.1f} %)"
    assert [check.name for check in status.checks] == ["no request dropped", "share of stable", "share of test"]
    assert all(check.ok for check in status.checks)


async def test_a_wrong_share_is_noticed(upstream, running):
    """The check is one that can fail."""
    async with running(await versions(upstream), routes=SPLIT) as proxy:
        (route,) = proxy.all_routes()
        route.targets["stable"].picks, route.targets["test"].picks = 700, 300
        assert [check.ok for check in share_checks(route)] == [False, False]
        route.targets["stable"].picks, route.targets["test"].picks = 80, 10
        assert list(share_checks(route)) == []


async def test_weights_change_without_a_dropped_request(upstream, running, connect):
    """While clients ask without pause, weights change a hundred times; each request is answered."""
    async with running(await versions(upstream), routes=SPLIT) as proxy:
        over = False

        async def ask_on():
            client, count = await connect(proxy), 0
            while not over:
                count += len(await asked(client, 1))
            return count

        clients = [asyncio.create_task(ask_on()) for _ in range(4)]
        for step in range(100):
            assert (await put(proxy, {"weights": {"stable": 100 - step, "test": step}}))[0] == 200
            await asyncio.sleep(0.002)
        over = True
        assert sum(await asyncio.gather(*clients)) == proxy.status().facts["requests"]
        assert (await put(proxy, {"weights": {"stable": 0}}))[0] == 200
        assert set(await asked(await connect(proxy), 20)) == {"test"}
        assert proxy.events.failures == 0


@pytest.mark.parametrize(
    "body",
    [b"{", {"weights": {"stable": -1}}, {"weights": {"stable": 0, "test": 0}}, {"weights": {"other": 1}},
     {"wieghts": {}},
     {"weights": {"test": 1}, "route": "other"}, {"weights": {"test": "1"}}],
)  # fmt: skip
async def test_bad_weights_change_nothing(upstream, running, body):
    """400 with the reason."""
    async with running(await versions(upstream), routes=SPLIT) as proxy:
        status, data = await put(proxy, body)
        assert status == 400
        assert data["error"]
        assert next(proxy.all_routes()).split.weights == {"stable": 90, "test": 10}


async def test_the_admin_page(upstream, running, connect):
    """Versions with weights and measured shares, upstreams with their state."""
    async with running(await versions(upstream), routes=SPLIT) as proxy:
        await asked(await connect(proxy), 50)
        (route,) = [each for each in proxy.routes() if each.path == "/ambassador"]
        data = json.loads(json.dumps((await route.handle(Request({}))).data))
        assert not route.public
        (listener,) = data["listeners"].values()
        shown = listener["routes"][0]["versions"]
        assert shown["stable"]["weight"] == 90
        assert shown["stable"]["requests"] + shown["test"]["requests"] == 50
        assert data["upstreams"]["stable"]["available"] is True


async def test_reload(upstream, running, connect):
    """Routes and upstreams are swapped between two requests on one connection; what is unchanged keeps its pool."""
    servers = await versions(upstream)
    async with running(servers, routes=SPLIT) as proxy:
        client = await connect(proxy)
        await asked(client, 100)
        old = dict(proxy.upstreams)
        config = proxy.config
        third = await upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nthird ")
        listener = msgspec.structs.replace(
            config.listeners[0], routes=(RouteConfig(name="main", split={"stable": 1, "third": 1}),)
        )
        await proxy.reload(
            msgspec.structs.replace(
                config,
                listeners=(listener,),
                upstreams={
                    "stable": config.upstreams["stable"],
                    "third": HostsConfig(addresses=(Address(f"127.0.0.1:{third.port}"),)),
                },
            )
        )
        assert set(await asked(client, 60)) == {"stable", "third"}
        assert proxy.upstreams["stable"] is old["stable"]
        assert servers["stable"].connections == 1


async def test_reloads_under_load(upstream, running, connect):
    """A hundred changes of upstreams while requests are on their way: none of them fails."""
    servers = await versions(upstream)
    async with running(servers, routes=SPLIT) as proxy:
        over = False

        async def ask_on():
            client = await connect(proxy)
            while not over:
                await asked(client, 1)

        clients = [asyncio.create_task(ask_on()) for _ in range(4)]
        for step in range(100):
            upstreams = {
                name: msgspec.structs.replace(each, max_pending=1000 + step)
                for name, each in proxy.config.upstreams.items()
            }
            await proxy.reload(msgspec.structs.replace(proxy.config, upstreams=upstreams))
            await asyncio.sleep(0.002)
        over = True
        await asyncio.gather(*clients)
        assert proxy.events.failures == 0


async def test_a_drain_finishes_what_was_taken(upstream, running, connect):
    """The request under way is answered, as the last one; idle connections close; nobody new comes in."""
    asked_for, go = asyncio.Event(), asyncio.Event()

    async def slow(server, peer):
        await server.head(peer)
        asked_for.set()
        await go.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await peer.reader.read()

    server = await upstream(slow)
    async with running(server, clients_stay=True) as proxy:
        port = proxy.port()
        idle, busy = await connect(proxy), await connect(proxy)
        await busy.send(GET)
        await asked_for.wait()
        loop = asyncio.get_running_loop()

        async def finish():
            assert await idle.rest() == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            go.set()
            got = await busy.rest()
            assert b"Connection: close" in got
            assert got.endswith(b"ok")

        finishing = loop.create_task(finish())
    await finishing
    assert proxy.status().checks[0].ok


async def test_a_request_just_before_the_close_is_answered(upstream, running, connect):
    """In a drain a kept connection gets a moment more: a client that was about to send is not cut off."""
    server = await upstream()
    async with running(server, clients_stay=True) as proxy:
        client = await connect(proxy)
        await client.send(GET)
        await client.until(b"ok")

        async def late():
            async with asyncio.timeout(10):
                while not proxy.listeners[0].draining:  # noqa: ASYNC110 - the listener knows of no event
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            await client.send(GET)
            return await client.rest()

        asking = asyncio.create_task(late())
    got = await asking
    assert b"Connection: close" in got
    assert got.endswith(b"ok")


async def test_what_the_grace_cuts_off_is_counted(upstream, running, connect):
    """A request that is given up is never silent: the runtime fails, the check fails, the client sees a reset."""

    async def silent(server, peer):
        await server.head(peer)
        await peer.reader.read()

    server = await upstream(silent)
    with pytest.raises(ServiceError, match="grace"):  # noqa: PT012 - the failure comes out of the block
        async with running(server, clients_stay=True, grace=0.2) as proxy:
            client = await connect(proxy)
            await client.send(GET)
            while not server.heads:  # noqa: ASYNC110 - the fake knows of no event
                await asyncio.sleep(0.005)
    with pytest.raises(ConnectionResetError):
        await client.rest()
    assert not proxy.status().checks[0].ok


async def test_tunnels_are_closed_before_the_grace_is_over(upstream, running, connect):
    """A WebSocket has no end of its own: it is closed, in time, and counts neither as a failure nor as dropped."""

    async def endless(server, peer):
        await server.head(peer)
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        await peer.reader.read()

    server = await upstream(endless)
    async with running(server, clients_stay=True, grace=0.5) as proxy:
        client = await connect(proxy)
        await client.send(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await client.until(b"\r\n\r\n")
    assert await client.rest() == b""
    assert proxy.status().checks[0].ok


@pytest.mark.parametrize(("listen", "hosts"), [("localhost:0", ["127.0.0.1"]), (":0", ["127.0.0.1", "::1"])])
async def test_names_and_all_interfaces(upstream, running, listen, hosts):
    """`localhost` is there for clients that take it for IPv4; no host at all means every interface of both kinds."""
    server = await upstream()
    async with running(server) as proxy:
        config = proxy.config
    listener = msgspec.structs.replace(config.listeners[0], listen=Address(listen))
    async with Ambassador(msgspec.structs.replace(config, listeners=(listener,))) as proxy:
        for host in hosts if socket.has_dualstack_ipv6() else hosts[:1]:
            reader, writer = await asyncio.open_connection(host, proxy.port())
            writer.write(GET)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
            writer.transport.abort()


async def test_requests_outlive_their_upstream(upstream, running, connect):
    """An upstream that leaves the configuration ends what it has begun, also what still waits for a connection."""
    go = asyncio.Event()

    async def slow(server, peer):
        await server.head(peer)
        await go.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nold   ")

    old = await upstream(slow)
    new = await upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nnew   ")
    async with running(old, hosts={"max_connections": 1}) as proxy:
        clients = [await connect(proxy) for _ in range(3)]
        for client in clients:
            await client.send(GET)
        while proxy.upstreams["stable"].describe()["waiting"] != 2:  # noqa: ASYNC110 - the pool knows of no event
            await asyncio.sleep(0.005)
        changed = {"stable": HostsConfig(addresses=(Address(f"127.0.0.1:{new.port}"),))}
        await proxy.reload(msgspec.structs.replace(proxy.config, upstreams=changed))
        assert await asked(await connect(proxy), 1) == ["new"]
        go.set()
        for client in clients:
            assert (await client.until(b"   ")).endswith(b"old   ")
        assert proxy.events.failures == 0


async def test_a_unix_socket(upstream, running, tmp_path):
    """A listener can be a file; one that a killed process has left behind is no obstacle."""
    server = await upstream()
    path = tmp_path / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    async with running(server) as proxy:
        config = proxy.config
    listener = msgspec.structs.replace(config.listeners[0], listen=Address(f"unix:{path}"))
    async with Ambassador(msgspec.structs.replace(config, listeners=(listener,))) as proxy:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
        assert proxy.port() == 0
    assert not path.exists()


async def test_telemetry(upstream, running, connect, ask):
    """Everything that has happened can be scraped, under names that follow the rule."""
    context = Context()
    async with running(await versions(upstream), routes=SPLIT) as first:
        config = first.config
    async with Ambassador(config, context) as proxy:
        await asked(await connect(proxy), 10)
        await ask(proxy, b"bad\r\n\r\n")
        text = context.telemetry.exposition().decode()
    assert (
        'podpatterns_ambassador_requests_total{listener="127.0.0.1:0",route="main",status="2xx",version="stable"}'
        in text
    )
    assert 'podpatterns_ambassador_refusals_total{listener="127.0.0.1:0",reason="malformed"} 1.0' in text
    assert "podpatterns_ambassador_request_seconds_bucket" in text
    assert 'podpatterns_ambassador_weight{listener="127.0.0.1:0",route="main",version="test"} 10.0' in text


@pytest.mark.parametrize("base", [ListenerConfig, UpstreamConfig])
async def test_every_component_starts_drains_and_stops(base, upstream):
    """Every registered listener and upstream, own or third-party, at the hand of its example."""
    server = await upstream()
    for cls in load_all(slot_of(base)):
        (node,) = parse(cls.EXAMPLE)
        component = decode(node, base)
        listener, upstreams = (
            {"listen": "127.0.0.1:0", "routes": [{"to": "stable"}]},
            {"stable": f"127.0.0.1:{server.port}"},
        )
        (document,) = parse(
            json.dumps({"listeners": [listener], "upstreams": {**upstreams, "test": upstreams["stable"]}})
        )
        config = decode(document, AmbassadorConfig)
        if base is ListenerConfig:
            config = msgspec.structs.replace(
                config, listeners=(msgspec.structs.replace(component, listen=Address("127.0.0.1:0")),)
            )
        else:
            config = msgspec.structs.replace(config, upstreams={**config.upstreams, "other": component})
        async with asyncio.timeout(10), Ambassador(config) as proxy:
            assert proxy.port()
        assert proxy.status().checks[0].ok
