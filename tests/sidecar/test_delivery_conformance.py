"""Every output against everything that goes wrong: nothing lost, only poison dead, no duplicate but as said.

The rows are the outputs that are registered, each with its strict fake or the real thing; the columns are troubles.
What a row promises beyond that is its row of docs/how-to/choose-an-output.md, which `test_what_the_guide_says` holds
to the classes.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from podpatterns.errors import Retryable, ServiceError
from podpatterns.runtime.backoff import Backoff
from podpatterns.runtime.components import load_all, slot_of
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.schema import component_type
from podpatterns.runtime.service import Context
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Duration
from podpatterns.sidecar.batch import Batch, Source
from podpatterns.sidecar.chain import Chain
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.events import SidecarEvents
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.ledger import Account
from podpatterns.sidecar.outputs import ACCEPTED, Output, OutputConfig, Receipt
from podpatterns.sidecar.runtime import Sidecar
from podpatterns.sidecar.sender import Sender
from podpatterns.sidecar.transforms.parse import ParseConfig
from podpatterns.testing import Answer, run_virtually
from podpatterns.testing.stores import FakeElasticsearch, FakeHttp, FakeLoki, FakeOtlp, FakeS3, FakeSplunk
from podpatterns.testing.streams import FakeForward, FakeRedis, FakeStream, FakeSyslog

COUNT = 60
POISON = {7, 8, 31, 59}


@dataclass
class Row:
    """An output: how it is configured against its far side, and what it promises."""

    config: str
    fake: Callable[[], Any] | None = None
    refuses: bool = False
    """Whether the far side can refuse single records, and names them."""
    once: bool = False
    """Whether the far side keeps a record once that is delivered twice."""
    read: Callable[[Path], list[str]] | None = None
    """Where there is no fake: what has arrived, as NDJSON."""
    named: bool = True
    """Whether what is refused is named, so that it becomes a dead letter."""
    acknowledges: bool = True
    """Whether the far side says what it has; without that, what it had read when it died is lost."""


def rows_of_sqlite(directory: Path) -> list[str]:
    database = sqlite3.connect(directory / "out")
    found = [record for (record,) in database.execute("SELECT record FROM logs ORDER BY rowid")]
    database.close()
    return found


ROWS = {
    "http": Row("{url: '$URL/ingest'}", FakeHttp, refuses=True),
    "loki": Row("{url: '$URL', labels: {app: shop}}", FakeLoki, refuses=True, once=True),
    "elasticsearch": Row("{url: '$URL', index: logs}", FakeElasticsearch, refuses=True, once=True),
    "otlp": Row("{url: '$URL'}", FakeOtlp, refuses=True, named=False),
    "splunk": Row("{url: '$URL', token: $DIR/token}", FakeSplunk, refuses=True),
    "s3": Row(
        "{bucket: shop-logs, endpoint: '$URL', access_key: $DIR/id, secret_key: $DIR/token}", FakeS3, once=True
    ),
    "forward": Row("{address: '$ADDRESS', tag: app}", FakeForward),
    "redis": Row("{address: '$ADDRESS', stream: logs}", FakeRedis),
    "syslog": Row("{address: '$ADDRESS'}", FakeSyslog, acknowledges=False),
    "file": Row("{path: $DIR/out}", read=lambda directory: (directory / "out").read_text().splitlines()),
    "sqlite": Row("{path: $DIR/out}", read=rows_of_sqlite, once=True),
    "stdout": Row("{}"),
}  # fmt: skip


def test_every_output_is_a_row() -> None:
    """None is registered that is not held to this."""
    assert {component_type(cls) for cls in load_all(slot_of(OutputConfig))} == ROWS.keys()


# --- the troubles ----------------------------------------------------------------------------------------------------


@dataclass
class Trouble:
    """What goes wrong, and whether what was stored may come again, since nobody could know that it was."""

    answers: Callable[[], list[Answer]] = list
    faults: tuple[Any, ...] = ()
    again: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[Any], None] = lambda _: None
    only: str | None = None


def slow(server: Any) -> None:
    server.delay = 0.005 if isinstance(server, FakeSyslog) else 0.1  # for each message


def half_busy(server: Any) -> None:
    """Every second document of a bulk request is answered 429, the first time."""
    seen: set[int] = set()

    def status(document: Any) -> int:
        if document["n"] % 2 and document["n"] not in seen:
            seen.add(document["n"])
            return 429
        return 201

    server.status = status


TROUBLES = {
    "none": Trouble(),
    "closes at once": Trouble(lambda: [Answer(200, b"x", fault="reset")] * 2, ("reset", "reset")),
    "closes in mid-body": Trouble(lambda: [Answer(200, b"x" * 100, fault="truncate")] * 2),
    "closes before it answers": Trouble(faults=("late",), again=True),
    "times out": Trouble(
        lambda: [Answer(fault="hang")], ("hang",), again=True, settings={"timeout": "300ms"}
    ),
    "answers slowly": Trouble(prepare=slow),
    "429, seconds": Trouble(lambda: [Answer(429, b"slow", {"Retry-After": "0"})] * 3),
    "429, a date": Trouble(
        lambda: [Answer(429, b"slow", {"Retry-After": email.utils.formatdate(time.time(), usegmt=True)})] * 2
    ),
    "503 and 502": Trouble(lambda: [Answer(503, b"<Code>SlowDown</Code>"), Answer(502)]),
    "half of the items": Trouble(prepare=half_busy, only="elasticsearch"),
    "260": Trouble(lambda: [Answer(260, b"blocked")] * 3, only="loki"),
}  # fmt: skip


def fits(row: Row, name: str, trouble: Trouble) -> bool:
    if trouble.only is not None:
        return trouble.only == name
    if row.fake is None:
        return trouble == TROUBLES["none"]
    server = row.fake()
    if isinstance(server, FakeStream):
        breaks = bool(trouble.faults) and row.acknowledges
        return trouble.prepare is slow or breaks or trouble == TROUBLES["none"]
    return trouble.faults != ("late",)


CASES = [
    pytest.param(name, what, id=f"{name}-{what}")
    for name, row in ROWS.items()
    for what, trouble in TROUBLES.items()
    if fits(row, name, trouble)
]


def configured(name: str, directory: Path, server: Any, **settings: Any) -> OutputConfig:
    text = ROWS[name].config.replace("$DIR", str(directory))
    if server is not None:
        text = text.replace("$ADDRESS", server.address).replace("$URL", getattr(server, "url", ""))
    for file, secret in (("id", "id"), ("token", "secret")):
        (directory / file).write_text(secret)
    more = "".join(f", {key}: {value}" for key, value in settings.items())
    return decode(parse(f"{{type: {name}{more}, {text[1:]}")[0], OutputConfig)


def shipper(directory: Path, output: OutputConfig, grace: float = 25.0) -> Sidecar:
    config = SidecarConfig(
        inputs=(TailConfig(paths=(f"{directory}/app.log",), poll=Duration("2ms")),),
        transforms=(ParseConfig(format="json"),),
        outputs=(output,),
        checkpoint=f"{directory}/state/checkpoint",
        linger=Duration("2ms"),
        retry_cap=Duration("5ms"),
    )
    return Sidecar(config, Context(grace=grace))


def written(directory: Path) -> None:
    """Numbered records, each with a time of its own, by which Loki names what it has ignored."""
    with (directory / "app.log").open("w") as file:
        for n in range(COUNT):
            record = {"n": n, "time": f"2026-11-28T10:00:{n:02}Z", "text": "é" * n}
            file.write(json.dumps(record) + "\n")


@asynccontextmanager
async def far_side(row: Row) -> AsyncIterator[Any]:
    if row.fake is None:
        yield None
        return
    async with row.fake() as server:
        yield server


def arrived(row: Row, directory: Path, server: Any, out: str) -> list[int]:
    if server is not None:
        return [record["n"] for record in server.records]
    lines = row.read(directory) if row.read is not None else [line for line in out.splitlines() if line[:1] == "{"]
    return [json.loads(line)["n"] for line in lines]


def letters(directory: Path) -> list[dict[str, Any]]:
    file = directory / "state" / "dead-letters.ndjson"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize(("name", "what"), CASES)
async def test_whatever_goes_wrong(name: str, what: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Every record arrives, in spite of it; only what could not be known comes twice; the books balance."""
    row, trouble = ROWS[name], TROUBLES[what]
    written(tmp_path)
    async with far_side(row) as server:
        output = configured(name, tmp_path, server, **trouble.settings)
        if server is not None:
            trouble.prepare(server)
            refusing = row.refuses and what == "none"
            if refusing:
                server.refuse = lambda record: record["n"] in POISON
            server.will(*(trouble.faults if isinstance(server, FakeStream) else trouble.answers()))
        async with shipper(tmp_path, output) as sidecar:
            async with asyncio.timeout(20):
                while sidecar.ledger.settled < COUNT:  # noqa: ASYNC110 - what is settled has no event
                    await asyncio.sleep(0.002)
        if isinstance(server, FakeStream):
            async with asyncio.timeout(10):
                while len(set(arrived(row, tmp_path, server, ""))) < COUNT:  # noqa: ASYNC110 - syslog is read later
                    await asyncio.sleep(0.002)
    poison = POISON if row.refuses and what == "none" else set()
    found = arrived(row, tmp_path, server, capfd.readouterr().out)
    assert set(found) == set(range(COUNT)) - poison, "lost, or taken though it was refused"
    # Splunk's numbers are found out at the price of one event.
    allowed = 1 if name == "splunk" and poison else 0
    if not (trouble.again and not row.once):
        assert len(found) - len(set(found)) <= allowed, "twice"
    dead = letters(tmp_path)
    account = sidecar.ledger
    if row.named:
        assert [letter["record"]["n"] for letter in dead] == sorted(poison)
        assert (account.dead, account.refused) == (len(poison), 0)
        assert [check for check in sidecar.status().checks if not check.ok] == []
    else:
        assert (dead, account.dead, account.refused) == ([], 0, len(poison))
    assert account.read == account.settled == COUNT
    assert {letter["by"] for letter in dead} <= {name}
    if server is not None:
        assert server.malformed == []


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.fake is not None])
async def test_one_that_is_not_there_yet(name: str, tmp_path: Path) -> None:
    """It refuses connections, and comes back: everything arrives, once; in the meantime the operator is told."""
    row = ROWS[name]
    assert row.fake is not None
    written(tmp_path)
    server = row.fake()
    async with server:
        pass  # a port that is free, and known
    async with shipper(tmp_path, configured(name, tmp_path, server)) as sidecar:
        async with asyncio.timeout(10):
            while "waiting" not in sidecar.status().facts:  # noqa: ASYNC110 - what the operator sees has no event
                await asyncio.sleep(0.001)
        assert sidecar.ledger.settled == 0
        async with server:
            await sidecar.acknowledged(COUNT)
            async with asyncio.timeout(10):
                while len(server.records) < COUNT:  # noqa: ASYNC110 - syslog is read later
                    await asyncio.sleep(0.002)
    assert sorted(arrived(row, tmp_path, server, "")) == list(range(COUNT))
    assert letters(tmp_path) == []
    assert [check for check in sidecar.status().checks if not check.ok] == []


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.fake is not None])
async def test_one_that_is_down_at_the_end(name: str, tmp_path: Path) -> None:
    """The grace ends the tries, not the other way round; what was not delivered is, after the restart."""
    row = ROWS[name]
    assert row.fake is not None
    written(tmp_path)
    server = row.fake()
    async with server:
        pass
    began = time.monotonic()
    with pytest.raises(ServiceError):
        async with shipper(tmp_path, configured(name, tmp_path, server), grace=0.2) as sidecar:
            pass
    assert time.monotonic() - began < 5
    assert sidecar.ledger.settled == 0
    async with server:
        async with shipper(tmp_path, configured(name, tmp_path, server)) as sidecar:
            await sidecar.acknowledged(COUNT)
        if isinstance(server, FakeStream):
            await server.quiet()
    assert sorted(arrived(row, tmp_path, server, "")) == list(range(COUNT))


