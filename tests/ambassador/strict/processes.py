"""The ambassador as a process, services that are processes, and clients that keep them busy.

What is a process can be killed, and its memory can be read.
"""

import asyncio
import json
import signal
import socket
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

SERVICE = Path(__file__).with_name("service.py")


class Process:
    """A running ambassador."""

    def __init__(self, child):
        self.child = child
        self.ports = []
        self.logs = []
        self._reading = None

    async def ready(self):
        ready = False
        while not (ready and self.ports):
            line = self._log(await self.child.stderr.readline())
            if line is None:
                raise AssertionError(self.logs)
            if line["event"] == "ambassador.listener.listening":
                self.ports.append(int(line["address"].rpartition(":")[2]))
            ready = ready or (line["event"] == "runtime.phase.entered" and line["phase"] == "ready")
        self._reading = asyncio.create_task(self._read())

    async def _read(self):
        while self._log(await self.child.stderr.readline()) is not None:
            pass

    def _log(self, line):
        """Keep a line of the log; None at its end, an empty event for what is none (a traceback)."""
        if not line:
            return None
        self.logs.append(json.loads(line) if line.startswith(b"{") else {"event": "", "text": line.decode()})
        return self.logs[-1]

    @property
    def port(self):
        return self.ports[0]

    @property
    def resident(self):
        """Bytes of memory that it holds."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    async def stop(self):
        if self.child.returncode is None:
            self.child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            code = await self.child.wait()
        if self._reading is not None:
            await self._reading
        return code


@asynccontextmanager
async def launched(folder, ambassador, **runtime):
    """Run `podpatterns run` with the `ambassador:` part of a configuration (JSON); it must end well."""
    file = folder / "ambassador.yaml"
    file.write_text(
        json.dumps({"ambassador": ambassador, "runtime": {"admin": "off", "log_format": "json", **runtime}})
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "podpatterns", "run", str(file), stderr=asyncio.subprocess.PIPE
    )
    process = Process(child)
    try:
        async with asyncio.timeout(30):
            await process.ready()
        yield process
    finally:
        code = await process.stop()
    assert code == 0, process.logs[-5:]


class Service:
    """A service that is a process of its own at a port that stays its own while it is dead."""

    def __init__(self, name, folder):
        self.name = name
        self.ledger = folder / f"{name}.ledger"
        self.ledger.touch()
        # Bound and not listening: nobody else gets the port, and whoever connects while the service is dead is refused.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port = self._place.getsockname()[1]
        self.child = None

    async def start(self):
        self.child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-S",
            str(SERVICE),
            self.name,
            str(self.port),
            str(self.ledger),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            assert await self.child.stdout.readline() == b"listening\n"

    async def kill(self):
        self.child.kill()
        await self.child.wait()

    @property
    def seen(self):
        """What it was asked for, in order: method and path of every request."""
        return self.ledger.read_text().splitlines()

    async def close(self):
        if self.child is not None and self.child.returncode is None:
            await self.kill()
        self._place.close()


class Asking:
    """Clients that ask without a pause, each on a connection that it keeps; every request has a number of its own."""

    def __init__(self, port, *, leave_after=None):
        self.port = port
        self.leave_after = leave_after
        """Requests after which a client takes another connection."""
        self.over = False
        self.statuses = Counter()
        self.bodies = Counter()
        self.broken = 0
        self.errors = Counter()
        self._number = 0

    async def client(self, method, path):
        reader = writer = None
        asked = 0
        while not self.over:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                asked = 0
            asked += 1
            self._number += 1
            length = "Content-Length: 0\r\n" if method == "POST" else ""
            writer.write(f"{method} {path}/{self._number} HTTP/1.1\r\nHost: a\r\n{length}\r\n".encode())
            try:
                async with asyncio.timeout(20):
                    head = await reader.readuntil(b"\r\n\r\n")
                    size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                    body = await reader.readexactly(size)
            except (OSError, asyncio.IncompleteReadError):
                self.broken += 1
                writer.close()
                writer = None
                continue
            status = int(head.split()[1])
            if status != 200:
                self.errors[method, body] += 1
            self.statuses[method, status] += 1
            if status == 200:
                self.bodies[body.decode()] += 1
            if b"connection: close" in head.lower() or asked == self.leave_after:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()


async def kill_at_random(services, seconds, dice):
    """Kill one service after the other, and start it again; all but one are always alive."""
    loop = asyncio.get_running_loop()
    end, kills = loop.time() + seconds, 0
    while loop.time() < end:
        victim = dice.choice(services)
        await asyncio.sleep(dice.uniform(0.3, 0.5))
        await victim.kill()
        kills += 1
        await asyncio.sleep(dice.uniform(0.0, 0.2))
        await victim.start()
    return kills
