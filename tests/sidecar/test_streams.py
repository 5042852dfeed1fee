"""Outputs with a protocol of their own over TCP, against strict fakes: what counts as delivered, what comes again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from podpatterns.errors import ConfigError, Retryable, StartError
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.units import Duration
from podpatterns.sidecar.batch import Batch, Source
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs import Output, OutputConfig
from podpatterns.sidecar.runtime import Sidecar
from podpatterns.sidecar.transforms.parse import ParseConfig
from podpatterns.testing.streams import FakeForward, FakeRedis, FakeStream, FakeSyslog


def configured(item: dict[str, Any]) -> OutputConfig:
    return decode(parse(json.dumps(item))[0], OutputConfig)


def forward(server: FakeStream, **more: Any) -> OutputConfig:
    return configured({"type": "forward", "address": server.address, "tag": "shop.app", **more})


def syslog(server: FakeStream, **more: Any) -> OutputConfig:
    return configured({"type": "syslog", "address": server.address, **more})


def redis(server: FakeStream, **more: Any) -> OutputConfig:
    return configured({"type": "redis", "address": server.address, "stream": "logs", **more})


STORES: dict[str, tuple[type[FakeStream], Callable[..., OutputConfig]]] = {
    "forward": (FakeForward, forward),
    "syslog": (FakeSyslog, syslog),
    "redis": (FakeRedis, redis),
}


def batch(*records: dict[str, Any], start: int = 0) -> Batch:
    lines = [json.dumps(record).encode() for record in records]
    made = Batch(Source("app.log", "1-2-3/0"), None, start, start + 100 * len(lines), lines=lines)
    made = made.with_records([dict(record) for record in records])
    made.encode({})
    return made


@asynccontextmanager
async def running(config: OutputConfig) -> AsyncIterator[Output]:
    output = config.build()
    await output.start()
    try:
        yield output
    finally:
        await output.stop()


def shipper(tmp_path: Path, output: OutputConfig, **more: Any) -> Sidecar:
    tail = TailConfig(paths=(f"{tmp_path}/app.log",), poll=Duration("2ms"))
    settings = {"linger": Duration("2ms"), "retry_cap": Duration("5ms"), **more}
    parts = {"inputs": (tail,), "transforms": (ParseConfig(format="json"),), "outputs": (output,)}
    return Sidecar(SidecarConfig(**parts, checkpoint=f"{tmp_path}/state/cp", **settings))


def numbered(tmp_path: Path, count: int) -> list[int]:
    (tmp_path / "app.log").write_text("".join(json.dumps({"n": n}) + "\n" for n in range(count)))
    return list(range(count))


def numbers(records: list[dict[str, Any]]) -> list[int]:
    return [record["n"] for record in records]


def checked(sidecar: Sidecar) -> None:
    assert [check for check in sidecar.status().checks if not check.ok] == []
    assert sidecar.ledger.dead == 0


@pytest.mark.parametrize("name", STORES)
async def test_a_far_side_that_comes_back_gets_everything(tmp_path: Path, name: str) -> None:
    """Nobody listens at first, later the connection is gone: what was not delivered is, in order, once."""
    fake, config = STORES[name]
    server = fake()
    async with server:
        pass  # a port that is free, and known
    numbered(tmp_path, 10)
    async with shipper(tmp_path, config(server)) as sidecar:
        while "waiting" not in sidecar.status().facts:  # noqa: ASYNC110 - what the operator sees has no event
            await asyncio.sleep(0.001)
        async with server:
            await sidecar.acknowledged(10)
            await kept(server, 10)  # syslog's server reads when it likes
        with (tmp_path / "app.log").open("a") as file:
            file.write("".join(json.dumps({"n": n}) + "\n" for n in range(10, 20)))
        while "waiting" not in sidecar.status().facts:  # noqa: ASYNC110 - what the operator sees has no event
            await asyncio.sleep(0.001)
        async with server:
            await sidecar.acknowledged(20)
            await kept(server, 20)
    assert numbers(server.records) == list(range(20))
    assert server.connections >= 2
    checked(sidecar)


async def kept(server: FakeStream, count: int) -> None:
    async with asyncio.timeout(10):
        while len(server.records) < count:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("name", STORES)
async def test_what_it_sends_is_well_formed(name: str) -> None:
    """Odd records arrive as they are."""
    fake, config = STORES[name]
    odd: list[dict[str, Any]] = [
        {"n": 0, "time": "2026-11-23T09:36:16.5Z", "level": "warn", "text": 'a "quoted" \u2028 line\n\x00\x7f'},
        {"n": 1, "time": "no time", "level": 7, "deep": {"a": [1, None, {"b": 2.5}], "": {}}, "big": 2**64 - 1},
        {"n": 2, "time": None, "level": None, "true": True, "list": [], "": "", "negative": -1},
        {"n": 3, "time": 1795426576.25, "message": "prose", "level": ["x"]},
    ]
    async with fake() as server, running(config(server)) as output:
        for _ in range(2):
            assert (await output.deliver([batch(*odd), batch(odd[0], start=1000)])).rejected == {}
        await kept(server, 10)
    assert server.malformed == []
    assert server.records == [*odd, odd[0]] * 2
    assert server.connections == 1


@pytest.mark.parametrize("name", STORES)
async def test_certificates_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    """A clear error at the start."""
    fake, config = STORES[name]
    with pytest.raises(StartError, match=r"the certificates .* cannot be read"):
        await config(fake(), tls=True, ca=f"{tmp_path}/none").build().start()


# --- forward ---------------------------------------------------------------------------------------------------------


async def test_forward_sends_the_same_chunk_again() -> None:
    """A chunk whose acknowledgement is lost comes again under its name, so that the far side can tell."""
    async with FakeForward() as server, running(forward(server)) as output:
        server.will("late")
        batches = [batch({"n": 1})]
        with pytest.raises(ConnectionError):
            await output.deliver(batches)
        await output.deliver(batches)
        await output.deliver([batch({"n": 2})])
    first, second, third = server.chunks
    assert first == second != third


@pytest.mark.parametrize(
    "answer",
    [
        b"\x81\xa3ack\xa1x",
        b"\x80",
        b"\xc0",
        b"\xa3ack",
        b"\x90",
        b"\xc1",
        b"\x81\xa3ack\xa1\xff",
        b"\x91" * 70,
        b"\xdb\x00\x02\x00\x00" + b"x" * 70_000,
    ],
)
async def test_forward_wants_its_own_acknowledgement(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything else is none."""
    async with FakeForward() as server, running(forward(server)) as output:
        monkeypatch.setattr(server, "acknowledgement", lambda _: answer)
        with pytest.raises(ConnectionError, match="acknowledge"):
            await output.deliver([batch({"n": 1})])


