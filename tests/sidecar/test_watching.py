"""How files are noticed: by what the kernel tells, and by looking where it tells nothing."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from podpatterns.runtime.units import Duration
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.files import inotify, watches
from podpatterns.sidecar.files.discovery import Discovery
from podpatterns.sidecar.files.follower import Follower
from podpatterns.sidecar.files.inotify import Happening, Inotify, Told, parsed
from podpatterns.sidecar.files.mounts import SILENT, file_system
from podpatterns.sidecar.files.watches import Watches
from podpatterns.sidecar.inputs import tail as module
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs.file import FileConfig
from podpatterns.sidecar.runtime import Sidecar

HOUR = 3600.0


@pytest.fixture(params=["told", "polled"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of noticing, each without the help of the other."""
    way: str = request.param
    if way == "told":
        monkeypatch.setattr(module, "LOOK", HOUR)
        monkeypatch.setattr(module, "RELOOK", HOUR)
    else:
        monkeypatch.setattr(module, "LOOK", 0.005)
        monkeypatch.setattr(inotify, "_call", no_inotify)
    return way


def no_inotify(*_: Any) -> int:
    raise OSError(errno.EMFILE, "Too many open files")


def shipper(tmp_path: Path, *paths: str, way: str = "told", **more: Any) -> Sidecar:
    poll = Duration("1h") if way == "told" else Duration("5ms")
    tail = TailConfig(paths=paths or (f"{tmp_path}/logs/*.log",), poll=poll, **more)
    config = SidecarConfig(
        inputs=(tail,),
        outputs=(FileConfig(path=f"{tmp_path}/out"),),
        checkpoint=f"{tmp_path}/state/checkpoint",
        linger=Duration("1ms"),
    )
    return Sidecar(config)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)


def shipped(tmp_path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in (tmp_path / "out").read_text().splitlines()]


def told(sidecar: Sidecar, what: str) -> float:
    return (
        sidecar.context.telemetry.registry.get_sample_value("podpatterns_sidecar_file_events_total", {"what": what})
        or 0
    )


# --- the whole, in both ways ------------------------------------------------------------------------------------------


async def test_growth_is_noticed(tmp_path: Path, way: str) -> None:
    """Each line arrives without a further look being due, in a file that was there and in one that comes."""
    write(tmp_path / "logs" / "a.log", "one\n")
    async with shipper(tmp_path, way=way) as sidecar:
        await sidecar.acknowledged(1)
        for number in range(2, 8):
            write(tmp_path / "logs" / f"{'ab'[number % 2]}.log", f"{number}\n")
            await sidecar.acknowledged(number)
        assert told(sidecar, "polled") == (way == "polled")
    assert shipped(tmp_path) == ["one", "2", "3", "4", "5", "6", "7"]


async def test_a_file_that_was_empty_is_noticed(tmp_path: Path, way: str) -> None:
    """An empty file is not opened; its first byte is."""
    write(tmp_path / "logs" / "a.log", "")
    async with shipper(tmp_path, way=way) as sidecar:
        await asyncio.sleep(0.02)
        write(tmp_path / "logs" / "a.log", "one\n")
        await sidecar.acknowledged(1)


async def test_a_name_that_is_not_text_is_said_and_left_alone(tmp_path: Path, way: str) -> None:
    """No record, checkpoint or log line could hold it; the other files are shipped, and it is when it is renamed."""
    write(tmp_path / "logs" / "a.log", "one\n")
    (tmp_path / "logs" / os.fsdecode(b"\xff.log")).write_text("two\n")
    async with shipper(tmp_path, way=way) as sidecar:
        await sidecar.acknowledged(1)
        assert told(sidecar, "unreadable") == 1
        (tmp_path / "logs" / os.fsdecode(b"\xff.log")).rename(tmp_path / "logs" / "b.log")
        await sidecar.acknowledged(2)
    assert shipped(tmp_path) == ["one", "two"]


