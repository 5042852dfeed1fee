"""The ambassador as a process, and services that are processes: they can be killed, and their memory can be read."""

import asyncio
import json
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

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


@pytest.fixture
def launched(tmp_path):
    """Run `podpatterns run` with the `ambassador:` part of a configuration (JSON); it must end well."""

    @asynccontextmanager
    async def launch(ambassador, **runtime):
        file = tmp_path / "ambassador.yaml"
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

    return launch


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


@pytest.fixture
async def service(tmp_path):
    """Start a service by name."""
    started = []

    async def start(name):
        made = Service(name, tmp_path)
        started.append(made)
        await made.start()
        return made

    yield start
    for each in started:
        await each.close()
