"""Running other programs: never left behind, never waited for without limit, their output kept within bounds.

A program runs in a process group of its own. Whatever ends this task (a time limit, SIGTERM, an error) ends the
group: SIGTERM first, SIGKILL when that is not heeded.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from podpatterns.errors import PodpatternsError

TERM_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL; git and most tools remove their temporary files in less."""

REAPS = 100
"""Looks, a hundredth of a second apart, for killed processes to be gone; it takes a few unless the machine is stuck."""

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
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except OSError as error:
        if error.filename == cwd and cwd is not None:
            raise NotRunnable(f"the working directory {cwd} does not exist") from None
        raise NotRunnable(f"{argv[0]} cannot be run: {error.strerror or error}") from None
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [asyncio.create_task(_tail(stream)) for stream in (process.stdout, process.stderr)]
    try:
        try:
            async with asyncio.timeout(limit):
                code = await process.wait()
        except TimeoutError:
            raise TimedOut(f"{Path(argv[0]).name} was ended after {limit:g} s") from None
        finally:
            await _end_group(process)
        # A grandchild in a session of its own can hold the pipes open for ever.
        await asyncio.wait(readers, timeout=1)
        output, errors = (reader.result() if reader.done() else b"" for reader in readers)
        return Outcome(code, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace"))
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)
        process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - the only way to close held pipes


async def _tail(stream: asyncio.StreamReader) -> bytes:
    kept = b""
    while chunk := await stream.read(KEPT):
        kept = (kept + chunk)[-KEPT:]
    return kept


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
    """Take leave of what the program has started and not waited for.

    Where we are process 1 of a container, as an image's entry point is, orphans are ours, and stay as zombies until
    they are waited for. The program itself has been: what is left in its group are others.
    """
    for _ in range(REAPS):
        try:
            while os.waitpid(-group, os.WNOHANG)[0]:  # noqa: ASYNC222 - with WNOHANG it does not block
                pass
        except ChildProcessError:
            return  # none is left, or they are another process' to wait for
        await asyncio.sleep(0.01)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return  # the whole group has gone