async def test_a_directory_that_comes_later_is_noticed(tmp_path: Path, way: str) -> None:
    """None of the path is there when the sidecar starts, and half of it is a pattern."""
    async with shipper(tmp_path, f"{tmp_path}/logs/*/now/*.log", way=way) as sidecar:
        write(tmp_path / "logs" / "pod" / "now" / "a.log", "one\n")
        await sidecar.acknowledged(1)
        write(tmp_path / "logs" / "pod-2" / "now" / "a.log", "two\n")
        await sidecar.acknowledged(2)
    assert told(sidecar, "none_yet") == 1


async def test_directories_of_any_depth_are_noticed(tmp_path: Path, way: str) -> None:
    """`**` stands for directories that come later as well."""
    write(tmp_path / "logs" / "a.log", "one\n")
    async with shipper(tmp_path, f"{tmp_path}/logs/**/*.log", way=way) as sidecar:
        await sidecar.acknowledged(1)
        write(tmp_path / "logs" / "x" / "y" / "b.log", "two\n")
        await sidecar.acknowledged(2)
        write(tmp_path / "logs" / "x" / "c.log", "three\n")
        await sidecar.acknowledged(3)


async def test_rotation_is_noticed(tmp_path: Path, way: str) -> None:
    """A renamed file goes on being read under its next names, a moved and a deleted one as well."""
    log = tmp_path / "logs" / "a.log"
    write(log, "one\n")
    async with shipper(tmp_path, way=way) as sidecar:
        await sidecar.acknowledged(1)
        (tmp_path / "elsewhere").mkdir()
        count = 1
        for to in ("logs/a.log.1", "logs/a.log.2", "elsewhere/a.log", None):
            with log.open("a") as writer:
                if to is None:
                    log.unlink()
                else:
                    log.rename(tmp_path / to)
                write(log, "new\n")
                if way == "told" and to in {"elsewhere/a.log", None}:
                    # Out of reach of the watches: such files are polled, which is once in an hour here.
                    sidecar.inputs["tail"].config = TailConfig(paths=("x",), poll=Duration("5ms"))  # type: ignore[attr-defined]
                writer.write("old\n")
                writer.flush()
                count += 2
                await sidecar.acknowledged(count)
    assert sorted(shipped(tmp_path)) == ["new"] * 4 + ["old"] * 4 + ["one"]
    assert all(check.ok for check in sidecar.status().checks)


async def test_copytruncate_is_noticed(tmp_path: Path, way: str) -> None:
    """A truncated file starts anew."""
    log = tmp_path / "logs" / "a.log"
    write(log, "one, a line that tells this file from others\n")
    async with shipper(tmp_path, way=way) as sidecar:
        await sidecar.acknowledged(1)
        (tmp_path / "logs" / "a.log.1").write_bytes(log.read_bytes())
        os.truncate(log, 0)
        write(log, "two\n")
        await sidecar.acknowledged(2)


@pytest.mark.parametrize("dangling", [False, True])
async def test_a_symlink_is_followed_to_where_it_leads_now(tmp_path: Path, way: str, dangling: bool) -> None:
    """What is behind a symlink in another directory is noticed when it grows, appears, and when the link is swapped."""
    link, data = tmp_path / "logs" / "a.log", tmp_path / "data"
    link.parent.mkdir()
    data.mkdir()
    link.symlink_to(data / "0")
    if not dangling:
        write(data / "0", "one\n")
    async with shipper(tmp_path, way=way) as sidecar:
        if dangling:
            await asyncio.sleep(0.02)
            write(data / "0", "one\n")
        await sidecar.acknowledged(1)
        write(data / "0", "two\n")
        await sidecar.acknowledged(2)
        write(data / "1", "three\n")
        (link.parent / "next").symlink_to(data / "1")
        (link.parent / "next").rename(link)
        await sidecar.acknowledged(3)
        write(data / "1", "four\n")
        await sidecar.acknowledged(4)
    assert shipped(tmp_path) == ["one", "two", "three", "four"]


