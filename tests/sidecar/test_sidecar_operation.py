"""The sidecar while it runs: reload, the ledger as people see it, explain, and records that cannot be encoded."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import podpatterns
from podpatterns.errors import ConfigError, StartError
from podpatterns.runtime.config import loads
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.service import Deadline, Request
from podpatterns.runtime.units import Address, Duration, Size, Url
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.explain import changes
from podpatterns.sidecar.inputs.syslog import SyslogConfig
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs.file import FileConfig
from podpatterns.sidecar.outputs.http import HttpConfig
from podpatterns.sidecar.runtime import Sidecar
from podpatterns.sidecar.transforms import TransformConfig


def config(tmp_path: Path, *transforms: Any, **more: Any) -> SidecarConfig:
    settings = {"linger": Duration("2ms"), "retry_cap": Duration("5ms"), **more}
    return SidecarConfig(
        inputs=(TailConfig(paths=(f"{tmp_path}/*.log",), poll=Duration("2ms")),),
        transforms=tuple(
            decode(parse(each)[0], TransformConfig) if isinstance(each, str) else each for each in transforms
        ),
        outputs=(FileConfig(path=f"{tmp_path}/out"),),
        checkpoint=f"{tmp_path}/state/checkpoint",
        **settings,
    )


def write(tmp_path: Path, *lines: str, name: str = "app.log") -> None:
    with (tmp_path / name).open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def shipped(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "out").read_text().split("\n")[:-1]]


# --- reload -----------------------------------------------------------------------------------------------------------


async def test_transforms_change_while_running(tmp_path: Path) -> None:
    """Lines read after a reload go through the new transforms, with the new fields; none is lost or repeated."""
    async with Sidecar(config(tmp_path, "{type: filter, drop: noise}", fields={"v": 1})) as sidecar:
        write(tmp_path, "one", "noise")
        await sidecar.acknowledged(1)
        await sidecar.reload(config(tmp_path, "{type: parse, format: json}", fields={"v": 2}))
        write(tmp_path, '{"n": 2}', "noise")
        await sidecar.acknowledged(3)
        await sidecar.reload(config(tmp_path))
        write(tmp_path, '{"n": 3}')
        await sidecar.acknowledged(4)
    file = f"{tmp_path}/app.log"
    assert shipped(tmp_path) == [
        {"message": "one", "file": file, "v": 1},
        {"n": 2, "file": file, "v": 2},
        {"message": "noise", "file": file, "v": 2},
        {"message": '{"n": 3}', "file": file},
    ]
    assert (sidecar.ledger.read, sidecar.ledger.filtered) == (5, 1)
    assert all(check.ok for check in sidecar.status().checks)


async def test_sizes_change_while_running(tmp_path: Path) -> None:
    """A linger of an hour ends for what is read after the reload, and a batch of one byte goes at once."""
    async with Sidecar(config(tmp_path, linger=Duration("1h"))) as sidecar:
        more = {"linger": Duration("1h"), "batch": Size(1), "memory": Size("1MiB")}
        await sidecar.reload(config(tmp_path, **more))
        write(tmp_path, "one")
        await sidecar.acknowledged(1)
        assert sidecar.pipeline.memory == 1 << 20


@pytest.mark.parametrize("what", ["a release that is newer", "an output", "another input"])
async def test_a_start_that_fails_leaves_the_checkpoint_alone(tmp_path: Path, what: str) -> None:
    """What could not start knows no positions: the next start that works goes on where the last one had come."""
    good = config(tmp_path)
    write(tmp_path, "one", "two")
    async with Sidecar(good) as sidecar:
        await sidecar.acknowledged(2)
    checkpoint = tmp_path / "state" / "checkpoint"
    before = checkpoint.read_bytes()
    bad, meant = good, before
    if what == "an output":
        url = Url("https://127.0.0.1:1/")
        bad = msgspec.structs.replace(good, outputs=(*good.outputs, HttpConfig(url=url, ca="/nowhere")))
    elif what == "another input":
        taken = SyslogConfig(listen=Address(f"unix:{tmp_path}/app.log/socket"), protocol="tcp")
        bad = msgspec.structs.replace(good, inputs=(taken, *good.inputs))
    else:
        meant = before.replace(b'"version":1', b'"version":2')
        checkpoint.write_bytes(meant)
    with pytest.raises(StartError):
        async with Sidecar(bad):
            pass
    assert checkpoint.read_bytes() == meant
    checkpoint.write_bytes(before)
    write(tmp_path, "three")
    async with Sidecar(good) as sidecar:
        await sidecar.acknowledged(3)
    assert [record["message"] for record in shipped(tmp_path)] == ["one", "two", "three"]


async def test_what_cannot_be_closed_leaves_nothing_else_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is raised, after inputs, outputs and checkpoint were closed: the next one can have it."""
    sidecar = Sidecar(config(tmp_path))

    async def fail() -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sidecar.outputs["file"], "stop", fail)
    write(tmp_path, "one")
    with pytest.raises(OSError, match="Input/output error"):
        async with sidecar:
            await sidecar.acknowledged(1)
    monkeypatch.undo()
    await sidecar.outputs["file"].stop()
    async with Sidecar(config(tmp_path)):
        pass
    assert [record["message"] for record in shipped(tmp_path)] == ["one"]


