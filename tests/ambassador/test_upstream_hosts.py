"""Several addresses behind one upstream, over real sockets: who is asked, who rests, who comes back."""

import asyncio
import json
import select
import socket
import urllib.request
from collections import Counter
from types import SimpleNamespace

import pytest

from podpatterns import Ambassador, AmbassadorConfig
from podpatterns.ambassador.balance.key import HashConfig, HashKeyConfig
from podpatterns.ambassador.endpoints import names
from podpatterns.ambassador.endpoints.health import HealthConfig
from podpatterns.ambassador.endpoints.names import DnsConfig
from podpatterns.ambassador.endpoints.outliers import OutliersConfig
from podpatterns.ambassador.endpoints.pool import silent
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.listeners.tcp import TcpConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.ambassador.upstreams.hosts import HostsConfig
from podpatterns.errors import ConfigError, UpstreamError
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.service import Request
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Address, Duration

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SOON = OutliersConfig(rest=Duration("50ms"), max_rest=Duration("100ms"))


class Host:
    """An address that says who it is, until a test gives it another answer."""

    def __init__(self, name):
        self.name = name
        self.answer = self.well = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + name
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, server, peer):
        while True:
            await server.head(peer)
            await self.gate.wait()
            if self.answer is None:
                peer.reset()
                return
            await peer.send(self.answer)


@pytest.fixture
def several(upstream, running):
    """Hosts a, b, c, … behind one upstream, and the ambassador in front of them."""

    async def start(number, **options):
        hosts = [Host(bytes([97 + each])) for each in range(number)]
        for host in hosts:
            host.server = await upstream(host)
        addresses = tuple(Address(f"127.0.0.1:{host.server.port}") for host in hosts)
        return hosts, running({"stable": 1}, hosts={"addresses": addresses, "outliers": SOON, **options})

    return start


