"""Connections that are carried across networks: whoever waits is served, and nobody else's trouble ends it."""

import asyncio
import resource
import socket

from podpatterns.pod import forwarding
from podpatterns.pod.forwarding import forward


async def test_who_comes_when_no_descriptor_is_left_waits_for_one(monkeypatch):
    """The forwarder lives on, and with it the run that it belongs to."""
    monkeypatch.setattr(forwarding, "PAUSE", 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def dial(_near):
        far, other = socket.socketpair()
        other.sendall(b"served")
        other.close()
        far.setblocking(False)  # noqa: FBT003 - takes no keyword
        return far

    listening = socket.create_server(("127.0.0.1", 0))
    with socket.create_connection(listening.getsockname()) as waiting:
        waiting.setblocking(False)  # noqa: FBT003 - takes no keyword
        forwarder = asyncio.create_task(forward(listening, dial))
        with socket.socket() as next_one:
            free = next_one.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            for _ in range(5):
                await asyncio.sleep(0)
            assert not forwarder.done()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().sock_recv(waiting, 9) == b"served"
    forwarder.cancel()
    await asyncio.wait([forwarder])
