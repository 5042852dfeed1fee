"""Credentials on real requests: added, renewed, waited for; and shown nowhere else."""

import asyncio
import json
import re
import socket
import struct
from base64 import b64encode

import msgspec
import pytest

from podpatterns import Ambassador, AmbassadorConfig
from podpatterns.ambassador.credentials.basic import BasicConfig
from podpatterns.ambassador.credentials.bearer import BearerConfig
from podpatterns.ambassador.credentials.oauth2 import Oauth2Config
from podpatterns.ambassador.credentials.static import StaticConfig
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.listeners.http import HttpConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.ambassador.upstreams.hosts import HostsConfig
from podpatterns.runtime.schema import to_builtins
from podpatterns.runtime.service import Context, Request
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Address, Duration, SecretFile, Url
from podpatterns.testing.server import Answer, FakeServer

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ONCE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
DENIED = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\nno"


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Files are looked at often, so that no test waits for seconds."""
    for module in ("", ".oauth2"):
        monkeypatch.setattr(f"podpatterns.ambassador.credentials{module}.LOOK", 0.01)


@pytest.fixture
def secret(tmp_path):
    """Writes a secret into a file."""

    def write(text, name="secret"):
        path = tmp_path / name
        path.write_text(text)
        return SecretFile(str(path))

    return write


@pytest.fixture
async def login():
    """A token endpoint: each answer is another token."""
    async with FakeServer() as server:
        server.will(*(Answer(body=b'{"access_token": "token-%d", "expires_in": 300}' % each) for each in range(1, 50)))
        yield server


def oauth2(login, secret, **options):
    url = Url(f"{login.url}/token")
    return Oauth2Config(**{"token_url": url, "client_id": "shop", "client_secret": secret("s3cret"), **options})


def shown(server):
    """The value of Authorization in each request."""
    return [
        line.partition(b": ")[2].decode()
        for head in server.heads
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"authorization:")
    ]


async def answer(client):
    head = await client.until(b"\r\n\r\n")
    await client.exactly(2)
    return int(head.split()[1])


# --- the field --------------------------------------------------------------------------------------------------------


async def test_the_field_is_added_and_the_clients_own_is_removed(upstream, running, connect, secret):
    """In any case, more than once, and with underscores, which applications behind CGI cannot tell apart."""
    server = await upstream(OK)
    config = StaticConfig(header="X-Api-Key", value=secret("s3cret"))
    async with running(server, hosts={"credentials": config}) as proxy:
        client = await connect(proxy)
        await client.send(
            b"GET / HTTP/1.1\r\nx-api-key: mine\r\nHost: a\r\nX_API-Key: mine\r\nX-Api-Key:mine\r\n"
            b"X-Api-Key2: b\r\n\r\n"
        )
        assert await answer(client) == 200
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-api-key\r\nx-api-key: mine\r\n\r\n")
        assert await answer(client) == 200
    for head in server.heads:
        assert head.count(b"\r\nX-Api-Key: s3cret\r\n") == 1
        assert b"mine" not in head
    assert b"\r\nX-Api-Key2: b\r\n" in server.heads[0]
    assert server.connections == 1


@pytest.mark.parametrize(
    ("trailers", "kept"),
    [
        (b"X-Api-Key: mine\r\n", b""),
        (b"A: 1\r\nx-api-key: mine\r\nB: 2\r\nX_Api_Key:mine\r\n", b"A: 1\r\nB: 2\r\n"),
        (b"A: 1\r\n", b"A: 1\r\n"),
    ],
)
@pytest.mark.parametrize("cut", [False, True])
async def test_the_field_is_removed_from_trailers_as_well(  # noqa: PLR0917 - fixtures
    upstream, running, connect, secret, trailers, kept, cut
):
    """Some servers join them with the fields of the head; whether the body comes at once or later."""
    bodies = []

    async def chunked(server, peer):
        await server.head(peer)
        bodies.append(await peer.until(b"0\r\n") + await peer.until(b"\r\n" if not kept else b"\r\n\r\n"))
        await peer.send(OK)

    server = await upstream(chunked)
    async with running(server, hosts={"credentials": StaticConfig(header="X-Api-Key", value=secret("s"))}) as proxy:
        client = await connect(proxy)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        if cut:
            async with asyncio.timeout(10):
                while not server.heads:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
        await client.send(b"4\r\nbody\r\n0\r\n" + trailers + b"\r\n")
        assert await answer(client) == 200
    assert bodies == [b"4\r\nbody\r\n0\r\n" + kept + b"\r\n"]


async def test_a_new_secret_is_in_the_next_request(upstream, running, connect, secret):
    """On the same connection; nothing has to be asked anew."""
    server = await upstream(OK)
    async with running(server, hosts={"credentials": BearerConfig(token=secret("one"))}) as proxy:
        client = await connect(proxy)
        await client.send(GET)
        assert await answer(client) == 200
        secret("another")
        async with asyncio.timeout(10):
            while b"another" not in proxy.upstreams["stable"].tail:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        await client.send(GET)
        assert await answer(client) == 200
    assert shown(server) == ["Bearer one", "Bearer another"]
    assert server.connections == 1


async def test_a_401_is_a_reason_to_look_at_the_file(upstream, running, ask, secret, monkeypatch):
    """What was replaced a moment ago is used for this very request."""
    monkeypatch.setattr("podpatterns.ambassador.credentials.LOOK", 1000)
    path = secret("old")

    async def strict(server, peer):
        while True:
            head = await server.head(peer)
            await peer.send(OK if b"Bearer new" in head else DENIED)
            secret("new")

    server = await upstream(strict)
    async with running(server, hosts={"credentials": BearerConfig(token=path)}) as proxy:
        assert (await ask(proxy, ONCE)).startswith(b"HTTP/1.1 200 ")
    assert shown(server) == ["Bearer old", "Bearer new"]


async def test_a_401_without_other_credentials_is_the_clients(upstream, running, ask, secret):
    """It is passed on as it is, once."""
    server = await upstream(DENIED)
    async with running(server, hosts={"credentials": BasicConfig(user="u", password=secret("p"))}) as proxy:
        assert (await ask(proxy, ONCE)).startswith(b"HTTP/1.1 401 ")
    assert len(server.heads) == 1


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_requests_wait_for_the_first_token(upstream, running, connect, secret):
    """However many: the endpoint is asked once, and none of them fails."""
    server = await upstream(OK)
    slow = Answer(body=b'{"access_token": "t0ken", "expires_in": 300}', delay=0.1)
    async with FakeServer(slow) as login, running(server, hosts={"credentials": oauth2(login, secret)}) as proxy:
        clients = [await connect(proxy) for _ in range(10)]
        for client in clients:
            await client.send(GET)
        assert [await answer(client) for client in clients] == [200] * 10
        assert len(login.seen) == 1
        said = proxy.upstreams["stable"].describe()["credentials"]
        assert re.fullmatch(r"access token for another (300|2\d\d)s", said)
    assert shown(server) == ["Bearer t0ken"] * 10


async def test_without_a_token_the_answer_says_why(upstream, running, ask, secret):
    """503 after the time that a connection may take, with the flag and the endpoint's words; nothing was sent."""
    server = await upstream(OK)
    refusal = Answer(status=401, body=b'{"error": "invalid_client", "error_description": "s3cret is wrong"}')
    async with FakeServer(refusal) as login:
        hosts = {"credentials": oauth2(login, secret), "connect": Duration("100ms")}
        async with running(server, hosts=hosts) as proxy:
            async with asyncio.timeout(10):
                while not proxy.upstreams["stable"]._credential.problem:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
            said = (await ask(proxy, ONCE)).decode()
    assert said.startswith("HTTP/1.1 503 ")
    assert "\r\nRetry-After: 1\r\n" in said
    assert "it answers 401 invalid_client (*** is wrong); check client_id" in said
    assert said.endswith("(credentials)\n")
    assert server.heads == []


