"""Inputs to which others send: what they are told and when, and what becomes of lines without a position."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import gzip
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.errors import ConfigError, StartError
from podpatterns.formats import msgpack_rows
from podpatterns.formats.syslog import Frames
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.service import Context
from podpatterns.runtime.units import Address, Duration, Size
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.inputs import InputConfig
from podpatterns.sidecar.inputs import forward as forward_input
from podpatterns.sidecar.inputs.forward import ForwardConfig
from podpatterns.sidecar.inputs.http import HttpConfig
from podpatterns.sidecar.inputs.syslog import SyslogConfig, _bound
from podpatterns.sidecar.listening import Listener
from podpatterns.sidecar.outputs import ACCEPTED, Output, OutputConfig, Receipt
from podpatterns.sidecar.outputs.forward import ForwardConfig as ForwardOutputConfig
from podpatterns.sidecar.runtime import Sidecar
from podpatterns.sidecar.transforms import TransformConfig

TRACE = "Traceback (most recent call last):\n  File x\nKeyError: 7\n"
HERE = Address("127.0.0.1:0")


class GatedConfig(OutputConfig, frozen=True, kw_only=True):
    """An output that takes nothing while its gate is closed."""

    def build(self) -> Gated:
        return Gated()


class Gated(Output):
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.reject: set[str] = set()

    async def deliver(self, batches: Any) -> Receipt:
        await self.open.wait()
        rejected = {}
        for at, batch in enumerate(batches):
            for index, line in enumerate(batch.ndjson.split(b"\n")[:-1]):
                record = json.loads(line)
                if record.get("message") in self.reject:
                    rejected[at, index] = "poison"
                else:
                    self.records.append(record)
        return Receipt(rejected) if rejected else ACCEPTED


@asynccontextmanager
async def shipping(tmp_path: Path, config: InputConfig, *transforms: str, **more: Any) -> AsyncIterator[Any]:
    """(sidecar, its input, its output)."""
    made = [decode(parse(each)[0], TransformConfig) for each in transforms]
    settings = {"linger": Duration("2ms"), **more}
    parts = {"inputs": (config,), "transforms": tuple(made), "outputs": (GatedConfig(),)}
    sidecar = Sidecar(SidecarConfig(**parts, checkpoint=f"{tmp_path}/state/cp", **settings), Context())
    async with sidecar:
        yield sidecar, next(iter(sidecar.inputs.values())), next(iter(sidecar.outputs.values()))
    assert [check for check in sidecar.status().checks if not check.ok] == []


async def asked(port: int, head: str, body: bytes = b"") -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    length = f"Content-Length: {len(body)}\r\n"
    writer.write(f"{head}\r\nHost: x\r\n{length}Connection: close\r\n\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer[9:12]), answer.partition(b"\r\n\r\n")[2].decode()


def choke(batch: Batch) -> Batch:
    if any(record["message"].startswith("poison") for record in batch.records):
        raise ValueError("poison")
    return batch


def texts(output: Gated) -> list[str]:
    return [record["message"] for record in output.records]


# --- HTTP ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "body", "lines"),
    [
        ("", b"one\ntwo\r\n\nthree", ["one", "two", "three"]),
        ("\r\nContent-Type: text/plain", b"\xc3\xa9\n\xff\n", ["é", "\ufffd"]),
        ("\r\nContent-Type: application/json; charset=utf-8", b'[{"a": 1}, {"b": "\\n"}]', ['{"a":1}', '{"b":"\\n"}']),
        ("\r\nContent-Type: application/json", b'{"a": 1}', ['{"a":1}']),
        ("\r\nContent-Type: application/json", b"[]", []),
        ("\r\nContent-Encoding: gzip", gzip.compress(b"one\n"), ["one"]),
        ("", b"", []),
    ],
)
async def test_http_takes_lines(tmp_path: Path, head: str, body: bytes, lines: list[str]) -> None:
    """Lines of text or objects of JSON, compressed or not; 204 when the outputs have them."""
    async with shipping(tmp_path, HttpConfig(listen=HERE, path="/logs")) as (_, http, output):
        assert await asked(http.port, f"POST /logs HTTP/1.1{head}", body) == (204, "")
        assert texts(output) == lines


@pytest.mark.parametrize(
    ("head", "body", "status", "said"),
    [
        ("POST / HTTP/1.1", b"x", 404, "logs are taken at /logs"),
        ("GET /logs HTTP/1.1", b"", 405, "POST"),
        ("POST /logs HTTP/1.1", b"x" * 101, 413, "100"),
        ("POST /logs HTTP/1.1\r\nContent-Encoding: gzip", gzip.compress(b"x" * 10**6), 413, "100"),
        ("POST /logs HTTP/1.1\r\nContent-Encoding: gzip", b"no gzip", 400, "not gzip"),
        ("POST /logs HTTP/1.1\r\nContent-Encoding: gzip", gzip.compress(b"x")[:-1], 400, "whole"),
        ("POST /logs HTTP/1.1\r\nContent-Encoding: br", b"x", 400, "br is not known"),
        ("POST /logs HTTP/1.1\r\nContent-Type: application/json", b"[1]", 400, "objects"),
        ("POST /logs HTTP/1.1\r\nContent-Type: application/json", b"{", 400, "not JSON"),
        ("POST /logs HTTP/1.1\r\nTransfer-Encoding: chunked", b"", 400, "Content-Length"),
    ],
)
async def test_http_says_what_is_wrong(tmp_path: Path, head: str, body: bytes, status: int, said: str) -> None:
    """Nothing of a request that is refused is taken."""
    async with shipping(tmp_path, HttpConfig(listen=HERE, path="/logs", max_body=Size(100))) as (sidecar, http, output):
        code, text = await asked(http.port, head, body)
        assert (code, said in text) == (status, True), text
    assert (output.records, sidecar.ledger.read) == ([], 0)


async def test_http_answers_when_it_is_safe(tmp_path: Path) -> None:
    """While an output is away there is no answer; when it has the lines, or they are dead letters, there is."""
    async with shipping(tmp_path, HttpConfig(listen=HERE)) as (sidecar, http, output):
        output.open.clear()
        output.reject.add("poison")
        asking = asyncio.create_task(asked(http.port, "POST / HTTP/1.1", b"good\npoison\n"))
        done, _ = await asyncio.wait([asking], timeout=0.05)
        assert not done
        output.open.set()
        assert await asking == (204, "")
    assert texts(output) == ["good"]
    assert (sidecar.ledger.acknowledged, sidecar.ledger.dead) == (1, 1)
    registry = sidecar.context.telemetry.registry
    assert registry.get_sample_value("podpatterns_sidecar_read_bytes_total", {"input": "http"}) == len("good\npoison\n")
    again = Sidecar(sidecar.config, Context())
    async with again:
        assert (again.ledger.acknowledged, again.ledger.dead) == (1, 1), "the account outlives the process"


async def test_http_answers_once_though_a_batch_was_taken_apart(tmp_path: Path) -> None:
    """A transform fails on one line: the answer comes when every piece of the batch is settled."""
    transform = "{type: python, function: 'tests_pushed:fail_on_bad'}"
    sys.modules["tests_pushed"] = type(sys)("tests_pushed")
    sys.modules["tests_pushed"].fail_on_bad = fail_on_bad  # type: ignore[attr-defined]
    async with shipping(tmp_path, HttpConfig(listen=HERE), transform) as (sidecar, http, output):
        assert await asked(http.port, "POST / HTTP/1.1", b"one\nbad\ntwo\n") == (204, "")
        assert texts(output) == ["one", "two"]
    del sys.modules["tests_pushed"]
    assert (sidecar.ledger.acknowledged, sidecar.ledger.dead) == (2, 1)


def fail_on_bad(batch: Batch) -> Batch:
    if b"bad" in batch.lines:
        raise ValueError("bad")
    return batch


async def test_what_a_transform_fails_on_keeps_its_newlines(tmp_path: Path) -> None:
    """The others of its batch are shipped as they came, and so is the dead letter: messages of several lines too."""
    choking = "{type: python, function: 'tests.sidecar.test_pushed_inputs:choke'}"
    async with shipping(tmp_path, HttpConfig(listen=HERE), choking) as (sidecar, source, output):
        await source.take([b"one\ntwo", b"poison\nof two lines"])
        assert texts(output) == ["one\ntwo"]
        assert sidecar.ledger.dead == 1
    (letter,) = map(json.loads, (tmp_path / "state" / "dead-letters.ndjson").read_text().splitlines())
    assert letter["record"] == {"message": "poison\nof two lines"}


async def test_http_wants_its_token(tmp_path: Path) -> None:
    """Without it, or with another, nothing is taken; the file is read anew."""
    token = tmp_path / "token"
    token.write_text("secret\n")
    config = decode(parse(f"{{type: http, listen: '127.0.0.1:0', token: {token}}}")[0], InputConfig)
    async with shipping(tmp_path, config) as (_, http, output):
        assert (await asked(http.port, "POST / HTTP/1.1", b"x"))[0] == 401
        assert (await asked(http.port, "POST / HTTP/1.1\r\nAuthorization: Bearer \xff", b"x"))[0] == 401
        assert (await asked(http.port, "POST / HTTP/1.1\r\nAuthorization: Bearer secret", b"x"))[0] == 204
        token.write_text("other")
        assert (await asked(http.port, "POST / HTTP/1.1\r\nAuthorization: Bearer secret", b"x"))[0] == 401
    assert texts(output) == ["x"]


async def test_a_secret_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """Whoever sends is turned away until the file is there; nobody wonders why."""
    secret = tmp_path / "secret"
    for kind in (
        "{type: http, listen: '127.0.0.1:0', token: %s}",
        "{type: forward, listen: '127.0.0.1:0', shared_key: %s}",
    ):
        config = decode(parse(kind % secret)[0], InputConfig)
        async with shipping(tmp_path, config) as (sidecar, source, _):
            if isinstance(config, HttpConfig):
                assert await asked(source.port, "POST / HTTP/1.1", b"x") == (503, "the token cannot be read\n")
            else:
                reader, writer = await asyncio.open_connection("127.0.0.1", source.listener.port)
                assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()
            value = sidecar.context.telemetry.registry.get_sample_value
            name = next(iter(sidecar.inputs))
            assert value("podpatterns_sidecar_refused_senders_total", {"input": name}) == 1


@pytest.mark.parametrize("kind", ["http", "forward", "syslog, protocol: udp", "syslog, protocol: tcp"])
async def test_a_socket_is_open_to_the_other_containers(tmp_path: Path, kind: str) -> None:
    """In a folder that need not be there, also where a process before has left its socket; they run as other users."""
    path = tmp_path / "run" / "logs.sock"
    for _ in range(2):
        config = decode(parse(f"{{type: {kind}, listen: 'unix:{path}'}}")[0], InputConfig)
        async with shipping(tmp_path, config):
            assert path.stat().st_mode & 0o777 == 0o666
            left = tmp_path / "left"
            path.rename(left)
        left.rename(path)


async def test_a_sender_that_reads_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was sent and does not take keeps neither the connection nor the end of the sidecar waiting."""
    monkeypatch.setattr("podpatterns.sidecar.listening.LAST_WORDS", 0.1)
    written = asyncio.Event()

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 20_000_000)
        written.set()
        await asyncio.Event().wait()

    listener = Listener(HERE, talk, pytest.fail)
    await listener.start()
    with socket.create_connection(("127.0.0.1", listener.port)):
        await written.wait()
        async with asyncio.timeout(5):
            await listener.stop()
        assert not listener._clients


