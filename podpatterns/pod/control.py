"""The run's socket: `pod status`, `logs`, `exec`, `kill` and `explain` in another terminal ask and tell it things.

It lies in the run's own folder, which only its owner may enter, so whoever can connect may do as the owner may. One
connection carries one request, a line of JSON with its `verb`; the answer is a line of JSON, `{"error": …}` if it is
refused; behind that of `logs` follow the lines of the log.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from podpatterns.errors import PodpatternsError
from podpatterns.pod import live, waiting
from podpatterns.pod.events import What
from podpatterns.pod.runner import PodRunner
from podpatterns.pod.session import Session

REQUEST_LIMIT = 1 << 20
"""Bytes of a request: a command of `pod exec` may be long."""
PATIENCE = 5.0
"""Seconds that a connection has for its request."""
_BATCH = 500


class Refused(PodpatternsError):  # noqa: N818 - what happened to the request
    """The message is for the person who has asked."""


Request = dict[str, Any]


class Control:
    """Answers requests about the pods of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked: set[asyncio.Task[None]] = set()
        self._verbs: dict[str, Callable[[Request], dict[str, Any]]] = {
            "pods": self._pods,
            "status": self._status,
            "explain": self._explain,
            "exec": self._exec,
            "kill": self._kill,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._asked.add(task)
        try:
            async with asyncio.timeout(PATIENCE):
                line = await reader.readline()
            if line:
                await self._answer(line, writer)
        except (TimeoutError, OSError, ValueError):
            pass  # the other side has gone, or has nothing to say
        finally:
            self._asked.discard(task)
            writer.close()

    async def close(self) -> None:
        """Leave whoever still listens."""
        asked = list(self._asked)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        request = json.loads(line)
        rest: Callable[[asyncio.StreamWriter], Awaitable[None]] | None = None
        try:
            if request["verb"] == "logs":
                answer, rest = {}, self._logs(request)
            else:
                answer = self._verbs[request["verb"]](request)
        except Refused as error:
            answer = {"error": str(error)}
        except (KeyError, TypeError):
            answer = {"error": "the two ends speak different versions of podpatterns; use the same for both"}
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        if rest is not None:
            await rest(writer)

    # --- verbs ----------------------------------------------------------------------------------------------------

    def _runner(self, request: Request) -> PodRunner:
        for runner in self._session.runners:
            if runner.spec.name == request["pod"]:
                return runner
        raise Refused(f'there is no pod "{request["pod"]}" here')

    def _pods(self, _request: Request) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "pods": [
                {
                    "name": runner.spec.name,
                    "file": None if runner.spec.file is None else str(Path(runner.spec.file).resolve()),
                    "containers": [[container.name, container.kind.value] for container in runner.spec.containers],
                }
                for runner in self._session.runners
            ],
        }

    def _status(self, request: Request) -> dict[str, Any]:
        return {"document": self._runner(request).status()}

    def _explain(self, request: Request) -> dict[str, Any]:
        return live.standing(self._runner(request))

    def _exec(self, request: Request) -> dict[str, Any]:
        runner, name = self._runner(request), request["container"]
        plan = runner.inside(name, request["command"])
        if plan is None:
            raise Refused(f"{runner.spec.name}/{name} is not running: {waiting.why(runner.pod, name, runner.now)}")
        return {"plan": dataclasses.asdict(plan)}

    def _kill(self, request: Request) -> dict[str, Any]:
        runner, name, number = self._runner(request), request["container"], request["signal"]
        if not runner.signal(name, number):
            raise Refused(f"{runner.spec.name}/{name} is not running: {waiting.why(runner.pod, name, runner.now)}")
        self._session.timeline.tell(runner.spec.name, name, What.SIGNALLED, f"{signal.Signals(number).name}, by hand")
        return {}

    def _logs(self, request: Request) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
        runner, name = self._runner(request), request["container"]
        log = runner.logs.find(name, previous=request["previous"])
        if log is None:
            who = f"{runner.spec.name}/{name}"
            if request["previous"]:
                raise Refused(f"{who} has not been restarted, so there is no previous run")
            raise Refused(f"{who} has written nothing: {waiting.why(runner.pod, name, runner.now)}")

        async def send(writer: asyncio.StreamWriter) -> None:
            with log.reading() as reading:
                await _send(writer, _chosen(reading.lines(), request), timestamps=request["timestamps"])
                if request["follow"]:
                    async for lines in reading.follow():
                        await _send(writer, lines, timestamps=request["timestamps"])

        return send


def _chosen(lines: Iterable[bytes], request: Request) -> Iterable[bytes]:
    if request["since"] is not None:
        first = (datetime.now(UTC) - timedelta(seconds=request["since"])).isoformat(timespec="microseconds").encode()
        lines = (line for line in lines if line[:26] >= first[:26])
    return lines if request["tail"] is None else deque(lines, maxlen=request["tail"])


async def _send(writer: asyncio.StreamWriter, lines: Iterable[bytes], *, timestamps: bool) -> None:
    """Lines of the CRI's format, `time stream F text`, in batches, so that the run goes on in between."""
    batch = []
    for line in lines:
        time, _stream, _whole, text = line.split(b" ", 3)
        batch.append(time + b" " + text if timestamps else text)
        if len(batch) >= _BATCH:
            writer.write(b"\n".join(batch) + b"\n")
            await writer.drain()
            batch.clear()
    if batch:
        writer.write(b"\n".join(batch) + b"\n")
        await writer.drain()


@asynccontextmanager
async def serving(session: Session) -> AsyncIterator[Control]:
    """Answer at the run's socket."""
    control = Control(session)
    listener = listen(session.workspace.control)
    server = await asyncio.start_unix_server(control.serve, sock=listener, limit=REQUEST_LIMIT)
    try:
        yield control
    finally:
        server.close()
        await control.close()


def listen(path: Path) -> socket.socket:
    """A listening unix socket. A path may be longer than the 108 bytes of an address, so it is named by its folder."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(folder)
    return listener