# --- the back-off ----------------------------------------------------------------------------------------------------


class Moody(Output):
    """Raises what it is told to, and notes when it was tried."""

    def __init__(self, down_until: float, after: float | None = None) -> None:
        self.down_until, self.after = down_until, after
        self.tries: list[float] = []

    async def deliver(self, batches: Sequence[Batch]) -> Receipt:
        now = asyncio.get_running_loop().time()
        self.tries.append(now)
        if now < self.down_until:
            raise Retryable("down", after=self.after)
        return ACCEPTED


def outage(output: Moody, *, cap: float = 30.0, longest: float = 300.0, stop: float = 1e9) -> float:
    """Deliver one batch in virtual time; returns how long it took."""

    async def main() -> float:
        events = SidecarEvents(Telemetry(), Account, lambda: 0)
        chain, passed = Chain(), asyncio.Event()
        sender = Sender(
            "moody",
            output,
            key="moody",
            at=chain.last,
            letters=None,  # type: ignore[arg-type]
            events=events,
            load=None,  # type: ignore[arg-type]
            passed=lambda *_: passed.set(),
            backoff=Backoff(cap=cap),
            longest=longest,
        )
        batch = Batch(Source("a", "a"), None, 0, 2, lines=[b"x"])
        batch.encode({})
        chain.last.items, chain.last.records = [(None, batch)], 1  # type: ignore[list-item]
        chain.seal(1)
        task = asyncio.create_task(sender.run())
        try:
            async with asyncio.timeout(stop):
                await passed.wait()
        finally:
            task.cancel()
            await asyncio.wait([task])
        return asyncio.get_running_loop().time()

    return run_virtually(main())


