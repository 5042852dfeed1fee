"""kill -9 at random moments, while a writer rotates: the store holds exactly the lines written, once each."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONFIG = """
sidecar:
  inputs: [{{type: tail, paths: ["{logs}/app.log"], poll: 10ms}}]
  outputs: [{{type: sqlite, path: "{store}"}}]
  checkpoint: {checkpoint}
  linger: 20ms
runtime: {{admin: "off", reload: 0s, log_format: json}}
"""


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


def start(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "podpatterns", "run", str(config)], stderr=subprocess.PIPE)


@pytest.mark.timeout(90)
def test_kill_9_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """Killed 12 times in the middle of writing and rotating, the sidecar ends with every line stored exactly once."""
    writer = Writer(tmp_path / "logs")
    store = tmp_path / "store.sqlite"
    config = tmp_path / "sidecar.yaml"
    config.write_text(CONFIG.format(logs=tmp_path / "logs", store=store, checkpoint=tmp_path / "state" / "checkpoint"))
    for _ in range(12):
        process = start(config)
        assert process.stderr is not None
        until = time.monotonic() + 0.3 + random.random() * 0.5
        while time.monotonic() < until:
            writer.write(random.randrange(1, 400))
            if random.random() < 0.04:
                writer.rotate()
            time.sleep(0.002)
        process.kill()
        process.communicate()
        writer.rotate()  # while it is not running
        writer.write(50)
    writer.file.close()
    process = start(config)
    wait_for_lines(store, writer.count)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors.decode()
    with sqlite3.connect(store) as database:
        stored = [
            row[0] for row in database.execute("SELECT substr(json_extract(record, '$.message'), 6, 8) FROM logs")
        ]
    database.close()
    numbers = sorted(map(int, stored))
    assert [n for n, m in itertools.pairwise(numbers) if n == m] == [], "stored twice"
    assert numbers == list(range(writer.count))


def stored_lines(store: Path) -> int:
    database = sqlite3.connect(store)
    try:
        query = "SELECT count(DISTINCT substr(json_extract(record, '$.message'), 6, 8)) FROM logs"
        return int(database.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # on a busy machine no process has lived long enough to make the table
    finally:
        database.close()


def wait_for_lines(store: Path, count: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if store.exists() and stored_lines(store) >= count:
            return
        os.sched_yield()
        time.sleep(0.02)
