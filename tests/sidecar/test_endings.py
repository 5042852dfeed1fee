"""How a sidecar notices that its work is done: nobody writes any more, or somebody asks it to drain."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from podpatterns.runtime.units import Duration
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.files import followed, writers
from podpatterns.sidecar.files.writers import written, written_by_a_process
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs.file import FileConfig
from podpatterns.sidecar.runtime import Sidecar
from tests.sidecar.counting import Receiver, Shipper, until

WRITER = "import sys; file = open(sys.argv[1], sys.argv[2]); print('open', flush=True); sys.stdin.read()"


class Holder:
    """Another process that has a file open."""

    def __init__(self, path: Path, mode: str) -> None:
        command = [sys.executable, "-c", WRITER, str(path), mode]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"open\n"

    def close(self) -> None:
        self.process.communicate()


def no_lease(number: int, what: str) -> Any:
    call = fcntl.fcntl

    def fail(descriptor: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETLEASE:
            raise OSError(number, what)
        return call(descriptor, command, argument)

    return fail


@pytest.mark.parametrize("by", ["lease", "process"])
def test_who_has_a_file_open_for_writing(tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that writes is seen, one that reads is not, and when it has closed the file nobody writes."""
    if by == "process":
        monkeypatch.setattr(fcntl, "fcntl", no_lease(errno.EINVAL, "Invalid argument"))
        monkeypatch.setattr(writers, "sees_the_pod", lambda _: "")
    path = tmp_path / "app.log"
    path.write_text("x")
    descriptor = os.open(path, os.O_RDONLY)
    assert written(descriptor) is False
    for mode, expected in (("a", True), ("r", False), ("r+", True)):
        holder = Holder(path, mode)
        assert written(descriptor) is expected
        holder.close()
        assert written(descriptor) is False
    with path.open("a"):
        assert by == "process" or written(descriptor) is True
    os.close(descriptor)


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.EACCES, r"it belongs to uid \d+, this is uid \d+ without CAP_LEASE, and the pod does not share"),
     (errno.EINVAL, r"its file system has no leases \(what\), and the pod does not share")],
)  # fmt: skip
def test_what_cannot_be_told_is_said(tmp_path: Path, number: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a lease nor the processes of the pod: the answer is the reason, which is not taken for a no."""
    monkeypatch.setattr(fcntl, "fcntl", no_lease(number, "what"))
    monkeypatch.setattr(writers, "sees_the_pod", lambda _: "the pod does not share its process namespace")
    with (tmp_path / "app.log").open("w+") as file:
        found = written(file.fileno())
    assert isinstance(found, str)
    assert re.match(said, found)


def test_a_process_that_may_not_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is not known whether it writes."""
    monkeypatch.setattr(writers, "sees_the_pod", lambda _: "")
    proc = tmp_path / "proc"
    (proc / "17" / "fd").mkdir(parents=True)
    iterdir = Path.iterdir

    def hidden(self: Path) -> Any:
        if self.name == "fd":
            raise PermissionError(errno.EACCES, "Permission denied")
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", hidden)
    with (tmp_path / "app.log").open("w+") as file:
        assert written_by_a_process(file.fileno(), proc) == "process 17 may not be looked at"


@pytest.mark.parametrize(
    ("parents", "own", "reason"),
    [
        ({}, (7, 0), ""),  # the first process of its container, in a pod that shares
        ({7: 0}, (9, 7), ""),
        ({}, (1, 0), "the pod does not share its process namespace"),
        ({7: 1}, (9, 7), "the pod does not share its process namespace"),
        ({}, (9, 8), "/proc cannot be read: No such file or directory"),
    ],
)
def test_whether_all_processes_can_be_seen(
    tmp_path: Path, parents: dict[int, int], own: tuple[int, int], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a shared namespace the container's first process is not the first one of all."""
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "pid").symlink_to("pid:[4026532000]")
    for process, parent in parents.items():
        (tmp_path / str(process)).mkdir()
        (tmp_path / str(process) / "stat").write_text(f"{process} (a b) c) S {parent} 1 1 0")
    monkeypatch.setattr(os, "getpid", lambda: own[0])
    monkeypatch.setattr(os, "getppid", lambda: own[1])
    assert writers.sees_the_pod(tmp_path) == reason


# --- the input ends ---------------------------------------------------------------------------------------------------


def config(tmp_path: Path, **more: Any) -> SidecarConfig:
    tail = TailConfig(paths=(f"{tmp_path}/*.log",), end_when_closed=Duration("100ms"), **more)
    return SidecarConfig(
        inputs=(tail,),
        outputs=(FileConfig(path=f"{tmp_path}/out"),),
        checkpoint=f"{tmp_path}/state/checkpoint",
        linger=Duration("2ms"),
    )


def shipped(tmp_path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in (tmp_path / "out").read_text().splitlines()]


async def test_the_input_ends_when_nobody_writes(tmp_path: Path) -> None:
    """Not while a writer has one of the files open, also an empty one; then with the line that has no end."""
    (tmp_path / "a.log").write_text("one\n")
    sidecar = Sidecar(config(tmp_path))
    async with sidecar:
        task = next(task for task in asyncio.all_tasks() if task.get_name() == "sidecar")
        with (tmp_path / "a.log").open("a") as first:
            first.write("two\n")
            first.flush()
            await sidecar.acknowledged(2)
            with (tmp_path / "b.log").open("a"):
                done, _ = await asyncio.wait([task], timeout=0.4)
                assert not done
                first.write("three")
                first.close()
                done, _ = await asyncio.wait([task], timeout=0.4)
                assert not done, "b.log is open and empty"
        done, _ = await asyncio.wait([task], timeout=10)
        assert done
    assert shipped(tmp_path) == ["one", "two", "three"]
    assert all(check.ok for check in sidecar.status().checks)


async def test_it_does_not_end_where_it_cannot_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event says why, once; nothing is taken for an end."""
    monkeypatch.setattr(followed, "written", lambda _: "nobody knows")
    (tmp_path / "a.log").write_text("one\n")
    sidecar = Sidecar(config(tmp_path))
    async with sidecar:
        task = next(task for task in asyncio.all_tasks() if task.get_name() == "sidecar")
        await sidecar.acknowledged(1)
        done, _ = await asyncio.wait([task], timeout=0.4)
        assert not done
        value = sidecar.context.telemetry.registry.get_sample_value
        assert value("podpatterns_sidecar_file_events_total", {"what": "writers_unknown"}) == 1


@pytest.mark.timeout(60)
def test_a_job_completes(tmp_path: Path) -> None:
    """The application runs, and ends without a word; the sidecar's process ends with 0, and nothing is missing."""
    (tmp_path / "logs").mkdir()
    program = (
        "import sys, time\n"
        "with open(sys.argv[1], 'w', buffering=1) as log:\n"
        "    for number in range(2000):\n"
        "        log.write(f'line {number}\\n')\n"
        "        time.sleep(0.0005)\n"
    )
    with Receiver() as receiver:
        tail = f'{{type: tail, paths: ["{tmp_path}/logs/*.log"], end_when_closed: 500ms}}'
        with Shipper(tmp_path, f'{{type: http, url: "{receiver.url}"}}', tail=tail) as shipper:
            shipper.start()
            subprocess.run([sys.executable, "-c", program, f"{tmp_path}/logs/job.log"], check=True)
            assert shipper.process is not None
            assert shipper.process.wait(20) == 0, shipper.text()
            assert len(shipper.events("sidecar.files.closed")) == 1
    assert receiver.messages == {f"line {number}": 1 for number in range(2000)}


@pytest.mark.timeout(60)
def test_a_drain_answers_when_all_is_safe(tmp_path: Path) -> None:
    """`POST /drain?wait` is held while the store is down, and answered once every line is acknowledged."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_text("".join(f"line {number}\n" for number in range(1000)))
    with Receiver() as receiver, Shipper(tmp_path, f'{{type: http, url: "{receiver.url}"}}') as shipper:
        receiver.up.clear()
        shipper.start()
        assert receiver.refused.wait(20)
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(shipper.ask("/drain?wait", method="POST")))
        asking.start()
        until(lambda: shipper.ask("/status")["phase"] == "draining", 10)
        asking.join(0.3)
        assert asking.is_alive()
        receiver.up.set()
        asking.join(20)
        assert answers == [{"status": "drained"}]
        assert len(receiver.messages) == 1000
        assert shipper.process is not None
        assert shipper.process.wait(20) == 0
