"""From bytes to lines: however a file grows and is read, the lines, their positions and their ids are the same."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats.encodings import UTF_8, Encoding
from podpatterns.formats.lines import MARKER, clean
from podpatterns.runtime.units import Duration, Size
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.files import follower as module
from podpatterns.sidecar.files.follower import Follower, Truncated
from podpatterns.sidecar.files.identity import fresh
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs.file import FileConfig
from podpatterns.sidecar.runtime import Sidecar

Row = tuple[bytes, int, str]
"""A line, its position, its id."""


@contextmanager
def followed(limit: int = 1000, encoding: str = "utf-8") -> Iterator[tuple[Callable[[bytes], Any], Follower]]:
    """A file to append to, and who follows it."""
    with tempfile.TemporaryFile() as file:
        status = os.fstat(file.fileno())
        entry = fresh("1-2-3", 0, "app.log", status.st_dev, status.st_ino)
        follower = Follower(entry, os.dup(file.fileno()), limit=limit, encoding=Encoding.of(encoding), fields={})
        try:
            yield lambda data: os.pwrite(file.fileno(), data, os.fstat(file.fileno()).st_size), follower
        finally:
            follower.close()


def read(follower: Follower, *, final: bool = False) -> Iterator[tuple[Row, dict[str, Any], int]]:
    """All that there is to read: each line, the fields of its batch, and how many were cut in it."""
    while (got := follower.read(0.0, final=final)) is not None:
        batch, lines = got
        yield from (
            ((line, offset, name), dict(batch.fields), lines.truncated)
            for line, offset, name in zip(batch.lines, batch.offsets, batch.ids, strict=True)
        )


def rows(follower: Follower, *, final: bool = False) -> list[Row]:
    return [row for row, _, _ in read(follower, final=final)]


BYTES = st.lists(
    st.sampled_from([b"a", b"bc", b"\n", b"\n\n", b"\r", b"\r\n", "é".encode(), "\U0001f600".encode(),
                     b"\xff", b"\x7f", b"\0", b"x" * 9]),
    max_size=25,
).map(b"".join)  # fmt: skip


@given(data=BYTES, limit=st.integers(1, 12), size=st.sampled_from([8, 16, 4096]))
def test_byte_by_byte_is_the_same_as_at_once(data: bytes, limit: int, size: int) -> None:
    """A reader that wakes up after each byte that was written finds the lines that one read of the whole finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", size)
        patch.setattr(module, "BEFORE", 8)
        with followed(limit) as (append, follower):
            append(data)
            at_once = rows(follower)
            rest = rows(follower, final=True)
        with followed(limit) as (append, follower):
            slowly: list[Row] = []
            for byte in data:
                append(bytes([byte]))
                slowly += rows(follower)
            assert slowly == at_once
            assert rows(follower, final=True) == rest
            assert follower.offset == len(data)


@given(data=BYTES, limit=st.integers(1, 12), size=st.sampled_from([8, 16, 64]))
def test_the_size_of_a_read_does_not_matter(data: bytes, limit: int, size: int) -> None:
    """Small reads and one large one give the same lines, long ones included."""
    results = []
    for chunk in (size, 1 << 16):
        with pytest.MonkeyPatch.context() as patch, followed(limit) as (append, follower):
            patch.setattr(module, "CHUNK", chunk)
            patch.setattr(module, "BEFORE", 8)
            append(data)
            results.append((rows(follower), rows(follower, final=True), follower.offset))
    assert results[0] == results[1]


@given(data=BYTES, cut=st.integers(0, 60))
def test_lines_are_those_of_the_file(data: bytes, cut: int) -> None:
    """Each line is the text between two newlines, at its position, wherever the file was first found to end."""
    with followed() as (append, follower):
        append(data[:cut])
        got = rows(follower)
        append(data[cut:])
        got += rows(follower)
        whole, _, tail = data.rpartition(b"\n")
        expected, position = [], 0
        for line in whole.split(b"\n") if b"\n" in data else []:
            text = line.removesuffix(b"\r").decode("utf-8", "replace").encode()
            expected.append((text, position))
            position += len(line) + 1
        assert [(line, offset) for line, offset, _ in got] == expected
        assert follower.unread == len(tail)


