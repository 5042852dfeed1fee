"""A process of a container, from its launch to its last line of output.

Every process is forked by the node, as a child of ours and in a session of its own, and is watched by a pidfd: no
threads, and no signal can reach a process that has taken over a process id.
"""

from __future__ import annotations

import asyncio
import dataclasses
import marshal
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from podpatterns.errors import PodpatternsError
from podpatterns.pod.node.client import Node, NodeError, program

LINE_LIMIT = 16 * 1024
"""Bytes after which a line of output is cut in two, as container runtimes do (CRI: 16 KiB)."""
LAST_OUTPUT = 0.5
"""Seconds to wait for the pipes' end after the container's: a process that it left behind may hold them."""

OnLine = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str = "/"
    mounts: Sequence[tuple[str, str, bool]] = ()
    """(target, source, read-only); they need a `root`."""
    root: str | None = None
    """An empty folder, over which the process gets mounts of its own; None: this machine's files as they are."""
    processes: bool | int = False
    """True: in a PID namespace of its own; a number: in that of this process."""
    pod: str | None = None
    """The pod on whose network it is; None: on this machine's."""
    enter: int | None = None
    """The process whose namespaces and root are joined instead of all that."""


def no_handler(pid: int, number: int) -> bool:
    """Whether a process leaves a signal to its default action (proc(5): SigBlk, SigIgn, SigCgt)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    held = dict(line.split(":\t", 1) for line in lines if line.startswith("Sig"))
    return not any(int(held.get(name, "0"), 16) >> (number - 1) & 1 for name in ("SigBlk", "SigIgn", "SigCgt"))


class LaunchFailed(PodpatternsError):  # noqa: N818 - what happened to the launch
    """The command did not come to run; `stage` is the launcher's (namespace, mount, enter, workingDir, command)."""

    def __init__(self, stage: str, message: str) -> None:
        self.stage = stage
        super().__init__(message)


class Process:
    """A running process. `ended` gives its exit code (128 + n for signal n) after its output has been read."""

    def __init__(self, pid: int, pipes: list[_Pipe]) -> None:
        self.pid = pid
        # Ours, so its number is its own until we have waited for it.
        self._pidfd: int | None = os.pidfd_open(pid)
        self._pipes = pipes
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._tail: asyncio.Task[None] | None = None
        self._loop.add_reader(self._pidfd, self._exited)

    @classmethod
    async def start(cls, node: Node, plan: Plan, on_line: OnLine) -> Process:
        """Start it, and return when its command runs. Raises LaunchFailed."""
        status, outputs = os.pipe(), {"stdout": os.pipe(), "stderr": os.pipe()}
        writers = (*(writer for _, writer in outputs.values()), status[1])
        asked = asyncio.ensure_future(node.ask("launch", *writers, plan=dataclasses.asdict(plan)))
        cancelled = False
        while not asked.done():
            try:
                await asyncio.wait([asked])
            except asyncio.CancelledError:  # some milliseconds more: a child must not be lost
                cancelled = True
        for writer in writers:
            os.close(writer)
        pid, failure = _launched(asked)
        if not pid:
            for reader in (status[0], *(reader for reader, _ in outputs.values())):
                os.close(reader)
            if cancelled:
                raise asyncio.CancelledError
            raise _failed(failure)
        process = cls(pid, [_Pipe(reader, stream, on_line) for stream, (reader, _) in outputs.items()])
        if cancelled:
            os.close(status[0])
            process.kill()
            raise asyncio.CancelledError
        try:
            failure = (await _Pipe.whole(status[0])).decode("utf-8", "replace")
        except asyncio.CancelledError:
            process.kill()
            raise
        if failure:
            await process.ended
            raise _failed(failure)
        return process

    def signal(self, number: int) -> None:
        """Send a signal to the main process; nothing happens if it has ended.

        SIGSTOP and SIGCONT go to its whole group, so that a container that hangs hangs as a whole.
        """
        if self._pidfd is not None and number in (signal.SIGSTOP, signal.SIGCONT):
            os.killpg(self.pid, number)
        elif self._pidfd is not None:
            signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        if self._pidfd is not None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has no group yet, or has died before it had one
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _exited(self) -> None:
        assert self._pidfd is not None
        self._loop.remove_reader(self._pidfd)
        # It is still a zombie, so its group's number is its own: on a cluster, its children would end with it.
        self.kill()
        os.close(self._pidfd)
        self._pidfd = None
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._tail = self._loop.create_task(self._finish(code if code >= 0 else 128 - code))

    async def _finish(self, code: int) -> None:
        try:
            async with asyncio.timeout(LAST_OUTPUT):
                for pipe in self._pipes:
                    await pipe.closed
        except TimeoutError:
            pass  # somebody in another session holds them; nothing of the container itself is missing
        finally:
            for pipe in self._pipes:
                pipe.close()
            if not self.ended.done():
                self.ended.set_result(code)