async def test_forward_times_ids_and_compression() -> None:
    """The time is the record's; numbers that msgpack cannot hold become text; gzip is said in the option."""
    made = batch({"time": "2026-11-23T09:36:16.25Z", "big": 2**64, "deep": [{"big": -(2**63) - 1}]})
    async with FakeForward() as server, running(forward(server, compression="gzip", event_id=True)) as output:
        await output.deliver([made])
    ((tag, seconds, record),) = server.events
    assert (tag, seconds) == ("shop.app", 1795426576.25)
    assert record == {
        "id": made.ids[0],
        "time": "2026-11-23T09:36:16.25Z",
        "big": str(2**64),
        "deep": [{"big": str(-(2**63) - 1)}],
    }


# --- syslog ----------------------------------------------------------------------------------------------------------


async def test_syslog_headers() -> None:
    """Severity from the level, time from the record, host and application as configured; the text as asked for."""
    made = batch({"message": "two\nlines é", "level": "error", "time": "23/Nov/2026:10:36:16 +0100"}, {"level": "odd"})
    settings = {"hostname": "shop-1", "app_name": "shop", "facility": "local3", "message": "message"}
    async with FakeSyslog() as server, running(syslog(server, **settings)) as output:
        await output.deliver([made])
        await kept(server, 2)
    first, second = server.messages
    assert first == {
        "facility": 19, "severity": 3, "time": "2026-11-23T09:36:16.000000Z", "host": "shop-1", "app": "shop",
        "text": "two\nlines é",
    }  # fmt: skip
    assert (second["severity"], json.loads(second["text"])) == (6, {"level": "odd"})


