"""Upstreams that do byte for byte as a test says, and clients that send what no library would."""

import asyncio
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from podpatterns import Ambassador, AmbassadorConfig
from podpatterns.ambassador.listeners.http import HttpConfig
from podpatterns.ambassador.policies.tracing import TracingConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.ambassador.upstreams.hosts import HostsConfig
from podpatterns.runtime.service import Context
from podpatterns.runtime.units import Address

PATIENCE = 10.0
UNTRACED = TracingConfig(request_id="keep")
"""So that heads can be compared byte by byte."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def pytest_asyncio_loop_factories(config, item):
    """The process runs on uvloop, an application that embeds us on asyncio's own loop: every test on both."""
    if getattr(item.module, "PROCESS", False):  # what is tested is not on the loop of the test
        return {"uvloop": uvloop.new_event_loop}
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


class Peer:
    """One end of a connection, with time limits on everything."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, data):
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def until(self, end):
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(end)

    async def exactly(self, count):
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(count)

    async def rest(self):
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    def close(self):
        self.writer.close()

    def reset(self):
        self.writer.transport.abort()


class Upstream:
    """Runs a handler for each connection; remembers every head it was sent."""

    def __init__(self, handler):
        self.handler = handler
        self.heads = []
        self.connections = 0
        self.event = asyncio.Event()
        self.tasks = set()

    async def _serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        self.connections += 1
        peer = Peer(reader, writer)
        try:
            await self.handler(self, peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def head(self, peer):
        head = await peer.reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return head

    async def start(self, ssl=None):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=ssl)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self):
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture
async def upstream():
    """Start an upstream from a handler `async def (server, peer)`, or from the bytes of every answer."""
    started = []

    async def start(behaviour=OK, ssl=None):
        async def answering(server, peer):
            while True:
                await server.head(peer)
                await peer.send(behaviour)

        server = Upstream(behaviour if callable(behaviour) else answering)
        await server.start(ssl)
        started.append(server)
        return server

    yield start
    for server in started:
        await server.stop()


def configured(ports, *, routes=None, hosts=None, **listener):
    """A configuration with one listener on a free port and an upstream for each name."""
    first = next(iter(ports))
    listener = {"tracing": UNTRACED, **listener}
    return AmbassadorConfig(
        listeners=(HttpConfig(listen=Address("127.0.0.1:0"), routes=routes or (RouteConfig(to=first),), **listener),),
        upstreams={
            name: HostsConfig(**{"addresses": (Address(f"127.0.0.1:{port}"),), **(hosts or {})})
            for name, port in ports.items()
        },
    )


@pytest.fixture
def peers():
    """Every client of a test."""
    return []


@pytest.fixture
def running(peers):
    """Run an ambassador in front of ports by name; clients leave first, unless the drain is what is tested."""

    @asynccontextmanager
    async def run(ports, *, grace=10.0, clients_stay=False, **options):
        if not isinstance(ports, dict):
            ports = {"stable": getattr(ports, "port", ports)}
        ports = {name: getattr(port, "port", port) for name, port in ports.items()}
        config = configured(ports, **options)
        context = Context(grace=grace)
        async with Ambassador(config, context) as proxy:
            yield proxy
            if not clients_stay:
                for peer in peers:
                    peer.reset()

    return run


@pytest.fixture
async def connect(peers):
    """Connect to a port."""

    async def open_one(port, **options):
        peer = Peer(*await asyncio.open_connection("127.0.0.1", getattr(port, "port", lambda: port)(), **options))
        peers.append(peer)
        return peer

    yield open_one
    for peer in peers:
        peer.writer.transport.abort()


@pytest.fixture
def ask(connect):
    """Send bytes on a connection of their own; everything that comes back until it is closed."""

    async def send(port, data):
        peer = await connect(port)
        await peer.send(data)
        try:
            return await peer.rest()
        finally:
            peer.close()

    return send


EXTENSIONS = """
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Authority:
    """Signs certificates; `ca` is the file by which it is trusted."""

    def __init__(self, folder, name="authority"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.ca, self._key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.ca, "-config", self._extensions(name, "DNS:x"),
            "-extensions", "authority",
        )  # fmt: skip

    def _extensions(self, name, names):
        path = self.folder / f"{name}.cnf"
        path.write_text("[req]\ndistinguished_name = subject\n[subject]\n" + EXTENSIONS.format(names=names))
        return path

    def sign(self, name, *, names="DNS:localhost, IP:127.0.0.1", days=10, folder=None):
        """A new key and certificate for it: files `NAME.crt` and `NAME.key`."""
        folder = Path(folder or self.folder)
        certificate, key, request = folder / f"{name}.crt", folder / f"{name}.key", self.folder / f"{name}.csr"
        openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", request,
        )  # fmt: skip
        openssl(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key, "-days", days, "-out", certificate,
            "-set_serial", int.from_bytes(name.encode()[:8], "big") + days + 1, "-extensions", "leaf",
            "-extfile", self._extensions(name, names),
        )  # fmt: skip
        return certificate, key


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """An authority that nobody else knows, for all tests that only need one."""
    return Authority(tmp_path_factory.mktemp("authority"))
