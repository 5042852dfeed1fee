"""The ambassador as a process of its own, under load: signals and changes of its file cost no request."""

import asyncio
import signal
import sys

import pytest

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def process(tmp_path, ports, port, admin):
    file = tmp_path / "ambassador.yaml"
    write(file, ports, port, admin, {"stable": 90, "test": 10})
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "podpatterns", "run", str(file), stderr=asyncio.subprocess.PIPE
    )
    while b"runtime.phase.entered" not in (line := await child.stderr.readline()) or b"ready" not in line:
        assert line, "the process has ended"
    logs = asyncio.create_task(child.stderr.read())
    return child, file, logs


def write(file, ports, port, admin, weights):
    split = ", ".join(f"{name}: {weight}" for name, weight in weights.items())
    upstreams = "".join(f"    {name}: 127.0.0.1:{each}\n" for name, each in ports.items())
    file.write_text(
        f"ambassador:\n  listeners:\n  - listen: 127.0.0.1:{port}\n    routes: [{{name: main, split: {{{split}}}}}]\n"
        f"  upstreams:\n{upstreams}runtime: {{admin: 127.0.0.1:{admin}, reload: 50ms, log_format: json}}\n"
    )


class Load:
    """Clients that keep their connections, and take `Connection: close` for what it is."""

    def __init__(self, port):
        self.port, self.answers, self.failures, self.over = port, [], [], False

    async def client(self):
        while not self.over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                return
            try:
                last = False
                while not (last or self.over):
                    writer.write(GET)
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.answers.append((await reader.readexactly(6)).strip())
                    if b" 200 " not in head:
                        self.failures.append(head)
                    last = b"Connection: close" in head
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failures.append(error)
            finally:
                writer.close()

    async def answered(self, count):
        async with asyncio.timeout(20):
            while len(self.answers) < count:  # noqa: ASYNC110 - clients append to a list
                await asyncio.sleep(0.01)


@pytest.fixture
async def loaded(upstream, tmp_path, unused_tcp_port_factory):
    servers = {
        name: await upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" + name.encode().ljust(6))
        for name in ("stable", "test")
    }
    port, admin = unused_tcp_port_factory(), unused_tcp_port_factory()
    ports = {name: server.port for name, server in servers.items()}
    child, file, logs = await process(tmp_path, ports, port, admin)
    load = Load(port)
    clients = [asyncio.create_task(load.client()) for _ in range(16)]
    yield child, load, lambda weights: write(file, ports, port, admin, weights), clients
    load.over = True
    await asyncio.gather(*clients)
    if child.returncode is None:
        child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        await child.wait()
    await logs


async def test_sigterm_under_load(loaded):
    """Not one request is cut off: the last response on each connection says that it is the last; exit 0."""
    child, load, _, clients = loaded
    await load.answered(500)
    child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await child.wait() == 0
        await asyncio.gather(*clients)
    assert load.failures == []


async def test_a_changed_file_under_load(loaded):
    """Weights follow the file from one request to the next; a bad file changes nothing; no request fails."""
    _, load, write_weights, _ = loaded
    await load.answered(300)
    write_weights({"stable": 0, "test": 1})

    async def only(version):
        async with asyncio.timeout(20):
            while set(load.answers[-200:]) != {version}:  # noqa: ASYNC110 - clients append to a list
                await asyncio.sleep(0.01)

    await only(b"test")
    write_weights({"stable": 0, "test": 0})
    await load.answered(len(load.answers) + 500)
    assert set(load.answers[-200:]) == {b"test"}
    write_weights({"stable": 1, "test": 0})
    await only(b"stable")
    assert load.failures == []
