"""What every input, transform and output of the sidecar promises, checked over all that are registered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from podpatterns.errors import ServiceError
from podpatterns.runtime.components import load_all, slot_of
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.schema import component_type
from podpatterns.runtime.service import Context
from podpatterns.runtime.units import Address, Duration, SecretFile, Url
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.inputs import InputConfig
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs import ACCEPTED, Output, OutputConfig, Receipt
from podpatterns.sidecar.runtime import Sidecar
from podpatterns.sidecar.transforms import TransformConfig
from podpatterns.testing import FakeServer
from podpatterns.testing.stores import FakeElasticsearch, FakeLoki, FakeOtlp, FakeS3, FakeSplunk
from podpatterns.testing.streams import FakeForward, FakeRedis, FakeStream, FakeSyslog

BASES = {"inputs": InputConfig, "transforms": TransformConfig, "outputs": OutputConfig}
COMPONENTS = [
    pytest.param(kind, cls, id=f"{kind}-{component_type(cls)}")
    for kind, base in BASES.items()
    for cls in load_all(slot_of(base))
]
LINES = [
    '::1 - - [t] "GET /healthz HTTP/1.1" 200 7',
    "not an access log line; user=ann@example.org session=0123abcd",
    '{"level": "info", "password": "hunter2"}',
    "Authorization: Bearer abcdefgh12345",
    *(f"line {number} \u00e9 \x7f \\ \x01" for number in range(200)),
]


class KeptConfig(OutputConfig, frozen=True, kw_only=True):
    """Keeps what it is given; stands where an output is not what the test is about."""

    def build(self) -> Kept:
        return Kept()


class Kept(Output):
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    async def deliver(self, batches: Any) -> Receipt:
        await asyncio.sleep(0)
        for batch in batches:
            self.records += [json.loads(line) for line in batch.ndjson.split(b"\n")[:-1]]
        return ACCEPTED


@pytest.fixture
async def far(request: pytest.FixtureRequest) -> AsyncIterator[FakeServer]:
    """The far side of the component at hand: a strict fake where there is one for its type."""
    name = component_type(request.getfixturevalue("cls"))
    async with FAR.get(name, FakeServer)() as server:
        yield server


FAR: dict[str, Any] = {
    "loki": FakeLoki,
    "elasticsearch": partial(FakeElasticsearch, "logs-shop-default"),
    "otlp": FakeOtlp,
    "splunk": FakeSplunk,
    "s3": partial(FakeS3, keys=("secret", "secret")),
    "forward": FakeForward,
    "syslog": FakeSyslog,
    "redis": FakeRedis,
}


def placed(config: Any, directory: Path, server: Any) -> Any:
    """The example of a component, with paths and addresses that are there in a test."""
    (directory / "token").write_text("secret")
    places = {
        "token": SecretFile(directory / "token"),
        "path": f"{directory}/store/out",
        "paths": (f"{directory}/*.log",),
        **({"address": Address(server.address), "tls": False} if isinstance(server, FakeStream) else {}),
        **({"url": Url(server.url), "endpoint": Url(server.url)} if isinstance(server, FakeServer) else {}),
        "access_key": SecretFile(directory / "token"),
        "secret_key": SecretFile(directory / "token"),
        "poll": Duration("2ms"),
        "listen": Address("127.0.0.1:0"),
    }
    own = {field.name for field in msgspec.structs.fields(config)}
    return msgspec.structs.replace(config, **{name: value for name, value in places.items() if name in own})


def sidecar(kind: str, cls: Any, directory: Path, server: Any, grace: float = 25.0) -> Sidecar:
    """A pipeline of the example among the plainest of the other kinds."""
    example = placed(decode(parse(cls.EXAMPLE)[0], BASES[kind]), directory, server)
    tail = TailConfig(paths=(f"{directory}/*.log",), poll=Duration("2ms"))
    parts = {"inputs": (tail,), "outputs": (KeptConfig(),), kind: (example,)}
    if kind == "inputs" and cls is not TailConfig:
        parts["inputs"] = (tail, example)  # one to which others send; see test_pushed_inputs.py for what they send
    config = SidecarConfig(**parts, checkpoint=f"{directory}/state/checkpoint", linger=Duration("2ms"))
    return Sidecar(config, Context(grace=grace))


def write(directory: Path) -> None:
    with (directory / "app.log").open("a") as file:
        file.write("\n".join(LINES) + "\n")


def value(of: Sidecar, name: str, **labels: str) -> float:
    return of.context.telemetry.registry.get_sample_value(f"podpatterns_sidecar_{name}", labels) or 0


@pytest.mark.parametrize(("kind", "cls"), COMPONENTS)
async def test_the_example_runs_and_drains(kind: str, cls: Any, tmp_path: Path, far: Any) -> None:
    """A pipeline with the example of it ships every line, and leaving the block drains it: every check holds."""
    write(tmp_path)
    async with sidecar(kind, cls, tmp_path, far) as running:
        await running.acknowledged(1)
        write(tmp_path)
    assert [check for check in running.status().checks if not check.ok] == []
    account = running.ledger
    assert account.read == 2 * len(LINES) == account.acknowledged + account.filtered
    assert account.dead == 0


TOLD = {
    "parse": ("transform_notes_total", {"what": "parse_failed"}),
    "redact": ("transform_notes_total", {"what": "redacted"}),
    "filter": ("ledger_lines", {"fate": "filtered"}),
}
"""Where transforms say what they did; what has nothing to say of its own shows in the ledger."""


@pytest.mark.parametrize(("kind", "cls"), COMPONENTS)
async def test_it_reports_its_telemetry(kind: str, cls: Any, tmp_path: Path, far: Any) -> None:
    """An input counts bytes, an output records, by its name; a transform what it did; the exposition has all of it."""
    write(tmp_path)
    async with sidecar(kind, cls, tmp_path, far) as running:
        await running.acknowledged(1)
    name = component_type(cls)
    if kind == "inputs":
        assert value(running, "read_bytes_total", input="tail") == (tmp_path / "app.log").stat().st_size
    elif kind == "outputs":
        assert value(running, "delivered_records_total", output=name) == len(LINES)
    else:
        metric, labels = TOLD.get(name, ("ledger_lines", {"fate": "acknowledged"}))
        assert value(running, metric, **labels) > 0
    exposition = running.context.telemetry.exposition().decode()
    assert re.search(
        rf'^podpatterns_sidecar_ledger_lines{{fate="read"}} {float(len(LINES))}$', exposition, re.MULTILINE
    )


@pytest.mark.parametrize("steps", [0, 3, 11, 29, 71])
@pytest.mark.parametrize(("kind", "cls"), COMPONENTS)
async def test_it_survives_cancellation(  # noqa: PLR0917 - pytest passes by name
    kind: str, cls: Any, steps: int, tmp_path: Path, far: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Cancelled anywhere, with no time to drain, it stops without an error; the next run delivers what is missing."""
    write(tmp_path)
    seen: list[str] = []
    cut = sidecar(kind, cls, tmp_path, far, grace=0.0)
    with contextlib.suppress(ServiceError):  # the supervisor says that the drain was cut short, and nothing worse
        async with cut:
            for _ in range(steps):
                await asyncio.sleep(0)
    if isinstance(far, FakeStream):
        await far.quiet()
    seen += delivered(cut, tmp_path, far, capfd)
    async with sidecar(kind, cls, tmp_path, far) as running:
        pass
    if isinstance(far, FakeStream):
        await far.quiet()
    seen += delivered(running, tmp_path, far, capfd)
    if kind == "transforms":
        assert running.ledger.settled == len(LINES)
    else:
        assert {json.loads(line)["message"] for line in seen} == set(LINES)
    assert (
        value(cut, "checkpoints_total", outcome="failed") + value(running, "checkpoints_total", outcome="failed") == 0
    )
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and "aiohttp" not in repr(task)]
    assert tasks == [], "left behind"