async def test_too_many_connections_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is too many is closed at once, and not silently."""
    monkeypatch.setattr("podpatterns.sidecar.listening.MAX_CLIENTS", 1)
    async with shipping(tmp_path, SyslogConfig(listen=HERE, protocol="tcp")) as (sidecar, syslog, _):
        _, first = await asyncio.open_connection("127.0.0.1", syslog.port)
        first.write(b"<13>one\n")
        await sidecar.acknowledged(1)
        reader, second = await asyncio.open_connection("127.0.0.1", syslog.port)
        assert await reader.read() == b""
        value = sidecar.context.telemetry.registry.get_sample_value
        assert value("podpatterns_sidecar_refused_senders_total", {"input": "syslog"}) == 1
        for writer in (first, second):
            writer.close()
            await writer.wait_closed()


async def test_http_under_way_at_the_end(tmp_path: Path) -> None:
    """What was taken before the drain is delivered and answered; what comes after it is refused with 503."""
    async with shipping(tmp_path, HttpConfig(listen=HERE)) as (_, http, output):
        output.open.clear()
        first = asyncio.create_task(asked(http.port, "POST / HTTP/1.1", b"first"))
        while not http.source or not next(iter(http.accounts()))[1].read:  # noqa: ASYNC110 - an account has no event
            await asyncio.sleep(0)
        http.draining.set()
        assert (await asked(http.port, "POST / HTTP/1.1", b"second"))[0] == 503
        output.open.set()
        assert await first == (204, "")
    assert texts(output) == ["first"]


# --- forward ---------------------------------------------------------------------------------------------------------

EVENT_TIME = msgspec.msgpack.Ext(0, (1795426576).to_bytes(4, "big") + (250_000_000).to_bytes(4, "big"))
pack = msgspec.msgpack.encode
ROWS = pack([EVENT_TIME, {"n": 1}]) + pack([EVENT_TIME, {"n": 2}])


@pytest.mark.parametrize(
    "message",
    [
        ["app", [[EVENT_TIME, {"n": 1}], [EVENT_TIME, {"n": 2}]], {"chunk": "c"}],
        ["app", ROWS, {"chunk": "c"}],
        ["app", gzip.compress(ROWS[:20]) + gzip.compress(ROWS[20:]), {"chunk": "c", "compressed": "gzip", "size": 2}],
        ["app", [[[EVENT_TIME, {}], {"n": 1}], [[EVENT_TIME, {"x": 1}], {"n": 2}]], {"chunk": "c"}],
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
async def test_forward_takes_every_mode(tmp_path: Path, message: Any, step: int) -> None:
    """However the bytes come: the records arrive with time and tag, then the chunk is acknowledged.

    What ends in the middle of a message is said.
    """
    data = pack(message)
    transforms = "{type: parse, format: json}"
    async with shipping(tmp_path, ForwardConfig(listen=HERE), transforms) as (sidecar, forward, output):
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.listener.port)
        for _ in range(2):
            for start in range(0, len(data), step):
                writer.write(data[start : start + step])
                await asyncio.sleep(0)
            assert msgspec.msgpack.decode(await reader.read(100)) == {"ack": "c"}
        writer.write(data[:-1])
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        value = sidecar.context.telemetry.registry.get_sample_value
        assert value("podpatterns_sidecar_refused_senders_total", {"input": "forward"}) == 1
    when = "2026-11-23T09:36:16.250000Z"
    assert output.records == [{"n": n, "tag": "app", "time": when} for n in (1, 2, 1, 2)]


async def test_forward_without_a_chunk(tmp_path: Path) -> None:
    """A single record, with bytes that are no text, a time of its own, and nothing to acknowledge."""
    odd = {"n": b"\xff", "time": "mine", "ext": [msgspec.msgpack.Ext(5, b"x")], b"k": {1: 2}}
    message = ["app", 1795426576, odd]
    async with shipping(tmp_path, ForwardConfig(listen=HERE, tag_field=None)) as (sidecar, forward, output):
        _, writer = await asyncio.open_connection("127.0.0.1", forward.listener.port)
        writer.write(pack(message) * 2)
        await sidecar.acknowledged(2)
        writer.close()
        await writer.wait_closed()
    assert [json.loads(text) for text in texts(output)] == [
        {"n": "\ufffd", "time": "mine", "ext": ["x"], "k": {"1": 2}}
    ] * 2


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"GET / HTTP/1.1\r\n\r\n",
        pack(["app"]),
        pack(["app", "no rows"]),
        pack(["app", b"\x92\x00"]),
        pack(["app", [[1]]]),
        pack(["app", "soon", {}]),
        pack(["app", -1, {}]),
        pack(["app", b"no gzip", {"compressed": "gzip"}]),
        pack(["app", gzip.compress(b"x" * 10**6), {"compressed": "gzip"}]),
        b"\x91" * 100,
        b"\xdb\x00\x01\x00\x00" + b"x" * 5000,
    ],
)
async def test_forward_closes_what_makes_no_sense(tmp_path: Path, data: bytes) -> None:
    """A connection on which something else is spoken is closed, with a word on it; the others go on."""
    async with shipping(tmp_path, ForwardConfig(listen=HERE, max_message=Size(4096))) as (sidecar, forward, output):
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.listener.port)
        writer.write(data)
        assert await reader.read() == b""
        writer.close()
        with_errors = sidecar.context.telemetry.registry.get_sample_value
        assert with_errors("podpatterns_sidecar_refused_senders_total", {"input": "forward"}) == 1
        assert output.records == []


@given(st.binary(max_size=60))
def test_forward_reads_or_refuses(data: bytes) -> None:
    """Whatever the bytes are: a message, or a ValueError."""
    with contextlib.suppress(ValueError):
        assert isinstance(forward_input.read(data, 1000), forward_input.Message)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=300)
    | st.binary(max_size=300) | st.builds(msgspec.msgpack.Ext, st.integers(0, 127), st.binary(max_size=40)),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=9), inner, max_size=20),
    max_leaves=40,
)  # fmt: skip


@given(st.lists(VALUES, max_size=4), st.data())
def test_msgpack_values_end_where_they_end(values: list[Any], data: Any) -> None:
    """In a row of values each is found whole; cut anywhere, the whole ones before the cut are."""
    packed = [pack(value) for value in values]
    row = b"".join(packed)
    assert msgpack_rows.rows(row) == [msgspec.msgpack.decode(each) for each in packed]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(row)), max_size=5)))
    found, whole = msgpack_rows.Values(), list[bytes]()
    sums = [sum(map(len, packed[: index + 1])) for index in range(len(packed))]
    for begin, end in pairwise([0, *cuts, len(row)]):
        whole += found.feed(row[begin:end])
        assert len(whole) == sum(each <= end for each in sums)
        assert found.pending == end - sum(map(len, whole))
    assert whole == packed


def test_values_not_taken_come_the_next_time() -> None:
    """Who takes the first one alone has lost nothing."""
    values = msgpack_rows.Values()
    assert next(values.feed(pack(1) + pack("two") + pack([3])[:1])) == pack(1)
    assert list(values.feed(pack([3])[1:])) == [pack("two"), pack([3])]
    assert values.pending == 0


def test_each_byte_is_looked_at_once() -> None:
    """A message that comes in many pieces takes hardly more time than one that comes whole."""
    message = pack(["app", [[number, {"n": number, "text": "x"}] for number in range(20_000)], {}])

    def took(size: int) -> float:
        values, began = msgpack_rows.Values(), time.process_time()
        found = [each for at in range(0, len(message), size) for each in values.feed(message[at : at + size])]
        assert found == [message]
        return time.process_time() - began

    took(len(message))
    assert took(len(message) // 100) < 10 * took(len(message)) + 0.05


async def test_forward_takes_one_large_message_at_a_time(tmp_path: Path) -> None:
    """Where the memory budget has room for one: the second is left in its socket until the first has been taken.

    Small ones of others pass in the meantime.
    """
    large = msgspec.msgpack.encode(["t", 1, {"m": "x" * 600_000}, {"chunk": "c"}])
    async with shipping(tmp_path, ForwardConfig(listen=HERE)) as (sidecar, forward, output):
        sidecar.budget = dataclasses.replace(sidecar.budget, reading=1)
        first, second, third = [await asyncio.open_connection("127.0.0.1", forward.listener.port) for _ in range(3)]
        first[1].write(large[:-1])
        while not forward._large:  # noqa: ASYNC110 - what is read of a message has no event
            await asyncio.sleep(0.001)
        second[1].write(large)
        third[1].write(msgspec.msgpack.encode(["t", 1, {"m": "small"}, {"chunk": "s"}]))
        assert msgspec.msgpack.decode(await third[0].read(100)) == {"ack": "s"}
        answer = asyncio.create_task(second[0].read(100))
        done, _ = await asyncio.wait([answer], timeout=0.1)
        assert not done
        first[1].write(large[-1:])
        assert msgspec.msgpack.decode(await first[0].read(100)) == {"ack": "c"}
        assert msgspec.msgpack.decode(await answer) == {"ack": "c"}
        for _, writer in (first, second, third):
            writer.close()
    assert [len(text) > 600_000 for text in texts(output)] == [False, True, True]


async def test_forward_output_to_forward_input(tmp_path: Path) -> None:
    """Two sidecars, one behind the other: the records of the first arrive at the second."""
    async with shipping(tmp_path / "b", ForwardConfig(listen=HERE)) as (_, forward, output):
        sender = ForwardOutputConfig(address=Address(f"127.0.0.1:{forward.listener.port}"), tag="x", compression="gzip")
        async with shipping(tmp_path / "a", HttpConfig(listen=HERE)) as (first, http, _):
            shipped = sender.build()
            await shipped.start()
            first.outputs["gated"].deliver = shipped.deliver
            assert await asked(http.port, "POST / HTTP/1.1", b"one\ntwo") == (204, "")
            await shipped.stop()
    assert [json.loads(text)["message"] for text in texts(output)] == ["one", "two"]


# --- syslog ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["127.0.0.1:0", "unix"])
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
async def test_syslog_takes_messages(tmp_path: Path, where: str, protocol: Any) -> None:
    """Over TCP, UDP and both kinds of unix sockets; what is there when the drain begins still arrives."""
    path = f"{tmp_path}/log.sock"
    address = Address(f"unix:{path}" if where == "unix" else where)
    config = SyslogConfig(listen=address, protocol=protocol, peer_field="peer")
    async with shipping(tmp_path, config, "{type: parse, format: syslog}") as (sidecar, syslog, output):
        family = socket.AF_UNIX if where == "unix" else socket.AF_INET
        sender = socket.socket(family, socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM)
        sender.connect(path if where == "unix" else ("127.0.0.1", syslog.port))
        sender.sendall(b"<13>Nov 23 09:36:16 web app[7]: one\n")
        await sidecar.acknowledged(1)
        sender.sendall(b"<165>1 - - app - - - two")
        sender.close()
    assert [(record["message"], record["level"]) for record in output.records] == [("one", "notice"), ("two", "notice")]
    assert [record.get("peer") for record in output.records] == [None if where == "unix" else "127.0.0.1"] * 2


async def test_syslog_reads_what_was_sent_before_the_end(tmp_path: Path) -> None:
    """The senders' connections stay open and they know nothing of the end: all that they had sent arrives."""
    count = 20_000
    async with shipping(tmp_path, SyslogConfig(listen=HERE, protocol="tcp")) as (_, syslog, output):
        pairs = [await asyncio.open_connection("127.0.0.1", syslog.port) for _ in range(2)]
        for _, writer in pairs:
            writer.write(b"".join(b"<13>line %d\n" % number for number in range(count)) + b"<13>cut")
            await writer.drain()
    for _, writer in pairs:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    assert len(output.records) == 2 * count + 2