@pytest.mark.parametrize("field", ["inputs", "outputs", "checkpoint", "dead_letters", "retry_cap"])
async def test_what_needs_a_restart_is_said(tmp_path: Path, field: str) -> None:
    """Such a reload changes nothing at all, and names what it cannot change."""
    old = config(tmp_path)
    changes = {
        "inputs": (TailConfig(paths=("/other",)),),
        "outputs": (FileConfig(path=f"{tmp_path}/other"),),
        "checkpoint": "/other",
        "dead_letters": "/other",
        "retry_cap": Duration("1s"),
    }
    new = msgspec.structs.replace(old, **{field: changes[field]}, fields={"v": 2})
    async with Sidecar(old) as sidecar:
        with pytest.raises(StartError, match=f"a change of {field} needs a restart of the sidecar; nothing is lost"):
            await sidecar.reload(new)
        write(tmp_path, "one")
        await sidecar.acknowledged(1)
    assert [record["message"] for record in shipped(tmp_path)] == ["one"]
    assert "v" not in shipped(tmp_path)[0]


# --- what is read and written at once ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "path", "read"),
    [
        ("[/logs/*.log]", "/logs/out.log", True),
        ("[/logs/*.log]", "/logs/out.log.1", True),
        ("[/logs/*.log], rotated: false", "/logs/out.log.1", False),
        ("[/logs/*.log], exclude: ['out*']", "/logs/out.log", False),
        ("[/logs/*.log]", "/logs/out.ndjson", False),
        ("[/logs/*.log]", "/logs/deep/out.log", False),
        ("[/logs/*/a.log]", "/logs/b/a.log", True),
        ("[/logs/*/a.log]", "/logs/b/c/a.log", False),
        ("[/logs/**/*.log]", "/logs/out.log", True),
        ("[/logs/**/*.log]", "/logs/b/c/out.log", True),
        ("[/logs/**/*.log]", "/other/out.log", False),
        ("[logs/*.log]", "logs/out.log", True),
    ],
)
def test_what_would_be_shipped_for_ever_is_refused(paths: str, path: str, read: bool) -> None:
    """An output that writes where an input reads: each record would become another one."""
    text = (
        f"sidecar: {{inputs: [{{type: stdin}}, {{type: tail, paths: {paths}}}], "
        f"outputs: [{{type: stdout}}, {{type: file, path: {path}}}]}}"
    )
    if not read:
        loads([("a.yaml", text)], {})
        return
    with pytest.raises(ConfigError, match=r"a\.yaml:1:\d+: sidecar\.outputs\[1\]\.path: an input reads .*, for ever"):
        loads([("a.yaml", text)], {})


