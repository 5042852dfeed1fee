"""TLS between the ambassador and an upstream, on real sockets; the application speaks plain text."""

import asyncio
import socket
import ssl
import threading
from contextlib import contextmanager, suppress

import pytest

from podpatterns import Ambassador, StartError
from podpatterns.ambassador import rotation
from podpatterns.ambassador.listeners.tcp import TcpConfig
from podpatterns.ambassador.tls import TlsConfig
from podpatterns.runtime.service import Context
from podpatterns.runtime.units import Address, SecretFile, Url

GET = b"GET / HTTP/1.1\r\nHost: localhost:8700\r\n\r\n"
ONCE = b"GET / HTTP/1.1\r\nHost: localhost:8700\r\nConnection: close\r\n\r\n"


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Files are looked at often, so that no test waits for seconds."""
    monkeypatch.setattr("podpatterns.ambassador.tls.LOOK", 0.01)
    assert rotation.LOOK > 1


@pytest.fixture(scope="module")
def material(authority, tmp_path_factory):
    """Files of a server and of two clients."""
    folder = tmp_path_factory.mktemp("material")
    return {name: authority.sign(name, folder=folder) for name in ("server", "client", "renewed")}


@pytest.fixture
def server_side(authority, material):
    """A server's context; with `ask` it wants a certificate of the client's."""

    def make(*, ask=True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*material["server"])
        if ask:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(authority.ca)
        return context

    return make


@pytest.fixture
def ours(material, tmp_path):
    """Copies of the client's files, to be replaced."""
    for source, name in zip(material["client"], ("tls.crt", "tls.key"), strict=True):
        (tmp_path / name).write_bytes(source.read_bytes())
    return tmp_path


def trusting(authority, ours=None, **options):
    if ours is not None:
        options |= {"certificate": str(ours / "tls.crt"), "key": SecretFile(str(ours / "tls.key"))}
    return TlsConfig(ca=str(authority.ca), **options)


@pytest.fixture
def mutual(authority, ours):
    """Both sides show certificates; ours are those files."""
    return trusting(authority, ours)


async def naming(server, peer):
    """Answers with the name in the client's certificate, as often as it is asked."""
    name = dict(pair for part in peer.writer.get_extra_info("peercert")["subject"] for pair in part)["commonName"]
    while True:
        await server.head(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name.encode()))


async def asked(client, size):
    await client.send(GET)
    await client.until(b"\r\n\r\n")
    return (await client.exactly(size)).decode()


async def test_a_request_in_plain_text_travels_in_tls(upstream, running, connect, server_side, mutual):
    """Both sides show a certificate; the connection is kept for the next request."""
    server = await upstream(naming, ssl=server_side())
    async with running(server, hosts={"tls": mutual}) as proxy:
        client = await connect(proxy)
        for _ in range(3):
            assert await asked(client, 6) == "client"
        assert proxy.upstreams["stable"].describe()["tls"]["verified"]
    assert server.connections == 1
    assert server.heads[0].startswith(b"GET / HTTP/1.1\r\nHost: localhost:8700\r\n")


async def test_a_url_is_enough(upstream, running, ask, server_side, authority):
    """The host in it is the one that the certificate must hold, and that the service gets to see."""
    server = await upstream(ssl=server_side(ask=False))
    url = Url(f"https://localhost:{server.port}")
    async with running(server, hosts={"addresses": (url,), "tls": trusting(authority)}) as proxy:
        assert (await ask(proxy, ONCE)).endswith(b"ok")
    assert b"\r\nHost: localhost:%d\r\n" % server.port in server.heads[0]


async def test_a_url_alone_trusts_the_system_only(upstream, running, ask, server_side):
    """Nobody knows the test's authority: 502, with the setting that would help."""
    server = await upstream(ssl=server_side(ask=False))
    async with running(server, hosts={"addresses": (Url(f"https://localhost:{server.port}"),)}) as proxy:
        answer = await ask(proxy, ONCE)
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"its authority is not in tls.ca (tls_failure)" in answer
    assert server.heads == []


async def test_large_bodies_pass_in_both_directions(upstream, running, connect, server_side, mutual):
    """Byte for byte, with both sides holding each other back."""
    size = 3_000_000
    body = bytes(range(256)) * (size // 256)

    async def echo(server, peer):
        await server.head(peer)
        got = await peer.exactly(len(body))
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(got) + got)

    server = await upstream(echo, ssl=server_side())
    async with running(server, hosts={"tls": mutual}) as proxy:
        client = await connect(proxy)
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        sending = asyncio.create_task(client.send(head + body))
        await client.until(b"\r\n\r\n")
        assert await client.exactly(len(body)) == body
        await sending