async def answering(reader, writer):
    """Says at which address it was asked."""
    name = writer.get_extra_info("sockname")[0].encode()
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def ask(client, head=GET):
    await client.send(head)
    head = await client.until(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await client.exactly(length)


async def answers(client, times):
    return Counter([await ask(client) for _ in range(times)])


async def eventually(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is a state, which nobody announces
            await asyncio.sleep(0.001)


async def until(client, wanted):
    """Ask until an answer is the one that is waited for; all that came."""
    seen = []
    async with asyncio.timeout(10):
        while not seen or seen[-1] != wanted:
            seen.append(await ask(client))
            await asyncio.sleep(0.005)
    return seen


async def test_each_request_chooses(several, connect):
    """One client connection, kept connections to three addresses: every third request to each."""
    hosts, proxy = await several(3)
    async with proxy as proxy:
        assert await answers(await connect(proxy), 30) == {(200, b"a"): 10, (200, b"b"): 10, (200, b"c"): 10}
        assert [host.server.connections for host in hosts] == [1, 1, 1]


async def test_the_same_user_the_same_address(several, connect):
    """By a header: each user always at one address, and several users at several."""
    _, proxy = await several(3, balance=HashConfig(hash=HashKeyConfig(header="x-user")))
    async with proxy as proxy:
        client = await connect(proxy)
        placed = {}
        for user in [*range(60)] * 2:
            answer = await ask(client, GET[:-2] + b"X-User: %d\r\n\r\n" % user)
            assert placed.setdefault(user, answer) == answer
        assert len(set(placed.values())) == 3


@pytest.mark.parametrize("bound", [1, 2, 100])
async def test_the_same_address_under_load(several, connect, bound):
    """However few connections there may be, and however many requests wait: none goes where it does not belong."""
    _, proxy = await several(3, balance=HashConfig(hash=HashKeyConfig(header="x-user")), max_connections=bound)
    async with proxy as proxy:

        async def ask_on(user):
            client = await connect(proxy)
            return {await ask(client, GET[:-2] + b"X-User: %d\r\n\r\n" % user) for _ in range(10)}

        seen = await asyncio.gather(*(ask_on(user) for user in range(12)))
        assert all(len(answers) == 1 for answers in seen)


async def test_who_is_busy_gets_no_more(several, connect):
    """While one of two addresses holds a request, the other one gets the next ones."""
    hosts, proxy = await several(2, balance="p2c")
    async with proxy as proxy:
        client, other = await connect(proxy), await connect(proxy)
        await answers(client, 10)
        for host in hosts:
            host.gate.clear()
        await client.send(GET)
        await eventually(lambda: proxy.upstreams["stable"].active == 1)
        (busy,) = [each for each in proxy.upstreams["stable"]._roster.endpoints if each.active]
        for host in hosts:
            if host.server.port != busy.address.port:
                host.gate.set()
        assert {body for _, body in await answers(other, 10)} == {
            host.name for host in hosts if host.server.port != busy.address.port
        }
        for host in hosts:
            host.gate.set()
        await client.until(b"\r\n\r\n")


async def test_who_is_slow_gets_less(several, connect):
    """By ewma: after one slow answer of an address, others are asked; the machine's own noise is far below that."""
    hosts, proxy = await several(2, balance="ewma")
    async with proxy as proxy:
        client = await connect(proxy)
        hosts[0].gate.clear()
        asyncio.get_running_loop().call_later(0.3, hosts[0].gate.set)
        await until(client, (200, b"a"))
        assert (await answers(client, 20))[200, b"b"] == 20


async def test_a_failing_address_rests_and_comes_back(several, connect):
    """Five errors are all that clients see of it; then one request after the rest finds that it is well again."""
    hosts, proxy = await several(2)
    async with proxy as proxy:
        client = await connect(proxy)
        hosts[0].answer = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
        seen = await answers(client, 30)
        assert 5 <= seen[500, b""] <= 5 + 1  # one more if the machine is so slow that the rest is over
        hosts[0].answer = hosts[0].well
        await until(client, (200, b"a"))
        assert await answers(client, 10) == {(200, b"a"): 5, (200, b"b"): 5}
        text = proxy.context.telemetry.exposition().decode()
    assert 'podpatterns_ambassador_ejections_total{reason="failures",version="stable"}' in text
    assert 'podpatterns_ambassador_returns_total{version="stable"}' in text


async def test_a_single_address_that_fails(several, connect):
    """Is asked all the same, and its answers are passed on as they are."""
    hosts, proxy = await several(1)
    async with proxy as proxy:
        hosts[0].answer = b"HTTP/1.1 503 Oh\r\nRetry-After: 30\r\nContent-Length: 1\r\n\r\n!"
        assert await answers(await connect(proxy), 20) == {(503, b"!"): 20}


async def test_a_retry_goes_elsewhere(several, connect):
    """An address that resets connections: every request is answered by the other one."""
    hosts, proxy = await several(2)
    hosts[0].answer = None
    async with proxy as proxy:
        assert await answers(await connect(proxy), 20) == {(200, b"b"): 20}
        assert proxy.events.retries


@pytest.mark.parametrize("dead", [1, 2])
async def test_addresses_that_nobody_listens_on(upstream, running, connect, unused_tcp_port_factory, dead):
    """No client notices: another address is tried at once, and after three failures each is left alone."""
    server = await upstream(Host(b"a"))
    addresses = [Address(f"127.0.0.1:{unused_tcp_port_factory()}") for _ in range(dead)]
    addresses.insert(1, Address(f"127.0.0.1:{server.port}"))
    async with running({"stable": 1}, hosts={"addresses": tuple(addresses)}) as proxy:
        assert await answers(await connect(proxy), 40) == {(200, b"a"): 40}
        state = proxy.upstreams["stable"].describe()
        resting = [text for text in state["addresses"].values() if text.startswith("rests for")]
        assert len(resting) == dead
        assert all("(connect, 3 failures)" in text for text in resting)
        assert proxy.events.failures == 0


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_restart_is_not_noticed(running, connect, method):
    """Nobody listens for a moment: requests wait for that moment, one alone as well as many, whatever their method.

    Nothing of them was sent, so that is safe.
    """
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # and does not listen yet
        async with running(sock.getsockname()[1], hosts={"failfast": Duration("8s")}) as proxy:
            clients = [await connect(proxy) for _ in range(5)]
            request = method + GET[3:]
            alone = asyncio.create_task(ask(clients[0], request))
            await eventually(lambda: proxy.upstreams["stable"].addresses()["resting"])
            others = [asyncio.create_task(ask(client, request)) for client in clients[1:]]
            await eventually(lambda: proxy.upstreams["stable"].pending == 5)

            async with await asyncio.start_server(answering, sock=sock):
                assert await asyncio.gather(alone, *others) == [(200, b"127.0.0.1")] * 5
            assert proxy.events.failures == 0


async def test_an_outage_is_answered_at_once(running, connect, unused_tcp_port):
    """What takes longer than `failfast` is no restart: then requests are answered without waiting."""
    async with running(unused_tcp_port, hosts={"failfast": Duration("200ms")}) as proxy:
        client = await connect(proxy)
        status, text = await ask(client)
        assert (status, text.endswith(b"(connect_failure)\n")) == (502, True)
        start = asyncio.get_running_loop().time()
        assert {status for status, _ in (await answers(client, 20))} <= {502, 503}
        # One attempt in a tenth of a second, and that is refused at once.
        assert asyncio.get_running_loop().time() - start < 4.0


async def test_the_only_address_comes_back(running, connect):
    """After an outage, however long, it is found within a moment: what rests for long is tried all the same."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # and does not listen yet
        outliers = OutliersConfig(rest=Duration("1h"), max_rest=Duration("1h"))
        hosts = {"outliers": outliers, "failfast": Duration("50ms")}
        async with running(sock.getsockname()[1], hosts=hosts) as proxy:
            client = await connect(proxy)
            seen = await until(
                client, (503, b"podpatterns: stable cannot be reached at any of its addresses (no_healthy_upstream)\n")
            )
            assert {status for status, _ in seen} <= {502, 503}

            async with await asyncio.start_server(answering, sock=sock):
                await until(client, (200, b"127.0.0.1"))


async def test_health_checks(several, connect):
    """An address that fails its checks gets no requests; once it passes them, it does again."""
    health = HealthConfig(path="/healthz", every=Duration("100ms"), timeout=Duration("100ms"), fall=1, rise=1)
    hosts, proxy = await several(3, health=health)
    async with proxy as proxy:
        client = await connect(proxy)
        addresses = proxy.upstreams["stable"].addresses
        hosts[0].answer = b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"
        await eventually(lambda: addresses() == {"well": 2, "resting": 0, "unhealthy": 1})
        hosts[0].answer = hosts[0].well
        await eventually(lambda: addresses() == {"well": 3, "resting": 0, "unhealthy": 0})
        await until(client, (200, b"a"))
        text = proxy.context.telemetry.exposition().decode()
    assert 'podpatterns_ambassador_health_checks_total{result="failed",version="stable"}' in text
    assert 'podpatterns_ambassador_addresses{state="well",version="stable"} 3.0' in text


async def test_streams_are_balanced_too(upstream, connect):
    """TCP connections to two addresses by p2c: ten that stay open are five each; closed, they are no more."""

    async def greet(server, peer):
        await peer.send(server.name)
        await peer.rest()

    servers = [await upstream(greet) for _ in range(2)]
    for server, name in zip(servers, (b"a", b"b"), strict=True):
        server.name = name
    config = AmbassadorConfig(
        listeners=(TcpConfig(listen=Address("127.0.0.1:0"), to="db"),),
        upstreams={
            "db": HostsConfig(addresses=tuple(Address(f"127.0.0.1:{server.port}") for server in servers), balance="p2c")
        },
    )
    async with Ambassador(config) as proxy:
        clients, greetings = [], []
        for _ in range(10):
            clients.append(await connect(proxy))
            greetings.append(await clients[-1].exactly(1))
        assert Counter(greetings) == {b"a": 5, b"b": 5}
        endpoints = proxy.upstreams["db"]._roster.endpoints
        assert [endpoint.dialed for endpoint in endpoints] == [5, 5]
        for client in clients:
            client.close()
        await eventually(lambda: [endpoint.dialed for endpoint in endpoints] == [0, 0])
        assert not proxy.upstreams["db"].busy


@pytest.mark.parametrize(("seconds", "attempts"), [(1.0, 3), (0.001, 10)])
async def test_many_addresses_that_do_not_answer(seconds, attempts):
    """A request waits for three connect timeouts at most; addresses that refuse at once are all tried."""
    addresses = tuple(Address(f"10.0.0.{each}:80") for each in range(1, 11))
    pool = HostsConfig(addresses=addresses).build("stable", AmbassadorEvents(Telemetry()), None)
    now, tried = 0.0, []

    class Nowhere:
        patience = 1.0

        async def open(self, endpoint, make):
            nonlocal now
            now += seconds
            tried.append(endpoint)
            raise UpstreamError(504, "connect_timeout", "nobody there")

    pool._connector, pool._clock = Nowhere(), lambda: now
    with pytest.raises(UpstreamError, match="nobody there"):
        await pool._reach(lambda endpoint: None, pool._roster.endpoints[0])
    assert len(set(tried)) == len(tried) == attempts


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("a..b:80", "has no valid host name: its parts have 1 to 63 letters"),
        (f"{'x' * 64}.de:80", "has no valid host name"),
        ('"a b:80"', "has no valid host name"),
        (".:80", "has no valid host name"),
        ("api.svc.cluster.local.:80", None),
        ("a_b-c.svc:80", None),
        ("bücher.example:80", None),
        ('"[::1]:80"', None),
    ],
)
def test_host_names(address, problem):
    """What no resolver could be asked for is a mistake in the configuration, not a surprise while running."""
    text = parse(f"addresses: [{address}]")[0]
    if problem is None:
        assert decode(text, HostsConfig).addresses
        return
    with pytest.raises(ConfigError) as caught:
        decode(text, HostsConfig)
    assert problem in str(caught.value)


async def test_a_version_that_fails_its_checks(upstream, running, connect):
    """The others of the split get its requests, and nobody notices."""
    well, ill = Host(b"a"), Host(b"b")
    ill.answer = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
    ports = {"stable": await upstream(well), "test": await upstream(ill)}
    health = HealthConfig(path="/healthz", every=Duration("1s"), timeout=Duration("1s"), fall=1)
    routes = (RouteConfig(split={"stable": 1, "test": 99}),)
    async with running(ports, routes=routes, hosts={"health": health}) as proxy:
        await eventually(lambda: not proxy.upstreams["test"].available)
        assert await answers(await connect(proxy), 50) == {(200, b"a"): 50}


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_too_many_requests(several, connect):
    """The one above the bound is answered 503 at once, with Retry-After; the others are not disturbed."""
    hosts, proxy = await several(2, max_requests=2)
    async with proxy as proxy:
        clients = [await connect(proxy) for _ in range(3)]
        await answers(clients[0], 4)
        for host in hosts:
            host.gate.clear()
        for client in clients[:2]:
            await client.send(GET)
        await eventually(lambda: proxy.upstreams["stable"].active == 2)
        await clients[2].send(GET)
        head = await clients[2].until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in head
        assert (await clients[2].until(b"\n")).endswith(b"stable has 2 requests already (overflow)\n")
        for host in hosts:
            host.gate.set()
        for client in clients[:2]:
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_waiting_for_any_address(several, connect):
    """With as many connections as there may be, a request gets the first one that is free, to whichever address."""
    hosts, proxy = await several(2, max_connections=2)
    async with proxy as proxy:
        clients = [await connect(proxy) for _ in range(3)]
        await answers(clients[0], 2)
        for host in hosts:
            host.gate.clear()
        pool = proxy.upstreams["stable"]
        for client in clients[:2]:
            await client.send(GET)
        await eventually(lambda: pool.active == 2)
        await clients[2].send(GET)
        await eventually(lambda: pool.pending == 1)
        text = proxy.context.telemetry.exposition().decode()
        hosts[1].gate.set()
        await clients[2].until(b"\r\n\r\n")
        assert await clients[2].exactly(1) == b"b"
        hosts[0].gate.set()
    assert 'podpatterns_ambassador_upstream_pending_requests{version="stable"} 1.0' in text
    assert 'podpatterns_ambassador_upstream_open_connections{state="active",version="stable"} 2.0' in text


async def test_nobody_may_wait(several, connect):
    """`max_pending: 0`: as long as there may be more connections a request gets one; only then it is refused."""
    hosts, proxy = await several(1, max_connections=1, max_pending=0)
    async with proxy as proxy:
        client, other = await connect(proxy), await connect(proxy)
        assert await ask(client) == (200, b"a")
        hosts[0].gate.clear()
        await client.send(GET)
        await eventually(lambda: proxy.upstreams["stable"].active == 1)
        assert await ask(other) == (503, b"podpatterns: stable has 0 requests waiting already (overflow)\n")
        hosts[0].gate.set()
        await client.until(b"\r\n\r\n")


async def test_the_kept_connection_elsewhere(several, connect):
    """At the bound, a kept connection to another address is used rather than to wait for one that never comes."""
    _, proxy = await several(2, max_connections=1)
    async with proxy as proxy:
        assert (await answers(await connect(proxy), 10)).total() == 10
        assert proxy.upstreams["stable"].describe()["connections"] == 1


async def test_connections_are_closed_after_so_many_requests(several, connect):
    """`keep_requests: 5`: twenty requests take four connections, and no client notices."""
    hosts, proxy = await several(1, keep_requests=5)
    async with proxy as proxy:
        assert await answers(await connect(proxy), 20) == {(200, b"a"): 20}
        assert hosts[0].server.connections == 4
        assert proxy.events.retries == 0


async def test_connections_grow_old(several, connect):
    """`keep_age`: one that is older carries no other request."""
    hosts, proxy = await several(1, keep_age=Duration("50ms"))
    async with proxy as proxy:
        client = await connect(proxy)
        await ask(client)
        await asyncio.sleep(0.06)
        await ask(client)
        await ask(client)
        assert hosts[0].server.connections == 2


async def test_a_connection_that_was_closed_a_moment_ago(running):
    """The loop has not told us yet: nothing is written on it all the same, because it is looked at first."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            far, _ = server.accept()
            far.recv(1000)
            far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
            return far

        async with running(server.getsockname()[1]) as proxy:
            far, answer = await asyncio.gather(
                asyncio.to_thread(serve), asyncio.to_thread(urllib.request.urlopen, proxy.url, timeout=10)
            )
            answer.close()
            pool = proxy.upstreams["stable"]
            (endpoint,) = pool._roster.endpoints
            (link,) = endpoint.idle
            # From here on the loop does not turn.
            assert silent(link.transport)
            far.close()
            assert select.select([link.transport.get_extra_info("socket").fileno()], [], [], 10)[0]
            assert not silent(link.transport)
            pool._swept = link.idle_since + 0.1
            exchange = SimpleNamespace(request=None, within=lambda _: None)
            assert pool.acquire(exchange) is None
            pool.withdraw(exchange)


async def test_the_far_side_says_how_long(upstream, running, connect):
    """`Keep-Alive: timeout=1` is heeded from the first response on, and the client does not see it."""
    server = await upstream(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n")
    async with running(server) as proxy:
        client = await connect(proxy)
        await client.send(GET)
        assert b"timeout" not in await client.until(b"\r\n\r\n")
        assert proxy.upstreams["stable"]._keeping.seconds == pytest.approx(0.8)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def zone(monkeypatch):
    """What names lead to, by name."""
    table = {}

    async def lookup(host, port):
        if isinstance(table[host], Exception):
            raise table[host]
        return sorted(table[host])

    monkeypatch.setattr(names, "system", lookup)
    return table


@pytest.fixture
async def loopback():
    """Start addresses from 127.0.0.1 on that listen on one port, as the pods of a service do, and say who they are."""
    servers = []

    async def start(number):
        for _ in range(20):
            try:
                port = 0
                for each in range(number):
                    servers.append(await asyncio.start_server(answering, f"127.0.0.{each + 1}", port))
                    port = servers[-1].sockets[0].getsockname()[1]
            except OSError:  # somebody else has this port at the next address
                for server in servers:
                    server.close()
                servers.clear()
            else:
                return port
        raise AssertionError("no port is free at all addresses")

    yield start
    for server in servers:
        server.close()


def named(port, **options):
    """An upstream at `api`, which is looked up a hundred times a second."""
    dns = DnsConfig(every=Duration("10ms"))
    return {"addresses": (Address(f"api:{port}"),), "dns": dns, "failfast": Duration("100ms"), **options}


async def known(proxy, *hosts):
    """Wait until these are the addresses that are used."""
    await eventually(lambda: [each.host for each in proxy.upstreams["stable"]._roster.endpoints] == list(hosts))


async def test_every_address_of_a_name(running, connect, zone, loopback):
    """Is an endpoint of its own."""
    zone["api"] = ["127.0.0.1", "127.0.0.2"]
    async with running({"stable": 1}, hosts=named(await loopback(2))) as proxy:
        await known(proxy, "127.0.0.1", "127.0.0.2")
        assert await answers(await connect(proxy), 20) == {(200, b"127.0.0.1"): 10, (200, b"127.0.0.2"): 10}


async def test_addresses_change_under_load(running, connect, zone, loopback):
    """A hundred times the name leads elsewhere while clients ask without pause: no request fails, none is repeated."""
    zone["api"], over = ["127.0.0.1"], False
    async with running({"stable": 1}, hosts=named(await loopback(4))) as proxy:
        await known(proxy, "127.0.0.1")

        async def ask_on(client):
            count = Counter()
            while not over:
                count[await ask(client)] += 1
            return count

        async with asyncio.TaskGroup() as tasks:
            clients = [tasks.create_task(ask_on(await connect(proxy))) for _ in range(4)]
            for step in range(100):
                zone["api"] = [f"127.0.0.{1 + (step + each) % 4}" for each in range(1 + step % 2)]
                await known(proxy, *sorted(zone["api"]))
            over = True
        assert {status for client in clients for status, _ in client.result()} == {200}
        assert proxy.events.failures == proxy.events.retries == 0
        # Whom the name has left holds no connection any more.
        await eventually(lambda: not proxy.upstreams["stable"]._left)


async def test_a_resolver_that_is_down(running, connect, zone, loopback):
    """What was known is used on; a name that certainly does not exist any more gets 503, until it does again."""
    zone["api"] = ["127.0.0.2"]
    async with running({"stable": 1}, hosts=named(await loopback(2))) as proxy:
        client = await connect(proxy)
        await known(proxy, "127.0.0.2")
        zone["api"] = OSError("nobody answers")
        await eventually(lambda: "dns_failures_total" in proxy.context.telemetry.exposition().decode())
        assert await answers(client, 5) == {(200, b"127.0.0.2"): 5}
        zone["api"] = names.NoSuchName("no such name")
        await known(proxy)
        status, text = await ask(client)
        assert (status, text) == (503, b"podpatterns: stable has no address any more (no_healthy_upstream)\n")
        zone["api"] = ["127.0.0.1"]
        await until(client, (200, b"127.0.0.1"))


async def test_names_that_need_no_resolver(running, connect, zone, upstream):
    """`localhost` is left to the system, which tries every loopback address."""
    server = await upstream(Host(b"a"))
    hosts = {"addresses": (Address(f"localhost:{server.port}"),)}
    async with running({"stable": 1}, hosts=hosts) as proxy:
        assert await ask(await connect(proxy)) == (200, b"a")
    assert zone == {}


# --- for people -------------------------------------------------------------------------------------------------------


async def test_the_admin_page(several, connect):
    """Shows connections, requests, what is left of the retry budget, and the state of each address."""
    hosts, proxy = await several(2)
    async with proxy as proxy:
        await answers(await connect(proxy), 4)
        (show,) = [each for each in proxy.routes() if (each.method, each.path) == ("GET", "/ambassador")]
        shown = json.loads(json.dumps((await show.handle(Request({}))).data))["upstreams"]["stable"]
    assert shown == {
        "available": True,
        "connections": 2,
        "idle": 2,
        "waiting": 0,
        "requests": 4,
        "retries_left": 100,
        "addresses": {f"127.0.0.1:{host.server.port}": "ok" for host in hosts},
    }


async def test_a_removed_upstream_leaves_the_gauges(several, connect):
    """They do not show for ever what was there last."""
    _, proxy = await several(1)
    async with proxy as proxy:
        await ask(await connect(proxy))
        series = b'podpatterns_ambassador_upstream_open_connections{state="idle",version="stable"} 1.0'
        await eventually(lambda: series in proxy.context.telemetry.exposition())
        proxy.upstreams["stable"].retire()
        assert b"upstream_open_connections{" not in proxy.context.telemetry.exposition()