async def test_syslog_is_not_kept_from_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a sender that goes on and on: after a moment its connection is closed all the same."""
    monkeypatch.setattr("podpatterns.sidecar.inputs.syslog.LAST_WORDS", 0.1)

    async def talk(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"<13>on and on\n" * 100)
                await writer.drain()
                await asyncio.sleep(0.001)
        writer.close()

    config = SyslogConfig(listen=HERE, protocol="tcp")
    async with (
        asyncio.timeout(10),
        asyncio.TaskGroup() as tasks,
        shipping(tmp_path, config) as (sidecar, syslog, _),
    ):
        tasks.create_task(talk(syslog.port))
        await sidecar.acknowledged(100)


async def test_syslog_datagrams_of_any_length(tmp_path: Path) -> None:
    """Whole up to the limit, however large that is; one that is longer is cut, marked and counted."""
    path = f"{tmp_path}/log.sock"
    config = SyslogConfig(listen=Address(f"unix:{path}"), max_message=Size("100KiB"))
    async with shipping(tmp_path, config) as (sidecar, _, output):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(path)
            for size in (100 * 1024, 100 * 1024 + 1, 150 * 1024):
                sender.send(b"x" * size)
                await sidecar.acknowledged(len(output.records) + 1)
        altered = sidecar.context.telemetry.registry.get_sample_value(
            "podpatterns_sidecar_altered_lines_total", {"reason": "truncated"}
        )
    whole = "x" * 100 * 1024
    assert (texts(output), altered) == ([whole, f"{whole}...[truncated]", f"{whole}...[truncated]"], 2)


@pytest.mark.parametrize("path", ["/nowhere/at/all", "/proc/version"])
def test_a_socket_that_cannot_be_bound_is_closed(path: str) -> None:
    """Whatever the reason, no descriptor stays behind."""
    with pytest.raises(OSError, match=r"."):
        _bound(Address(f"unix:{path}"))
    gc.collect()  # a socket that was left to the collector is a ResourceWarning, and so an error


async def test_messages_of_several_lines_are_cut_and_marked(tmp_path: Path) -> None:
    """As a line is: no character is cut in two, and it shows."""
    async with shipping(tmp_path, HttpConfig(listen=HERE, max_line=Size(8))) as (sidecar, source, output):
        await source.take(["one\ntwoé!".encode(), b"1\n2"])
        value = sidecar.context.telemetry.registry.get_sample_value
        reasons = [
            value("podpatterns_sidecar_altered_lines_total", {"reason": each}) for each in ("truncated", "not_text")
        ]
    assert texts(output) == ["one\ntwo...[truncated]", "1\n2"]
    assert reasons == [1, None]


async def test_syslog_counts_what_the_kernel_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody reads, the kernel's buffer fills up; what it drops is known as soon as the next one is read."""
    monkeypatch.setattr("podpatterns.sidecar.inputs.syslog.BUFFER", 1)
    async with shipping(tmp_path, SyslogConfig(listen=HERE)) as (sidecar, syslog, output):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", syslog.port))
            for number in range(200):  # the loop does not turn in between
                sender.send(b"%0200d" % number)
            while syslog._received(syslog._socket):
                pass
            sender.send(b"last")
            await sidecar.acknowledged(1)
        dropped = sidecar.context.telemetry.registry.get_sample_value(
            "podpatterns_sidecar_dropped_datagrams_total", {"input": "syslog"}
        )
        assert 0 < dropped < 200
        assert texts(output) == ["last"]


