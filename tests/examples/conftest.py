"""`podpatterns pod run` as a person starts it: its output is read as it comes, and can be waited for."""

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest


class Run:
    """The command, running. `lines` is what it has written, on both streams."""

    def __init__(self, *arguments):
        command = [sys.executable, "-m", "podpatterns", "pod", "run", *arguments]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        self.lines = []
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._grown:
                self.lines.append(line.rstrip())
                self._grown.notify_all()

    @property
    def output(self):
        return "\n".join(self.lines)

    def wait_for(self, pattern, seconds=60, after=None):
        """The first line that matches, behind the line `after`; it may come later."""

        def found():
            first = 0 if after is None else self.lines.index(after)
            return next((line for line in self.lines[first:] if re.search(pattern, line)), None)

        with self._grown:
            assert self._grown.wait_for(found, seconds), f"{pattern!r} has not come:\n{self.output}"
            return found()

    def container(self, words):
        """The process id of a container of ours, by what its command line holds."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if words in line and parent == self.process.pid:
                    return int(entry.name)
        raise AssertionError(f"no process with {words!r}")

    def end(self, number=signal.SIGINT):
        """Its exit code, after a signal; with None, once it has ended by itself."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join()
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()


def _namespaces():
    return shutil.which("unshare") and subprocess.run(["unshare", "-Urnm", "true"], check=False).returncode == 0


@pytest.fixture(params=["pod", "host"])
def network(request):
    """Where the pods are: on a network each, or all on this machine's."""
    if request.param == "pod" and not _namespaces():
        pytest.skip("this machine gives this user no namespaces")
    return request.param


@pytest.fixture
def pod_run(network):
    """`pod_run(*arguments)`: a Run with that network, killed at the end."""
    running = []

    def start(*arguments):
        running.append(Run("--network", network, *arguments))
        return running[-1]

    yield start
    for each in running:
        each.close()
