"""Laws of following log files: every line once, through every kind of rotation, with a kept position and without."""

from __future__ import annotations

import itertools
import os
import re
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podpatterns.adapter import log_generation
from podpatterns.adapter.log_events import LogEvents
from podpatterns.adapter.log_files import LogFiles
from podpatterns.runtime.telemetry import Telemetry

WILDCARD = "*.log*"


class Reader:
    """Takes every piece at once; `lines` is what came of it."""

    def __init__(self, *paths: str, piece: int = 4096) -> None:
        self.events = LogEvents(Telemetry())
        self.files = LogFiles("log", paths, piece=piece, every=0.0, events=self.events)
        self.text = b""

    def read(self, *, final: bool = False) -> Reader:
        for piece in self.files.pieces(final=final):
            self.text += piece.data
            piece.take(len(piece.data))
        return self

    @property
    def lines(self) -> list[str]:
        return self.text.decode().splitlines()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.fixture(params=["by its name", "by a wildcard"])
def reader(request: pytest.FixtureRequest, log: Path) -> Reader:
    """The same laws hold for a name, and for a wildcard that matches what rotation leaves as well."""
    found = Reader(str(log) if request.param == "by its name" else str(log.with_name(WILDCARD)))
    found.files.start()
    return found


CLOCK = itertools.count(time.time_ns(), 10**9)


def write(path: Path, text: str) -> None:
    """Append; each time a second later, for a file system's clock has its ticks."""
    with path.open("a") as file:
        file.write(text)
    os.utime(path, ns=(now := next(CLOCK), now))


def copytruncate(log: Path, name: str) -> None:
    write(log.with_name(name), log.read_text())
    os.truncate(log, 0)


def test_a_file_may_come_later(log: Path, reader: Reader) -> None:
    """It is read as a whole, as far as its lines have an end; at the end of all that is not asked for."""
    assert reader.read().lines == []
    write(log, "1\n2\nha")
    assert reader.read().lines == ["1", "2"]
    write(log, "lf\nrest")
    assert reader.read().lines == ["1", "2", "half"]
    assert reader.read(final=True).lines == ["1", "2", "half", "rest"]


def test_rotation_by_renaming(log: Path, reader: Reader) -> None:
    """Also several times between two looks, and when the writer has not noticed at once."""
    write(log, "1\n")
    reader.read()
    with log.open("a") as late:
        for number in range(4, 1, -1):
            log.rename(log.with_name(f"app.log.{number}"))
            write(log, f"{6 - number}\n")
        assert reader.read().lines == ["1", "2", "3", "4"]
        late.write("late\n")
    assert reader.read().lines == ["1", "2", "3", "4", "late"]


def test_rotation_by_copying(log: Path, reader: Reader) -> None:
    """copytruncate: the copy is no file of its own, whenever it is looked at while it is made."""
    write(log, "first\n" * 100)
    reader.read()
    copy = log.with_name("app.log.1")
    for size in (0, 10, 600):
        copy.write_bytes(log.read_bytes()[:size])
        reader.read()
    os.truncate(log, 0)
    write(log, "second\n")
    assert reader.read().lines == ["first"] * 100 + ["second"]
    copy.rename(log.with_name("app.log.2"))
    copytruncate(log, "app.log.1")
    write(log, "third\n")
    assert reader.read().lines[100:] == ["second", "third"]
    assert reader.events.losses == {}


def test_what_a_copy_has_is_read_there(log: Path, reader: Reader) -> None:
    """A file that is truncated before it was read to its end, also in the middle of a line."""
    write(log, "1\n2")
    reader.read()
    write(log, "+\n3\n")
    copytruncate(log, "app.log.1")
    write(log, "4\n")
    assert reader.read().lines == ["1", "2+", "3", "4"]
    assert reader.events.losses == {}


def test_a_copy_that_has_been_seen_may_have_the_rest(log: Path, reader: Reader) -> None:
    """It is made before the file is truncated, and what comes between may be in it and nowhere else."""
    write(log, "1\n")
    reader.read()
    log.with_name("app.log.1").write_text("1\n2\n")
    reader.read()
    log.write_text("3\n")
    assert reader.read().lines == ["1", "2", "3"]


def test_two_copies_between_two_looks(log: Path, reader: Reader) -> None:
    """Each has lines that are nowhere else; they come in their order."""
    write(log, "1\n")
    reader.read()
    for number, text in ((2, "2\n"), (1, "3\n")):
        write(log, text)
        copytruncate(log, f"app.log.{number}")
    write(log, "4\n")
    assert reader.read().lines == ["1", "2", "3", "4"]


def test_what_is_in_no_copy_is_counted(log: Path, reader: Reader) -> None:
    """As far as it was known to be there."""
    write(log, "1\nunfinished")
    reader.read()
    log.write_text("")
    write(log, "2\n")
    assert reader.read().lines == ["1", "2"]
    assert reader.events.losses == {"log: truncated": len("unfinished")}