def delivered(running: Sidecar, directory: Path, server: Any, capfd: pytest.CaptureFixture[str]) -> Iterator[str]:
    """What has arrived, wherever that is for an output; lines of NDJSON."""
    import sqlite3

    (output,) = running.outputs.values()
    store = directory / "store" / "out"
    if isinstance(output, Kept):
        yield from map(json.dumps, output.records)
    elif hasattr(server, "records"):
        yield from map(json.dumps, server.records)
    elif server.seen:
        yield from b"".join(seen.body for seen in server.seen).decode().splitlines()
    elif not store.exists():
        yield from (line for line in capfd.readouterr().out.splitlines() if line.startswith('{"message"'))
    elif store.read_bytes()[:6] == b"SQLite":
        database = sqlite3.connect(store)
        yield from (record for (record,) in database.execute("SELECT record FROM logs"))
        database.close()
    else:
        yield from store.read_text().splitlines()


@pytest.mark.parametrize("cls", load_all(slot_of(TransformConfig)))
def test_a_transform_takes_an_empty_batch(cls: Any) -> None:
    """A batch of which nothing is left goes through as it is."""
    transform = decode(parse(cls.EXAMPLE)[0], TransformConfig).build()
    batch = Batch.of(["x"]).keep([False])
    assert transform.apply(batch) is batch
    assert (len(batch), batch.dropped, batch.encode({})) == (0, 1, b"")
