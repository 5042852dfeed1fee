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
from collections.abc import Callable
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
KILLS = 2
PARCEL = 6000
"""Lines; what travels together is a chunk of a file, 256 KiB, and a little more."""


class Store(FakeElasticsearch):
    """Down whenever it is told to be."""

    def __init__(self) -> None:
        super().__init__()
        self.up = True

    def reply(self, seen: Any) -> Answer:
        return super().reply(seen) if self.up else Answer(503)


class Writer:
    """Writes numbered lines, and rotates by rename."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.path, self.count, self.rotations = directory / "app.log", 0, 0

    def write(self, lines: int) -> None:
        with self.path.open("ab", buffering=0) as file:
            numbers = range(self.count, self.count + lines)
            file.write(b"".join(b"line %08d %s\n" % (n, b"x" * (n % 90)) for n in numbers))
            self.count += lines

    def rotate(self) -> None:
        self.rotations += 1
        if self.path.exists():
            self.path.rename(self.path.with_name(f"app.log.{self.rotations}"))


def number(record: Any) -> int:
    return int(record["message"].split()[1])


@pytest.mark.timeout(120)
async def test_kill_9_with_several_outputs(tmp_path: Path) -> None:
    """Killed twice, with one store down for most of it: every line is everywhere. Stores that tell by the id have
    each once. The others have twice only what was under way at a kill, for they do not begin anew with the slowest."""
    writer, lives = Writer(tmp_path / "logs"), list[tuple[tuple[int, int], ...]]()
    async with Store() as store, FakeRedis() as redis:
        config = tmp_path / "sidecar.yaml"
        config.write_text(
            CONFIG.format(logs=tmp_path / "logs", directory=tmp_path, url=store.url, address=redis.address)
        )
        for life in range(KILLS):
            store.up = life == 0
            process = start(config)
            begin = lines(tmp_path), len(redis.records)
            # What came to the two stores before some moment, and is in two checkpoints after they have gone on by more
            # than a parcel, was not under way.
            small = size(tmp_path)
            await meanwhile(writer, lambda small=small: size(tmp_path) > small + 50_000)
            mark = lines(tmp_path), len(redis.records)
            small = size(tmp_path)
            await meanwhile(writer, lambda small=small: size(tmp_path) > small + PARCEL * 100)
            await meanwhile(writer, lambda mark=mark: len(redis.records) > mark[1] + PARCEL)
            for _ in range(2):
                last = saved(tmp_path)
                await meanwhile(writer, lambda last=last: saved(tmp_path) != last)
            until = time.monotonic() + random.random() * 0.3
            await meanwhile(writer, lambda until=until: time.monotonic() > until)
            process.kill()
            await asyncio.to_thread(process.communicate)
            await redis.quiet()
            lives.append((begin, mark, (lines(tmp_path), len(redis.records))))
            writer.rotate()  # while it is not running
            writer.write(20)
        store.up = True
        process = start(config)
        async with asyncio.timeout(60):
            while len(store.documents) < writer.count:  # noqa: ASYNC110 - a file of another process
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, errors.decode()
    everything = list(range(writer.count))
    assert sorted(map(number, store.records)) == everything
    assert store.malformed == redis.malformed == []
    with sqlite3.connect(tmp_path / "sqlite") as database:
        rows = [number(json.loads(record)) for (record,) in database.execute("SELECT record FROM logs")]
    database.close()
    assert sorted(rows) == everything
    for which, found in enumerate([in_file(tmp_path), [number(record) for record in redis.records]]):
        assert sorted(set(found)) == everything
        for life, (begin, mark, end) in enumerate(lives):
            again = set(found[begin[which] : mark[which]]) & set(found[end[which] :])
            said = f"{len(again)} lines come again after kill {life}, though they had been acknowledged long before"
            assert not again, f"{('file', 'redis')[which]}: {said}"


async def meanwhile(writer: Writer, holds: Callable[[], bool]) -> None:
    """Write and rotate until something holds."""
    async with asyncio.timeout(30):
        while not holds():
            writer.write(random.randrange(1, 300))
            if random.random() < 0.03:
                writer.rotate()
            await asyncio.sleep(0.005)


def size(directory: Path) -> int:
    file = directory / "file"
    return file.stat().st_size if file.exists() else 0


def lines(directory: Path) -> int:
    file = directory / "file"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def in_file(directory: Path) -> list[int]:
    file = directory / "file"
    return [number(json.loads(line)) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


def saved(directory: Path) -> int:
    checkpoint = directory / "state" / "checkpoint"
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0


def start(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "podpatterns", "run", str(config)], stderr=subprocess.PIPE)
