"""What containers write is kept as the kubelet keeps it: a file for each run, in the CRI's format, of bounded size."""

import asyncio
import re

import pytest

from podpatterns.pod import container_logs
from podpatterns.pod.container_logs import ContainerLog, PodLogs


def texts(lines):
    return [line.split(b" ", 3)[3].decode() for line in lines]


def test_a_line_is_kept_as_the_cri_writes_it(tmp_path):
    """Time, stream, F for a whole line, text; bytes that are no text are replaced."""
    log = ContainerLog(tmp_path / "1.log")
    log.write("stderr", "it  hurts \ud800")
    log.close()
    assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z stderr F it  hurts \?\n", log.path.read_bytes())


@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_a_file_at_its_limit_is_set_aside_and_one_such_is_kept(tmp_path, monkeypatch, count):
    """The last lines are there, in their order; of what is older only whole files are gone."""
    monkeypatch.setattr(container_logs, "LIMIT", 200)
    log = ContainerLog(tmp_path / "1.log")
    for number in range(count):
        log.write("stdout", str(number))
    log.close()
    with log.reading() as reading:
        kept = texts(reading.lines())
    assert kept == [str(number) for number in range(count - len(kept), count)]
    assert len(kept) == count or len(kept) > 5
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2 * 300


@pytest.mark.parametrize("limit", [100, 10_000])
async def test_who_follows_gets_every_line_once(tmp_path, monkeypatch, limit):
    """Those that are kept, then the others, across files that are set aside between two looks, up to the end."""
    monkeypatch.setattr(container_logs, "LIMIT", limit)
    log = ContainerLog(tmp_path / "1.log")
    log.write("stdout", "0")
    got = []

    async def follow():
        with log.reading() as reading:
            got.extend(texts(reading.lines()))
            await asyncio.sleep(0)  # who reads slowly gets what is written meanwhile, too
            async for batch in reading.follow():
                got.extend(texts(batch))

    following = [asyncio.create_task(follow()) for _ in range(2)]
    await asyncio.sleep(0)
    for number in range(1, 20):
        log.write("stdout", str(number))
        await asyncio.sleep(0)
    log.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*following)
    assert sorted(got, key=int) == sorted([str(number) for number in range(20)] * 2, key=int)


def test_the_current_run_and_the_one_before_are_kept(tmp_path):
    """As `logs --previous` wants it; the files of older runs are removed."""
    logs = PodLogs(tmp_path)
    assert logs.find("app") is None
    for run in (1, 2, 4):
        logs.begin("app", run).write("stdout", f"run {run}")
    for previous, text in (False, "run 4"), (True, "run 2"):
        with logs.find("app", previous=previous).reading() as reading:
            assert texts(reading.lines()) == [text]
    assert sorted(path.name for path in (tmp_path / "app").iterdir()) == ["2.log", "4.log"]
    assert logs.find("app", previous=True).closed
    logs.close()
    assert logs.find("app").closed