async def test_in_a_split_the_others_have_the_requests(upstream, connect, secret):
    """Once a version's token endpoint has failed; when there is a token, it is back."""
    good, bad = await upstream(OK), await upstream(OK)
    async with FakeServer(Answer(status=500)) as login:
        config = AmbassadorConfig(
            listeners=(HttpConfig(listen=Address("127.0.0.1:0"), routes=(RouteConfig(split={"good": 1, "bad": 99}),)),),
            upstreams={
                "good": HostsConfig(addresses=(Address(f"127.0.0.1:{good.port}"),)),
                "bad": HostsConfig(addresses=(Address(f"127.0.0.1:{bad.port}"),), credentials=oauth2(login, secret)),
            },
        )
        async with Ambassador(config, Context(grace=5.0)) as proxy:
            pool = proxy.upstreams["bad"]
            async with asyncio.timeout(10):
                while pool.available:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
            client = await connect(proxy)
            for _ in range(5):
                await client.send(GET)
                assert await answer(client) == 200
            assert (len(good.heads), len(bad.heads)) == (5, 0)
            login.default = Answer(body=b'{"access_token": "t0ken", "expires_in": 300}')
            async with asyncio.timeout(10):
                while not pool.available:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
            for _ in range(20):
                await client.send(GET)
                assert await answer(client) == 200
            assert len(bad.heads) > 5
            client.reset()


