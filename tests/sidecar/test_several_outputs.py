"""Several outputs, each with a position of its own: one that is down does not hold up the others, beyond a bound."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from podpatterns.errors import Retryable, ServiceError
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.service import Context, Request
from podpatterns.runtime.units import Duration, Size
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.inputs import InputConfig, InputContext
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs import Output, OutputConfig, Receipt
from podpatterns.sidecar.pushed import PushedInput
from podpatterns.sidecar.runtime import Sidecar, output_keys
from podpatterns.sidecar.transforms import TransformConfig

FAR: dict[str, Far] = {}


class Far:
    """The far side of an output: outlives the sidecars of a test."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.up = True
        self.poison = "no such line"
        self.refuses = 0

    def numbers(self) -> list[int]:
        return [int(message.split()[1]) for message in self.messages]


class FarConfig(OutputConfig, frozen=True, kw_only=True):
    to: str

    def build(self) -> FarOutput:
        return FarOutput(FAR[self.to])


class FarOutput(Output):
    def __init__(self, far: Far) -> None:
        self.far = far

    async def deliver(self, batches: Sequence[Batch]) -> Receipt:
        await asyncio.sleep(0)
        far = self.far
        if not far.up:
            raise Retryable("it is down")
        rejected = {}
        for at, batch in enumerate(batches):
            assert len(batch.ids) == len(batch)
            for index, line in enumerate(batch.ndjson.split(b"\n")[:-1]):
                message = json.loads(line)["message"]
                if far.poison in message:
                    rejected[at, index] = "poison"
                else:
                    far.messages.append(message)
        return Receipt(rejected)


@pytest.fixture
def a() -> Far:
    FAR["a"] = Far()
    return FAR["a"]


@pytest.fixture
def b() -> Far:
    FAR["b"] = Far()
    return FAR["b"]


def sidecar(tmp_path: Path, *transforms: str, grace: float = 25.0, outputs: str = "ab", **more: Any) -> Sidecar:
    settings = {"batch": Size("64KiB"), "memory": Size("1MiB"), "max_lag": Size("1GiB"), **more}
    config = SidecarConfig(
        inputs=settings.pop("inputs", (TailConfig(paths=(f"{tmp_path}/*.log",), poll=Duration("2ms")),)),
        outputs=tuple(FarConfig(to=name) for name in outputs),
        transforms=tuple(decode(parse(each)[0], TransformConfig) for each in transforms),
        checkpoint=f"{tmp_path}/state/checkpoint",
        linger=Duration("2ms"),
        retry_cap=Duration("3ms"),
        **settings,
    )
    return Sidecar(config, Context(grace=grace))


def write(tmp_path: Path, numbers: range, name: str = "app.log") -> None:
    with (tmp_path / name).open("a") as file:
        file.writelines(f"line {number} {'x' * (number % 200)}\n" for number in numbers)


async def has(far: Far, count: int) -> None:
    async with asyncio.timeout(30):
        while len(far.messages) < count:  # noqa: ASYNC110 - what has arrived has no event
            await asyncio.sleep(0.002)


async def reading_waits(running: Sidecar) -> None:
    """Return when there has been no room for what was read, for a while."""
    source: Any = running.inputs["tail"]
    await source._blocked.wait()


def balanced(running: Sidecar, lines: int) -> None:
    assert [check for check in running.status().checks if not check.ok] == []
    assert running.ledger.read == lines == running.ledger.settled


async def test_one_that_is_down_does_not_hold_up_the_other(tmp_path: Path, a: Far, b: Far) -> None:
    """The other gets everything at once, many times what fits into memory, which stays bounded. What the one
    that was down has missed is read again: all of it, in order, once."""
    b.up = False
    count = 100_000
    async with sidecar(tmp_path, memory=Size("2MiB")) as running:
        most = 0
        for begin in range(0, count, 5000):
            write(tmp_path, range(begin, begin + 5000))
            await has(a, begin + 5000)
            most = max(most, running.pipeline.in_flight)
        assert b.messages == []
        assert (tmp_path / "app.log").stat().st_size > 5 * 1024 * 1024
        assert 1024 * 1024 < most <= 2 * 1024 * 1024
        assert running.ledger.acknowledged == 0
        b.up = True
        await running.acknowledged(count)
    assert a.numbers() == b.numbers() == list(range(count))
    balanced(running, count)


