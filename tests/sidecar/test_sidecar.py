"""The sidecar as a whole, on real files and sockets: rotation, delivery, dead letters, accounts."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import podpatterns
from podpatterns import Sidecar, SidecarConfig, StartError
from podpatterns.runtime.components import load_all, slot_of
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.units import Duration, Size, Url
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.inputs import InputConfig
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs import OutputConfig
from podpatterns.sidecar.outputs.file import FileConfig
from podpatterns.sidecar.outputs.http import HttpConfig
from podpatterns.sidecar.transforms import TransformConfig
from podpatterns.sidecar.transforms.filter import FilterConfig
from podpatterns.sidecar.transforms.parse import ParseConfig
from podpatterns.sidecar.transforms.redact import RedactConfig


def config(tmp_path: Path, *outputs: OutputConfig, **more: Any) -> SidecarConfig:
    tail = TailConfig(paths=(f"{tmp_path}/app.log",), poll=Duration("5ms"), release=Duration("50ms"))
    outputs = outputs or (FileConfig(path=f"{tmp_path}/out"),)
    settings = {"linger": Duration("10ms"), "retry_cap": Duration("20ms"), **more}
    return SidecarConfig(inputs=(tail,), outputs=outputs, checkpoint=f"{tmp_path}/state/checkpoint", **settings)


def shipped(tmp_path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in (tmp_path / "out").read_text().splitlines()]


def write(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def all_ok(sidecar: Sidecar) -> bool:
    return all(check.ok for check in sidecar.status().checks)


async def test_a_renamed_file_is_read_to_its_end(tmp_path: Path) -> None:
    """What is written to a file after it was renamed is shipped, and so is the new file."""
    log = tmp_path / "app.log"
    write(log, "one\n")
    async with Sidecar(config(tmp_path)) as sidecar:
        await sidecar.acknowledged(1)
        with log.open("a") as old:
            log.rename(tmp_path / "app.log.1")
            old.write("two\n")
            old.flush()
            write(log, "three\n")
            await sidecar.acknowledged(3)
    assert sorted(shipped(tmp_path)) == ["one", "three", "two"]
    assert all_ok(sidecar)


async def test_a_deleted_file_is_read_to_its_end(tmp_path: Path) -> None:
    """Lines of a file that was deleted while open are shipped."""
    log = tmp_path / "app.log"
    write(log, "one\n")
    async with Sidecar(config(tmp_path)) as sidecar:
        await sidecar.acknowledged(1)
        with log.open("a") as old:
            log.unlink()
            old.write("two\n")
        await sidecar.acknowledged(2)
    assert shipped(tmp_path) == ["one", "two"]


async def test_copytruncate_reads_on_in_the_copy(tmp_path: Path) -> None:
    """Lines that were not read when the file was truncated come from the copy; nothing is repeated."""
    log, copy = tmp_path / "app.log", tmp_path / "app.log.1"
    write(log, "one, a line that tells this file from others\n")
    async with Sidecar(config(tmp_path)) as sidecar:
        await sidecar.acknowledged(1)
        write(log, "two\n")
        copy.write_bytes(log.read_bytes())
        os.truncate(log, 0)
        await sidecar.acknowledged(2)
        write(log, "three\n")
        await sidecar.acknowledged(3)
    lines = shipped(tmp_path)
    assert [line[:3] for line in sorted(lines)] == ["one", "thr", "two"]
    assert all_ok(sidecar)


async def test_what_was_truncated_away_is_counted(tmp_path: Path) -> None:
    """With no copy, the bytes known to be there and not read are in the ledger, and the check fails."""
    log = tmp_path / "app.log"
    write(log, "one\nhalf a line")
    async with Sidecar(config(tmp_path)) as sidecar:
        await sidecar.acknowledged(1)
        os.truncate(log, 0)
        write(log, "two\n")
        await sidecar.acknowledged(2)
    assert sidecar.ledger.lost == {"truncated before it was read": len("half a line")}
    assert not all_ok(sidecar)


async def test_long_and_broken_lines_are_cut_and_counted(tmp_path: Path) -> None:
    """A line over the limit, even over a chunk, is cut with a marker; bytes that are not text become U+FFFD."""
    (tmp_path / "app.log").write_bytes(b"a" * 300_000 + b"\nok \xff\r\nlast\n")
    async with Sidecar(config(tmp_path)) as sidecar:
        await sidecar.acknowledged(3)
    long, broken, last = shipped(tmp_path)
    assert len(long) == 262_144 + len("...[truncated]")
    assert (broken, last) == ("ok \ufffd", "last")


async def test_transforms_filter_redact_and_set_aside(tmp_path: Path) -> None:
    """Lines are parsed, filtered and redacted; one that a function fails on becomes a dead letter, alone."""
    write(tmp_path / "app.log", '{"n": 1, "to": "a@b.org"}\n{"n": 2}\n{"n": "bad"}\n{"n": 4}\n')

    @podpatterns.transform
    def add(batch: Batch) -> Batch:
        return batch.map(lambda record: {**record, "next": record["n"] + 1})

    transforms = (ParseConfig(format="json"), FilterConfig(field="n", drop="^2$"), RedactConfig(kinds=("email",)), add)
    async with Sidecar(config(tmp_path, transforms=transforms, fields={"pod": "p"})) as sidecar:
        await sidecar.acknowledged(2)
    records = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [(r["n"], r["next"], r["pod"]) for r in records] == [(1, 2, "p"), (4, 5, "p")]
    assert records[0]["to"] == "[redacted]"
    account = sidecar.ledger
    assert (account.read, account.acknowledged, account.filtered, account.dead) == (4, 2, 1, 1)
    letter = json.loads((tmp_path / "state" / "dead-letters.ndjson").read_text())
    assert (letter["by"], letter["record"]["message"]) == ("transform", '{"n": "bad"}')


class Store:
    """An HTTP log store that answers as told and keeps what it has accepted."""

    def __init__(self, answer: Callable[[int, list[dict[str, Any]]], str]) -> None:
        self.answer, self.requests = answer, 0
        self.records: list[dict[str, Any]] = []

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_server(self.talk, "127.0.0.1", 0)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(x[16:]) for x in head.decode().split("\r\n") if x.startswith("Content-Length: "))
                body = await reader.readexactly(length)
                records = [json.loads(line) for line in body.splitlines()]
                self.requests += 1
                answer = self.answer(self.requests, records)
                if answer == "hang up":
                    break
                if answer.startswith("2"):
                    self.records += records
                writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 2\r\n\r\nhm".encode())
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def http(server: asyncio.Server) -> HttpConfig:
    return HttpConfig(url=Url(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/in"))


async def test_http_tries_again_until_accepted(tmp_path: Path) -> None:
    """429 with Retry-After, 503 and a closed connection are tried again; each line arrives, nothing is dead."""
    answers = {1: "429 Slow\r\nRetry-After: 0", 2: "503 Down", 3: "hang up"}
    store = Store(lambda n, _: answers.get(n, "200 OK"))
    write(tmp_path / "app.log", "one\ntwo\n")
    async with await store.serve() as server, Sidecar(config(tmp_path, http(server))) as sidecar:
        await sidecar.acknowledged(2)
        assert [record["message"] for record in store.records] == ["one", "two"]
        assert store.requests == 4
    assert all_ok(sidecar)


async def test_http_sets_aside_only_the_poisonous_record(tmp_path: Path) -> None:
    """A 400 for a batch dead-letters the one record that is to blame; the others are delivered once."""
    store = Store(lambda _, records: "400 Bad" if any(r["message"] == "bad" for r in records) else "200 OK")
    lines = [str(n) for n in range(20)]
    lines[13] = "bad"
    write(tmp_path / "app.log", "\n".join(lines) + "\n")
    async with await store.serve() as server, Sidecar(config(tmp_path, http(server))) as sidecar:
        await sidecar.acknowledged(19)
    assert sorted(r["message"] for r in store.records) == sorted(line for line in lines if line != "bad")
    assert sidecar.ledger.dead == 1


async def test_a_store_that_is_away_is_waited_for_visibly(tmp_path: Path) -> None:
    """While nobody listens, the reason is a fact, memory stays in its bounds and nothing is lost."""
    write(tmp_path / "app.log", "".join(f"{n:01000d}\n" for n in range(500)))
    small = {"memory": Size("64KiB"), "batch": Size("16KiB")}
    store = Store(lambda *_: "200 OK")
    server = await store.serve()
    output = http(server)
    server.close()
    await server.wait_closed()
    async with Sidecar(config(tmp_path, output, **small)) as sidecar:
        while "waiting" not in sidecar.status().facts:  # noqa: ASYNC110 - what the operator sees has no event
            await asyncio.sleep(0)
        again = await asyncio.start_server(
            store.talk, "127.0.0.1", int(output.url.rpartition(":")[2].partition("/")[0])
        )
        await sidecar.acknowledged(500)
    again.close()
    await again.wait_closed()  # behind the sidecar, which keeps its connection: Python 3.12 waits for those as well
    assert len(store.records) == 500


async def test_a_checkpoint_that_cannot_be_kept_is_a_clear_error(tmp_path: Path) -> None:
    """Where a file stands in the directory's place, the sidecar does not start, and says what to do."""
    (tmp_path / "state").write_text("")
    with pytest.raises(StartError, match=r"mount a volume there .* or set sidecar\.checkpoint"):
        async with Sidecar(config(tmp_path)):
            pytest.fail("it has started")


@pytest.mark.parametrize(
    ("base", "cls"),
    [(base, cls) for base in (InputConfig, OutputConfig, TransformConfig) for cls in load_all(slot_of(base))],
)
def test_every_component_has_a_valid_example(base: Any, cls: Any) -> None:
    """EXAMPLE decodes as the component that it is an example of."""
    assert isinstance(decode(parse(cls.EXAMPLE)[0], base), cls)
