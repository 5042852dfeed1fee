"""Ten thousand connections that never finish what they say."""

import asyncio
import resource
import sys

from tests.ambassador.load import GET

PROCESS = True  # the loop that a process runs on: descriptors by the thousand take their time
SLOW = 10_000
CLIENTS = """
import asyncio, os, resource, socket, sys

port, count = int(sys.argv[1]), int(sys.argv[2])

async def slow(loop, room):
    sock = socket.socket()
    sock.setblocking(False)
    async with room:
        await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.sock_sendall(sock, b"GET / HTTP/1.1\\r\\nHost: a\\r\\n")
    return sock

async def main():
    loop, room = asyncio.get_running_loop(), asyncio.Semaphore(200)
    socks = await asyncio.gather(*(slow(loop, room) for _ in range(count)))
    print("open", flush=True)
    while True:  # a field every now and then, and never the end
        for sock in socks:
            try:
                sock.send(b"X: y\\r\\n")
            except OSError:
                pass
        await asyncio.sleep(1)

asyncio.run(main())
"""


async def test_slowloris(upstream, running, connect):
    """Ten thousand connections whose heads trickle: others are served as if they were not there; they get 408."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(SLOW, hard - 500)
    async with running(await upstream(), max_connections=SLOW + 100) as proxy:
        attack = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLIENTS, str(proxy.port()), str(count), stdout=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(60):
                assert await attack.stdout.readline() == b"open\n"
            loop = asyncio.get_running_loop()
            begun = loop.time()
            for _ in range(50):
                client = await connect(proxy)
                await client.send(GET)
                assert (await client.until(b"ok")).startswith(b"HTTP/1.1 200")
                client.close()
            assert loop.time() - begun < 20  # 0.1 s on an idle machine
            slow = max(proxy.listeners[0].connections, key=lambda each: each.due)
            proxy.listeners[0].sweep(slow.due)
            assert proxy.events._refusals.series[proxy.listeners[0].name, "head_timeout"] > count * 0.5
        finally:
            attack.kill()
            await attack.wait()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