async def test_a_directory_behind_a_symlink_is_swapped(tmp_path: Path, way: str) -> None:
    """As a release does, or a ConfigMap: the directory's name leads to another one."""
    for name in ("v1", "v2"):
        write(tmp_path / name / "a.log", f"{name}\n")
    (tmp_path / "current").symlink_to("v1")
    async with shipper(tmp_path, f"{tmp_path}/current/*.log", way=way) as sidecar:
        await sidecar.acknowledged(1)
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").rename(tmp_path / "current")
        await sidecar.acknowledged(2)
        write(tmp_path / "v2" / "a.log", "more\n")
        await sidecar.acknowledged(3)


async def test_a_file_with_two_names_is_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written under a name in another directory is told to nobody who watches ours."""
    monkeypatch.setattr(module, "RELOOK", HOUR)
    write(tmp_path / "data", "one\n")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").hardlink_to(tmp_path / "data")
    sidecar = shipper(tmp_path)
    sidecar.inputs["tail"].config = TailConfig(paths=("x",), poll=Duration("5ms"))  # type: ignore[attr-defined]
    async with sidecar:
        await sidecar.acknowledged(1)
        write(tmp_path / "data", "two\n")
        await sidecar.acknowledged(2)


async def test_quiet_files_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one file of many grows, nobody looks at the others."""
    for number in range(20):
        write(tmp_path / "logs" / f"{number}.log", "start\n")
    looked: list[str] = []
    read = Follower.read

    def counted(self: Follower, *arguments: Any, **more: Any) -> Any:
        looked.append(Path(self.path).name)
        return read(self, *arguments, **more)

    async with shipper(tmp_path) as sidecar:
        await sidecar.acknowledged(20)
        source: Any = sidecar.inputs["tail"]
        while source._ready or source._next_look < time.monotonic():  # noqa: ASYNC110 - the second look has no event; it follows on the first watch of a directory
            await asyncio.sleep(0)
        monkeypatch.setattr(Follower, "read", counted)
        for number in range(10):
            write(tmp_path / "logs" / "7.log", "more\n")
            await sidecar.acknowledged(21 + number)
        assert set(looked) == {"7.log"}
        monkeypatch.setattr(Follower, "read", read)


async def test_when_more_has_happened_than_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel drops events when nobody takes them: then everything is looked at."""
    monkeypatch.setattr(module, "RELOOK", HOUR)
    write(tmp_path / "logs" / "a.log", "one\n")
    original = Inotify.told

    def overflowed(self: Inotify) -> Any:
        yield from [Told(-1, Happening.OVERFLOWED, "") for _ in original(self)][:1]

    async with shipper(tmp_path) as sidecar:
        await sidecar.acknowledged(1)
        monkeypatch.setattr(Inotify, "told", overflowed)
        write(tmp_path / "logs" / "b.log", "two\n")
        await sidecar.acknowledged(2)
        write(tmp_path / "logs" / "a.log", "three\n")
        await sidecar.acknowledged(3)


async def test_without_a_watch_left_it_is_said_and_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's limit of watches is reached: the directory is polled, and the event names the limit."""
    call = inotify._call

    def exhausted(name: str, *arguments: Any) -> int:
        if name == "inotify_add_watch":
            raise OSError(errno.ENOSPC, "No space left on device")
        return call(name, *arguments)

    monkeypatch.setattr(inotify, "_call", exhausted)
    monkeypatch.setattr(module, "LOOK", 0.01)
    write(tmp_path / "logs" / "a.log", "one\n")
    async with shipper(tmp_path, way="polled") as sidecar:
        await sidecar.acknowledged(1)
        write(tmp_path / "logs" / "a.log", "two\n")
        await sidecar.acknowledged(2)
        polled = sidecar.inputs["tail"]._watches.polled  # type: ignore[attr-defined]
        assert polled == {f"{tmp_path}/logs": "no watch is left of what fs.inotify.max_user_watches allows"}
        assert told(sidecar, "polled") == 1


# --- the parts --------------------------------------------------------------------------------------------------------


def test_events_are_parsed() -> None:
    """Several in one read, with and without a name, as inotify(7) says."""
    data = struct.pack("iIII", 1, 2, 0, 16) + b"app.log".ljust(16, b"\0") + struct.pack("iIII", -1, 0x4000, 0, 0)
    assert list(parsed(data)) == [(1, Happening.MODIFIED, "app.log"), (-1, Happening.OVERFLOWED, "")]


