"""What a process holds of a body that one side sends faster than the other reads: a bounded part."""

import asyncio

import pytest

BODY = 200 << 20
"""Larger than what may be held by an order of magnitude, and than all the kernel's buffers on the way."""

BOUND = 20 << 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY
PIECE = b"x" * (1 << 20)


def config(port):
    return {"listeners": [{"listen": "127.0.0.1:0", "routes": [{"to": "a"}]}], "upstreams": {"a": f"127.0.0.1:{port}"}}


class Sender:
    """Writes a body as fast as it is taken; how far it has come, and whether it is stuck."""

    def __init__(self):
        self.sent = 0

    async def send(self, writer):
        while self.sent < BODY:
            writer.write(PIECE)
            await writer.drain()
            self.sent += len(PIECE)

    async def stuck(self, process):
        """Wait until nothing moves any more; the most that the process held until then."""
        most, before, still = 0, -1, 0
        while still < 5:
            await asyncio.sleep(0.05)
            most = max(most, process.resident)
            still = still + 1 if self.sent == before else 0
            before = self.sent
            if self.sent == BODY:
                break
        return most


@pytest.mark.holds("bounded bodies")
async def test_a_slow_client_on_a_fast_body(upstream, launched):
    """A client does not read its 200 MB: the ambassador stops reading as well, and holds less than 20 MB of them."""
    sender = Sender()

    async def flood(server, peer):
        await server.head(peer)
        await peer.send(HEAD)
        await sender.send(peer.writer)

    server = await upstream(flood)
    async with launched(config(server.port)) as process:
        before = process.resident
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port, limit=1 << 16)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        most = await sender.stuck(process)
        assert sender.sent < BODY
        assert most - before < BOUND
        # Once the client reads, the rest comes.
        for _ in range(50):
            await reader.readexactly(1 << 20)
        assert process.resident - before < BOUND
        writer.transport.abort()


@pytest.mark.holds("bounded bodies")
async def test_a_slow_upstream_on_a_fast_upload(upstream, launched):
    """The same for an upload of 200 MB to an upstream that does not read."""
    sender, go, answered = Sender(), asyncio.Event(), asyncio.Event()

    async def lazy(server, peer):
        await server.head(peer)
        peer.writer.transport.pause_reading()
        await go.wait()
        peer.writer.transport.resume_reading()
        for _ in range(50):
            await peer.reader.readexactly(1 << 20)
        await peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await answered.wait()  # a close with bytes unread is a reset, which may overtake the answer

    server = await upstream(lazy)
    async with launched(config(server.port)) as process:
        before = process.resident
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % BODY)
        sending = asyncio.create_task(sender.send(writer))
        most = await sender.stuck(process)
        assert sender.sent < BODY
        assert most - before < BOUND
        go.set()
        async with asyncio.timeout(30):
            assert (await reader.readuntil(b"big")).startswith(b"HTTP/1.1 413 ")
        answered.set()
        assert process.resident - before < BOUND
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.transport.abort()
