"""Signals before they are handled in order."""

from __future__ import annotations

import signal
import subprocess
import sys

from podpatterns.runtime.signals import ended_by_signals

PROGRAM = """
import asyncio
from podpatterns.runtime.signals import ended_by_signals

async def deaf():
    while True:
        try:
            print("ready", flush=True)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

with ended_by_signals():
    asyncio.run(deaf())
"""


def test_ctrl_c_is_not_lost() -> None:
    """Also where somebody takes it for the end of a task, it ends the process, and without a traceback."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b""
    assert process.returncode == -signal.SIGINT


def test_afterwards_it_is_as_before() -> None:
    """Who calls us from a program of theirs has their own way of Ctrl-C back."""
    before = signal.getsignal(signal.SIGINT)
    with ended_by_signals():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before