MOUNTS = r"""22 1 254:0 / / rw,relatime - ext4 /dev/root rw
30 22 0:30 / /var/log rw shared:1 - nfs4 server:/logs rw
31 22 0:31 / /var/log/app rw - tmpfs tmpfs rw
32 22 0:32 / /with\040space rw - fuse.s3fs s3 rw
33 31 0:33 / /var/log/app rw - ext4 /dev/x rw
34 22 0:34 /a/b /vol rw master:2 propagate_from:2 - virtiofs none rw
a line of another kind
"""


@pytest.mark.parametrize(
    ("path", "kind", "silent"),
    [
        ("/", "ext4", False),
        ("/var", "ext4", False),
        ("/var/log", "nfs4", True),
        ("/var/logs", "ext4", False),
        ("/var/log/app/x", "ext4", False),
        ("/with space/a", "fuse.s3fs", True),
        ("/vol", "virtiofs", True),
    ],
)
def test_the_file_system_of_a_directory(path: str, kind: str, silent: bool) -> None:
    """The longest mount point wins, and of two at one place the later one."""
    assert file_system(path, MOUNTS) == kind
    assert bool(SILENT.fullmatch(kind)) == silent
    assert file_system(path, "") == "?"


def test_where_to_look_and_what_leads_there(tmp_path: Path) -> None:
    """Only what can change where files are is watched beside their directories."""
    (tmp_path / "a" / "b1").mkdir(parents=True)
    (tmp_path / "a" / "b2").mkdir()
    (tmp_path / "link").symlink_to("a")
    top = str(tmp_path)

    def ways(path: str) -> tuple[set[str], dict[str, set[str] | None]]:
        found = Discovery([path]).directories()
        return set(found.search), found.ways

    assert ways(f"{top}/a/*.log") == ({f"{top}/a"}, {})
    assert ways(f"{top}/a/b*/*.log") == ({f"{top}/a/b1", f"{top}/a/b2"}, {f"{top}/a": None})
    assert ways(f"{top}/link/*.log") == ({f"{top}/link"}, {top: {"link"}})
    assert ways(f"{top}/none/x/*.log") == (set(), {top: {"none"}})
    everywhere = {f"{top}/a", f"{top}/a/b1", f"{top}/a/b2"}
    assert ways(f"{top}/a/**/*.log") == (everywhere, dict.fromkeys(everywhere))


def test_a_name_that_matches_nothing_is_of_no_concern(tmp_path: Path) -> None:
    """What else is written to a directory calls for no look; what rotation makes does."""
    discovery = Discovery([f"{tmp_path}/app.log"], exclude=["*.9"])
    directories = discovery.directories()
    names = ["app.log", "app.log.1", "app.log.9", "out", "app.log.swp"]
    assert [name for name in names if discovery.concerns(directories, str(tmp_path), name)] == ["app.log", "app.log.1"]


def test_nothing_is_opened_before_the_start(tmp_path: Path) -> None:
    """An input that was only built, to explain or check a configuration, holds no descriptor."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    shipper(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_a_directory_is_watched_anew_under_its_name(tmp_path: Path) -> None:
    """The path leads to another directory: that one is watched from then on, and the old one no more."""
    reported: list[tuple[str, str]] = []
    watched = Watches(lambda *what: reported.append(what))
    watched.open()
    logs = tmp_path / "logs"
    logs.mkdir()
    assert watched.cover([str(logs)], [])
    assert not watched.cover([str(logs)], [])
    write(logs / "a", "x")
    assert watched.growth().places == {(str(logs), "a")}
    logs.rename(tmp_path / "old")
    assert (str(logs), "") in watched.names().places
    logs.mkdir()
    assert watched.cover([str(logs)], [])
    write(logs / "b", "x")
    write(tmp_path / "old" / "c", "x")
    assert {name for _, name in watched.growth().places} == {"b"}
    assert reported == []
    watched.close()
    assert watched.growth() == watches.NOTHING