async def test_a_truncated_response_never_looks_complete(upstream, running, connect, server_side, authority):
    """Neither when TLS was closed in order (a close_notify says nothing about HTTP)."""

    async def half(server, peer):
        await server.head(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    server = await upstream(half, ssl=server_side(ask=False))
    async with running(server, hosts={"tls": trusting(authority)}) as proxy:
        client = await connect(proxy)
        await client.send(GET)
        with pytest.raises(ConnectionResetError):
            await client.rest()
        assert proxy.events.failures == 1


@contextmanager
def refusing(context):
    """A server on a thread: asyncio's own does not say why it refuses a handshake."""

    def serve():
        with suppress(OSError):
            while True:
                accepted, _ = listening.accept()
                with context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False) as refused:
                    with suppress(ssl.SSLError):
                        refused.do_handshake()
                    # Whoever closes without having read everything resets, and the reason may be lost.
                    refused.shutdown(socket.SHUT_WR)
                    while refused.recv(1000):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


async def test_a_client_certificate_that_is_missing_is_said(running, ask, server_side, authority):
    """In TLS 1.3 the refusal comes after our side of the handshake; the answer says all the same what to set."""
    with refusing(server_side()) as port:
        async with running(port, hosts={"tls": trusting(authority)}) as proxy:
            answer = await ask(proxy, ONCE)
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"it asks for a certificate of ours; set tls.certificate and tls.key" in answer


async def test_plain_text_where_tls_was_expected_is_said(upstream, running, ask, authority):
    """The usual mistake."""

    async def plain(_server, peer):
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    server = await upstream(plain)
    async with running(server, hosts={"tls": trusting(authority)}) as proxy:
        answer = await ask(proxy, ONCE)
    assert b"it does not speak TLS at this port (tls_failure)" in answer


async def test_a_renewed_certificate_is_used_by_every_later_request(  # noqa: PLR0917 - fixtures
    upstream, running, connect, server_side, mutual, ours, material
):
    """The kept connection of the old one is closed, the one that carries a request after it; no request fails."""
    slow, go_on = asyncio.Event(), asyncio.Event()

    async def naming_slowly(server, peer):
        name = dict(pair for part in peer.writer.get_extra_info("peercert")["subject"] for pair in part)["commonName"]
        while True:
            if b"/slow" in await server.head(peer):
                slow.set()
                await go_on.wait()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name.encode()))

    server = await upstream(naming_slowly, ssl=server_side())
    async with running(server, hosts={"tls": mutual}) as proxy:
        first, second = await connect(proxy), await connect(proxy)
        assert await asked(first, 6) == "client"
        await second.send(GET.replace(b"GET /", b"GET /slow"))
        await slow.wait()
        tls = proxy.upstreams["stable"]._tls
        before = tls.context
        for source, name in zip(material["renewed"], ("tls.crt", "tls.key"), strict=True):
            (ours / name).write_bytes(source.read_bytes())
        async with asyncio.timeout(10):
            while tls.context is before:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        assert await asked(first, 7) == "renewed"
        go_on.set()
        await second.until(b"\r\n\r\n")
        assert await second.exactly(6) == b"client"
        assert await asked(second, 7) == "renewed"
        assert proxy.events.failures == 0


async def test_a_missing_file_is_an_error_at_the_start_alone(  # noqa: PLR0917 - fixtures
    upstream, running, ask, server_side, mutual, ours
):
    """At the start it is named; later the last good one stays."""
    (ours / "tls.key").rename(ours / "away")
    server = await upstream(naming, ssl=server_side())
    with pytest.raises(StartError, match=r"upstream stable: .*/tls.key cannot be read: no such file or directory"):
        async with running(server, hosts={"tls": mutual}):
            pass
    (ours / "away").rename(ours / "tls.key")
    async with running(server, hosts={"tls": mutual}) as proxy:
        (ours / "tls.key").unlink()
        assert (await ask(proxy, ONCE)).endswith(b"client")


