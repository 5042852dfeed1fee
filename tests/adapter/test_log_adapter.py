"""Laws of the log adapter at work: files, pipes and sockets, rotation, restarts, and a disk that is full."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.log_output import LogOutput
from podpatterns.adapter.logs import LogConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.errors import StartError
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from tests.adapter.looking import until


class Pair:
    """A log that is read and one that is written, and an adapter between them."""

    def __init__(self, folder: Path) -> None:
        self.source, self.target, self.position = folder / "app.log", folder / "out" / "app.json", folder / "position"

    def adapter(self, **more: Any) -> Adapter:
        item = {"type": "file", "path": str(self.source), "format": "text", "poll": "5ms", **more}
        item["output"] = {"path": str(self.target), **more.get("output", {})}
        return Adapter(AdapterConfig(logs=[decode(parse(json.dumps(item))[0], LogConfig)]))

    def write(self, *lines: str) -> None:
        with self.source.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    @property
    def written(self) -> list[str]:
        files = [*sorted(self.target.parent.glob("app.json.*"), reverse=True), self.target]
        texts = [file.read_text() for file in files if file.exists()]
        return [json.loads(line)["message"] for line in "".join(texts).split("\n")[:-1]]

    async def comes_to(self, *lines: str) -> None:
        """Wait until these lines are written; a file has no event that says so."""
        with contextlib.suppress(TimeoutError):
            await until(lambda: self.written == list(lines))
        assert self.written == list(lines)


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


def followed(adapter: Adapter) -> Any:
    """The files that its log follows."""
    log: Any = adapter.logs[0]
    return log._files


def numbers(first: int, last: int) -> list[str]:
    return [f"line {number}" for number in range(first, last)]


async def test_a_file_is_followed(pair):
    """It may come later; lines are written as they come, and at the end what has no newline yet as well."""
    async with pair.adapter() as adapter:
        await until(lambda: bool(followed(adapter)._missing))
        pair.write(*numbers(0, 3))
        await pair.comes_to(*numbers(0, 3))
        with pair.source.open("a") as file:
            file.write("line 3\nhalf a")
            file.flush()
            await pair.comes_to(*numbers(0, 4))
    assert pair.written == [*numbers(0, 4), "half a"]
    assert all(check.ok for check in adapter.status().checks)
    assert adapter.status().facts["log lines"] == "5, in 5 records"


async def test_rotation_by_renaming(pair):
    """Nothing is lost, also when it happens twice between two looks, and the writer has not noticed at once."""
    async with pair.adapter(poll="50ms"):
        pair.write(*numbers(0, 2))
        await pair.comes_to(*numbers(0, 2))
        late = pair.source.open("a")
        late.write("line 2\n")
        late.flush()
        pair.source.rename(pair.source.with_name("app.log.2"))
        pair.write("line 3")
        pair.source.rename(pair.source.with_name("app.log.1"))
        pair.write("line 4")
        await pair.comes_to(*numbers(0, 5))
        late.write("late\n")
        late.close()
        await pair.comes_to(*numbers(0, 5), "late")
    assert pair.written == [*numbers(0, 5), "late"]


async def test_rotation_by_copying(pair):
    """copytruncate: the copy is not read as a file of its own, and the file is read from its new beginning."""
    async with pair.adapter() as adapter:
        for turn in range(3):
            pair.write(f"first of {turn}", f"second of {turn}")
            await pair.comes_to(*(f"{word} of {n}" for n in range(turn + 1) for word in ("first", "second")))
            pair.source.with_name(f"app.log.{turn}").write_bytes(pair.source.read_bytes())
            os.truncate(pair.source, 0)
            # It must be noticed: a file that is full again at once looks as before.
            await until(lambda: followed(adapter).position.offset == 0)
    assert adapter.log_events.losses == {}


async def test_what_a_copy_has_is_read_there(pair):
    """A file is truncated before it has been read to its end."""
    async with pair.adapter(poll="300ms") as adapter:
        pair.write(*numbers(0, 2))
        await pair.comes_to(*numbers(0, 2))
        pair.write(*numbers(2, 5))
        pair.source.with_name("app.log.1").write_bytes(pair.source.read_bytes())
        os.truncate(pair.source, 0)
        pair.write("new")
        await pair.comes_to(*numbers(0, 5), "new")
        pair.write("x" * 100)
        os.truncate(pair.source, 0)
    assert pair.written[:6] == [*numbers(0, 5), "new"]
    if len(pair.written) == 6:  # the last line was gone before anybody could see it
        assert set(adapter.log_events.losses) <= {"file: truncated"}


async def test_a_restart_goes_on(pair):
    """From the position, also in a file that was rotated away in the meantime; without one, from the beginning."""
    position = {"position": str(pair.position)}
    async with pair.adapter(**position):
        pair.write(*numbers(0, 3))
        await pair.comes_to(*numbers(0, 3))
    pair.write("line 3")
    pair.source.with_name("app.log.7").write_text("old\n")
    os.utime(pair.source.with_name("app.log.7"), (0, 0))
    pair.source.rename(pair.source.with_name("app.log.2"))
    pair.write("line 4")
    pair.source.rename(pair.source.with_name("app.log.1"))
    pair.write("line 5")
    async with pair.adapter(**position):
        await pair.comes_to(*numbers(0, 6))
    async with pair.adapter(**position):
        pair.write("line 6")
        await pair.comes_to(*numbers(0, 7))
    pair.source.unlink()
    pair.source.write_text("another\n")
    pair.source.with_name("app.log.2").unlink()
    async with pair.adapter(**position):
        await pair.comes_to(*numbers(0, 7), "another")
    pair.position.write_text("nonsense")
    with pytest.raises(StartError, match="holds no position; remove it"):
        async with pair.adapter(**position):
            pass


async def test_what_belongs_together_is_waited_for(pair):
    """The lines of a trace come one by one; they are written once no more has come for a while."""
    async with pair.adapter(format="python", unparsed="join", hold="600ms"):
        trace = ["ERROR:shop:no", "Traceback (most recent call last):", '  File "x.py"', "KeyError: 8"]
        for line in trace:
            pair.write(line)
            await asyncio.sleep(0.03)
        await pair.comes_to("\n".join(["no", *trace[1:]]))
        pair.write("INFO:shop:next", "INFO:shop:last")
        await pair.comes_to("\n".join(["no", *trace[1:]]), "next", "last")


@pytest.mark.parametrize("hold", ["10ms", "60s"])
async def test_what_is_held_is_written_at_the_end(pair, hold):
    """A drain waits for nothing that may not come."""
    async with pair.adapter(format="python", unparsed="join", hold=hold) as adapter:
        pair.write("ERROR:shop:no", "  more")
        await until(lambda: any(file.seen for file in followed(adapter).open))
    assert pair.written == ["no\n  more"]


async def test_lines_that_are_too_long_and_what_is_no_text(pair):
    """Cut, replaced, and counted; what comes behind them is read as ever."""
    with pair.source.open("wb") as file:
        file.write(b"a" * 3000 + b"\nb\xff\n" + b"c" * 2_000_000 + b"\nend\n")
    async with pair.adapter(max_line="1KiB") as adapter:
        await pair.comes_to("a" * 1024 + "...[truncated]", "b\ufffd", "c" * 1024 + "...[truncated]", "end")
        assert adapter.log_events.noted == {"truncated": 2, "not_text": 1}


async def test_the_written_file_takes_no_more_room_than_it_may(pair):
    """Rotated by size between two lines, and the oldest goes."""
    async with pair.adapter(output={"max_size": "64KiB", "keep": 2}):
        for start in range(0, 8000, 1000):
            pair.write(*numbers(start, start + 1000))
            await asyncio.sleep(0.01)
    files = sorted(pair.target.parent.iterdir())
    assert [file.name for file in files] == ["app.json", "app.json.1", "app.json.2"]
    assert all(file.stat().st_size <= 65536 for file in files)
    assert pair.written == numbers(8000 - len(pair.written), 8000)


async def test_a_disk_that_is_full_costs_no_line(pair, monkeypatch):
    """Writing is tried again, nothing is read meanwhile, and short writes tear no line."""
    real, faults = os.write, iter([errno.ENOSPC, errno.ENOSPC, 7, 1, errno.EIO])

    def write(descriptor, data):
        fault = next(faults, None) if len(data) > 20 else None
        if fault in (7, 1):
            return real(descriptor, data[:fault])
        if fault is not None:
            raise OSError(fault, os.strerror(fault))
        return real(descriptor, data)

    monkeypatch.setattr("podpatterns.adapter.log_output.os.write", write)
    async with pair.adapter():
        pair.write(*numbers(0, 50))
        await pair.comes_to(*numbers(0, 50))


async def test_a_target_that_cannot_be_written_is_told_at_the_start(pair):
    """With what to do."""
    pair.target.parent.write_text("a file, not a folder")
    with pytest.raises(StartError, match=r"cannot be written: .*; its folder must be writable for uid"):
        async with pair.adapter():
            pass


async def test_datagrams(pair, tmp_path):
    """What a program writes to /dev/log, with its own JSON inside."""
    path = tmp_path / "log.sock"
    item = {"type": "socket", "listen": f"unix:{path}", "format": "syslog", "then": "json"}
    item["output"] = {"path": str(pair.target)}
    async with Adapter(AdapterConfig(logs=[decode(parse(json.dumps(item))[0], LogConfig)])):

        def send():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.connect(str(path))
                for number in range(100):
                    text = f'<14>Nov 28 09:36:16 shopd[7]: {{"level":"warn","msg":"line {number}"}}\n'
                    client.send(text.encode())  # waits while the queue of the socket is full

        await asyncio.to_thread(send)
        await pair.comes_to(*numbers(0, 100))
    record = json.loads(pair.target.read_text().splitlines()[0])
    assert record["level"] == "warning"
    assert record["app"] == "shopd"


async def test_a_slow_target_bounds_what_waits(pair, monkeypatch):
    """What has no room is lost, and counted to the byte."""
    gate = threading.Event()
    real = LogOutput.write
    monkeypatch.setattr(LogOutput, "write", lambda self, data: gate.wait(20) and real(self, data))
    item = {"type": "socket", "listen": "127.0.0.1:0", "protocol": "tcp", "format": "text", "buffer": "256KiB"}
    item["output"] = {"path": str(pair.target)}
    sent = b"".join(b"%07d\n" % number for number in range(100_000))
    async with Adapter(AdapterConfig(logs=[decode(parse(json.dumps(item))[0], LogConfig)])) as adapter:
        log: Any = adapter.logs[0]
        _, writer = await asyncio.open_connection("127.0.0.1", log.address.port)
        writer.write(sent)
        writer.close()
        await writer.wait_closed()
        await until(lambda: bool(adapter.log_events.losses))
        gate.set()
    lost = adapter.log_events.losses["socket: buffer_full"]
    assert 0 < lost < len(sent)
    assert len(pair.written) == (len(sent) - lost) // 8


CONFIG = """\
runtime: {admin: "off", log_level: error}
adapter:
  logs:
  - {type: stdin, format: python, unparsed: join, hold: 60s}