@pytest.mark.parametrize("minutes", [1, 30, 600])
def test_it_is_down_for_minutes(minutes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is delivered at most one cap after it has come back, and asked seldom in between: two tries for each cap."""
    monkeypatch.setattr("podpatterns.sidecar.sender.random.random", random.Random(minutes).random)
    output = Moody(minutes * 60.0)
    took = outage(output)
    assert minutes * 60 <= took <= minutes * 60 + 30
    assert len(output.tries) <= 10 + minutes * 60 / 15 * 1.5
    pauses = [later - earlier for earlier, later in zip(output.tries, output.tries[1:], strict=False)]
    assert max(pauses) <= 30
    if minutes > 1:
        assert min(pauses[10:]) < 8, "full jitter: drawn from zero on"
        assert max(pauses[10:]) > 22


def test_pauses_grow_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bound is twice the one before, up to the cap."""
    monkeypatch.setattr("podpatterns.sidecar.sender.random.random", lambda: 1.0)
    output = Moody(200.0)
    outage(output)
    pauses = [later - earlier for earlier, later in zip(output.tries, output.tries[1:], strict=False)]
    assert pauses[:8] == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6])
    assert set(map(round, pauses[8:])) == {30}


def test_what_it_asks_for_is_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry-After instead of the back-off, up to its own cap."""
    output = Moody(100.0, after=40.0)
    outage(output)
    assert output.tries == [0, 40, 80, 120]
    output = Moody(400.0, after=3600.0)
    outage(output)
    assert output.tries == [0, 300, 600]


def test_the_deadline_ends_a_pause() -> None:
    """Whatever the pause, it ends with the grace."""
    output = Moody(1e6, after=300.0)
    with pytest.raises(TimeoutError):
        outage(output, stop=25.0)
    assert output.tries == [0]


# --- the guide -------------------------------------------------------------------------------------------------------


def test_what_the_guide_says() -> None:
    """docs/how-to/choose-an-output.md has a row for each output, and what it says of refusing and of duplicates is what
    is tested here."""
    guide = (Path(__file__).parents[2] / "docs" / "how-to" / "choose-an-output.md").read_text()
    table = {
        match[1]: [cell.strip() for cell in match[0].strip("| \n").split("|")]
        for match in re.finditer(r"^\| `(\w+)` \|.*$", guide, re.MULTILINE)
    }
    assert table.keys() == ROWS.keys()
    for name, (_, _, _, dead, twice) in table.items():
        row = ROWS[name]
        assert dead.startswith("none") == (not row.refuses), name
        assert twice.startswith("no") == row.once, name
        config = next(cls for cls in load_all(slot_of(OutputConfig)) if component_type(cls) == name)
        if not row.once:
            fields = config.__struct_fields__
            assert ("`event_id` tells" in twice) == ("event_id" in fields), name
