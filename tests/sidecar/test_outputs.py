"""Outputs and their sender: what an answer means, waiting, halving, and writes that outlive their delivery."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.errors import ConfigError, Rejected, Retryable
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Duration, Size, Url
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.http_client import Answer, BadAnswer, Client, parse_head
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs import OutputConfig
from podpatterns.sidecar.outputs import file as file_output
from podpatterns.sidecar.outputs.file import FileConfig
from podpatterns.sidecar.outputs.http import HttpConfig
from podpatterns.sidecar.posting import judged
from podpatterns.sidecar.runtime import Sidecar
from podpatterns.testing import Answer as Says
from podpatterns.testing import FakeServer


def encoded(*lines: str) -> Batch:
    batch = Batch.of(lines)
    batch.encode({})
    return batch


def posting(server: FakeServer, **more: Any) -> HttpConfig:
    return HttpConfig(url=Url(f"{server.url}/in"), **more)


def shipper(tmp_path: Path, *outputs: OutputConfig, **more: Any) -> Sidecar:
    tail = TailConfig(paths=(f"{tmp_path}/app.log",), poll=Duration("2ms"))
    settings = {"linger": Duration("2ms"), "retry_cap": Duration("5ms"), **more}
    return Sidecar(SidecarConfig(inputs=(tail,), outputs=outputs, checkpoint=f"{tmp_path}/state/cp", **settings))


def messages(body: bytes) -> list[str]:
    return [json.loads(line)["message"] for line in body.splitlines()]


# --- what an answer means ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "hold", "meaning"),
    [
        *((status, (), "accepted") for status in (200, 201, 202, 204)),
        *((status, (), "again") for status in (408, 425, 429, 500, 502, 503, 504, 599, 301, 302, 307)),
        *((status, (), "poisoned") for status in (400, 413, 422)),
        *((status, (), "never") for status in (401, 403, 404, 405, 415, 501)),
        (401, (401, 403), "again"),
        (403, (401, 403), "again"),
        (404, (401, 403), "never"),
    ],
)
def test_what_a_status_means(status: int, hold: tuple[int, ...], meaning: str) -> None:
    """The table: accepted, to be tried again, the body's fault, or never."""
    answer = Answer(status, {}, b"because\n")
    if meaning == "again":
        with pytest.raises(Retryable, match=str(status)):
            judged(answer, hold)
    elif meaning == "never":
        with pytest.raises(Rejected, match=f"{status} because"):
            judged(answer, hold)
    else:
        assert judged(answer, hold) == (None if meaning == "accepted" else f"{status} because")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:05 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Thu, 99 Foo 1970 00:00:05 GMT", None),
        ("Thu, 01 Jan 99999999999 00:00:05 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, seconds: float | None) -> None:
    """Seconds from now, never negative; what makes no sense asks for nothing."""
    assert Answer(503, {"retry-after": value}, b"").retry_after(10.0) == seconds


@given(st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,5} [\d:]{0,9} \S{0,6}"))
def test_retry_after_never_fails(value: str) -> None:
    """Whatever the far side says, the answer is a pause or nothing."""
    seconds = Answer(503, {"retry-after": value}, b"").retry_after(0.0)
    assert seconds is None or seconds >= 0


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest))
def test_a_head_is_read_or_refused(head: bytes) -> None:
    """Bytes that are no answer are a bad answer, which is tried again; nothing else is raised."""
    try:
        status, headers = parse_head(head)
    except BadAnswer:
        return
    assert 0 <= status <= 999
    assert all(name == name.lower().strip() for name in headers)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("{type: http, url: 'http://x/', headers: {Host: y}}", "Host is set by the output itself"),
        ("{type: http, url: 'http://x/', headers: {'a b': y}}", "is not a header"),
        ('{type: http, url: "http://x/", headers: {X: "a\\r\\nY: z"}}', "is not a header"),
        ("{type: http, url: 'http://x/', headers: {X: '5 €'}}", "is not a header"),
        ("{type: http, url: 'http://x/', timeout: 0s}", "must be longer than 0s"),
        ("{type: http, url: 'http://x/', hold: [503]}", "hold"),
        ("{type: http, url: 'ftp://x/'}", "is not a URL"),
    ],
)
def test_what_cannot_be_sent_is_refused(item: str, said: str) -> None:
    """Before anything runs, with the reason."""
    with pytest.raises(ConfigError, match=said):
        decode(parse(item)[0], OutputConfig)


