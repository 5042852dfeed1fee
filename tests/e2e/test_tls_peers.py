"""TLS with servers of others: nginx and HAProxy as upstreams that want a certificate, Redis behind a TCP listener."""

import asyncio
import socket
import subprocess
from contextlib import asynccontextmanager

import aiohttp
import pytest

from podpatterns import Ambassador, AmbassadorConfig
from podpatterns.ambassador.listeners.http import HttpConfig
from podpatterns.ambassador.listeners.tcp import TcpConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.ambassador.tls import TlsConfig
from podpatterns.ambassador.upstreams.hosts import HostsConfig
from podpatterns.runtime.service import Context
from podpatterns.runtime.units import Address, SecretFile
from tests.ambassador.conftest import Authority

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/server.crt; ssl_certificate_key {folder}/server.key;
    ssl_client_certificate {ca}; ssl_verify_client on; keepalive_requests 20; keepalive_timeout 1s;
    location / {{ return 200 "$ssl_client_s_dn\\n"; }}
  }}
}}
"""
HAPROXY = """
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend secured
  bind 127.0.0.1:{port} ssl crt {folder}/server.pem ca-file {ca} verify required
  http-request return status 200
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture
def authority(tmp_path):
    """An authority, with the files of the server and of the client in its folder."""
    made = Authority(tmp_path)
    for name in ("server", "client"):
        made.sign(name)
    (tmp_path / "server.pem").write_text((tmp_path / "server.crt").read_text() + (tmp_path / "server.key").read_text())
    return made


@asynccontextmanager
async def serving(*command, port):
    """A server of others, from when it accepts connections."""
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield process
    finally:
        process.terminate()
        await process.wait()


def mutual(authority):
    folder = authority.folder
    return TlsConfig(
        ca=str(authority.ca), certificate=str(folder / "client.crt"), key=SecretFile(str(folder / "client.key"))
    )


def proxied(port, tls, listener=None):
    listener = listener or HttpConfig(listen=Address("127.0.0.1:0"), routes=(RouteConfig(to="far"),))
    hosts = HostsConfig(addresses=(Address(f"127.0.0.1:{port}"),), tls=tls)
    return Ambassador(AmbassadorConfig(listeners=(listener,), upstreams={"far": hosts}), Context(grace=5.0))


async def test_nginx_is_asked_without_a_failure_while_certificates_are_renewed(authority, monkeypatch):
    """It ends connections after 20 requests and after a second without any; our certificate is replaced three times."""
    monkeypatch.setattr("podpatterns.ambassador.tls.LOOK", 0.1)
    port, folder = free_port(), authority.folder
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, ca=authority.ca))
    async with (
        serving("nginx", "-c", folder / "nginx.conf", port=port),
        proxied(port, mutual(authority)) as proxy,
        aiohttp.ClientSession(proxy.url) as session,
    ):
        seen, clock = set(), asyncio.get_running_loop().time
        until = clock() + 5

        async def ask_on(pause):
            while clock() < until:
                async with session.get("/") as answer:
                    assert answer.status == 200
                    seen.add((await answer.text()).strip())
                await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as tasks:
            for pause in (0.0, 0.001, 0.3, 1.0, 1.1):
                tasks.create_task(ask_on(pause))
            for days in (11, 12, 13):
                await asyncio.sleep(1)
                await asyncio.to_thread(authority.sign, "client", days=days)
        assert seen == {"CN=client"}
        value = proxy.context.telemetry.registry.get_sample_value
        taken = {"version": "far", "what": "tls", "outcome": "taken"}
        assert value("podpatterns_ambassador_rotations_total", taken) == 3
        assert proxy.events.failures == 0


async def test_haproxy_says_what_it_wants(authority):
    """A refusal after the handshake, as TLS 1.3 has it, is explained in terms of the configuration."""
    port, folder = free_port(), authority.folder
    (folder / "haproxy.cfg").write_text(HAPROXY.format(folder=folder, port=port, ca=authority.ca))
    async with serving("haproxy", "-f", folder / "haproxy.cfg", port=port):
        for tls, status in ((mutual(authority), 200), (TlsConfig(ca=str(authority.ca)), 502)):
            async with (
                proxied(port, tls) as proxy,
                aiohttp.ClientSession(proxy.url) as session,
                session.get("/") as answer,
            ):
                assert answer.status == status
                text = await answer.text()
        assert "it asks for a certificate of ours; set tls.certificate and tls.key (tls_failure)" in text


async def test_redis_is_reached_in_tls_by_a_client_that_speaks_plain_text(authority):
    """What begins with TLS needs nothing but a TCP listener."""
    port, folder = free_port(), authority.folder
    command = (
        "redis-server", "--port", 0, "--tls-port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder,
        "--tls-cert-file", folder / "server.crt", "--tls-key-file", folder / "server.key", "--tls-ca-cert-file",
        authority.ca,
    )  # fmt: skip
    listener = TcpConfig(listen=Address("127.0.0.1:0"), to="far")
    async with serving(*command, port=port), proxied(port, mutual(authority), listener) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port())
        writer.write(b"SET key value\r\nGET key\r\nQUIT\r\n")
        async with asyncio.timeout(10):
            assert await reader.read() == b"+OK\r\n$5\r\nvalue\r\n+OK\r\n"
        writer.close()
