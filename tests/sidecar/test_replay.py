"""Dead letters sent once more: to whom, under which ids, and what is left behind."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from podpatterns.cli import main
from podpatterns.errors import PodpatternsError
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.service import Context
from podpatterns.runtime.units import Duration, FunctionRef
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs import OutputConfig
from podpatterns.sidecar.outputs.file import FileConfig
from podpatterns.sidecar.replay import Replayed, replay
from podpatterns.sidecar.runtime import Sidecar
from podpatterns.sidecar.transforms.parse import ParseConfig
from podpatterns.sidecar.transforms.python import PythonConfig
from podpatterns.testing import Answer
from podpatterns.testing.stores import FakeElasticsearch

FIXED: list[bool] = [False]


def choke(batch: Batch) -> Batch:
    if not FIXED[0] and any(record.get("n") == 5 for record in batch.records):
        raise ValueError("five")
    return batch.map(lambda record: {**record, "seen": True})


def configured(tmp_path: Path, server: FakeElasticsearch) -> SidecarConfig:
    item = json.dumps({"type": "elasticsearch", "url": server.url, "index": "logs"})
    return SidecarConfig(
        inputs=(TailConfig(paths=(f"{tmp_path}/app.log",), poll=Duration("2ms")),),
        transforms=(ParseConfig(format="json"), PythonConfig(function=FunctionRef(choke))),
        outputs=(FileConfig(path=f"{tmp_path}/out"), decode(parse(item)[0], OutputConfig)),
        fields={"pod": "shop-1"},
        checkpoint=f"{tmp_path}/state/cp",
        linger=Duration("2ms"),
        retry_cap=Duration("5ms"),
    )


def letters(tmp_path: Path) -> list[dict[str, Any]]:
    file = tmp_path / "state" / "dead-letters.ndjson"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def test_letters_go_to_those_who_refused_them(tmp_path: Path) -> None:
    """A record that a transform failed on goes through all of it; one that an output refused to that output alone."""
    FIXED[0] = False
    (tmp_path / "app.log").write_text("".join(json.dumps({"n": n}) + "\n" for n in range(10)))
    async with FakeElasticsearch() as server:
        server.refuse = lambda document: document["n"] in {2, 7}
        config = configured(tmp_path, server)
        async with Sidecar(config, Context()) as sidecar:
            await sidecar.acknowledged(7)
        assert sorted((letter["by"], letter["record"].get("n")) for letter in letters(tmp_path)) == [
            ("elasticsearch", 2), ("elasticsearch", 7), ("transform", None),
        ]  # fmt: skip
        ids = {letter["id"] for letter in letters(tmp_path)}
        FIXED[0] = True
        server.refuse = lambda document: document["n"] == 7
        server.will(Answer(503))
        assert await replay(config) == Replayed(2, 1)
        assert [(letter["by"], letter["record"]["n"]) for letter in letters(tmp_path)] == [("elasticsearch", 7)]
        assert {letter["id"] for letter in letters(tmp_path)} < ids
        server.refuse = lambda _: False
        assert await replay(config) == Replayed(1, 0)
        assert sorted(document["n"] for document in server.records) == list(range(10))
        assert len(server.documents) == 10
        assert ids < set(server.documents), "under the ids that they had"
    stored = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert sorted(record["n"] for record in stored) == list(range(10)), "the other output has each of them once"
    assert all(record["pod"] == "shop-1" and record["seen"] for record in stored)
    assert sorted(path.name for path in (tmp_path / "state").iterdir() if "cp" not in path.name) == []
    with pytest.raises(PodpatternsError, match=r"there are no dead letters in"):
        await replay(config)


def some_letters(path: Path, by: str = "file", count: int = 3) -> None:
    rows = [
        {
            "time": "t",
            "by": by,
            "reason": "r",
            "id": f"{1:016x}{n:016x}",
            "source": "a.log",
            "offset": n,
            "record": {"n": n},
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_command(tmp_path: Path) -> None:
    """Says what has become of them; a sidecar that is written in the same file has its dead letters taken."""
    (tmp_path / "ship.yaml").write_text(f"""
sidecar:
  inputs: [{{type: tail, paths: ["{tmp_path}/app.log"]}}]
  outputs: [{{type: file, path: {tmp_path}/out, event_id: true}}]
  checkpoint: {tmp_path}/cp