async def test_syslog_waits_for_the_kernel_of_the_far_side(tmp_path: Path) -> None:
    """A connection that is reset with a message under way is no delivery, as far as anybody can know."""
    async with FakeSyslog() as server, running(syslog(server, timeout="2s")) as output:
        server.will("hang")
        await output.deliver([batch({"n": 1})])  # its kernel has it: best effort
        with pytest.raises(TimeoutError):
            # More than the two kernels hold, and nobody reads: not delivered.
            await output.deliver([batch({"text": "x" * 30_000_000})])


# --- Redis -----------------------------------------------------------------------------------------------------------


async def test_redis_entries(tmp_path: Path) -> None:
    """Each entry has the event's id and the record; password, database and bound are asked for."""
    (tmp_path / "password").write_text("secret\n")
    made = batch({"n": 1}, {"n": 2})
    settings = {"password": f"{tmp_path}/password", "user": "ship", "database": 3, "max_length": 100}
    async with FakeRedis(password="secret") as server, running(redis(server, **settings)) as output:
        await output.deliver([made])
    assert [entry["id"] for entry in server.streams["logs"]] == made.ids
    assert server.commands[:2] == [["AUTH"], ["SELECT", "3"]]
    assert server.commands[2][:6] == ["XADD", "logs", "MAXLEN", "~", "100", "*"]


@pytest.mark.parametrize("error", ["OOM command not allowed", "LOADING loading", "WRONGTYPE Operation", "ERR x"])
async def test_redis_errors_are_waited_out(tmp_path: Path, error: str) -> None:
    """An error is about the server: the entry is sent again, alone, and nothing is dead."""
    sent = numbered(tmp_path, 20)
    async with FakeRedis() as server:
        server.errors.extend([error, error])
        async with shipper(tmp_path, redis(server)) as sidecar:
            await sidecar.acknowledged(20)
    assert sorted(numbers(server.records)) == sent
    assert len(server.commands) == 22
    checked(sidecar)


async def test_redis_password_that_is_wrong(tmp_path: Path) -> None:
    """It is said, and tried again: the file may change."""
    password = tmp_path / "password"
    password.write_text("wrong")
    async with FakeRedis(password="right") as server, running(redis(server, password=str(password))) as output:
        with pytest.raises(Retryable, match="WRONGPASS"):
            await output.deliver([batch({"n": 1})])
        password.write_text("right")
        await output.deliver([batch({"n": 1})])
    assert numbers(server.records) == [1]


async def test_redis_that_repeats_the_password(tmp_path: Path) -> None:
    """A server without AUTH quotes what it does not know; the password gets into no log by that."""
    (tmp_path / "password").write_text("hush")
    settings = {"password": f"{tmp_path}/password", "user": "ship"}
    async with FakeRedis() as server, running(redis(server, **settings)) as output:
        echo = b"-ERR unknown command 'AUTH', with args beginning with: 'ship' 'hush'\r\n"
        server._answer = lambda words, *, known: (echo, known)  # type: ignore[method-assign]
        with pytest.raises(Retryable, match=r"'ship' '\*\*\*'"):
            await output.deliver([batch({"n": 1})])


async def test_redis_that_is_none() -> None:
    """What does not speak the protocol is waited out, with a word on it."""
    async with FakeForward() as server, running(redis(server)) as output:
        server.talk = shouting  # type: ignore[method-assign]
        with pytest.raises(Retryable, match="does not speak Redis"):
            await output.deliver([batch({"n": 1})])


async def shouting(reader: Any, writer: Any) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await reader.read()


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("{type: forward, address: 'a:1', tag: ''}", "tag"),
        ("{type: forward, address: 'a:1', tag: x, ca: /x}", "stands beside `tls: true`"),
        ("{type: syslog, address: 'a:1', timeout: 0s}", "must be longer than 0s"),
        ("{type: syslog, address: 'a:1', facility: loc}", 'facility: "loc" is none; known: kern'),
        ("{type: syslog, address: 'a:1', app_name: a b}", "printable ASCII"),
        ("{type: redis, address: 'a:1', stream: s, user: u}", "needs a password"),
        ("{type: redis, address: 'a:1', stream: s, max_length: 0}", "max_length"),
    ],
)
def test_what_cannot_be_sent_is_refused(item: str, said: str) -> None:
    """Before anything runs, with the reason."""
    with pytest.raises(ConfigError, match=said):
        decode(parse(item)[0], OutputConfig)