# --- HTTP -------------------------------------------------------------------------------------------------------------


async def test_retry_after_is_waited_for(tmp_path: Path, fake_server: FakeServer) -> None:
    """503 with Retry-After: the same body again, not before the time asked for, though the back-off is shorter."""
    fake_server.will(Says(503, b"busy", {"Retry-After": "1"}))
    (tmp_path / "app.log").write_text("one\ntwo\n")
    clock = asyncio.get_running_loop().time
    async with shipper(tmp_path, posting(fake_server)) as sidecar:
        await fake_server.received(1)
        first = clock()
        while "waiting" not in sidecar.status().facts:  # noqa: ASYNC110 - what the operator sees has no event
            await asyncio.sleep(0)
        assert sidecar.status().facts["waiting"] == "http: 503 busy"
        await sidecar.acknowledged(2)
        assert clock() - first >= 0.95
    one, two = fake_server.seen
    assert one.body == two.body
    assert sidecar.ledger.dead == 0
    assert "waiting" not in sidecar.status().facts
    assert (
        sidecar.context.telemetry.registry.get_sample_value("podpatterns_sidecar_retries_total", {"output": "http"})
        == 1
    )


async def test_retry_after_has_a_bound(tmp_path: Path, fake_server: FakeServer) -> None:
    """A far side that says "in an hour" is asked again when `retry_after_cap` is over."""
    fake_server.will(Says(503, b"maintenance", {"Retry-After": "3600"}))
    (tmp_path / "app.log").write_text("one\n")
    async with shipper(tmp_path, posting(fake_server), retry_after_cap=Duration("10ms")) as sidecar:
        await sidecar.acknowledged(1)
    assert len(fake_server.seen) == 2


