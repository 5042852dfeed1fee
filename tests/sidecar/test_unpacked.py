"""Rotated files that were compressed while the sidecar was not running."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from podpatterns.runtime.service import Context
from podpatterns.runtime.units import Duration
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs.file import FileConfig
from podpatterns.sidecar.runtime import Sidecar


def shipper(tmp_path: Path) -> Sidecar:
    tail = TailConfig(paths=(f"{tmp_path}/app.log*",), poll=Duration("2ms"))
    config = SidecarConfig(
        inputs=(tail,),
        outputs=(FileConfig(path=f"{tmp_path}/out"),),
        checkpoint=f"{tmp_path}/state/cp",
        linger=Duration("2ms"),
    )
    return Sidecar(config, Context())


def lines(count: int, start: int = 0) -> str:
    return "".join(f"line {number:09d}\n" for number in range(start, start + count))


def compress(path: Path, cut: int = 0) -> None:
    """As logrotate does: another file, and the old one goes."""
    packed = gzip.compress(path.read_bytes())
    path.with_name(f"{path.name}.gz").write_bytes(packed[: len(packed) - cut])
    path.unlink()


def shipped(tmp_path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in (tmp_path / "out").read_text().splitlines()]


@pytest.mark.parametrize("names", [["app.log.1"], ["app.log-20261123"], ["app.log.1", "app.log.2"]])
async def test_the_rest_of_a_compressed_file_is_read(tmp_path: Path, names: list[str]) -> None:
    """What had been read is not read again, what had not is read once, whatever the file is called by then."""
    log = tmp_path / "app.log"
    log.write_text(lines(1000))
    (tmp_path / "app.log.7.gz").write_bytes(gzip.compress(b"another file\n" * 500))
    async with shipper(tmp_path) as sidecar:
        await sidecar.acknowledged(1000)
    with log.open("a") as file:
        file.write(lines(50_000, 1000))
    for name in names:
        log = log.rename(tmp_path / name)
    compress(log)
    (tmp_path / "app.log").write_text("new file\n")
    async with shipper(tmp_path) as sidecar:
        await sidecar.acknowledged(51_001)
    assert sorted(shipped(tmp_path)) == sorted([*lines(51_000).splitlines(), "new file"])
    assert [check for check in sidecar.status().checks if not check.ok] == []
    assert [path.name for path in (tmp_path / "state").iterdir() if "cp" not in path.name] == []
    async with shipper(tmp_path):
        pass
    assert len(shipped(tmp_path)) == 51_001, "nor a third time"


async def test_a_file_that_is_compressed_while_it_is_followed(tmp_path: Path) -> None:
    """Its lines are read to the end in the file that was opened, and not again in what was made of it."""
    log = tmp_path / "app.log"
    log.write_text(lines(1000))
    async with shipper(tmp_path) as sidecar:
        await sidecar.acknowledged(1000)
        with log.open("a") as file:
            log = log.rename(tmp_path / "app.log.1")
            (tmp_path / "app.log").write_text("new file\n")
            file.write(lines(50_000, 1000))
        compress(log)
        await sidecar.acknowledged(51_001)
    assert sorted(shipped(tmp_path)) == sorted([*lines(51_000).splitlines(), "new file"])
    assert sidecar.ledger.lost == {}


async def test_a_compressed_file_that_is_cut_is_lost_and_said(tmp_path: Path) -> None:
    """What cannot be unpacked is counted as lost, as far as it was known; the sidecar goes on."""
    log = tmp_path / "app.log"
    log.write_text(lines(1000))
    sidecar = shipper(tmp_path)
    async with sidecar:
        await sidecar.acknowledged(1000)
    state = json.loads((tmp_path / "state" / "cp").read_bytes())
    state["inputs"]["tail"][0]["size"] += 700  # seen, and not read before the end
    (tmp_path / "state" / "cp").write_text(json.dumps(state))
    with log.open("a") as file:
        file.write(lines(50, 1000))
    compress(log.rename(tmp_path / "app.log.1"), cut=20)
    async with shipper(tmp_path) as sidecar:
        assert sidecar.ledger.lost == {"gone while not running": 700}