async def test_syslog_keeps_newlines_of_counted_messages(tmp_path: Path) -> None:
    """A message with its length in front may have several lines: it is one record."""
    message = b"<13>app: first\n\tsecond \xff"
    config = SyslogConfig(listen=HERE, protocol="tcp")
    async with shipping(tmp_path, config, "{type: parse, format: syslog}") as (sidecar, syslog, output):
        _, writer = await asyncio.open_connection("127.0.0.1", syslog.port)
        writer.write(b"%d %s%d %s" % (len(message), message, len(message), message))
        await sidecar.acknowledged(2)
        writer.close()
        await writer.wait_closed()
    assert texts(output) == ["first\n\tsecond \ufffd"] * 2


MESSAGES = st.lists(
    st.tuples(st.booleans(), st.binary(min_size=1, max_size=30).map(lambda text: b"<1>" + text.replace(b"\n", b" "))),
    max_size=6,
)


@given(MESSAGES, st.integers(1, 9))
def test_syslog_frames_in_pieces(messages: list[tuple[bool, bytes]], step: int) -> None:
    """With lengths and newlines mixed, and however the bytes are cut: the same messages, cut at the limit."""
    data = b"".join(b"%d %s" % (len(text), text) if counted else text + b"\n" for counted, text in messages)
    frames, found = Frames(20), []
    for start in range(0, len(data), step):
        found += frames.feed(data[start : start + step])
    assert found == [text[:22].rstrip(b"\r\0") for _, text in messages]
    assert frames.rest() == b""