@pytest.mark.parametrize(("address", "warned"), [("orders:80", True), ("127.0.0.1:80", False), ("unix:/x", False)])
def test_credentials_in_plain_text_are_warned_of(secret, address, warned):
    """Unless they do not leave the machine."""
    log = Log()
    config = HostsConfig(addresses=(Address(address),), credentials=BearerConfig(token=secret("t")))
    config.build("stable", AmbassadorEvents(Telemetry(log)), lambda _: None)
    assert ("credentials.unprotected" in log.text) == warned


async def test_a_client_that_leaves_waits_no_longer(upstream, running, connect, secret):
    """The queue holds only those who are there, and is bounded."""
    server = await upstream(OK)
    async with FakeServer(Answer(fault="hang")) as login:
        hosts = {"credentials": oauth2(login, secret), "connect": Duration("30s"), "max_pending": 1}
        async with running(server, hosts=hosts) as proxy:
            first, second = await connect(proxy), await connect(proxy)
            await first.send(GET)
            pool = proxy.upstreams["stable"]
            async with asyncio.timeout(10):
                while not pool.busy:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
            await second.send(GET)
            assert (await second.until(b"(overflow)\n")).startswith(b"HTTP/1.1 503 ")
            leave(first)
            async with asyncio.timeout(10):
                while pool.busy:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)


def leave(peer):
    """With a reset: the end of a stream alone may mean that an answer is waited for."""
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.reset()


@pytest.fixture
def impatient(monkeypatch):
    """No token is too young to be replaced."""
    monkeypatch.setattr("podpatterns.ambassador.credentials.oauth2.YOUNG", 0.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "request_",
    [
        GET,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ],
    ids=["get", "post", "chunked"],
)
async def test_a_refused_token_is_replaced_and_the_request_sent_again(  # noqa: PLR0917 - fixtures
    upstream, running, connect, secret, login, request_
):
    """Whatever its method: what was not authorized has had no effect. Requests of others wait for the new token."""
    bodies, all_here = [], asyncio.Event()

    async def strict(server, peer):
        while True:
            head = await server.head(peer)
            if b"Content-Length: 4" in head:
                bodies.append(await peer.exactly(4))
            elif b"chunked" in head:
                bodies.append(await peer.until(b"0\r\n\r\n"))
            if len(server.heads) == 5:
                all_here.set()
            await all_here.wait()
            await peer.send(DENIED if b"token-1" in head else OK)

    server = await upstream(strict)
    async with running(server, hosts={"credentials": oauth2(login, secret)}) as proxy:
        clients = [await connect(proxy) for _ in range(5)]
        for client in clients:
            await client.send(request_)
        assert [await answer(client) for client in clients] == [200] * 5
        assert len(login.seen) == 2
        counted = proxy.context.telemetry.registry.get_sample_value(
            "podpatterns_ambassador_credentials_rejected_total", {"version": "stable", "others": "yes"}
        )
        assert counted == 5
    assert sorted(shown(server)) == ["Bearer token-1"] * 5 + ["Bearer token-2"] * 5
    assert len(set(bodies)) == (request_ != GET)


@pytest.mark.usefixtures("impatient")
async def test_a_second_refusal_is_the_clients(upstream, running, ask, secret, login):
    """Once per request: an upstream that wants something else is not asked for ever."""
    server = await upstream(DENIED)
    async with running(server, hosts={"credentials": oauth2(login, secret)}) as proxy:
        assert (await ask(proxy, ONCE)).startswith(b"HTTP/1.1 401 ")
    assert shown(server) == ["Bearer token-1", "Bearer token-2"]


async def test_a_fresh_token_that_is_refused_is_passed_on(upstream, running, ask, secret, login):
    """The endpoint is not asked for a token with each request that is refused."""
    server = await upstream(DENIED)
    async with running(server, hosts={"credentials": oauth2(login, secret)}) as proxy:
        for _ in range(5):
            assert (await ask(proxy, ONCE)).startswith(b"HTTP/1.1 401 ")
    assert shown(server) == ["Bearer token-1"] * 5
    assert len(login.seen) == 1