@given(data=BYTES)
def test_at_every_newline_a_restart_goes_on(data: bytes) -> None:
    """A follower made from the checkpoint entry of another reads what that one has not, with the same ids."""
    with followed() as (append, follower):
        append(data)
        everything = rows(follower)
        restarted: list[Row] = []
        entry = fresh(follower.id, 0, "app.log", follower.dev, follower.ino)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "CHUNK", 12)
            patch.setattr(module, "BEFORE", 4)
            while True:
                assert follower.descriptor is not None
                assert entry.describes(follower.descriptor)
                one = Follower(entry, follower.descriptor, limit=1000, encoding=UTF_8, fields={})
                got = one.read(0.0)
                if got is None:
                    break
                batch, _ = got
                restarted += zip(batch.lines, batch.offsets, batch.ids, strict=True)
                one.commit(batch, 0)
                entry = one.entry()
        assert restarted == everything


# --- a line without its end -------------------------------------------------------------------------------------------


def test_a_partial_line_is_held() -> None:
    """A line that is being written is not shipped in pieces, however long that takes."""
    with followed() as (append, follower):
        append(b"one\ntw")
        assert [line for line, _, _ in rows(follower)] == [b"one"]
        assert (follower.unread, follower.at_end) == (2, True)
        append(b"o")
        assert rows(follower) == []
        append(b"\n")
        assert [(line, offset) for line, offset, _ in rows(follower)] == [(b"two", 4)]
        assert follower.account.read == 2


@pytest.mark.parametrize("ending", [b" end\nnext\n", b"\nnext\n", b"\r\nnext\n"])
def test_a_flushed_line_is_completed_after_a_restart(ending: bytes) -> None:
    """What was shipped of a line at a shutdown is not repeated: the rest comes by itself, marked as such."""
    with followed() as (append, follower):
        append(b"begin")
        got = follower.read(0.0, final=True)
        assert got is not None
        assert (got[0].lines, got[0].fields) == ([b"begin"], {"partial": True})
        follower.commit(got[0], 0)
        entry = follower.entry()
        append(ending)
        assert follower.descriptor is not None
        again = Follower(entry, follower.descriptor, limit=1000, encoding=UTF_8, fields={})
        after = [(row[0], fields) for row, fields, _ in read(again)]
        rest = [(b" end", {"continues": True})] if b"end" in ending else []
        if ending.startswith(b"\r"):
            rest = [(b"", {"continues": True})]
        assert after == [*rest, (b"next", {})]


@pytest.mark.parametrize("size", [1, 20, 63, 64, 65, 5000])
def test_the_hole_of_a_writer_that_does_not_append_is_skipped(size: int) -> None:
    """After a truncation such a writer goes on at its old position; the zeros before it are no line."""
    with tempfile.TemporaryFile() as file:
        status = os.fstat(file.fileno())
        entry = fresh("1-2-3", 1, "app.log", status.st_dev, status.st_ino)
        follower = Follower(entry, os.dup(file.fileno()), limit=1000, encoding=UTF_8, fields={})
        os.pwrite(file.fileno(), b"one\n", size)
        assert [(line, offset) for line, offset, _ in rows(follower)] == [(b"one", size)]
        os.pwrite(file.fileno(), b"two\n", size + 4)
        assert [(line, offset) for line, offset, _ in rows(follower)] == [(b"two", size + 4)]
        assert follower.account.read == 2
        follower.close()


def test_a_truncated_file_is_noticed() -> None:
    """Shorter than it was, or other bytes where the last ones had been read: both are said, and nothing is read."""
    for content in (b"x\n", b"other text, and longer than before\n"):
        with followed() as (append, follower):
            append(b"one\ntwo\n")
            assert len(rows(follower)) == 2
            assert follower.descriptor is not None
            os.ftruncate(follower.descriptor, 0)
            append(content)
            with pytest.raises(Truncated):
                follower.read(0.0)


# --- encodings --------------------------------------------------------------------------------------------------------

WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "cp500", "shift_jis", "utf-8", "utf-8-sig", "utf-7"]
TEXT = st.lists(
    st.sampled_from(["a", "\n", "\n\n", "\r\n", "\r", "é", "あ", "\u0a0a", "\u0a00", "\u0100", "\U0001f600", "x" * 9]),
    max_size=25,
).map("".join)  # fmt: skip


def encodable(text: str, codec: str) -> str:
    return text.encode(codec, "ignore").decode(codec)