async def test_fields_of_the_pod_do_not_keep_lines_in_memory(tmp_path: Path, a: Far, b: Far) -> None:
    """What `enrich` has added can be added again: the other output goes on beyond what fits into memory."""
    b.up = False
    count = 50_000
    write(tmp_path, range(count))
    async with sidecar(tmp_path, "{type: enrich, environment: {home: PATH}}") as running:
        await has(a, count)
        assert (tmp_path / "app.log").stat().st_size > 2 * running.pipeline.memory
        b.up = True
        await running.acknowledged(count)
    assert a.numbers() == b.numbers() == list(range(count))
    balanced(running, count)


async def test_what_is_behind_is_shown(tmp_path: Path, a: Far, b: Far) -> None:
    """As a metric, in the ledger and in the status: which output, how far, and why."""
    b.up = False
    write(tmp_path, range(1000))
    size = (tmp_path / "app.log").stat().st_size
    async with sidecar(tmp_path) as running:
        await has(a, 1000)
        while "waiting" not in running.status().facts:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        registry = running.context.telemetry.registry
        assert registry.get_sample_value("podpatterns_sidecar_behind_bytes", {"output": "far-2"}) == size
        assert registry.get_sample_value("podpatterns_sidecar_behind_bytes", {"output": "far"}) == 0
        assert running.status().facts["waiting"] == f"far-2: it is down ({size} bytes behind)"
        (route,) = [route for route in running.routes() if route.path == "/ledger"]
        data: Any = (await route.handle(Request({}))).data
        assert [(each["output"], each["behind_bytes"]) for each in data["outputs"]] == [("far", 0), ("far-2", size)]
        assert sorted(data["sources"][0]["outputs"].values()) == [0, size]
        b.up = True
        await running.acknowledged(1000)


async def test_the_bound(tmp_path: Path, a: Far, b: Far) -> None:
    """An output that is `max_lag` behind stops reading, until it comes back."""
    b.up = False
    count = 50_000
    write(tmp_path, range(count))
    bound = 1024 * 1024
    async with sidecar(tmp_path, max_lag=Size(bound)) as running:
        await reading_waits(running)
        assert bound - 256 * 1024 < running.pipeline.lag(running.pipeline.senders[1]) <= bound
        assert sum(len(message) + 1 for message in a.messages) <= bound
        b.up = True
        await running.acknowledged(count)
    assert a.numbers() == b.numbers() == list(range(count))
    balanced(running, count)


async def test_more_room_is_taken_at_once(tmp_path: Path, a: Far, b: Far) -> None:
    """A reload with a larger `max_lag` lets reading go on, though the output that is behind has not moved."""
    b.up = False
    count = 20_000
    write(tmp_path, range(count))
    async with sidecar(tmp_path, max_lag=Size("256KiB")) as running:
        await reading_waits(running)
        await running.reload(msgspec.structs.replace(running.config, max_lag=Size("1GiB")))
        await has(a, count)
        b.up = True
        await running.acknowledged(count)
    balanced(running, count)


async def cut(running: Sidecar) -> None:
    """Leave no time to drain."""
    with suppress(ServiceError):
        await running.__aexit__(None, None, None)