# --- stdin -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipe", "file"])
async def test_stdin_ends_the_sidecar(tmp_path: Path, kind: str) -> None:
    """When the writer has closed it, the last line is delivered, also one without its end, and the process ends."""
    (tmp_path / "ship.yaml").write_text(f"""
sidecar:
  inputs: [{{type: stdin, max_line: 100}}]
  outputs: [{{type: file, path: {tmp_path}/out}}]
  checkpoint: {tmp_path}/state/cp
  linger: 5ms
runtime: {{admin: "off"}}
""")
    lines = [f"line {number}" for number in range(5000)]
    data = ("\n".join(lines) + "\n" + "x" * 300_000 + "\nlast").encode()
    (tmp_path / "in").write_bytes(data)
    source = (tmp_path / "in").open("rb") if kind == "file" else asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "podpatterns", "run", f"{tmp_path}/ship.yaml", stdin=source,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate(data if kind == "pipe" else None)
    if kind == "file":
        source.close()
    assert process.returncode == 0, errors.decode()
    shipped = [json.loads(line)["message"] for line in (tmp_path / "out").read_text().splitlines()]
    assert shipped == [*lines, "x" * 100 + "...[truncated]", "last"]


async def test_stdin_at_the_end_of_the_sidecar(tmp_path: Path) -> None:
    """A drain does not wait for the writer: what is in the pipe is delivered, and that is all."""
    from podpatterns.sidecar.inputs.stdin import Stdin, StdinConfig

    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb", 0) as writer:
        config = StdinConfig()
        made = Stdin.__init__
        Stdin.__init__ = lambda self, config, context: made(self, config, context, reading)  # type: ignore[method-assign]
        try:
            async with shipping(tmp_path, config) as (sidecar, _, output):
                writer.write(b"one\n")
                await sidecar.acknowledged(1)
                writer.write(b"two\nthr")
        finally:
            Stdin.__init__ = made  # type: ignore[method-assign]
    assert texts(output) == ["one", "two", "thr"]