@pytest.mark.parametrize("codec", WIDE)
@given(text=TEXT, size=st.sampled_from([16, 4096]))
def test_lines_of_every_encoding(codec: str, text: str, size: int) -> None:
    """Byte by byte and at once: each line is the text between two newlines, at the position of its first byte.

    Characters that contain the bytes of a newline, and a mark of the byte order, are no reason to go wrong.
    """
    text = encodable(text, codec)
    data = text.encode(codec)
    mark = len("".encode(codec))
    *whole, rest = text.split("\n")
    positions, position = [], mark
    bare = Encoding.of(codec).told_by(data).codec
    for line in whole:
        positions.append(position)
        position += len(f"{line}\n".encode(bare))
    expected = [(line.removesuffix("\r").encode(), at) for line, at in zip(whole, positions, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", size)
        patch.setattr(module, "BEFORE", 8)
        for steps in (1, len(data) or 1):
            with followed(encoding=codec) as (append, follower):
                got: list[Row] = []
                for begin in range(0, len(data), steps):
                    append(data[begin : begin + steps])
                    got += rows(follower)
                assert [(line, offset) for line, offset, _ in got] == expected
                last = rows(follower, final=True)
                assert [line for line, _, _ in last] == ([rest.removesuffix("\r").encode()] if rest else [])
                assert follower.offset == len(data)
                assert follower.account.read == len(got) + len(last)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_mark_tells_the_byte_order(codec: str) -> None:
    """Also after a restart in the middle of the file, where the mark is read again."""
    with followed(encoding=codec[:6]) as (append, follower):
        append("\ufeffone\ntwo\n".encode(codec))
        assert [line for line, _, _ in rows(follower)] == [b"one", b"two"]
        follower.committed = follower.offset
        follower._committed_before = follower._before
        append("three\n".encode(codec))
        assert follower.descriptor is not None
        again = Follower(follower.entry(), follower.descriptor, limit=99, encoding=Encoding.of(codec[:6]), fields={})
        assert [line for line, _, _ in rows(again)] == [b"three"]


def test_half_a_character_is_not_shipped_unless_its_writer_is_gone() -> None:
    """At a shutdown the partial line ends with its last whole character; the rest goes on behind it."""
    with followed() as (append, follower):
        append("aé".encode()[:-1])
        assert [line for line, _, _ in rows(follower, final=True)] == [b"a"]
        assert (follower.offset, follower.torn) == (1, 1)
        append("é".encode()[-1:] + b"\n")
        assert [line for line, _, _ in rows(follower)] == ["é".encode()]
    with followed(encoding="utf-16-le") as (append, follower):
        append(b"a\0b")
        assert [line for line, _, _ in rows(follower, final=True)] == [b"a"]
        got = follower.read(0.0, final=True, gone=True)
        assert got is not None
        assert (got[0].lines, got[1].replaced) == (["\ufffd".encode()], 1)


def test_a_mark_alone_is_no_line() -> None:
    """A file that holds nothing else is read to its end."""
    with followed() as (append, follower):
        append(b"\xef\xbb\xbf")
        got = follower.read(0.0, final=True)
        assert got is not None
        assert (len(got[0]), follower.offset) == (0, 3)
        append(b"one\n")
        assert [(line, offset) for line, offset, _ in rows(follower)] == [(b"one", 3)]


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-32-be"])
def test_a_long_line_of_wide_characters(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut between characters, over several reads, with a hole in the bytes of the next one that is no newline."""
    monkeypatch.setattr(module, "CHUNK", 64)
    with followed(limit=19, encoding=codec) as (append, follower):
        append(("\U0001f600" * 100 + "\u0a00\u0100").encode(codec) + b"\n")
        assert rows(follower) == []
        data = ("\U0001f600" * 100 + "\n" + "next\n").encode(codec)
    with followed(limit=19, encoding=codec) as (append, follower):
        append(data[:-30])
        append(data[-30:])
        (long, _, cut), (after, _, _) = read(follower)
        assert (long[0], long[1], cut) == ("\U0001f600".encode() * 4 + MARKER, 0, 1)
        assert after[:2] == (b"next", len(("\U0001f600" * 100 + "\n").encode(codec)))


@pytest.mark.parametrize("codec", ["utf-16-be", "utf-32-be", "utf-16-le"])
def test_a_hole_before_wide_characters(codec: str) -> None:
    """The zero with which a character begins is not part of the hole."""
    with tempfile.TemporaryFile() as file:
        status = os.fstat(file.fileno())
        entry = fresh("1-2-3", 1, "app.log", status.st_dev, status.st_ino)
        follower = Follower(entry, os.dup(file.fileno()), limit=1000, encoding=Encoding.of(codec), fields={})
        os.pwrite(file.fileno(), "one\n".encode(codec), 80)
        assert [(line, offset) for line, offset, _ in rows(follower)] == [(b"one", 80)]
        follower.close()


# --- long lines, and bytes that are not text --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "limit", "text", "truncated", "replaced"),
    [
        (b"abc", 3, b"abc", 0, 0),
        (b"abcd", 3, b"abc" + MARKER, 1, 0),
        (b"abc\r", 3, b"abc", 0, 0),
        (b"abc\r\nabcd\r\nab", 3, b"abc\nabc" + MARKER + b"\nab", 1, 0),
        (b"abcd\nabcde\na", 3, b"abc" + MARKER + b"\nabc" + MARKER + b"\na", 2, 0),
        (b"a\rb", 9, b"a\rb", 0, 0),
        ("aé".encode(), 3, "aé".encode(), 0, 0),
        ("aéx".encode(), 2, b"a" + MARKER, 1, 0),
        ("\U0001f600x".encode(), 3, MARKER, 1, 0),
        (b"a\xffb", 9, b"a\xef\xbf\xbdb", 0, 1),
        (b"a\xff\xff\nb\n\xfe", 9, b"a\xef\xbf\xbd\xef\xbf\xbd\nb\n\xef\xbf\xbd", 0, 2),
        (b"\xff" * 5, 3, b"\xef\xbf\xbd" * 3 + MARKER, 1, 1),
        (b"", 3, b"", 0, 0),
        (b"\n\n", 3, b"\n\n", 0, 0),
    ],
)
def test_lines_are_cleaned(raw: bytes, limit: int, text: bytes, truncated: int, replaced: int) -> None:
    """A line over the limit is cut, between characters, and marked; what is not text is replaced; both are counted."""
    lines = clean(raw, 100, limit=limit)
    assert (lines.text, lines.truncated, lines.replaced) == (text, truncated, replaced)
    offsets = lines.offsets or [
        100 + sum(len(each) + 1 for each in text.split(b"\n")[:at]) for at in range(text.count(b"\n") + 1)
    ]
    assert offsets == [100 + sum(len(each) + 1 for each in raw.split(b"\n")[:at]) for at in range(raw.count(b"\n") + 1)]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "shift_jis", "euc-jp", "ascii"])
@given(data=st.binary(max_size=40))
def test_in_every_encoding_a_line_stays_a_line(encoding: str, data: bytes) -> None:
    """As many lines come out as went in, as UTF-8, each at its position; what makes no sense is replaced."""
    lines = clean(data, 0, limit=1000, encoding=Encoding.of(encoding))
    lines.text.decode()
    assert lines.text.count(b"\n") == data.count(b"\n")
    if lines.offsets is not None:
        assert lines.offsets == [
            sum(len(each) + 1 for each in data.split(b"\n")[:at]) for at in range(data.count(b"\n") + 1)
        ]


def test_latin_1_becomes_utf_8() -> None:
    """The text is what the writer meant."""
    assert clean("é\nü".encode("latin-1"), 0, limit=9, encoding=Encoding.of("latin-1")).text.decode() == "é\nü"


def test_a_long_line_costs_no_memory_and_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line over many reads is cut once, its rest skipped, and the next line is whole and where it should be."""
    monkeypatch.setattr(module, "CHUNK", 64)
    with followed(limit=10) as (append, follower):
        append(b"y" * 1000)
        assert list(read(follower)) == []
        append(b"y" * 1000 + b"\nnext\n")
        (long, _, cut), (after, _, _) = read(follower)
        assert (long[0], long[1], cut) == (b"y" * 10 + MARKER, 0, 1)
        assert after[:2] == (b"next", 2001)
        assert follower.account.read == 2


async def test_long_lines_and_broken_bytes_are_counted(tmp_path: Path) -> None:
    """Each has its own counter, by the reason; lines that were only finished late have none."""
    (tmp_path / "app.log").write_bytes(b"123456789\n" + "12345678é\n".encode() + b"\xff\n1234567\n12345678\r\n")
    config = SidecarConfig(
        inputs=(TailConfig(paths=(f"{tmp_path}/app.log",), max_line=Size(8), poll=Duration("5ms")),),
        outputs=(FileConfig(path=f"{tmp_path}/out"),),
        checkpoint=f"{tmp_path}/state/checkpoint",
        linger=Duration("5ms"),
    )
    async with Sidecar(config) as sidecar:
        await sidecar.acknowledged(5)
    value = sidecar.context.telemetry.registry.get_sample_value
    assert value("podpatterns_sidecar_altered_lines_total", {"reason": "truncated"}) == 2
    assert value("podpatterns_sidecar_altered_lines_total", {"reason": "not_text"}) == 1
    assert value("podpatterns_sidecar_read_bytes_total", {"input": "tail"}) == (tmp_path / "app.log").stat().st_size