@pytest.mark.parametrize("rotate", [False, True])
async def test_after_a_restart_each_goes_on_from_its_own_position(
    tmp_path: Path, a: Far, b: Far, *, rotate: bool
) -> None:
    """The one that had everything gets nothing twice; the one that was down gets everything, once."""
    b.up = False
    write(tmp_path, range(20_000))
    running = sidecar(tmp_path, grace=0.0, memory=Size("256KiB"))
    await running.__aenter__()
    await has(a, 20_000)
    await cut(running)
    if rotate:
        (tmp_path / "app.log").rename(tmp_path / "app.log.1")
    write(tmp_path, range(20_000, 21_000))
    b.up = True
    async with sidecar(tmp_path) as running:
        await running.acknowledged(21_000)
    assert a.numbers() == list(range(21_000))
    assert sorted(b.numbers()) == list(range(21_000)), "two files: each in its order"
    balanced(running, 21_000)


async def test_a_line_without_its_end_at_the_place_of_one_output(tmp_path: Path, a: Far, b: Far) -> None:
    """A line that was shipped in two parts to one output, because of a restart, reaches the other one in the same
    parts."""
    write(tmp_path, range(10))
    with (tmp_path / "app.log").open("a") as file:
        file.write("line 10 beg")
    b.up = False
    running = sidecar(tmp_path, grace=0.5)
    await running.__aenter__()
    await has(a, 10)
    leaving = asyncio.create_task(cut(running))
    await has(a, 11)
    await leaving
    with (tmp_path / "app.log").open("a") as file:
        file.write("inning 10\n")
    b.up = True
    write(tmp_path, range(11, 20))
    async with sidecar(tmp_path):
        await has(b, 21)
    assert a.messages == b.messages
    assert a.messages[10:12] == ["line 10 beg", "inning 10"]


async def test_an_output_that_is_new_or_gone(tmp_path: Path, a: Far, b: Far) -> None:
    """Positions belong to where an output delivers to: one that is taken out of the configuration leaves the other
    at its own place, and one that is added begins where the slowest was."""
    b.up = False
    write(tmp_path, range(1000))
    running = sidecar(tmp_path, grace=0.0)
    await running.__aenter__()
    await has(a, 1000)
    await cut(running)
    FAR["c"] = Far()
    b.up = True
    async with sidecar(tmp_path, outputs="bc") as running:
        await running.acknowledged(1000)
    assert b.numbers() == FAR["c"].numbers() == list(range(1000))
    write(tmp_path, range(1000, 1100))
    async with sidecar(tmp_path, outputs="a"):
        await has(a, 1100)
    assert a.numbers() == list(range(1100)), "what was acknowledged in its absence is not sent to it"


def test_what_an_output_is_told_by() -> None:
    """By its type and where it delivers to, not by what else is configured, nor by its place in the list."""

    def keys(*items: str) -> tuple[str, ...]:
        return output_keys([decode(parse(item)[0], OutputConfig) for item in items])

    one, two = "{type: http, url: 'http://x/a'}", "{type: http, url: 'http://x/b', timeout: 3s}"
    assert keys(one, two) == (keys(one)[0], keys("{type: http, url: 'http://x/b'}")[0])
    assert len(set(keys(one, two))) == 2
    assert len(set(keys(one, one))) == 2
    assert keys(one)[0].startswith("http-")


async def test_what_was_truncated_away_is_counted(tmp_path: Path, a: Far, b: Far) -> None:
    """A file that is truncated without a copy while one output is behind: what is in memory is delivered to it, and
    the rest is known to be gone. The other one has everything."""
    b.up = False
    write(tmp_path, range(30_000))
    async with sidecar(tmp_path, memory=Size("256KiB")) as running:
        await has(a, 30_000)
        (tmp_path / "app.log").write_text("")
        write(tmp_path, range(30_000, 30_100))
        await has(a, 30_100)
        b.up = True
        while running.ledger.settled < 30_100:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.002)
    account = running.ledger
    assert a.numbers() == list(range(30_100))
    assert b.numbers()[-100:] == list(range(30_000, 30_100))
    assert account.gone == 30_100 - len(b.messages) > 10_000
    assert account.read == account.settled
    assert [check.name for check in running.status().checks if not check.ok] == ["lines lost = 0"]


