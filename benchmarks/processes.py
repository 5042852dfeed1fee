"""The processes of a benchmark: started on a core of their own, watched, and ended."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

CORE, LOAD_CORE = 0, 1
"""The core of what is measured (its peers are idle then), and that of load and far side."""
PRIORITY = -15
"""As for nice(1)."""


def cpu(pid: int) -> float:
    """Seconds of CPU time that a process has taken so far, with all its threads."""
    return time.clock_gettime((~pid << 3) | 2)  # the process's clock, as clock_getcpuclockid(3) has it


def rss(pid: int, *, peak: bool = False) -> float:
    """Resident megabytes: now, or the most that there ever were."""
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+)", text)
    return int(found[1]) / 1024 if found else 0.0


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when something listens. Raises SystemExit when nothing does within ten seconds."""
    for _ in range(200):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}: {process.args!r}")


def start(
    command: list[str], core: int, output: int = subprocess.DEVNULL, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A process that stays on one core, and before others there if root starts it.

    What else a machine does at the same time would leave its traces in every cache. Linux weighs sessions, not
    processes (sched_autogroup), so it is a session of its own.
    """
    command = ["taskset", "-c", str(core), *command]
    process = subprocess.Popen(command, stdout=output, env=environment, start_new_session=True)
    with suppress(OSError):
        Path(f"/proc/{process.pid}/autogroup").write_text(str(PRIORITY), "ascii")
    return process


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End them, the last one first: so that no proxy misses its back end."""
    for process in reversed(processes):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def program(name: str) -> str | None:
    """Where a program is: beside this Python, or on the path."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
