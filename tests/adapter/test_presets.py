"""Laws of the inputs that ask servers for their own figures; with real servers where they are installed."""

from __future__ import annotations

import asyncio
import inspect
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.fetching import SourceConfig
from podpatterns.adapter.inputs import InputConfig
from podpatterns.adapter.inputs.apache import ApacheConfig
from podpatterns.adapter.inputs.nginx import NginxConfig
from podpatterns.adapter.inputs.redis import RedisConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.formats.prometheus import parse
from podpatterns.runtime.components import load_all, slot_of
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse as yaml
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address, Duration, SecretFile, Url
from tests.adapter.test_real_prometheus import free_port
from tests.formats.test_server_status import APACHE, NGINX, REDIS

Answer = Callable[[bytes], bytes]


async def asked(source: InputConfig) -> dict[str, float]:
    page = PrometheusConfig(listen=Address("127.0.0.1:0"), final_scrape=Duration("0s"))
    async with Adapter(AdapterConfig(inputs=[source], outputs=[page], own_metrics=False)) as adapter:
        return {
            family.name + text: value
            for family in parse(await adapter.page())
            for text, value in zip(family.blocks, family.values, strict=True)
        }


async def serving(answer: Answer) -> tuple[asyncio.Server, str]:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(await reader.read(65_536)))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    return server, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(text: str, status: str = "200 OK") -> Answer:
    return lambda _: f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()


@pytest.mark.parametrize(("config", "text"), [(NginxConfig, NGINX), (ApacheConfig, APACHE)])
async def test_status_pages_are_read(config: type, text: str) -> None:
    """The figures with the source's labels, and that it is up; another page or status is down, and nothing else."""
    name = config.__name__.removesuffix("Config").lower()
    for answer, up in ((http(text), 1), (http("<html>"), 0), (http(text, "403 Forbidden"), 0)):
        server, address = await serving(answer)
        found = await asked(config(url=Url(f"http://{address}/"), labels={"at": "x"}))
        assert found[f'{name}_up{{at="x"}}'] == up
        assert (len(found) > 5) == up
        assert all('at="x"' in each for each in found)
        server.close()
        await server.wait_closed()


async def test_redis_is_asked(tmp_path: Path) -> None:
    """INFO, with AUTH before it where there is a password; errors and nonsense mean that it is down."""
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    seen: list[bytes] = []

    def info(request: bytes) -> bytes:
        seen.append(request)
        return b"+OK\r\n$%d\r\n%s\r\n" % (len(REDIS), REDIS.encode())

    async def down(answer: Answer) -> float:
        server, address = await serving(answer)
        found = await asked(RedisConfig(address=Address(address)))
        server.close()
        assert set(found) == {"redis_up"}
        return found["redis_up"]

    server, address = await serving(info)
    found = await asked(RedisConfig(address=Address(address), password=SecretFile(str(password)), user="me"))
    server.close()
    assert found["redis_up"] == 1
    assert found["redis_connected_clients"] == 1
    assert seen == [b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$6\r\ns3cret\r\n*2\r\n$4\r\nINFO\r\n$3\r\nall\r\n"]
    for answer in (b"-NOAUTH no\r\n", b"", b"what?\r\n", b"+OK\r\n"):
        assert await down(lambda _, answer=answer: answer) == 0  # type: ignore[misc]


SOURCES = [cls for cls in load_all(slot_of(InputConfig)) if issubclass(cls, SourceConfig)]


@pytest.mark.parametrize("cls", SOURCES, ids=[cls.__name__ for cls in SOURCES])
def test_every_source_is_of_this_pod_unless_the_file_says_otherwise(cls: type[SourceConfig]) -> None:
    """Whatever asks somebody: another host is refused with what to do, and allowed by one word."""
    config = decode(yaml(inspect.cleandoc(cls.EXAMPLE))[0], InputConfig)
    assert isinstance(config, cls)
    field, elsewhere = ("url", Url("http://example.com/")) if hasattr(config, "url") else ("address", Address("b.c:1"))
    with pytest.raises(ValueError, match="remote: true"):
        msgspec.structs.replace(config, **{field: elsewhere})
    msgspec.structs.replace(config, **{field: elsewhere}, remote=True)


async def test_two_sources_of_a_kind_are_told_apart() -> None:
    """By their labels, which say of each whether it is up; two that say the same are refused before they start."""

    def config(*labels: dict[str, str]) -> AdapterConfig:
        page = PrometheusConfig(listen=Address("127.0.0.1:0"), final_scrape=Duration("0s"))
        port = free_port()
        sources: list[InputConfig] = [RedisConfig(address=Address(f"127.0.0.1:{port}"), labels=each) for each in labels]
        return AdapterConfig(inputs=sources, outputs=[page], own_metrics=False)

    async with Adapter(config({"instance": "a"}, {"instance": "b"})) as adapter:
        found = [text for family in parse(await adapter.page()) for text in family.blocks]
    assert found == ['{instance="a"}', '{instance="b"}']
    with pytest.raises(InvalidField, match='second source called "redis"; give it labels'):
        config({}, {})


def test_redis_is_at_a_port() -> None:
    """Where none is named, nobody could be asked."""
    with pytest.raises(ValueError, match="port"):
        RedisConfig(address=Address("127.0.0.1:0"))


@pytest.mark.e2e
async def test_a_real_redis_and_a_real_nginx(tmp_path: Path) -> None:
    """Both answer (Debian's packages)."""
    redis, nginx = free_port(), free_port()
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;\n"
        f"fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n"
        f"server {{ listen 127.0.0.1:{nginx}; location /stub_status {{ stub_status; }} }} }}\n"
    )
    commands = [
        ("redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)),
        ("nginx", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path), "-e", "stderr"),
    ]
    processes = []
    for program, *arguments in commands:
        path = shutil.which(program, path="/usr/sbin:/usr/bin")
        assert path, f"there is no {program}; it is in Debian's package"
        with (tmp_path / "log").open("ab") as log:
            processes.append(await asyncio.create_subprocess_exec(path, *arguments, stdout=log, stderr=log))
    try:
        sources = {
            "redis_up": RedisConfig(address=Address(f"127.0.0.1:{redis}")),
            "nginx_up": NginxConfig(url=Url(f"http://127.0.0.1:{nginx}/stub_status")),
        }
        async with asyncio.timeout(20):
            for name, source in sources.items():
                while not (found := await asked(source))[name]:  # noqa: ASYNC110 - the server has no event
                    await asyncio.sleep(0.05)
                assert found.get("redis_connected_clients", found.get("nginx_connections_active")) == 1
    finally:
        for process in processes:
            process.terminate()
            await process.wait()
