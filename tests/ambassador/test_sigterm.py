"""SIGTERM while clients come and go without pause: whoever has got a connection gets an answer."""

import asyncio
import signal
import sys

import pytest

PROCESS = True
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
LISTENERS = {
    "http": "{listen: 127.0.0.1:%d, routes: [{to: stable}]}",
    "tcp": "{type: tcp, listen: 127.0.0.1:%d, to: stable}",
}


class Comers:
    """Clients that take a new connection for each request."""

    def __init__(self, port, each=8):
        self.port, self.answers, self.failures, self.refused = port, 0, [], 0
        self.tasks = [asyncio.create_task(self.come_on()) for _ in range(each)]

    async def come_on(self):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                self.refused += 1
                return
            try:
                writer.write(GET)
                async with asyncio.timeout(20):
                    head = await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(2)
                if not head.startswith(b"HTTP/1.1 200"):
                    self.failures.append(head)
                self.answers += 1
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.failures.append(error)
            finally:
                writer.close()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", LISTENERS)
async def test_new_connections(upstream, tmp_path, unused_tcp_port, kind, workers):
    """Not one of them is reset, neither in the queue nor on the way there; later ones are refused; exit 0."""

    async def handle(server, peer):
        await server.head(peer)
        await peer.send(ANSWER)

    server = await upstream(handle)
    file = tmp_path / "ambassador.yaml"
    file.write_text(
        f"ambassador:\n  workers: {workers}\n  listeners: [{LISTENERS[kind] % unused_tcp_port}]\n"
        f"  upstreams: {{stable: {{addresses: [127.0.0.1:{server.port}]}}}}\n"
        "runtime: {admin: 'off', log_level: warning, grace: 15s}\n"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "podpatterns", "run", str(file))
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                break
    comers = Comers(unused_tcp_port)
    async with asyncio.timeout(30):
        while comers.answers < 300:  # noqa: ASYNC110 - clients count
            await asyncio.sleep(0.01)
        child.send_signal(signal.SIGTERM)
        assert await child.wait() == 0
        await asyncio.gather(*comers.tasks)
    assert comers.failures == []
    assert comers.refused == len(comers.tasks)
