"""Looking at what is being shipped: nothing is kept for nobody, each record is seen once, the sidecar never waits."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.runtime.service import Context, Request
from podpatterns.runtime.units import Duration
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.live import INTEREST, KEPT, Live
from podpatterns.sidecar.outputs.file import FileConfig
from podpatterns.sidecar.runtime import Sidecar


def row(number: int) -> bytes:
    return b'{"n":%d}\n' % number


def test_nothing_is_kept_for_nobody() -> None:
    """Before the first question and some time after the last one it holds nothing, and is not wanted."""
    live = Live()
    assert not live.wanted
    live.ask(None, 10.0)
    live.feed(row(0), 10.0 + INTEREST)
    assert live.wanted
    live.feed(row(1), 10.1 + INTEREST)
    assert (live.wanted, live._size, len(live._kept)) == (False, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=20))
def test_each_record_is_seen_once(steps: list[tuple[int, bool]]) -> None:
    """However questions and batches come: who asks with the last number gets all that came since, in order."""
    live = Live()
    seen, after, number = b"", live.ask(None, 0.0).next, 0
    for count, asks in steps:
        live.feed(b"".join(row(number + index) for index in range(count)), 0.0)
        number += count
        if asks:
            answer = live.ask(after, 0.0)
            assert answer.missed == 0
            seen, after = seen + answer.ndjson, answer.next
    assert seen + live.ask(after, 0.0).ndjson == b"".join(map(row, range(number)))


def test_a_record_may_hold_a_carriage_return() -> None:
    """JSON that was passed on as it was written may have one between its values: that ends no record."""
    live = Live()
    live.ask(None, 0.0)
    live.feed(b'{"a":\r1}\n{"a":\r2}\n', 0.0)
    assert live.ask(1, 0.0).ndjson == b'{"a":\r2}\n'


def test_what_is_passed_over_is_counted() -> None:
    """More than is kept: the newest are there, and the number of the others."""
    live = Live()
    live.ask(None, 0.0)
    batch = b"".join(b'{"text":"%s"}\n' % (b"x" * 1000) for _ in range(100))
    for _ in range(10):
        live.feed(batch, 0.0)
    answer = live.ask(0, 0.0)
    assert live._size <= KEPT
    assert answer.missed + answer.ndjson.count(b"\n") == answer.next == 1000
    assert live.ask(1000, 0.0) == (b"", 1000, 0)
    assert live.ask(7000, 0.0) == (b"", 1000, 0), "the number of a process that is gone"


async def test_the_sidecar_shows_what_goes_out(tmp_path: Path) -> None:
    """From the first question on, as the outputs get it; a question that makes no sense is the first one."""
    config = SidecarConfig(
        inputs=(TailConfig(paths=(f"{tmp_path}/app.log",), poll=Duration("2ms")),),
        outputs=(FileConfig(path=f"{tmp_path}/out"),),
        fields={"pod": "shop-1"},
        checkpoint=f"{tmp_path}/cp",
        linger=Duration("2ms"),
    )
    (tmp_path / "app.log").write_text("before\n")
    async with Sidecar(config, Context()) as sidecar:
        (tail,) = [route for route in sidecar.routes() if route.path == "/tail"]
        assert not tail.public, "for loopback alone"
        await sidecar.acknowledged(1)
        for query in ({}, {"after": "x"}, {"after": "-1"}):
            assert json.loads((await tail.handle(Request(query))).data) == {"next": 0, "missed": 0}
        with (tmp_path / "app.log").open("a") as file:
            file.write("after\n")
        await sidecar.acknowledged(2)
        head, *records = (await tail.handle(Request({"after": "0"}))).data.splitlines()
    assert json.loads(head) == {"next": 1, "missed": 0}
    assert [json.loads(record)["message"] for record in records] == ["after"]
    assert json.loads(records[0])["pod"] == "shop-1"


def test_the_command_follows(tmp_path: Path) -> None:
    """It prints what is written while it looks, and only what matches; without a sidecar it says so."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        admin = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "ship.yaml").write_text(f"""
sidecar:
  inputs: [{{type: tail, paths: ["{tmp_path}/app.log"], poll: 5ms}}]
  outputs: [{{type: file, path: {tmp_path}/out}}]
  checkpoint: {tmp_path}/cp
  linger: 5ms
runtime: {{admin: "{admin}"}}
""")
    program = [sys.executable, "-m", "podpatterns"]
    sidecar = subprocess.Popen([*program, "run", str(tmp_path / "ship.yaml")], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(
            [*program, "probe", "ready", "--admin", admin], capture_output=True, check=False
        ).returncode:
            assert time.monotonic() < deadline
        following = subprocess.Popen(
            [*program, "logs", "tail", "--admin", admin, "--match", "wanted"], stdout=subprocess.PIPE, text=True
        )
        assert following.stdout is not None
        with (tmp_path / "app.log").open("a", buffering=1) as log:
            number = 0
            lines: list[str] = []
            reader = threading.Thread(target=lambda: lines.append(following.stdout.readline()), daemon=True)
            reader.start()
            while reader.is_alive():
                assert time.monotonic() < deadline + 30
                log.write(f"wanted {number}\nother {number}\n")
                number += 1
                reader.join(0.05)
        following.terminate()
        following.communicate()
        assert json.loads(lines[0])["message"].startswith("wanted")
    finally:
        sidecar.terminate()
        sidecar.wait()
    gone = subprocess.run([*program, "logs", "tail", "--admin", admin], capture_output=True, text=True, check=False)
    assert (gone.returncode, "no admin endpoint answers" in gone.stderr) == (1, True)


pytestmark = pytest.mark.timeout(100)
