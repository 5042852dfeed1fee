"""kill -9 with several outputs, one of which is away most of the time: each has every line, few of them twice."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from podpatterns.testing import Answer
from podpatterns.testing.stores import FakeElasticsearch
from podpatterns.testing.streams import FakeRedis

CONFIG = """
sidecar:
  inputs: [{{type: tail, paths: ["{logs}/app.log"], poll: 10ms}}]
  outputs:
  - {{type: file, path: "{directory}/file"}}
  - {{type: sqlite, path: "{directory}/sqlite"}}
  - {{type: elasticsearch, url: "{url}", index: logs}}
  - {{type: redis, address: "{address}", stream: logs}}
  checkpoint: {directory}/state/checkpoint
  linger: 20ms
  batch: 64KiB
  memory: 1MiB
  retry_cap: 100ms
runtime: {{admin: "off", reload: 0s, log_format: json, grace: 20s}}
"""
KILLS = 4
UNDER_WAY = 1.5
"""Seconds before a kill in which a line that comes twice may have been written: read, sent, acknowledged, and then as
long as it takes until the checkpoint is on a busy machine's disk."""


class Store(FakeElasticsearch):
    """Down whenever it is told to be."""

    def __init__(self) -> None:
        super().__init__()
        self.up = True

    def reply(self, seen: Any) -> Answer:
        return super().reply(seen) if self.up else Answer(503)


class Writer:
    """Writes numbered lines, knows when, and rotates by rename."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.path, self.times, self.rotations = directory / "app.log", list[float](), 0

    def write(self, lines: int) -> None:
        with self.path.open("ab", buffering=0) as file:
            begin = len(self.times)
            file.write(b"".join(b"line %08d %s\n" % (n, b"x" * (n % 90)) for n in range(begin, begin + lines)))
            self.times += [time.monotonic()] * lines

    def rotate(self) -> None:
        self.rotations += 1
        if self.path.exists():
            self.path.rename(self.path.with_name(f"app.log.{self.rotations}"))


def number(record: Any) -> int:
    return int(record["message"].split()[1])


@pytest.mark.timeout(100)
async def test_kill_9_with_several_outputs(tmp_path: Path) -> None:
    """Killed 4 times, with one store down for most of it: every line is everywhere. Stores that tell by the id have
    each once. The others have twice only what was under way at a kill, for they do not begin anew with the slowest."""
    writer, kills = Writer(tmp_path / "logs"), list[float]()
    async with Store() as store, FakeRedis() as redis:
        config = tmp_path / "sidecar.yaml"
        config.write_text(
            CONFIG.format(logs=tmp_path / "logs", directory=tmp_path, url=store.url, address=redis.address)
        )
        for life in range(KILLS):
            store.up = life in {0, KILLS // 2}
            process = start(config)
            until = time.monotonic() + 0.9 + random.random() * 0.6
            while time.monotonic() < until:
                writer.write(random.randrange(1, 300))
                if random.random() < 0.03:
                    writer.rotate()
                await asyncio.sleep(0.005)
            process.kill()
            kills.append(time.monotonic())
            await asyncio.to_thread(process.communicate)
            writer.rotate()  # while it is not running
            writer.write(20)
        store.up = True
        process = start(config)
        async with asyncio.timeout(60):
            while len(store.documents) < len(writer.times):  # noqa: ASYNC110 - a file of another process
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, errors.decode()
    everything = list(range(len(writer.times)))
    assert sorted(map(number, store.records)) == everything
    assert store.malformed == redis.malformed == []
    with sqlite3.connect(tmp_path / "sqlite") as database:
        rows = [number(json.loads(record)) for (record,) in database.execute("SELECT record FROM logs")]
    database.close()
    assert sorted(rows) == everything
    in_file = [number(json.loads(line)) for line in (tmp_path / "file").read_text().splitlines()]
    for found in (in_file, [number(record) for record in redis.records]):
        assert sorted(set(found)) == everything
        twice = [n for n, count in Counter(found).items() if count > 1]
        late = [n for n in twice if not any(0 <= kill - writer.times[n] <= UNDER_WAY for kill in kills)]
        assert late == [], "delivered again though it had long been acknowledged"


def start(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "podpatterns", "run", str(config)], stderr=subprocess.PIPE)