async def test_a_copy_is_as_good(tmp_path: Path, a: Far, b: Far) -> None:
    """Copytruncate: what one output has still to get is read from the copy."""
    b.up = False
    write(tmp_path, range(30_000))
    async with sidecar(tmp_path, memory=Size("256KiB")) as running:
        await has(a, 30_000)
        (tmp_path / "app.log.1").write_bytes((tmp_path / "app.log").read_bytes())
        (tmp_path / "app.log").write_text("")
        write(tmp_path, range(30_000, 30_100))
        await has(a, 30_100)
        b.up = True
        await running.acknowledged(30_100)
    assert sorted(b.numbers()) == list(range(30_100))
    balanced(running, 30_100)


async def test_an_input_that_cannot_read_again_waits(tmp_path: Path, a: Far, b: Far) -> None:
    """What others send is in memory alone: when that is full of what one output has not had, the sender waits, and so
    the other output gets no more either. Nothing is lost."""
    b.up = False
    running = sidecar(tmp_path, inputs=(PushConfig(),), memory=Size("256KiB"))
    (source,) = running.inputs.values()
    async with running:
        sending = asyncio.create_task(push(source, 10))
        await has(a, 1000)
        await asyncio.sleep(0.1)
        assert not sending.done()
        assert len(a.messages) < 10_000
        b.up = True
        await sending
        await has(b, 10_000)
    assert len(a.messages) == len(b.messages) == 10_000


class PushConfig(InputConfig, frozen=True, kw_only=True):
    def build(self, context: InputContext) -> PushedInput:
        return PushedInput(context, where="somebody", limit=1000, fields={})


async def push(source: Any, times: int) -> None:
    for _ in range(times):
        await source.put([b"line %d %s" % (n, b"x" * 80) for n in range(1000)])


async def test_what_cannot_be_done_twice_waits_as_well(tmp_path: Path, a: Far, b: Far) -> None:
    """`throttle` goes by the clock: read again, other records would pass. So they stay in memory."""
    b.up = False
    write(tmp_path, range(30_000))
    async with sidecar(tmp_path, "{type: throttle, rate: 1e9}", memory=Size("256KiB")) as running:
        await reading_waits(running)
        assert len(a.messages) < 30_000
        b.up = True
        await running.acknowledged(30_000)
    assert a.numbers() == b.numbers() == list(range(30_000))
    balanced(running, 30_000)


async def test_a_checkpoint_from_before_there_were_positions(tmp_path: Path, a: Far, b: Far) -> None:
    """It is read: both outputs go on from the one position that it has."""
    write(tmp_path, range(100))
    async with sidecar(tmp_path) as running:
        await running.acknowledged(100)
    checkpoint = tmp_path / "state" / "checkpoint"
    assert b"outputs" not in checkpoint.read_bytes(), "where all are at the same place there is nothing to say"
    write(tmp_path, range(100, 200))
    b.up = False
    running = sidecar(tmp_path, grace=0.0)
    await running.__aenter__()
    await has(a, 200)
    await cut(running)
    document = json.loads(checkpoint.read_bytes())
    del document["inputs"]["tail"][0]["outputs"]
    checkpoint.write_text(json.dumps(document))
    b.up = True
    async with sidecar(tmp_path) as running:
        await running.acknowledged(200)
    assert a.numbers() == [*range(200), *range(100, 200)]
    assert b.numbers() == list(range(200))


