"""Clients that ask without pause and count what fails."""

import asyncio

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Load:
    """One client that keeps its connection, as every HTTP library does it.

    It takes `Connection: close` for what it is; a connection that was closed before a byte of the response came, and
    had carried a request before, is replaced, and the request sent again. Everything else is a failure; a refused
    connection is the end.
    """

    def __init__(self, port):
        self.port, self.answers, self.failures, self.over = port, [], [], False

    async def ask_on(self):
        while not self.over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                return
            used = False
            try:
                while not self.over:
                    writer.write(GET)
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.answers.append((await reader.readexactly(6)).decode().strip())
                    used = True
                    if not head.startswith(b"HTTP/1.1 200"):
                        self.failures.append(head)
                    if b"Connection: close" in head:
                        break
            except (OSError, asyncio.IncompleteReadError) as error:
                if not used or getattr(error, "partial", reader._buffer):
                    self.failures.append((error, "in the middle" if used else "on a new connection"))
            finally:
                writer.transport.abort()


class Crowd:
    """Several of them."""

    def __init__(self, *ports, each=4):
        self.clients = [Load(port) for port in ports for _ in range(each)]
        self.tasks = [asyncio.create_task(client.ask_on()) for client in self.clients]

    @property
    def answers(self):
        return sum(len(client.answers) for client in self.clients)

    @property
    def failures(self):
        return [failure for client in self.clients for failure in client.failures]

    async def more(self, count):
        """Wait until so many more have been answered."""
        wanted = self.answers + count
        async with asyncio.timeout(30):
            while self.answers < wanted:  # noqa: ASYNC110 - clients count
                await asyncio.sleep(0.002)

    async def leave(self):
        for client in self.clients:
            client.over = True
        await self.gone()

    async def gone(self):
        async with asyncio.timeout(30):
            await asyncio.gather(*self.tasks)