async def test_connections_of_a_tcp_listener_travel_in_tls(upstream, connect, server_side, mutual):
    """What the client sends in plain text, and its end of the stream, arrive; so does the answer."""

    async def reverse(_server, peer):
        line = await peer.until(b"\n")
        await peer.send(line[-2::-1] + b"\n")

    server = await upstream(reverse, ssl=server_side())
    config = proxied(server, TcpConfig(listen=Address("127.0.0.1:0"), to="stable"), tls=mutual)
    async with Ambassador(config, Context(grace=10.0)) as proxy:
        client = await connect(proxy)
        await client.send(b"stressed\n")
        client.writer.write_eof()
        assert await client.rest() == b"desserts\n"


async def test_a_tcp_client_that_leaves_takes_the_upstream_along(
    upstream, connect, server_side, authority, monkeypatch
):
    """Half of a TLS connection cannot be closed; the upstream does not wait for hours for a client that is gone."""
    monkeypatch.setattr("podpatterns.ambassador.stream.LAST_WORDS", 0.1)
    gone = asyncio.Event()

    async def waiting(_server, peer):
        assert await peer.until(b"\n") == b"quit\n"
        await peer.reader.read()
        gone.set()

    server = await upstream(waiting, ssl=server_side(ask=False))
    config = proxied(server, TcpConfig(listen=Address("127.0.0.1:0"), to="stable"), tls=trusting(authority))
    async with Ambassador(config, Context(grace=10.0)) as proxy:
        client = await connect(proxy)
        await client.send(b"quit\n")
        client.close()
        async with asyncio.timeout(10):
            await gone.wait()


async def test_a_websocket_whose_client_is_gone_is_closed(upstream, running, connect, server_side, authority):
    """The upstream learns of it though half of a TLS connection cannot be closed; what was sent before arrives."""
    heard = asyncio.get_running_loop().create_future()

    async def upgrading(server, peer):
        await server.head(peer)
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        heard.set_result(await peer.reader.read())

    server = await upstream(upgrading, ssl=server_side(ask=False))
    async with running(server, hosts={"tls": trusting(authority)}) as proxy:
        client = await connect(proxy)
        await client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
        assert (await client.until(b"hello")).startswith(b"HTTP/1.1 101 ")
        await client.send(b"bye")
        client.writer.write_eof()
        async with asyncio.timeout(10):
            assert await heard == b"bye"


def proxied(server, listener, **options):
    from podpatterns import AmbassadorConfig
    from podpatterns.ambassador.upstreams.hosts import HostsConfig

    hosts = HostsConfig(addresses=(Address(f"127.0.0.1:{server.port}"),), **options)
    return AmbassadorConfig(listeners=(listener,), upstreams={"stable": hosts})


async def test_a_certificate_for_another_name_is_refused(upstream, running, ask, server_side, authority):
    """Whoever answers at the address is not believed by that alone."""
    server = await upstream(ssl=server_side(ask=False))
    async with running(server, hosts={"tls": trusting(authority, server_name="orders.example.org")}) as proxy:
        answer = await ask(proxy, ONCE)
    assert b"its certificate is for another name; set tls.server_name" in answer
    assert server.heads == []


async def test_unix_sockets_may_speak_tls(running, ask, server_side, authority, tmp_path):
    """By the name that is configured."""
    path = str(tmp_path / "sock")

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_unix_server(answer, path, ssl=server_side(ask=False))
    tls = trusting(authority, server_name="localhost")
    async with running(1, hosts={"addresses": (Address(f"unix:{path}"),), "tls": tls}) as proxy:
        assert (await ask(proxy, ONCE)).endswith(b"ok")
    server.close()


async def test_a_handshake_has_as_long_as_a_connection(running, ask, authority):
    """Somebody who accepts and says nothing costs no more than an address that is silent."""
    from podpatterns.runtime.units import Duration

    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = {"tls": trusting(authority), "connect": Duration("50ms")}
        async with running(silent.getsockname()[1], hosts=options) as proxy:
            assert (await ask(proxy, ONCE)).startswith(b"HTTP/1.1 504 ")


async def test_an_address_that_rests_is_still_explained(upstream, running, ask, server_side, authority):
    """Whoever asks later, when nothing is tried any more, is told what was wrong all the same."""
    server = await upstream(ssl=server_side(ask=False))
    async with running(server, hosts={"tls": trusting(authority, server_name="orders.example.org")}) as proxy:
        while b"no_healthy_upstream" not in (answer := await ask(proxy, ONCE)):
            assert b"tls_failure" in answer
    assert b"the last time: stable at 127.0.0.1:%d cannot be spoken to: its certificate" % server.port in answer