async def test_one_that_refuses_everything(tmp_path: Path, a: Far, b: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has refused is remembered until the other one has been asked, up to a bound; then it waits as well."""
    monkeypatch.setattr("podpatterns.sidecar.pipeline.REMEMBERED", 3000)
    a.poison, b.up = "line", False
    write(tmp_path, range(30_000))
    async with sidecar(tmp_path, memory=Size("256KiB")) as running:
        counter = running.context.telemetry.registry.get_sample_value
        await reading_waits(running)
        assert 3000 <= (counter("podpatterns_sidecar_dead_letters_total", {"by": "far"}) or 0) < 20_000
        b.up = True
        while running.ledger.settled < 30_000:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
    assert b.numbers() == list(range(30_000))
    assert (running.ledger.dead, running.ledger.acknowledged) == (30_000, 0)


async def test_what_either_has_refused_is_dead(tmp_path: Path, a: Far, b: Far) -> None:
    """A line that one of them has refused counts as dead, once, also if the other one gets it much later; multiline
    and filter are done a second time for that one, with the same result."""
    a.poison, b.poison, b.up = "7 x", "77 x", False
    write(tmp_path, range(30_000))
    transforms = ["{type: multiline, start: '^line [0-9]*[02468] '}", "{type: filter, drop: '[0-9]*4 x'}"]
    async with sidecar(tmp_path, *transforms, memory=Size("256KiB")) as running:
        ahead = running.pipeline.senders[0]
        while running.ledger.read < 30_000 or running.pipeline.lag(ahead):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
        b.up = True
        while running.ledger.settled < 30_000:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
    letters = [json.loads(line) for line in (tmp_path / "state" / "dead-letters.ndjson").read_text().splitlines()]
    by_id = {letter["id"]: letter["record"]["message"].count("\n") + 1 for letter in letters}
    account = running.ledger
    assert account.dead == sum(by_id.values()) > 1000
    assert account.filtered > 1000
    assert account.read == account.settled == 30_000


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_each_gets_everything_once(tmp_path: Path, a: Far, b: Far, seed: int) -> None:
    """Three outputs that come and go, five files that rotate, transforms that filter and fail, poison, restarts in
    between: each output has what it should, once; every line is in the books, and a dead letter is there once."""
    dice = random.Random(seed)
    FAR["c"] = c = Far()
    a.poison, c.poison = "7 xxx", "77 x"
    written = dict.fromkeys("vwxyz", 0)
    running = None
    total = 0
    for _ in range(4):
        running = sidecar(
            tmp_path,
            "{type: filter, drop: '5 x'}",
            outputs="abc",
            memory=Size("256KiB"),
            grace=0.0,
        )
        await running.__aenter__()
        for _ in range(12):
            for far in (a, b, c):
                far.up = dice.random() < 0.5
            for name in written:
                some = dice.randrange(0, 700)
                begin = written[name]
                with (tmp_path / f"{name}.log").open("a") as file:
                    file.writelines(f"{name} {n} {'x' * (n % 150)}\n" for n in range(begin, begin + some))
                written[name] += some
                total += some
                if dice.random() < 0.1 and (tmp_path / f"{name}.log").stat().st_size:
                    (tmp_path / f"{name}.log").rename(tmp_path / f"{name}.log.{begin}")
            await asyncio.sleep(dice.random() * 0.05)
        for far in (a, b, c):
            far.up = False  # so that nothing is in flight when it is cut: duplicates would be allowed then
        while any(sender.at.next and not sender.trouble for sender in running.pipeline.senders):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        await running.checkpoint.save()
        await cut(running)
    for far in (a, b, c):
        far.up = True
    async with sidecar(tmp_path, "{type: filter, drop: '5 x'}", outputs="abc", memory=Size("256KiB")) as running:
        async with asyncio.timeout(20):
            while running.ledger.settled < total:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.002)
    for far in (a, b, c):
        for name, count in written.items():
            wanted = [f"{name} {n} {'x' * (n % 150)}" for n in range(count)]
            wanted = [line for line in wanted if "5 x" not in line and far.poison not in line]
            assert sorted(message for message in far.messages if message.startswith(name)) == sorted(wanted)
    letters = [json.loads(line) for line in (tmp_path / "state" / "dead-letters.ndjson").read_text().splitlines()]
    keys = [(letter["by"], letter["id"]) for letter in letters]
    assert len(keys) == len(set(keys))
    assert {letter["by"] for letter in letters} == {"far", "far-3"}
    assert running.ledger.read == running.ledger.settled == total
    assert running.ledger.gone == 0
    assert running.ledger.dead == len({key for _, key in keys}), "what any of them has refused, however long ago"
