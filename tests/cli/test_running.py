"""The verbs against a process that runs: probe, drain, signals, reload."""

import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

CONFIG = """\
adapter:
  inputs: [{{type: statsd, listen: "127.0.0.1:0"}}]
  outputs: [{{type: prometheus, listen: "127.0.0.1:0"}}]
runtime: {{admin: "127.0.0.1:{port}", log_format: json, reload: 50ms}}
"""


def podpatterns(*arguments):
    command = [sys.executable, "-m", "podpatterns", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


class Running:
    def __init__(self, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.admin = f"127.0.0.1:{self.port}"
        self.file = folder / "adapter.yaml"
        self.file.write_text(CONFIG.format(port=self.port))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "podpatterns", "run", self.file], stderr=subprocess.PIPE, text=True
        )

    def wait_for(self, event):
        """Read the log until this event."""
        for line in self.process.stderr:
            if event in line:
                return line
        raise AssertionError(f"the log ended without {event}")

    def wait_ready(self):
        return self.wait_for('"phase":"ready"')


@pytest.fixture
def running(tmp_path):
    made = Running(tmp_path)
    yield made
    made.process.kill()
    made.process.wait()
    made.process.stderr.close()


def test_probes_answer_by_exit_code(running):
    """live, ready and startup exit 0 while the process serves."""
    running.wait_ready()
    for what in ("live", "ready", "startup"):
        done = podpatterns("probe", what, "--admin", running.admin)
        assert done.returncode == 0, done.stderr


def test_drain_waits_for_the_end(running):
    """`podpatterns drain` returns when the process has ended, which it does with 0."""
    running.wait_ready()
    done = podpatterns("drain", "--admin", running.admin)
    assert done.returncode == 0, done.stderr
    assert running.process.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(running, number):
    """The first signal ends the process in order, with 0."""
    running.wait_ready()
    running.process.send_signal(number)
    running.wait_for('"phase":"stopped"')
    assert running.process.wait(10) == 0


def test_a_bad_change_is_reported_and_the_process_goes_on(running):
    """The log names every problem; the process stays ready with what it had."""
    running.wait_ready()
    running.file.write_text(CONFIG.format(port=running.port).replace("statsd", "statds"))
    line = running.wait_for("runtime.config.refused")
    assert 'did you mean \\"statsd\\"?' in line
    with urllib.request.urlopen(f"http://{running.admin}/readyz", timeout=5) as answer:
        assert answer.status == 200


def test_a_port_that_is_taken_is_a_clear_failure(running, tmp_path):
    """A second process with the same admin port exits 1 and says what to do; there is no traceback."""
    running.wait_ready()
    done = podpatterns("run", running.file)
    assert done.returncode == 1
    assert f"cannot listen on {running.admin}" in done.stderr
    assert "set runtime.admin" in done.stderr
    assert "Traceback" not in done.stderr
