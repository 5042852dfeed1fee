"""What tests share that count lines: writers that number them, a receiver that keeps the set, a sidecar's process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CONFIG = """
sidecar:
  inputs: [{tail}]
  transforms: [{transforms}]
  outputs: [{output}]
  checkpoint: {directory}/state/checkpoint
  linger: 10ms
  retry_cap: 200ms
  {more}
runtime: {{admin: "127.0.0.1:{port}", reload: 0s, log_format: json, grace: {grace}}}
"""


class Receiver:
    """Takes NDJSON over HTTP while it is `up`, and answers 503 while it is not; counts the messages."""

    def __init__(self) -> None:
        self.quota: int | None = None
        """How many more deliveries are taken; None for all of them."""
        self.up = threading.Event()
        self.up.set()
        self.refused = threading.Event()
        self.messages: Counter[str] = Counter()
        self.largest = 0
        """Messages of the largest delivery."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closing = False
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        with socket.create_connection(self._listener.getsockname()):
            pass
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing:
            connection, _ = self._listener.accept()
            thread = threading.Thread(target=self._talk, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(30)
        with connection, connection.makefile("rb") as stream:
            try:
                while stream.readline():
                    length = 0
                    while (line := stream.readline()) not in {b"\r\n", b""}:
                        if line.lower().startswith(b"content-length:"):
                            length = int(line[15:])
                    self._take(connection, stream.read(length))
            except OSError:
                return  # killed

    def _take(self, connection: socket.socket, body: bytes) -> None:
        if not self.up.is_set() or self.quota == 0:
            self.refused.set()
            connection.sendall(b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n")
            return
        if self.quota is not None:
            self.quota -= 1
        messages = [json.loads(line).get("message") for line in body.split(b"\n")[:-1]]
        self.largest = max(self.largest, len(messages))
        self.messages.update(messages)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    def wait_for(self, count: int, seconds: float = 60.0) -> None:
        """Until so many different messages are there."""
        until(lambda: len(self.messages) >= count, seconds, lambda: f"{len(self.messages)} of {count} messages")


class Shipper:
    """A sidecar in a process of its own; `events` is what it has logged, over all its lives."""

    def __init__(self, directory: Path, output: str, **more: str) -> None:
        self.directory = directory
        self.log = directory / "log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        settings = {
            "tail": f'{{type: tail, paths: ["{directory}/logs/*.log"]}}',
            "transforms": "",
            "more": "",
            "grace": "25s",
            **more,
        }
        self.config = directory / "sidecar.yaml"
        self.config.write_text(CONFIG.format(directory=directory, output=output, port=self.port, **settings))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, before: str = "", ready: bool = True, **more: Any) -> Self:
        """Run it; `before` is Python that is run in the process first."""
        command = ["run", str(self.config)]
        program = f"{before}\nimport sys\nfrom podpatterns.cli import main\nsys.argv[1:] = {command}\nmain()"
        known = len(self.events("runtime.phase.entered"))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", program], stderr=log, **more)
        if ready:
            until(lambda: len(self.events("runtime.phase.entered")) > known, 30, self.text)
        return self

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [line for line in self.text().split("\n")[:-1] if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def peak(self) -> int:
        """Bytes of memory that it has taken at most."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self, seconds: float = 30.0) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


def until(done: Callable[[], bool], seconds: float, said: Callable[[], str] = str) -> None:
    """Ask again and again; what others do has no event here."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, said()
        os.sched_yield()
        time.sleep(0.01)