@pytest.mark.parametrize("field", ["checkpoint", "dead_letters"])
def test_nor_are_notes_of_its_own(field: str) -> None:
    """The same for the checkpoint and for dead letters, also where those are by default."""
    more = {"checkpoint": "checkpoint: /logs/x.json", "dead_letters": "checkpoint: /logs/state"}[field]
    for pattern, good in (("/logs/*.log", True), ("/logs/*json", False)):
        text = f"sidecar: {{inputs: [{{type: tail, paths: ['{pattern}']}}], outputs: [{{type: stdout}}], {more}}}"
        if good:
            loads([("a.yaml", text)], {})
        else:
            with pytest.raises(ConfigError, match=rf"sidecar\.{field}: an input reads /logs/"):
                loads([("a.yaml", text)], {})


# --- the ledger -------------------------------------------------------------------------------------------------------


async def ledger(sidecar: Sidecar) -> dict[str, Any]:
    (route,) = [route for route in sidecar.routes() if route.path == "/ledger"]
    assert (route.method, route.public) == ("GET", False), "paths of files are for loopback alone"
    reply = await route.handle(Request({}))
    assert reply.status == 200
    found: dict[str, Any] = json.loads(msgspec.json.encode(reply.data))
    return found


async def test_the_ledger_says_what_became_of_every_line(tmp_path: Path) -> None:
    """Per file and in sum: read = acknowledged + dead-lettered + filtered + in flight; also after a restart."""

    @podpatterns.transform
    def picky(batch: Batch) -> Batch:
        if b"bad" in batch.text:
            raise ValueError("bad line")
        return batch

    wanted = config(tmp_path, "{type: filter, drop: noise}", picky)
    write(tmp_path, "one", "noise", "bad", "two", name="a.log")
    write(tmp_path, "three", name="b.log")
    async with Sidecar(wanted) as sidecar:
        await sidecar.acknowledged(3)
        before = await ledger(sidecar)
    size = (tmp_path / "a.log").stat().st_size
    by_source = {Path(each["source"]).name: each for each in before["sources"]}
    assert by_source["a.log"] == {
        "input": "tail", "source": f"{tmp_path}/a.log", "read": 4, "acknowledged": 2, "dead_lettered": 1, "filtered": 1,
        "refused": 0, "gone": 0, "in_flight": 0,
        "settled_bytes": size, "lost_bytes": {}, "generation": 0, "committed": size, "read_to": size,
        "size": size,
    }  # fmt: skip
    assert (by_source["b.log"]["read"], by_source["b.log"]["acknowledged"]) == (1, 1)
    for name in ("read", "acknowledged", "dead_lettered", "filtered", "in_flight", "settled_bytes"):
        assert before["total"][name] == before["closed"][name] + sum(each[name] for each in before["sources"])
    async with Sidecar(wanted) as again:
        assert (await ledger(again))["total"] == before["total"]
        write(tmp_path, "four", name="b.log")
        await again.acknowledged(4)
        assert (await ledger(again))["total"]["read"] == 6


async def test_the_ledger_shows_what_is_on_its_way(tmp_path: Path) -> None:
    """What has been read and waits is in flight: in the lines of the ledger, and in the gauge of bytes."""
    write(tmp_path, "one", "two")
    async with Sidecar(config(tmp_path, linger=Duration("1h"))) as sidecar:
        while not sidecar.pipeline.in_flight:
            await sidecar.checkpoint.save()
        assert (await ledger(sidecar))["total"]["in_flight"] == 2
        value = sidecar.context.telemetry.registry.get_sample_value
        assert (value("podpatterns_sidecar_in_flight_bytes") or 0) >= len("one\ntwo\n")
    assert (await ledger(sidecar))["total"]["in_flight"] == 0
    assert value("podpatterns_sidecar_in_flight_bytes") == 0


