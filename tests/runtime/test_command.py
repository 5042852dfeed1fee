"""Running programs: what they start ends with them, and leaves no zombies where we are process 1."""

import asyncio
import errno
import fcntl
import gc
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import uvloop

from podpatterns.runtime import command

SCRIPT = textwrap.dedent("""
    import asyncio, ctypes, sys, uvloop
    from pathlib import Path
    from podpatterns.runtime.command import TimedOut, execute

    PR_SET_CHILD_SUBREAPER = 36  # orphans become ours, as they do where we are process 1
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

    async def main():
        ended = await execute(["sh", "-c", "sleep 60 & sleep 60 & exit 3"])
        assert ended.code == 3, ended
        try:
            await execute(["sh", "-c", "sleep 60 & sleep 60"], limit=0.2)
        except TimedOut as error:
            print(error)
        children = Path("/proc/self/task").glob("*/children")
        print("left:", *(file.read_text() for file in children))

    {"asyncio": asyncio, "uvloop": uvloop}[sys.argv[1]].run(main())
""")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_nothing_is_left_of_a_program_and_what_it_has_started(loop):
    """Neither processes nor zombies, whether the program has ended by itself or its time was over."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, loop], capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    assert done.stdout.split() == ["sh", "was", "ended", "after", "0.2", "s", "left:"]


def open_pipes():
    links = (each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink())
    return {str(each) for each in links if str(each).startswith("pipe:")}


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("script", ["echo before; setsid sleep 5 & exit 3", "echo before; setsid sleep 5 & sleep 5"])
def test_nobody_is_waited_for_who_holds_the_pipes(run, script, monkeypatch):
    """A process in a session of its own is not ours to end; the program's end, and its output so far, are told."""
    monkeypatch.setattr(command, "HELD", 0.2)

    async def main():
        await command.execute(["true"])  # with the first one a loop opens what it needs
        before, began = open_pipes(), time.monotonic()
        try:
            done = await command.execute(["sh", "-c", script], limit=0.5)
            assert (done.code, done.output) == (3, "before\n")
        except command.TimedOut:
            assert "exit" not in script
        assert time.monotonic() - began < 4
        assert open_pipes() == before

    run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("calls", [1, 2])
def test_nothing_is_left_open_where_descriptors_are_scarce(run, calls, monkeypatch):
    """A check that fails for want of descriptors must not make them scarcer."""

    async def main():
        await command.execute(["true"])
        before, left = open_pipes(), [calls]

        def pipe(make=os.pipe):
            left[0] -= 1
            if not left[0]:
                raise OSError(errno.EMFILE, "Too many open files")
            return make()

        monkeypatch.setattr(command.os, "pipe", pipe)
        with pytest.raises(OSError, match="Too many open files"):
            await command.execute(["true"])
        monkeypatch.undo()
        gc.collect()
        assert open_pipes() == before

    run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_the_end_of_the_output_is_kept(run):
    """Of both streams, whole, however much it is."""

    async def main():
        done = await command.execute(["sh", "-c", "seq 100000; echo why >&2; kill -TERM $$"])
        lines = done.output.splitlines()
        assert (len(done.output), lines[-1], done.errors) == (command.KEPT, "100000", "why\n")
        assert done.ending == "ended by SIGTERM"
        with pytest.raises(command.NotRunnable, match="none cannot be run"):
            await command.execute(["/none"])
        with pytest.raises(command.NotRunnable, match="directory /none does not exist"):
            await command.execute(["true"], cwd="/none")

    run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_who_is_cancelled_while_a_program_starts_leaves_nothing_of_it(run, monkeypatch, tmp_path):
    """Neither the program nor what it has started holds the lock that it was given."""
    start, (heard, said) = asyncio.create_subprocess_exec, os.pipe()

    async def slow(*argv, **how):
        process = await start(*argv, **how)
        await asyncio.to_thread(os.read, heard, 1)  # it has a child
        begun.set()
        await asyncio.sleep(0)
        return process

    async def main():
        with (tmp_path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            script = f"sleep 60 & echo > /dev/fd/{said}; sleep 60"
            task = asyncio.ensure_future(command.execute(["sh", "-c", script], pass_fds=(lock.fileno(), said)))
            await begun.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        with (tmp_path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    begun = asyncio.Event()
    monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
    try:
        run(main())
    finally:
        os.close(heard)
        os.close(said)