""")
    some_letters(tmp_path / "dead-letters.ndjson")
    with (tmp_path / "dead-letters.ndjson").open("a") as file:
        row = {"by": "transform", "reason": "r", "id": f"{2:032x}", "source": "b.log", "record": "x"}
        file.write(json.dumps(row) + "\n")
    done = CliRunner().invoke(main, ["logs", "replay", str(tmp_path / "ship.yaml")])
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "4 delivered, 0 refused again")
    rows = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert rows == [{"id": f"{1:016x}{n:016x}", "n": n} for n in range(3)] + [{"id": f"{2:032x}", "message": "x"}]


async def test_what_a_transform_fails_on_again_stays_as_it_was(tmp_path: Path) -> None:
    """A replay before the transform was mended costs nothing: the letter is written anew with its record, once."""
    FIXED[0] = False
    (tmp_path / "app.log").write_text(json.dumps({"n": 5, "text": ["whole"]}) + "\n")
    async with FakeElasticsearch() as server:
        config = configured(tmp_path, server)
        async with Sidecar(config, Context()):
            pass
        (before,) = letters(tmp_path)
        assert await replay(config) == Replayed(0, 1)
        (after,) = letters(tmp_path)
        assert (after["id"], after["record"]) == (before["id"], before["record"])
        FIXED[0] = True
        assert await replay(config) == Replayed(1, 0)
        assert [document["text"] for document in server.records] == [["whole"]]


async def test_an_interrupted_replay_begins_anew(tmp_path: Path) -> None:
    """What was taken and not finished is found again; letters that came in between have their turn after it."""
    async with FakeElasticsearch() as server:
        config = configured(tmp_path, server)
        (tmp_path / "state").mkdir()
        some_letters(tmp_path / "state" / "dead-letters.ndjson", "elasticsearch")
        server.default = Answer(503)
        server.will(*[Answer(503)] * 100_000)
        running = asyncio.create_task(replay(config))
        await server.received(2)
        running.cancel()
        await asyncio.wait([running])
        assert server.records == []
        some_letters(tmp_path / "state" / "dead-letters.ndjson", "elasticsearch", 5)
        server._script.clear()
        assert await replay(config) == Replayed(3, 0)
        assert await replay(config) == Replayed(5, 0)
        assert [record["n"] for record in server.records] == list(range(5)), "ids tell what was there"


async def test_letters_that_make_no_sense(tmp_path: Path) -> None:
    """The line is named, and nothing is lost: the file stays where the next replay finds it."""
    async with FakeElasticsearch() as server:
        config = configured(tmp_path, server)
        path = tmp_path / "mine.ndjson"
        some_letters(path, "gone")
        with pytest.raises(PodpatternsError, match=r'"gone" is no output .* --to: file, elasticsearch'):
            await replay(config, path)
        assert await replay(config, path, to="elasticsearch") == Replayed(3, 0)
        for line in ('{"by": "file"}', '{"by": "file", "id": "7", "source": "a", "record": {}}', "[" * 100_000):
            path.write_text(f"{line}\n")
            with pytest.raises(PodpatternsError, match=r"mine\.ndjson\.replaying:1: not a dead letter"):
                await replay(config, path)
            path.with_name("mine.ndjson.replaying").unlink()


async def test_how_far_it_is(tmp_path: Path) -> None:
    """Whoever asks is told how many of how many are done, over all outputs, and what is waited for."""
    told: list[tuple[int, int, str]] = []
    (tmp_path / "letters").write_text(
        "".join(
            json.dumps({"by": by, "id": f"{n:032x}", "source": "a", "record": {"n": n}}) + "\n"
            for n, by in enumerate(["file", "elasticsearch", "file"])
        )
    )
    async with FakeElasticsearch() as server:
        server.will(*[Answer(503, b"busy")] * 100)
        sending = asyncio.create_task(
            replay(configured(tmp_path, server), tmp_path / "letters", progress=lambda *what: told.append(what))
        )
        async with asyncio.timeout(20):
            while not any(why == "elasticsearch: 503 busy" for _, _, why in told):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.005)
        assert await sending == Replayed(3, 0)
    assert told[-1] == (3, 3, "")
    assert {total for _, total, _ in told} == {3}
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