# --- records that cannot be encoded -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["\ud800", None], ids=["a lone surrogate", "no record"])
async def test_a_record_that_cannot_be_encoded_is_a_dead_letter(tmp_path: Path, wrong: str | None) -> None:
    """A function that makes something of a line that is no JSON costs that line, not its neighbours or the sidecar."""

    @podpatterns.transform
    def spoil(batch: Batch) -> Batch:
        return batch.map(lambda record: (wrong and {"m": wrong}) if record["message"] == "two" else record)

    write(tmp_path, "one", "two", "three")
    async with Sidecar(config(tmp_path, spoil)) as sidecar:
        await sidecar.acknowledged(2)
    assert [record["message"] for record in shipped(tmp_path)] == ["one", "three"]
    letter = json.loads((tmp_path / "state" / "dead-letters.ndjson").read_text())
    assert (letter["by"], letter["offset"], letter["record"]["message"]) == ("transform", 4, "two")
    assert (sidecar.ledger.read, sidecar.ledger.dead) == (3, 1)
    assert all(check.ok for check in sidecar.status().checks)


async def test_json_of_any_depth_is_shipped(tmp_path: Path) -> None:
    """A line of brackets is kept as it is: an application cannot stop the sidecar by what it logs."""
    deep = '{"a":' * 20_000 + "1" + "}" * 20_000
    write(tmp_path, '{"n": 1}', deep, "[" * 100_000)
    async with Sidecar(config(tmp_path, "{type: parse, format: json}", "{type: redact, kinds: [email]}")) as sidecar:
        await sidecar.acknowledged(3)
    first, second, third = shipped(tmp_path)
    assert (first["n"], second["message"], third["message"]) == (1, deep, "[" * 100_000)


# --- explain ----------------------------------------------------------------------------------------------------------

EXPLAINED = """
sidecar:
  inputs: [{type: tail, paths: [/var/log/app/*.log]}]
  transforms:
    - {type: filter, drop: healthz}
    - {type: parse, format: json}
    - {type: redact, kinds: [email]}
    - {type: python, function: "%s:careful"}
  outputs: [{type: stdout}, {type: file, path: /x}]
  fields: {pod: shop-1}
"""


def careful(batch: Batch) -> Batch:
    """Fails on one record."""
    return batch.map(lambda record: {**record, "half": 6 / record.get("n", 1) if record != {"n": 9} else "\ud800"})


