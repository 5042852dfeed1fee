"""kill -9 at random moments, while a writer rotates: no line is lost, and where events have ids none is there twice.

`make kills` does it 200 times; here it is 20.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import sqlite3
import sys
import time
from collections import Counter
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.sidecar.counting import Receiver, until

KILLS = int(os.environ.get("KILLS", "20"))
CONFIG = """
sidecar:
  inputs: [{{type: tail, paths: ["{logs}/app.log"]}}]
  outputs: [{output}]
  checkpoint: {checkpoint}
  linger: 20ms
  batch: 64KiB
runtime: {{admin: "off", reload: 0s, log_format: json}}
"""
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["tests.sidecar.test_kill9", "podpatterns.cli", "podpatterns.sidecar.runtime"])


class Writer:
    """Writes numbered lines, in pieces, and rotates by rename."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.count, self.rotations = directory, 0, 0
        directory.mkdir()
        self.file = (directory / "app.log").open("ab", buffering=0)

    def write(self, lines: int) -> None:
        text = b"".join(b"line %08d %s\n" % (self.count + i, b"x" * (i % 90)) for i in range(lines))
        self.count += lines
        middle = random.randrange(len(text))
        self.file.write(text[:middle])
        self.file.write(text[middle:])

    def rotate(self) -> None:
        self.file.close()
        for number in range(self.rotations, 0, -1):
            (self.directory / f"app.log.{number}").rename(self.directory / f"app.log.{number + 1}")
        (self.directory / "app.log").rename(self.directory / "app.log.1")
        self.rotations += 1
        self.file = (self.directory / "app.log").open("ab", buffering=0)


def run(config: str, log: str) -> None:
    """The sidecar, in a process that was forked from one that has imported it: a life may be very short."""
    from podpatterns.cli import main

    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    sys.argv[1:] = ["run", config]
    main()


def start(config: Path) -> BaseProcess:
    process = FORK.Process(target=run, args=(str(config), str(config.with_name("log"))))
    process.start()
    return process


def killed(times: int, tmp_path: Path, output: str) -> tuple[Writer, BaseProcess]:
    writer = Writer(tmp_path / "logs")
    config = tmp_path / "sidecar.yaml"
    config.write_text(
        CONFIG.format(logs=tmp_path / "logs", output=output, checkpoint=tmp_path / "state" / "checkpoint")
    )
    for _ in range(times):
        process = start(config)
        end = time.monotonic() + random.random() * 0.6
        while time.monotonic() < end:
            writer.write(random.randrange(1, 200))
            if random.random() < 0.04:
                writer.rotate()
            time.sleep(0.004)
        process.kill()
        process.join()
        if random.random() < 0.5:
            writer.rotate()  # while it is not running
        writer.write(50)
    writer.file.close()
    return writer, start(config)


def ended(process: BaseProcess, log: Path) -> None:
    process.terminate()
    process.join(30)
    assert process.exitcode == 0, log.read_text()[-5000:]


@pytest.mark.timeout(30 + 5 * KILLS)
def test_kill_9_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """Killed in the middle of writing and rotating, the sidecar ends with every line stored exactly once."""
    store = tmp_path / "store.sqlite"
    writer, process = killed(KILLS, tmp_path, f'{{type: sqlite, path: "{store}"}}')
    try:
        until(lambda: len(stored(store)) >= writer.count, 60, lambda: f"{len(stored(store))} of {writer.count}")
        ended(process, tmp_path / "log")
    finally:
        process.kill()
    numbers = sorted(stored(store))
    assert [n for n, m in itertools.pairwise(numbers) if n == m] == [], "stored twice"
    assert numbers == list(range(writer.count))


@pytest.mark.timeout(30 + 5 * KILLS)
def test_kill_9_repeats_no_more_than_what_was_under_way(tmp_path: Path) -> None:
    """Where events have no ids every line arrives; twice only the delivery that was under way at a kill."""
    times = KILLS if KILLS > 20 else KILLS // 2
    with Receiver() as receiver:
        writer, process = killed(times, tmp_path, f'{{type: http, url: "{receiver.url}"}}')
        try:
            receiver.wait_for(writer.count, 60)
            ended(process, tmp_path / "log")
        finally:
            process.kill()
        numbers = Counter({int(message[5:13]): count for message, count in receiver.messages.items()})
    assert sorted(numbers) == list(range(writer.count))
    # What the checkpoint had at a kill is not sent again: over all lives it has counted every line once.
    assert acknowledged(tmp_path / "state" / "checkpoint") == writer.count
    repeated = sum(count > 1 for count in numbers.values())
    assert repeated <= times * receiver.largest
    said = f"{repeated} lines delivered twice, {receiver.largest} in the largest delivery"
    print(f"{times} kills: {writer.count} lines, {writer.rotations} rotations, {said}")  # noqa: T201


def acknowledged(checkpoint: Path) -> int:
    document = json.loads(checkpoint.read_bytes())
    accounts = [document["closed"], *(entry["account"] for entry in document["inputs"]["tail"] if "account" in entry)]
    return sum(account.get("acknowledged", 0) for account in accounts)


def stored(store: Path) -> list[int]:
    if not store.exists():
        return []
    with closing(sqlite3.connect(store)) as database:
        try:
            query = "SELECT substr(json_extract(record, '$.message'), 6, 8) FROM logs"
            return [int(number) for (number,) in database.execute(query)]
        except sqlite3.OperationalError:
            return []  # no process has lived long enough to make the table