async def test_credentials_change_with_the_configuration(upstream, running, connect, secret, login):
    """A reload puts others in force for the next request, and the old ones are renewed no longer."""
    server = await upstream(OK)
    async with running(server, hosts={"credentials": oauth2(login, secret)}) as proxy:
        client = await connect(proxy)
        await client.send(GET)
        assert await answer(client) == 200
        hosts = msgspec.structs.replace(
            proxy.config.upstreams["stable"], credentials=BearerConfig(token=secret("b3arer", "other"))
        )
        await proxy.reload(msgspec.structs.replace(proxy.config, upstreams={"stable": hosts}))
        await client.send(GET)
        assert await answer(client) == 200
        async with asyncio.timeout(10):
            while len(proxy._runs) > 1:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
    assert shown(server) == ["Bearer token-1", "Bearer b3arer"]


# --- nowhere else -----------------------------------------------------------------------------------------------------


class Log:
    """Remembers every event as text."""

    def __init__(self):
        self.text = ""

    def __getattr__(self, level):
        def say(event, **fields):
            self.text += f"{level} {event} {fields!r}\n"

        return say


SECRET = "S3cr+t/Wert=="
TOKEN = "T0ken-Wert"


def kinds(secret, login):
    return {
        "static": StaticConfig(header="x-key", value=secret(SECRET)),
        "basic": BasicConfig(user="shop", password=secret(SECRET)),
        "bearer": BearerConfig(token=secret(SECRET)),
        "oauth2": oauth2(login, lambda _: secret(SECRET)),
        "oauth2 in the body": oauth2(login, lambda _: secret(SECRET), authentication="client_secret_post"),
    }


@pytest.mark.parametrize("kind", ["static", "basic", "bearer", "oauth2", "oauth2 in the body"])
async def test_secrets_appear_nowhere(upstream, connect, secret, kind):
    """Not in events of any level, metrics, admin pages, the configuration, our own answers, or any `repr`.

    Though the token endpoint and the upstream repeat what they were sent, files become unusable, and all of it fails.
    """
    denied = False

    async def echoing(server, peer):
        while True:
            head = await server.head(peer)
            if denied:
                return
            await peer.send(OK if b"Host: a" in head else head)

    server = await upstream(echoing)
    async with FakeServer(Answer(body=json.dumps({"access_token": TOKEN, "expires_in": 300}).encode())) as login:
        login.will(
            Answer(status=400, body=json.dumps({"error": SECRET, "error_description": f"not {SECRET}"}).encode())
        )
        log, config = Log(), kinds(secret, login)[kind]
        telemetry = Telemetry(log)
        proxied = AmbassadorConfig(
            listeners=(HttpConfig(listen=Address("127.0.0.1:0"), routes=(RouteConfig(to="stable"),)),),
            upstreams={"stable": HostsConfig(addresses=(Address(f"127.0.0.1:{server.port}"),), credentials=config)},
        )
        said = []
        async with Ambassador(proxied, Context(telemetry=telemetry, grace=5.0)) as proxy:
            pool = proxy.upstreams["stable"]
            client = await connect(proxy)
            await client.send(GET)
            assert await answer(client) == 200
            denied = True
            await client.send(GET)
            said.append(await client.until(b"(reset_before_response)\n"))
            secret(SECRET + "\n" + SECRET)
            async with asyncio.timeout(10):
                while "rotation.failed" not in log.text:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
            said += [(await route.handle(Request({}))).data for route in proxy.routes() if route.method == "GET"]
            said += [to_builtins(proxy.config), proxy.status(), telemetry.exposition(), repr(proxy.config)]
            said += [
                repr(each) for each in (pool, pool._credential, vars(pool._credential).get("_rotation"), pool.strip)
            ]
            client.reset()
    everything = log.text + repr(said)
    assert "rotation.failed" in everything
    assert "/secret" in everything, "the path is shown"
    carried = shown(server) or [SECRET]
    assert any(part in head.decode() for head in server.heads for part in (SECRET, TOKEN, *carried)), "it was sent"
    for text in (SECRET, TOKEN, b64encode(f"shop:{SECRET}".encode()).decode(), "S3cr", *carried):
        assert text not in everything