def explained(sample: str | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    import sys
    import types

    module = types.ModuleType("a_shop")
    module.careful = careful  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_shop", module)
    return list(loads([("f.yaml", EXPLAINED % "a_shop")]).patterns["sidecar"].explain(sample))


def test_explain_says_what_becomes_of_each_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Step by step: what every transform did, where a line ends, the record that is shipped and where to."""
    sample = '{"n": 2, "to": "a@b.cc"}\nGET /healthz\r\n{"n": 0}\n{"n": 9}\nprose \u2028\x0b\n'
    assert explained(sample, monkeypatch) == [
        'line      {"n": 2, "to": "a@b.cc"}',
        "filter    leaves it as it is",
        'parse     n: 2, to: "a@b.cc"',
        'redact    to: "a@b.cc" → "[redacted]" (email: a@b.cc)',
        "python    + half: 3.0",
        'shipped   {"n":2,"to":"[redacted]","half":3.0,"pod":"shop-1"}',
        "to        stdout, file",
        "line      GET /healthz",
        "filter    drops it; it is counted as filtered",
        'line      {"n": 0}',
        "filter    leaves it as it is",
        "parse     n: 0",
        "redact    leaves it as it is",
        "python    fails: ZeroDivisionError: division by zero; the line becomes a dead letter",
        'line      {"n": 9}',
        "filter    leaves it as it is",
        "parse     n: 9",
        "redact    leaves it as it is",
        'python    + half: "\\ud800"',
        "fails     UnicodeEncodeError: 'utf-8' codec can't encode character '\\ud800' in position 0: surrogates "  # noqa: ISC004
        "not allowed; the line becomes a dead letter",
        "line      prose \u2028\x0b",
        "filter    leaves it as it is",
        "parse     it is not json; it stays as it is",
        "redact    leaves it as it is",
        "python    + half: 6.0",
        'shipped   {"message":"prose \u2028\\u000b","half":6.0,"pod":"shop-1"}',
        "to        stdout, file",
    ]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"message": "x=1"}, {"x": "1", "y": None}, 'x: "1", y: null'),
        ({"message": "x"}, {"msg": "x"}, "message → msg"),
        ({"a": 1, "b": 2}, {"b": 3, "c": 1}, "a → c, b: 2 → 3"),
        ({"a": 1, "b": "é"}, {"b": "é", "c": [1]}, "+ c: [1], - a"),
        ({"a": "x" * 99}, {"a": "y"}, f'a: "{"x" * 58}… → "y"'),
    ],
)
def test_what_explain_says_of_a_change(before: dict[str, Any], after: dict[str, Any], said: str) -> None:
    """What was parsed, renamed, changed, added and taken away, and nothing else; long values are cut."""
    assert changes(before, after) == said


def test_why_something_is_redacted() -> None:
    """Each kind and pattern with what it finds, in the order in which they replace; also deep in a record."""
    redact = decode(
        parse("{type: redact, kinds: [email, password], patterns: ['order \\d+']}")[0], TransformConfig
    ).build()
    line = Batch.of(["order 7 of ann@a.example, password=x, and ben@a.example"])
    assert redact.reason(line) == (
        'email: ann@a.example, ben@a.example; password: password=x; the pattern "order \\d+": order 7'
    )
    record = Batch.of(["x"]).with_records([{"a": {"b": ["token: abc", 7]}, "c": "nothing"}])
    assert redact.reason(record) == "password: token: abc"
    assert redact.reason(Batch.of(["nothing"])) == ""


def test_explain_has_a_sample_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, a line each of the common formats; an empty sample is no line; nothing is sent or opened."""
    assert [line[:5] for line in explained(None, monkeypatch)].count("line ") == 3
    assert explained("", monkeypatch) == []
    assert [line[:5] for line in explained("\n\n", monkeypatch)].count("line ") == 2


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_the_application_says_that_it_has_ended(tmp_path: Path) -> None:
    """The sidecar of a Job: when the file is there it ships what is left, also a line without its end, and exits 0."""
    (tmp_path / "ship.yaml").write_text(f"""
sidecar:
  inputs: [{{type: tail, paths: ["{tmp_path}/*.log"]}}, {{type: syslog, listen: "127.0.0.1:0"}}]
  outputs: [{{type: file, path: {tmp_path}/out}}]
  checkpoint: {tmp_path}/state/checkpoint
  done_file: {tmp_path}/done
runtime: {{admin: "off", log_format: json}}
""")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "podpatterns", "run", f"{tmp_path}/ship.yaml", stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    while b'"phase": "ready"' not in (line := await process.stderr.readline()).replace(b'":"', b'": "'):
        assert line, "it has ended"
    (tmp_path / "app.log").write_text("one\ntwo\nthree")
    (tmp_path / "done").touch()
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert [record["message"] for record in shipped(tmp_path)] == ["one", "two", "three"]
    assert b"sidecar.application.done" in errors


async def test_a_sidecar_in_an_application_ends_as_well(tmp_path: Path) -> None:
    """In a program the block goes on; leaving it later finds all delivered, and a drain before does no harm."""
    done = tmp_path / "done"
    async with Sidecar(config(tmp_path, done_file=str(done))) as sidecar:
        write(tmp_path, "one")
        done.touch()
        await sidecar.acknowledged(1)
        await sidecar.drain(Deadline(1e9, lambda: 0.0))
    assert [record["message"] for record in shipped(tmp_path)] == ["one"]
    assert all(check.ok for check in sidecar.status().checks)
