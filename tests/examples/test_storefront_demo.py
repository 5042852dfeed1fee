"""The demo, as `make demo` runs it: real manifests, real processes, and a kill -9 in the middle."""

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples/01-storefront"

pytestmark = pytest.mark.timeout(120)


class Demo:
    """`podpatterns pod run` on the example; its output is read as it comes."""

    def __init__(self, keep, *options):
        command = [
            sys.executable, "-m", "podpatterns", "pod", "run",
            *(EXAMPLE / name for name in ("catalog.yaml", "pod.yaml", "visitors.yaml")),
            "--with", EXAMPLE / "app.yaml", "--keep", keep, *options,
        ]  # fmt: skip
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

    def wait_for(self, pattern, seconds=40):
        """The first line that matches, which may come later."""

        def found():
            return next((line for line in self.lines if re.search(pattern, line)), None)

        with self._grown:
            assert self._grown.wait_for(found, seconds), f"{pattern!r} has not come:\n{self.output}"
            return found()

    def container(self, words):
        """The process of a container of ours, by what its command line holds."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if words in line and "launcher.py" not in line and parent == self.process.pid:
                    return int(entry.name)
        raise AssertionError(f"no process with {words!r}")

    def end(self):
        code = self.process.wait(60)
        self._reader.join()
        return code


@pytest.fixture
def demo(tmp_path):
    running = []

    def start(*options):
        running.append(Demo(tmp_path / "kept", *options))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.process.send_signal(signal.SIGKILL)
        each.process.wait()
        each.process.stdout.close()


def stored(folder):
    with contextlib.closing(sqlite3.connect(next(folder.rglob("logs.sqlite")))) as store:
        (table,) = store.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name LIMIT 1").fetchone()
        return store.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def first_record(folder):
    command = [sys.executable, "-m", "podpatterns", "logs", "query", next(folder.rglob("logs.sqlite")), "--limit", "1"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def written(folder):
    return sum(len(path.read_bytes().splitlines()) for path in folder.rglob("access.log*"))


def test_kill_9_of_the_sidecar_loses_no_line(demo, tmp_path):
    """The sidecar is killed twice under traffic; it is restarted, and every line written is stored, once."""
    run = demo("--for", "12s")
    run.wait_for(r"storefront/storefront\s+ready")
    run.wait_for(r"lines read\s+[1-9]")
    os.kill(run.container("/etc/podpatterns/sidecar.yaml"), signal.SIGKILL)
    run.wait_for(r"storefront/log-shipper\s+restarted")
    assert run.end() == 0, run.output
    assert "exit code 137" in run.output
    assert stored(tmp_path) == written(tmp_path) > 100
    assert first_record(tmp_path)["pod"] == "storefront"
    assert "Every container did what it should." in run.output


def test_ctrl_c_ends_everything_in_order(demo, tmp_path):
    """SIGINT: visitors, then the shop, then its sidecars in reverse, then what the shop depends on; nothing is left."""
    run = demo()
    run.wait_for(r"storefront/storefront\s+ready")
    run.wait_for(r"lines read\s+[1-9]")
    children = [run.container(f"/etc/podpatterns/{name}.yaml") for name in ("sidecar", "ambassador", "adapter")]
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0, run.output
    ended = re.findall(r"(\S+)\s+ended: exit code", run.output)
    order = [
        "visitors/visitors", "storefront/storefront", "storefront/metrics", "storefront/catalog-proxy",
        "storefront/log-shipper", "catalog-stable/catalog",
    ]  # fmt: skip
    assert [name for name in ended if name in order] == order
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert stored(tmp_path) == written(tmp_path) > 0
