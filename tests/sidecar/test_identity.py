"""Which file it is: known from its first byte, and not mistaken for another one that has its inode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from podpatterns.formats.rotation import hashed
from podpatterns.runtime.units import Duration
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.files.identity import fresh
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs.file import FileConfig
from podpatterns.sidecar.runtime import Sidecar


def shipper(tmp_path: Path, **more: Any) -> Sidecar:
    config = SidecarConfig(
        inputs=(TailConfig(paths=(f"{tmp_path}/*.log",), **more),),
        outputs=(FileConfig(path=f"{tmp_path}/out"),),
        checkpoint=f"{tmp_path}/state/checkpoint",
        linger=Duration("2ms"),
    )
    return Sidecar(config)


def shipped(tmp_path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in (tmp_path / "out").read_text().splitlines()]


@pytest.mark.parametrize(
    ("known", "now", "same"),
    [
        (b"", b"", True),
        (b"", b"anything", True),
        (b"a", b"a", True),
        (b"a", b"ab", True),
        (b"a", b"b", False),
        (b"a", b"", False),
        (b"one\ntwo\n", b"one\ntwo\nthree\n", True),
        (b"one\ntwo\n", b"one\nTWO\nthree\n", False),
        (b"one\ntwo\n", b"one\ntw", False),
        (b"x" * 5000, b"x" * 4999 + b"y", False),
    ],
)
def test_a_file_is_known_from_its_first_byte(tmp_path: Path, known: bytes, now: bytes, same: bool) -> None:
    """By what was read of it: the first bytes, and the last ones."""
    path = tmp_path / "file"
    path.write_bytes(now)
    entry = fresh("1", 0, str(path), 0, 0)
    entry.offset = entry.size = len(known)
    entry.prefix = len(known[:1024]), hashed(known[:1024])
    entry.before = len(known[-64:]), hashed(known[-64:])
    with path.open("rb") as file:
        assert entry.describes(file.fileno()) is same


def remembered_as(tmp_path: Path, path: Path) -> None:
    """Have the checkpoint know its file by the inode of another one, as if that had been given to it again."""
    (tmp_path / "state" / "checkpoint.recent").unlink()
    checkpoint = tmp_path / "state" / "checkpoint"
    document = json.loads(checkpoint.read_bytes())
    (entry,) = document["inputs"]["tail"]
    entry["dev"], entry["ino"] = path.stat().st_dev, path.stat().st_ino
    checkpoint.write_text(json.dumps(document))


@pytest.mark.parametrize("text", ["new\n", "another file, and a longer one than before\nwith two lines\n"])
async def test_an_inode_that_is_used_again(tmp_path: Path, text: str) -> None:
    """While the sidecar is not running the file is deleted and its inode given to another one: that is read whole."""
    log = tmp_path / "a.log"
    log.write_text("one\ntwo\n")
    async with shipper(tmp_path) as sidecar:
        await sidecar.acknowledged(2)
    log.unlink()
    (tmp_path / "b.log").write_text(text)
    remembered_as(tmp_path, tmp_path / "b.log")
    async with shipper(tmp_path) as sidecar:
        await sidecar.acknowledged(2 + text.count("\n"))
        assert sidecar.ledger.lost == {}
    assert shipped(tmp_path) == ["one", "two", *text.splitlines()]


async def test_an_inode_is_not_used_again_while_the_file_is_held(tmp_path: Path) -> None:
    """A deleted file is held until it has been quiet for `release`; then its inode may be another file's."""
    log = tmp_path / "a.log"
    log.write_text("one\n")
    async with shipper(tmp_path, release=Duration("50ms"), poll=Duration("5ms")) as sidecar:
        await sidecar.acknowledged(1)
        inode = log.stat().st_ino
        log.unlink()
        (tmp_path / "b.log").write_text("two\n")
        assert (tmp_path / "b.log").stat().st_ino != inode
        await sidecar.acknowledged(2)
        value = sidecar.context.telemetry.registry.get_sample_value
        while not value("podpatterns_sidecar_file_events_total", {"what": "closed"}):
            await sidecar.checkpoint.save()
        # Many file systems give a free inode to the next file that is made, others never; either way it is read.
        for number in range(100):
            new = tmp_path / f"{number}.tmp"
            new.write_text("three\n")
            if new.stat().st_ino == inode:
                break
        new.rename(tmp_path / "c.log")
        await sidecar.acknowledged(3)
    assert shipped(tmp_path) == ["one", "two", "three"]
