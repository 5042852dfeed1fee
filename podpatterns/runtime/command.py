"""Running other programs: never left behind, never waited for without limit, their output kept within bounds.

A program runs in a process group of its own. Whatever ends this task (a time limit, SIGTERM, an error) ends the
group: SIGTERM first, SIGKILL when that is not heeded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from podpatterns.errors import PodpatternsError

TERM_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL; git and most tools remove their temporary files in less."""

REAPS = 100
"""Looks, a hundredth of a second apart, for killed processes to be gone; it takes a few unless the machine is stuck."""

HELD = 1.0
"""Seconds that we wait for the end of the output when the program has ended: what it has started in a session of its
own can hold the pipes open for ever."""

KEPT = 64 * 1024
"""Bytes of output that are kept, the last ones: the reason of a failure stands at the end."""


class NotRunnable(PodpatternsError):  # noqa: N818 - named after the program
    """The program is missing or may not be executed."""


class TimedOut(PodpatternsError):  # noqa: N818 - named after the program
    """The program did not end within its time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program left: its exit code (negative: the signal that ended it), and the end of what it wrote."""

    code: int
    output: str
    errors: str

    @property
    def last_line(self) -> str:
        """The last line that says something, of the errors first: what to show as the reason of a failure."""
        lines = [line.strip() for text in (self.output, self.errors) for line in text.splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it wrote nothing"

    @property
    def ending(self) -> str:
        """How it ended, for people."""
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            return f"ended by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"ended by signal {-self.code}"


async def execute(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    limit: float | None = None,
    pass_fds: Sequence[int] = (),
) -> Outcome:
    """Run a program to its end, within `limit` seconds (None: the caller's own).

    `pass_fds` stay open in it, so that a lock on one of them lives as long as the program does, even if
    this process is killed.

    Raises:
        NotRunnable: it is missing or may not be executed.
        TimedOut: it was ended because its time was over.
    """
    async with _pipe() as (out, output), _pipe() as (err, errors):
        try:
            process = await _start(
                argv, env=None if env is None else dict(env), cwd=cwd, stdout=out, stderr=err, pass_fds=pass_fds
            )
        except OSError as error:
            if cwd is not None and not Path(cwd).is_dir():  # noqa: ASYNC240 - a look at one name
                raise NotRunnable(f"the working directory {cwd} does not exist") from None
            raise NotRunnable(f"{argv[0]} cannot be run: {error.strerror or error}") from None
        finally:
            out.close()
            err.close()
        try:
            async with asyncio.timeout(limit):
                code = await process.wait()
        except TimeoutError:
            raise TimedOut(f"{Path(argv[0]).name} was ended after {limit:g} s") from None
        finally:
            await _end_group(process)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HELD):
                await output.ended.wait()
                await errors.ended.wait()
        return Outcome(code, str(output), str(errors))


async def _start(argv: Sequence[str], **how: Any) -> asyncio.subprocess.Process:
    """Start it in a group of its own.

    Carried through when this task is cancelled: asyncio would kill the program alone, and leave what it has started.
    """
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL, start_new_session=True, **how)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        if starting.exception() is None:
            await _end_group(starting.result())
        raise


class _Tail(asyncio.Protocol):
    """Keeps the end of what comes out of a pipe."""

    def __init__(self) -> None:
        self._kept = b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self._kept = (self._kept + data)[-KEPT:]

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - either way nothing more comes
        self.ended.set()

    def __str__(self) -> str:
        return self._kept.decode("utf-8", "replace")


@contextlib.asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[FileIO, _Tail]]:
    """The end of a pipe for a program to write to, to be closed when it has it, and what comes out at the other one.

    asyncio's own pipes belong to the process: up to Python 3.12 it waits for the end of both, and so for whoever has
    inherited them.
    """
    reading, writing = os.pipe()
    source = open(reading, "rb", 0)  # noqa: SIM115, ASYNC230, PTH123 - the transport closes it, and it is no path
    with open(writing, "wb", 0) as target:  # noqa: ASYNC230, PTH123 - no path either
        try:
            transport, tail = await asyncio.get_running_loop().connect_read_pipe(_Tail, source)
        except BaseException:
            source.close()
            raise
        try:
            yield target, tail
        finally:
            transport.close()
            await tail.ended.wait()


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """End the program and what it has started. Not to be interrupted: it takes TERM_GRACE at most."""
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
        waiting = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait([waiting], timeout=TERM_GRACE)
        finally:
            _signal_group(process.pid, signal.SIGKILL)
            await waiting
    else:
        _signal_group(process.pid, signal.SIGKILL)
    await _reap(process.pid)


async def _reap(group: int) -> None:
    """Until what the program has started is gone: killed, it holds its files and locks for a moment more.

    Where we are process 1 of a container, as an image's entry point is, orphans are ours, and stay as zombies until
    they are waited for. The program itself has been: what is left in its group are others.
    """
    for _ in range(REAPS):
        with contextlib.suppress(ChildProcessError):  # they may be another process' to wait for
            while os.waitpid(-group, os.WNOHANG)[0]:  # noqa: ASYNC222 - with WNOHANG it does not block
                pass
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0.01)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return  # the whole group has gone