"""


KILLED = """\
runtime: {{admin: "off", log_level: error}}
adapter:
  logs:
  - {{type: file, path: {source}, position: {position}, format: text, poll: 5ms, output: {{path: {target}}}}}
"""


def test_a_kill_loses_nothing(pair, tmp_path):
    """kill -9, three times, while lines come: each line is written, and few are written twice."""
    values = {"source": pair.source, "position": pair.position, "target": pair.target}
    (tmp_path / "adapter.yaml").write_text(KILLED.format(**values))
    command = [sys.executable, "-m", "podpatterns", "run", str(tmp_path / "adapter.yaml")]
    total = 0
    for _ in range(3):
        with subprocess.Popen(command) as process:
            for _ in range(40):
                pair.write(*numbers(total, total + 50))
                total += 50
                time.sleep(0.02)
            process.kill()
    with subprocess.Popen(command) as process:
        pair.write(*numbers(total, total + 50))  # which the last one writes, once it is there
        total += 50
        for _ in range(1000):
            if pair.written[-1:] == numbers(total - 1, total):
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert set(pair.written) == set(numbers(0, total))


@pytest.mark.parametrize("close", [True, False])
def test_a_pipe(tmp_path, close):
    """Lines in, records out, in order; the end of the input, or SIGTERM, writes what is held and ends it well."""
    (tmp_path / "adapter.yaml").write_text(CONFIG)
    command = [sys.executable, "-m", "podpatterns", "run", str(tmp_path / "adapter.yaml")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        source, sent = process.stdin, b"".join(b"INFO:shop:line %d\n" % number for number in range(20_000))
        writer = threading.Thread(target=lambda: (source.write(sent + b"  more"), source.flush()))
        writer.start()
        lines = [process.stdout.readline() for _ in range(19_000)]
        writer.join()
        if close:
            source.close()
        else:
            process.send_signal(signal.SIGTERM)
        lines += process.stdout.readlines()
        assert process.wait(20) == 0
    records = [json.loads(line) for line in lines]
    assert [record["message"] for record in records] == [*numbers(0, 19_999), "line 19999\n  more"]
    assert {record["level"] for record in records} == {"info"}