@pytest.mark.parametrize(
    ("hold", "pieces", "records"),
    [
        ("1h", [f"INFO\n{TRACE[:20]}", TRACE[20:41], f"{TRACE[41:]}INFO\n"], ["INFO", TRACE.rstrip(), "INFO"]),
        ("10ms", [f"INFO\n{TRACE}"], ["INFO", TRACE.rstrip()]),
    ],
)
async def test_stdin_keeps_a_trace_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold: str, pieces: list[str], records: list[str]
) -> None:
    """A trace that comes in pieces is one record: when a line ends it, or nothing more comes for a while."""
    from podpatterns.sidecar.inputs.stdin import Stdin, StdinConfig

    reading, writing = os.pipe()
    made = Stdin.__init__
    monkeypatch.setattr(Stdin, "__init__", lambda self, config, context: made(self, config, context, reading))
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb", 0) as writer:
        config, transform = StdinConfig(hold=Duration(hold)), "{type: multiline, traces: [python]}"
        async with shipping(tmp_path, config, transform) as (sidecar, _, output):
            for piece in pieces:
                writer.write(piece.encode())
                await asyncio.sleep(0.01)
            await sidecar.acknowledged("".join(pieces).count("\n"))
            assert texts(output) == records
            writer.write(TRACE[:41].encode())  # a drain does not wait for the rest
    assert "\n".join(texts(output)[len(records) :]) == TRACE[:41]


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item",
    [
        "{type: http, listen: '%s'}",
        "{type: forward, listen: '%s'}",
        "{type: syslog, listen: '%s'}",
        "{type: syslog, listen: '%s', protocol: tcp}",
    ],
)
async def test_an_address_that_is_taken(tmp_path: Path, item: str) -> None:
    """A clear error at the start."""
    kind = socket.SOCK_DGRAM if item.startswith("{type: syslog") and "tcp" not in item else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        config = decode(parse(item % address)[0], InputConfig)
        with pytest.raises(StartError, match=f"cannot listen on {address}: .*process that has it"):
            async with shipping(tmp_path, config):
                pytest.fail("it has started")


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("{type: http, listen: ':1', path: logs}", "must begin with a slash"),
        ("{type: http, listen: ':1', max_body: 2MiB}", "between one byte and 1MiB"),
        ("{type: http, listen: ':1', max_line: 0}", "at least one byte"),
        ("{type: forward, listen: ':1', max_message: 0}", "at least one byte"),
        ("{type: syslog, listen: ':1', max_message: 0}", "at least one byte"),
        ("{type: syslog, listen: ':1', protocol: tls}", "protocol"),
        ("{type: stdin, max_line: 0}", "at least one byte"),
    ],
)
def test_what_cannot_be_taken_is_refused(item: str, said: str) -> None:
    """Before anything runs, with the reason."""
    with pytest.raises(ConfigError, match=said):
        decode(parse(item)[0], InputConfig)