def _launched(asked: asyncio.Future[int]) -> tuple[int, str]:
    """The number of a process that has been launched, or 0 and the reason."""
    try:
        return asked.result(), ""
    except NodeError as error:
        return 0, str(error)


def _failed(said: str) -> LaunchFailed:
    stage, _, message = said.partition(": ")
    return LaunchFailed(stage, message)


class _Pipe:
    """Reads a pipe and cuts it into lines."""

    def __init__(self, descriptor: int, stream: str, on_line: OnLine) -> None:
        self._descriptor: int | None = descriptor
        self._stream = stream
        self._on_line = on_line
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._readable)

    @classmethod
    async def whole(cls, descriptor: int) -> bytes:
        """Everything up to the end of a pipe, in one piece."""
        parts: list[str] = []
        pipe = cls(descriptor, "", lambda _stream, line: parts.append(line))
        try:
            await pipe.closed
        finally:
            pipe.close()
        return "\n".join(parts).encode()

    def _readable(self) -> None:
        assert self._descriptor is not None
        try:
            data = os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._pass_on(line)
        while len(rest) > LINE_LIMIT:
            self._pass_on(rest[:LINE_LIMIT])
            rest = rest[LINE_LIMIT:]
        self._rest = rest

    def _pass_on(self, line: bytes) -> None:
        self._on_line(self._stream, line.removesuffix(b"\r").decode("utf-8", "replace"))

    def close(self) -> None:
        """Read no further."""
        if self._descriptor is None:
            return
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = None
        if self._rest:
            self._pass_on(self._rest)
            self._rest = b""
        if not self.closed.done():
            self.closed.set_result(None)


def attached(plan: Plan) -> int:
    """Run a command with this process's own input, output and terminal; its exit code. Raises LaunchFailed."""
    read_status, write_status = os.pipe()
    order = os.memfd_create("plan", 0)
    try:
        os.write(order, marshal.dumps((dataclasses.asdict(plan), write_status)))
        os.lseek(order, 0, os.SEEK_SET)
        child = subprocess.Popen(  # noqa: S603 - running what the person says is the point
            program("entering", order), pass_fds=(write_status, order), env=dict(plan.env)
        )
    finally:
        os.close(order)
        os.close(write_status)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the command's affair
    try:
        with os.fdopen(read_status, "rb") as status:
            failure = status.read().decode("utf-8", "replace")
        code = child.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    if failure:
        raise _failed(failure)
    return code if code >= 0 else 128 - code


async def run(
    node: Node,
    plan: Plan,
    timeout: float,  # noqa: ASYNC109 - kills what has not ended by then
) -> tuple[int, str]:
    """Run a command to its end; its exit code and the beginning of what it wrote. Raises LaunchFailed, TimeoutError."""
    lines: list[str] = []

    def keep(_stream: str, line: str) -> None:
        if len(lines) < 20:
            lines.append(line)

    process: Process | None = None
    try:
        async with asyncio.timeout(timeout):
            process = await Process.start(node, plan, keep)
            code = await asyncio.shield(process.ended)
    finally:
        if process is not None:
            process.kill()
    return code, "; ".join(line for line in lines if line.strip())[:500]