class Small:
    """Stands behind a fake server that takes at most so many records at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken: list[str] = []

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_server(self.talk, "127.0.0.1", 0)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line[16:]) for line in head.decode().split("\r\n") if line.startswith("Content-Length: ")
                )
                lines = messages(await reader.readexactly(length))
                fits = len(lines) <= self.most and "huge" not in lines
                self.taken += lines if fits else []
                writer.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % (b"200 OK" if fits else b"413 Too Large"))
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@pytest.mark.parametrize("most", [1, 3, 50])
async def test_a_body_that_is_too_large_is_halved(tmp_path: Path, most: int) -> None:
    """413: sent in halves until it fits; each record arrives once, only one that never fits becomes a dead letter."""
    store = Small(most)
    lines = [f"line {number} \u2028" for number in range(20)]
    lines[7] = "huge"
    (tmp_path / "app.log").write_text("\n".join(lines) + "\n")
    async with await store.serve() as server:
        output = HttpConfig(url=Url(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
        async with shipper(tmp_path, output) as sidecar:
            await sidecar.acknowledged(19)
    assert sorted(store.taken) == sorted(line for line in lines if line != "huge")
    letter = json.loads((tmp_path / "state" / "dead-letters.ndjson").read_text())
    assert (letter["record"]["message"], letter["reason"], letter["by"]) == ("huge", "413", "http")
    assert all(check.ok for check in sidecar.status().checks)


async def test_what_a_half_has_taken_is_not_sent_again(fake_server: FakeServer) -> None:
    """The store is busy in the middle of the halves: the next try is about what is left, and only that."""
    fake_server.will(Says(413), Says(200), Says(503), Says(413), Says(422, b"bad"))
    output = posting(fake_server).build()
    await output.start()
    batches = [encoded("a", "b"), encoded("c", "d")]
    with pytest.raises(Retryable, match="503"):
        await output.deliver(batches)
    receipt = await output.deliver(batches)
    await output.stop()
    sent = ["".join(messages(seen.body)) for seen in fake_server.seen]
    assert sent == ["abcd", "ab", "cd", "cd", "c", "d"]
    assert receipt.rejected == {(1, 0): "422 bad"}


async def test_a_store_that_comes_back_gets_everything(tmp_path: Path) -> None:
    """While nobody listens, reading stops at the budget of memory; once the store is there, all arrives, in order."""
    lines = [f"{number:0400d}" for number in range(500)]
    (tmp_path / "app.log").write_text("\n".join(lines) + "\n")
    server = FakeServer()
    async with server:
        pass  # a port that is free, and known
    memory = Size("64KiB")
    async with shipper(tmp_path, posting(server), memory=memory, batch=Size("8KiB")) as sidecar:
        while "waiting" not in sidecar.status().facts:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        assert "http" in str(sidecar.status().facts["waiting"])
        assert 0 < sidecar.pipeline.in_flight <= max(memory, 3 * 256 * 1024)
        assert sidecar.ledger.acknowledged == 0
        async with server:
            await sidecar.acknowledged(500)
            assert [line for seen in server.seen for line in messages(seen.body)] == lines
            assert "waiting" not in sidecar.status().facts


async def test_one_that_is_away_does_not_hold_up_the_other(tmp_path: Path, fake_server: FakeServer) -> None:
    """Each output goes on for itself; a line is acknowledged when both have it."""
    (tmp_path / "app.log").write_text("one\n")
    fake_server.default = Says(503)
    async with shipper(tmp_path, FileConfig(path=f"{tmp_path}/out"), posting(fake_server)) as sidecar:
        await fake_server.received(2)
        while not (tmp_path / "out").read_text():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0)
        assert sidecar.ledger.acknowledged == 0
        fake_server.default = Says(200)
        await sidecar.acknowledged(1)
    assert messages((tmp_path / "out").read_bytes()) == ["one"]


async def test_a_rejected_batch_is_dead_at_once(tmp_path: Path, fake_server: FakeServer) -> None:
    """404 says that it will never be taken: every record is set aside with the reason, after one request."""
    fake_server.default = Says(404, b"no such index")
    (tmp_path / "app.log").write_text("one\ntwo\n")
    async with shipper(tmp_path, posting(fake_server)) as sidecar:
        await fake_server.received(1)
    letters = [json.loads(line) for line in (tmp_path / "state" / "dead-letters.ndjson").read_text().splitlines()]
    assert [(each["record"]["message"], each["reason"], each["offset"]) for each in letters] == [
        ("one", "404 no such index", 0), ("two", "404 no such index", 4),
    ]  # fmt: skip
    assert (sidecar.ledger.dead, len(fake_server.seen)) == (2, 1)
    assert all(check.ok for check in sidecar.status().checks)


@pytest.mark.parametrize("fault", ["reset", "truncate", "hang"])
async def test_an_answer_that_does_not_come_is_tried_again(tmp_path: Path, fake_server: FakeServer, fault: Any) -> None:
    """A connection that breaks before, or in, the answer, or none in time: it is repeated, nothing is dead."""
    fake_server.will(Says(200, b"x" * 100, fault=fault))
    (tmp_path / "app.log").write_text("one\n")
    async with shipper(tmp_path, posting(fake_server, timeout=Duration("200ms"))) as sidecar:
        await sidecar.acknowledged(1)
    assert [messages(seen.body) for seen in fake_server.seen] == [["one"], ["one"]]
    assert sidecar.ledger.dead == 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "a head, or a line, of more than 65536 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 200_000, "a head, or a line, of more than"),
        (b"HTTP/1.1 200 OK\r\nX: x", "closed in the middle of the answer"),
    ],
    ids=["head", "chunk", "cut"],
)
async def test_an_answer_that_is_none_is_named(answer: bytes, said: str) -> None:
    """What came instead of an answer is what the log says."""
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.write_eof()
        with suppress(OSError):  # the client has not read all of it
            await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        client = Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        with pytest.raises(BadAnswer, match=said):
            await client.post(b"x", {}, 5.0)
        await ended.wait()


@pytest.mark.parametrize("length", [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b""])
async def test_an_answer_before_all_is_sent(length: bytes) -> None:
    """A far side that does not want a large body says so, and closes: what it has said is the answer, and not that the
    connection was reset. The next request has a connection of its own."""
    body = b"3\r\nbig\r\n0\r\n\r\n" if length.startswith(b"Transfer") else b"big"

    def talk(listener: socket.socket) -> None:
        for _ in range(3):
            connection, _ = listener.accept()
            with connection:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += connection.recv(4096)
                connection.sendall(b"HTTP/1.1 413 Too Large\r\n" + length + b"\r\n" + body)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, args=(listener,))
        thread.start()
        client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        for _ in range(3):
            answer = await client.post(b"x" * 8_000_000, {}, 5.0)
            assert (answer.status, answer.body in {b"big", b""}) == (413, True)
        client.close()
        await asyncio.to_thread(thread.join, 5)


def sockets() -> int:
    return sum(each.is_socket() for each in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize(
    "item", ["{type: http, url: 'http://%s/', timeout: 100ms}", "{type: syslog, address: '%s', timeout: 100ms}"]
)
async def test_a_far_side_that_hangs_leaves_nothing_open(item: str) -> None:
    """It takes the connection and reads nothing: after each try in vain, connection and data are let go."""
    batch = encoded("x" * 20_000_000)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        output = decode(parse(item % f"127.0.0.1:{listener.getsockname()[1]}")[0], OutputConfig).build()
        await output.start()
        before = sockets()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await output.deliver([batch])
        await asyncio.sleep(0)  # what is closed is closed in the next turn
        assert sockets() == before
        await output.stop()


async def test_headers_token_ids_and_compression(tmp_path: Path, fake_server: FakeServer) -> None:
    """The token is read anew for each delivery; ids are the first field; the body is what its encoding says."""
    token = tmp_path / "token"
    token.write_text("first\n")
    more = {"token": str(token), "headers": {"X-Team": "shop"}, "compression": "gzip", "event_id": True}
    item = json.dumps({"type": "http", "url": f"{fake_server.url}/in?x=1", **more})
    output = decode(parse(item)[0], OutputConfig).build()
    await output.start()
    batch = encoded("a", "b")
    await output.deliver([batch])
    token.write_text("second\n")
    await output.deliver([batch])
    await output.stop()
    one, two = fake_server.seen
    assert (one.path, one.headers["X-Team"], one.headers["Content-Encoding"]) == ("/in?x=1", "shop", "gzip")
    assert [each.headers["Authorization"] for each in (one, two)] == ["Bearer first", "Bearer second"]
    assert [json.loads(line)["id"] for line in one.body.splitlines()] == batch.ids


# --- file -------------------------------------------------------------------------------------------------------------


async def test_stop_waits_for_a_write_that_was_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread cannot be cancelled: the file is closed only when it has written, never under its hands."""
    begun, leave, failed = threading.Event(), threading.Event(), []
    append = file_output.append_whole

    def slowly(descriptor: int, data: bytes) -> None:
        begun.set()
        assert leave.wait(10)
        try:
            append(descriptor, data)
        except OSError as error:
            failed.append(error)

    monkeypatch.setattr(file_output, "append_whole", slowly)
    output = FileConfig(path=f"{tmp_path}/out").build()
    await output.start()
    delivery = asyncio.create_task(output.deliver([encoded("one")]))
    await asyncio.to_thread(begun.wait, 10)
    delivery.cancel()
    await asyncio.wait([delivery])
    stopping = asyncio.create_task(output.stop())
    done, _ = await asyncio.wait([stopping], timeout=0.05)
    assert not done
    leave.set()
    await stopping
    assert failed == []
    assert messages((tmp_path / "out").read_bytes()) == ["one"]


async def test_a_file_rotated_from_outside_is_left_alone(tmp_path: Path) -> None:
    """What comes after the rotation is written to a new file; a line that a crash has torn is cut off at the start."""
    path = tmp_path / "out"
    path.write_text('{"message":"zero"}\n{"mess')
    output = FileConfig(path=str(path)).build()
    await output.start()
    await output.deliver([encoded("one")])
    path.rename(tmp_path / "out.1")
    await output.deliver([encoded("two")])
    os.unlink(path)  # noqa: PTH108 - beside rename
    await output.deliver([encoded("three")])
    await output.stop()
    assert messages((tmp_path / "out.1").read_bytes()) == ["zero", "one"]
    assert messages(path.read_bytes()) == ["three"]


def test_telemetry_of_two_outputs_of_a_type_is_told_apart(tmp_path: Path) -> None:
    """The second has a number."""
    sidecar = shipper(tmp_path, FileConfig(path="/a"), FileConfig(path="/b"))
    assert list(sidecar.outputs) == ["file", "file-2"]
    assert isinstance(sidecar.context.telemetry, Telemetry)