def test_a_file_that_is_full_again_is_noticed(log: Path, reader: Reader) -> None:
    """It was truncated, and has more in it by now than was read: its beginning is another one."""
    write(log, "old\n" * 5)
    reader.read()
    for text in ("new\n" * 50, "as long as before\n" * 10 + "x" * 19 + "\n"):
        os.truncate(log, 0)
        write(log, text)
        reader.read()
    assert reader.lines == ["old"] * 5 + ["new"] * 50 + ["as long as before"] * 10 + ["x" * 19]


def test_a_writer_that_does_not_append_leaves_a_hole(log: Path, reader: Reader) -> None:
    """It goes on at its old position in a truncated file; what lies before is nothing."""
    with log.open("w", buffering=1) as writer:
        for line in ("1" * 4000, "2" * 4000, "3" * 4000):
            writer.write(f"{line}\n")
            reader.read()
            os.truncate(log, 0)
            if line[0] != "2":  # it is noticed before more comes, or not
                reader.read()
        writer.write("4\n")
    assert reader.read().lines == ["1" * 4000, "2" * 4000, "3" * 4000, "4"]
    assert reader.events.losses == {}


def test_what_has_been_read_is_not_read_again(log: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is let go of once its writer must have noticed; the next rotation gives it another name, and that is all.

    Its last line may have no end; that is waited for as long.
    """
    write(log, "1\nend")
    reader.read()
    for number in range(3, 0, -1):
        log.rename(log.with_name(f"app.log.{number}"))
        write(log, f"line {number}\n")
        reader.read()
        monkeypatch.setattr(log_generation, "RELEASE", -1.0)
        reader.read()
        reader.read()
        monkeypatch.setattr(log_generation, "RELEASE", 60.0)
    reader.read(final=True)
    assert sorted(re.findall("^1\n|end|line .", reader.text.decode())) == ["1\n", "end", "line 1", "line 2", "line 3"]


def test_a_file_that_is_deleted_is_let_go_of(log: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its room on the disk is not held for ever; what takes its name is read, and so is what was written last."""
    write(log, "1\n")
    with log.open("a") as late:
        reader.read()
        log.unlink()
        reader.read()
        late.write("2\nend")
    reader.read()
    assert len(reader.files.open) == 1
    monkeypatch.setattr(log_generation, "RELEASE", -1.0)
    assert reader.read().read().lines == ["1", "2", "end"]
    assert reader.files.open == []
    write(log, "3\n")
    assert reader.read().lines == ["1", "2", "end3"]  # what has no end gets none here


def test_an_inode_may_be_used_again(log: Path, reader: Reader) -> None:
    """What had been passed over has gone, and another file has its number."""
    write(log, "1\n")
    reader.read()
    copytruncate(log, "app.log.1")
    reader.read()
    log.with_name("app.log.1").write_text("another\n")  # the same inode
    write(log, "later\n")
    log.rename(log.with_name("app.log.2"))
    write(log, "2\n")
    assert sorted(reader.read().lines) == ["1", "2", "another", "later"]


def test_what_rotation_had_left_before_is_no_news(log: Path) -> None:
    """By its name a file is read alone; a wildcard means all that it matches, but for what is compressed."""
    log.with_name("app.log.1").write_text("old\n")
    log.with_name("app.log.2.gz").write_bytes(b"\x1f\x8b\n")
    log.write_text("1\n")
    readers = Reader(str(log)), Reader(str(log.with_name(WILDCARD)))
    for reader in readers:
        reader.files.start()
    assert [sorted(reader.read().lines) for reader in readers] == [["1"], ["1", "old"]]
    log.rename(log.with_name("app.log.3"))
    write(log, "2\n")
    assert [sorted(reader.read().lines) for reader in readers] == [["1", "2"], ["1", "2", "old"]]


def test_from_the_end_on(log: Path, tmp_path: Path) -> None:
    """A line that is being written at the start began before; a file that comes later is read as a whole."""
    log.write_text("old\nbegan before")
    reader = Reader(str(tmp_path / WILDCARD))
    reader.files.start(at_end=True)
    write(log, ", ends now\n1\n")
    (tmp_path / "b.log").write_text("2\n")
    assert reader.read().lines == ["1", "2"]


@pytest.mark.parametrize("name", ["app.log", "app.log.1", "renamed by hand"])
def test_a_position_goes_on(log: Path, name: str) -> None:
    """In the file where it was, whatever its name is by now, and then in what came after it; never in what is older."""
    log.with_name("app.log.3").write_text("old\n")
    os.utime(log.with_name("app.log.3"), (0, 0))
    write(log, "1\n2\n")
    before = Reader(str(log))
    before.files.start()
    position = before.read().files.position
    write(log, "3\n")
    if name != log.name:
        log.rename(log.with_name(name))
        write(log, "4\n")
    after = Reader(str(log))
    after.files.start(position)
    assert after.read().lines == (["3"] if name == log.name else ["3", "4"])


def test_a_position_in_a_file_that_has_gone(log: Path) -> None:
    """The inode may be the same: its first bytes tell. What is there is read from its beginning."""
    write(log, "1\n2\n")
    before = Reader(str(log))
    before.files.start()
    position = before.read().files.position
    log.write_text("other\n")
    after = Reader(str(log))
    after.files.start(position)
    assert after.read().lines == ["other"]


def test_what_is_not_taken_is_offered_again(log: Path) -> None:
    """With what has come since; a restart goes on there; another file is not held up by it."""
    other = log.with_name("b.log")
    write(log, "1\n2\n")
    write(other, "b\n")
    reader = Reader(str(log), str(other))
    reader.files.start()
    offered = []
    for piece in reader.files.pieces():
        offered.append((piece.data, piece.grown))
        piece.take(2 if piece.grown else 0)
    assert offered == [(b"1\n2\n", True), (b"b\n", True), (b"2\n", False)]
    position = reader.files.position
    assert position is not None
    assert position.offset == 2
    write(log, "3\n")
    assert reader.read().lines == ["2", "3"]


def test_one_that_grows_fast_holds_up_no_other(log: Path) -> None:
    """A piece of each name at a time."""
    other = log.with_name("b.log")
    write(log, "a\n" * 50)
    write(other, "b\n")
    reader = Reader(str(log), str(other), piece=10)
    reader.files.start()
    pieces = reader.files.pieces()
    next(pieces).take(10)
    write(log, "a\n" * 50)
    assert next(pieces).data == b"b\n"


def test_a_line_that_is_too_long_is_cut(log: Path, reader: Reader) -> None:
    """So much of it as is read at a time; the rest is passed over, and the next line is whole."""
    write(log, "1\n" + "x" * 10_000 + "\n2\n")
    assert reader.read().lines == ["1", "x" * 4096 + "2"]  # nothing is added to what the file has
    write(log, "y" * 4096)
    reader.read()
    write(log, "\n3\n")
    assert reader.read().lines[1:] == ["x" * 4096 + "2", "y" * 4096 + "3"]


def test_what_cannot_be_read_is_told(log: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each reason, and counted each time; when it can be read, it is."""
    told: list[str] = []
    monkeypatch.setattr(reader.events._log, "warning", lambda _event, **fields: told.append(fields["reason"]))
    write(log, "1\n")
    with monkeypatch.context() as patch:
        patch.setattr("podpatterns.adapter.log_files.os.open", Mock(side_effect=PermissionError(13, "not allowed")))
        reader.read().read()
    assert told == ["not allowed"]
    assert reader.events._unreadable.total >= 2
    assert reader.read().lines == ["1"]


def test_what_is_no_file_is_told(log: Path) -> None:
    """Where it is meant by its name; a wildcard passes it by."""
    log.mkdir()
    for path, count in ((log, 1), (log.with_name(WILDCARD), 0)):
        reader = Reader(str(path))
        reader.files.start()
        reader.read()
        assert reader.events._unreadable.total == count


STEPS = ("write", "half", "read", "rename", "copy")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=25), st.booleans(), st.booleans())
def test_whatever_happens_each_line_comes_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], wildcard: bool, restart: bool
) -> None:
    """Renames and copies as they come, writes between them; after a restart from the position none is missing."""
    log = tmp_path_factory.mktemp("logs") / "app.log"
    path = str(log.with_name(WILDCARD) if wildcard else log)
    write(log, "begin\n")
    reader, wrote, found = Reader(path), 0, b""
    reader.files.start()
    for step in steps:
        if step in ("write", "half"):
            write(log, f"<{wrote}>" + ("\n" if step == "write" else ""))
            wrote += 1
        elif step == "read":
            position = reader.read().files.position
            if restart and not wildcard and position is not None:
                found += reader.text
                reader.files.close()
                reader = Reader(path)
                reader.files.start(position)
        elif log.exists():
            for number in range(len(list(log.parent.iterdir())), 0, -1):
                if (old := log.with_name(f"app.log.{number}")).exists():
                    old.rename(log.with_name(f"app.log.{number + 1}"))
            if step == "rename":
                log.rename(log.with_name("app.log.1"))
            else:
                reader.read()  # of two copies between two looks only the last one can be told from others
                copytruncate(log, "app.log.1")
    text = (found + reader.read(final=True).text).decode()
    reader.files.close()
    came = sorted(map(int, re.findall("<([0-9]+)>", text)))
    # A position is one of the oldest file; what came after one whose last line has no end is repeated.
    assert (sorted(set(came)) if restart else came) == list(range(wrote))
    assert text.count("begin") == 1 or restart
