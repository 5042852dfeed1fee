"""Lines that belong together, from file to output: kept back, joined, and accounted for."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.errors import ConfigError
from podpatterns.formats.encodings import UTF_8
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.service import Context
from podpatterns.runtime.units import Duration, FunctionRef
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.explain import explain
from podpatterns.sidecar.files.follower import Follower
from podpatterns.sidecar.files.identity import fresh
from podpatterns.sidecar.gathering import held
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs.file import FileConfig
from podpatterns.sidecar.runtime import Sidecar
from podpatterns.sidecar.transforms import Transform, TransformConfig
from podpatterns.sidecar.transforms.python import PythonConfig

TRACE = [
    "Traceback (most recent call last):",
    '  File "shop.py", line 7, in place',
    "    total / count",
    "    ~~~~~~^~~~~~~",
    "ZeroDivisionError: division by zero",
]
PYTHON = "{type: multiline, traces: [python]}"
DOCKER = "{type: parse, format: docker}"
CRI = "{type: parse, format: cri}"


def configured(*items: str) -> tuple[TransformConfig, ...]:
    return tuple(decode(parse(item)[0], TransformConfig) for item in items)


def built(*items: str) -> list[Transform]:
    return [each.build() for each in configured(*items)]


def shipper(tmp_path: Path, *items: Any, hold: str = "10s", **more: Any) -> Sidecar:
    tail = TailConfig(paths=(f"{tmp_path}/app.log",), poll=Duration("2ms"), hold=Duration(hold))
    transforms = [PythonConfig(function=FunctionRef(item)) if callable(item) else configured(item)[0] for item in items]
    config = SidecarConfig(
        inputs=(tail,),
        transforms=tuple(transforms),
        outputs=(FileConfig(path=f"{tmp_path}/out"),),
        checkpoint=f"{tmp_path}/state/cp",
        linger=Duration("2ms"),
        **more,
    )
    return Sidecar(config, Context())


def write(tmp_path: Path, *lines: str, end: str = "\n") -> None:
    with (tmp_path / "app.log").open("a") as file:
        file.write("\n".join(lines) + end)


def shipped(tmp_path: Path) -> list[dict[str, Any]]:
    out = tmp_path / "out"
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def messages(tmp_path: Path) -> list[str]:
    return [record["message"] for record in shipped(tmp_path)]


def cri(stream: str, tag: str, text: str) -> str:
    return f"2026-11-23T09:36:16Z {stream} {tag} {text}"


def docker(text: str, stream: str = "stdout") -> str:
    return json.dumps({"log": text, "stream": stream, "time": "2026-11-23T09:36:16Z"}, separators=(",", ":"))


# --- what is kept back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "lines", "kept"),
    [
        ([PYTHON], ["INFO"], 0),
        ([PYTHON], ["INFO", *TRACE[:3]], 3),
        ([PYTHON], ["INFO", *TRACE, "INFO"], 0),
        ([PYTHON], TRACE, 5),
        ([PYTHON], ["INFO", *TRACE, ""], 6),
        (["{type: multiline, start: '^S'}"], ["S", "x", "S", "x"], 2),
        ([CRI], [cri("stdout", "F", "a")], 0),
        ([CRI], [cri("stdout", "F", "a"), cri("stdout", "P", "b")], 1),
        ([CRI], [cri("stdout", "P", "a"), cri("stderr", "F", "b")], 2),
        ([CRI], [cri("stdout", "P", "a"), cri("stdout", "F", "b")], 0),
        # The line of stderr is whole, but begins before what is kept back and ends behind it.
        (
            [CRI],
            [cri("stdout", "F", "x"), cri("stderr", "P", "a"), cri("stdout", "P", "b"), cri("stderr", "F", "c")],
            3,
        ),
        ([CRI, PYTHON], [cri("stdout", "F", "x"), *(cri("stderr", "F", line) for line in TRACE)], 5),
        ([CRI, PYTHON], [*(cri("stderr", "F", line) for line in TRACE), cri("stdout", "F", "x")], 6),
        ([CRI, PYTHON], [*(cri("stderr", "F", line) for line in TRACE), cri("stderr", "F", "x")], 0),
        # The part of a line may turn out to be one of the trace's.
        ([CRI, PYTHON], [cri("stderr", "F", TRACE[0]), cri("stderr", "P", "")], 2),
        ([DOCKER], [docker("a\n"), docker("b")], 1),
        ([DOCKER], [docker("a"), docker("b\n")], 0),
        ([DOCKER], [docker('"\\'), docker('"\n')], 0),
        ([DOCKER, PYTHON], [docker("x\n"), *(docker(f"{line}\n") for line in TRACE)], 5),
        (["{type: parse, format: json}"], TRACE, 0),
        ([], TRACE, 0),
    ],
)
def test_how_many_lines_are_kept_back(items: list[str], lines: list[str], kept: int) -> None:
    """Those of which more may come, and those that lie among them."""
    assert held(built(*items), "\n".join(lines).encode()) == kept


LINES = st.lists(
    st.builds(cri, st.sampled_from(["stdout", "stderr"]), st.sampled_from("PF"), st.sampled_from([*TRACE, "INFO", ""]))
    | st.just("no cri"),
    max_size=14,
)


@given(LINES, LINES)
def test_no_group_reaches_across(lines: list[str], more: list[str]) -> None:
    """What is in front of the lines that are kept back becomes the same records whatever comes behind it."""
    transforms = built(CRI, PYTHON)

    def records(some: list[str]) -> list[dict[str, Any]]:
        batch = Batch.of(some)
        for transform in transforms if some else ():
            batch = transform.apply(batch)
        assert batch.read == len(some) == len(batch) + batch.merged
        return [dict(record) for record in batch.records] if some else []

    ready = len(lines) - held(transforms, "\n".join(lines).encode()) if lines else 0
    before = records(lines[:ready])
    assert records([*lines, *more])[: len(before)] == before


# --- what is shipped -------------------------------------------------------------------------------------------------


async def test_a_trace_written_slowly_is_one_record(tmp_path: Path) -> None:
    """Line by line, and each a batch of its own: it is shipped whole, as soon as a line shows that it has ended."""
    write(tmp_path, "INFO one")
    async with shipper(tmp_path, PYTHON) as sidecar:
        await sidecar.acknowledged(1)
        for line in TRACE:
            write(tmp_path, line)
            await asyncio.sleep(0.01)
        assert messages(tmp_path) == ["INFO one"]
        write(tmp_path, "INFO two")
        await sidecar.acknowledged(7)
    assert messages(tmp_path) == ["INFO one", "\n".join(TRACE), "INFO two"]
    assert (sidecar.ledger.read, sidecar.ledger.acknowledged) == (7, 7)
    assert [check for check in sidecar.status().checks if not check.ok] == []


async def test_the_last_trace_is_not_kept_for_ever(tmp_path: Path) -> None:
    """Nothing comes behind it: it is shipped when the file has not grown for a while."""
    write(tmp_path, "INFO", *TRACE)
    async with shipper(tmp_path, PYTHON, hold="30ms") as sidecar:
        await sidecar.acknowledged(6)
        assert messages(tmp_path) == ["INFO", "\n".join(TRACE)]


async def test_a_trace_at_the_end_of_the_sidecar(tmp_path: Path) -> None:
    """A drain ships what is there; what was kept back at a crash is read again, whole."""
    write(tmp_path, "INFO", *TRACE[:2])
    sidecar = shipper(tmp_path, PYTHON)
    async with sidecar:
        await sidecar.acknowledged(1)
        snapshot = sidecar.inputs["tail"].snapshot()
        assert snapshot[0].offset == len("INFO\n"), "the checkpoint stands before the trace"
    assert messages(tmp_path) == ["INFO", "\n".join(TRACE[:2])]


async def test_cri_streams_are_told_apart(tmp_path: Path) -> None:
    """Parts of lines and lines of traces, of two streams that come mixed: each record is whole, with its first time."""
    lines = []
    for line in TRACE:
        half = len(line) // 2
        lines += [cri("stderr", "P", line[:half]), cri("stdout", "F", "INFO"), cri("stderr", "F", line[half:])]
    write(tmp_path, *lines, cri("stderr", "F", "bye"))
    async with shipper(tmp_path, CRI, PYTHON) as sidecar:
        await sidecar.acknowledged(16)
    found = shipped(tmp_path)
    assert [record["message"] for record in found if record["stream"] == "stderr"] == ["\n".join(TRACE), "bye"]
    assert [record["message"] for record in found if record["stream"] == "stdout"] == ["INFO"] * 5
    assert not any("partial" in record for record in found)
    assert [check for check in sidecar.status().checks if not check.ok] == []


def test_an_old_backlog_is_not_torn(tmp_path: Path) -> None:
    """Where reading in pieces ends between the parts of a line, they stay together, however long ago they came."""
    path = tmp_path / "app.log"
    parts = ((cri("stdout", "P", "x" * 701), cri("stdout", "F", "x" * 701 + str(number))) for number in range(1000))
    path.write_text("".join(f"{part}\n" for pair in parts for part in pair))
    (transform,) = built(CRI)
    status = path.stat()
    follower = Follower(
        fresh("1-2-3", 0, "app.log", status.st_dev, status.st_ino),
        os.open(path, os.O_RDONLY),
        limit=1 << 18,
        encoding=UTF_8,
        fields={},
        held=lambda data, begin, end: held([transform], data[begin:end]),
        hold=1.0,
    )
    now, records = 0.0, list[dict[str, Any]]()
    while (got := follower.read(now)) is not None:
        records += transform.apply(got[0]).records
        now += 3600
    follower.close()
    assert now > 3600, "in several pieces"
    assert [record["message"].lstrip("x") for record in records] == [str(number) for number in range(1000)]


async def test_docker_parts_are_joined(tmp_path: Path) -> None:
    """What the json-file driver has cut is one record; each stream for itself."""
    write(tmp_path, docker("a"), docker("err\n", "stderr"), docker("b"), docker("c\r\n"), docker("d\n"), "no docker")
    async with shipper(tmp_path, DOCKER) as sidecar:
        await sidecar.acknowledged(6)
    assert messages(tmp_path) == ["abc", "err", "d", "no docker"]
    assert not any("partial" in record for record in shipped(tmp_path))


async def test_a_part_whose_end_never_comes(tmp_path: Path) -> None:
    """The container has ended in the middle of a line: what there is is shipped, and says so."""
    write(tmp_path, cri("stdout", "P", "a"), cri("stdout", "P", "b"))
    async with shipper(tmp_path, CRI, hold="30ms") as sidecar:
        await sidecar.acknowledged(2)
    ((record),) = shipped(tmp_path)
    assert (record["message"], record["partial"]) == ("ab", True)


def choke(batch: Batch) -> Batch:
    if any("Zero" in record["message"] for record in batch.records):
        raise ValueError("zero")
    return batch.map(lambda record: {**record, "seen": True})


@pytest.mark.parametrize("fate", ["dead", "filtered"])
async def test_a_group_shares_one_fate(tmp_path: Path, fate: str) -> None:
    """A record of five lines that a transform fails on, or drops: five lines are accounted for, the others pass."""
    last: Any = choke if fate == "dead" else "{type: filter, drop: ZeroDivision}"
    write(tmp_path, "INFO one", *TRACE, "INFO two", "INFO three")
    async with shipper(tmp_path, PYTHON, last) as sidecar:
        await sidecar.acknowledged(3)
    account = sidecar.ledger
    assert (account.read, account.acknowledged, getattr(account, fate)) == (8, 3, 5)
    assert account.balanced
    assert messages(tmp_path) == ["INFO one", "INFO two", "INFO three"]
    letters = tmp_path / "state" / "dead-letters.ndjson"
    if fate == "dead":
        (letter,) = map(json.loads, letters.read_text().splitlines())
        assert letter["record"]["message"] == "\n".join(TRACE)
        assert letter["offset"] == len("INFO one\n")
    assert [check for check in sidecar.status().checks if not check.ok] == []


async def test_a_batch_taken_apart_keeps_what_was_dropped_before(tmp_path: Path) -> None:
    """Lines that are no CRI are dropped while gathering, and a later transform fails: the books balance."""
    write(tmp_path, "no cri", cri("stdout", "F", "Zero"), "no cri", cri("stdout", "F", "fine"))
    async with shipper(tmp_path, "{type: parse, format: cri, on_error: drop}", choke) as sidecar:
        await sidecar.acknowledged(1)
    account = sidecar.ledger
    assert (account.read, account.acknowledged, account.dead, account.filtered) == (4, 1, 1, 2)
    assert [check for check in sidecar.status().checks if not check.ok] == []


async def test_a_group_larger_than_a_chunk_is_cut(tmp_path: Path) -> None:
    """It is not waited for for ever: nothing is lost, and the sidecar goes on."""
    lines = ["Traceback (most recent call last):", *(f"  {number:0100d}" for number in range(6000))]
    write(tmp_path, *lines, "INFO")
    async with shipper(tmp_path, PYTHON) as sidecar:
        await sidecar.acknowledged(6002)
    assert "\n".join(messages(tmp_path)).split("\n") == [*lines, "INFO"]
    assert len(shipped(tmp_path)) > 2


def test_explain_shows_groups(tmp_path: Path) -> None:
    """A trace is one record in what `explain` prints."""
    config = shipper(tmp_path, PYTHON, "{type: redact, kinds: [], patterns: [shop]}").config
    text = list(explain(config, "\n".join(["INFO", *TRACE])))
    assert [line for line in text if line.startswith(("line", "6", "5"))] == [
        'line      {"message":"INFO"}',
        f"5 lines   {json.dumps({'message': chr(10).join(TRACE)}, separators=(',', ':'))}",
    ]


@pytest.mark.parametrize(
    ("transforms", "said"),
    [
        ("[{type: multiline}]", "needs either traces, or start"),
        ("[{type: multiline, traces: [go], start: x}]", "needs either traces, or start"),
        ("[{type: multiline, start: '('}]", "not a regular expression"),
        ("[{type: parse, format: json}, {type: multiline, start: x}]", r"transforms\[1\]: multiline must stand first"),
        ("[{type: multiline, start: x}, {type: parse, format: cri}]", r"transforms\[1\]: parse .* must stand first"),
    ],
)
def test_what_makes_no_sense_is_refused(transforms: str, said: str) -> None:
    """Before anything runs, with the reason."""
    text = f"{{inputs: [{{type: stdin}}], outputs: [{{type: stdout}}], transforms: {transforms}}}"
    with pytest.raises(ConfigError, match=said):
        decode(parse(text)[0], SidecarConfig)
