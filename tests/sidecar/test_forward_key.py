"""The handshake of Fluent's forward protocol: each side against an implementation that shares nothing with ours."""

from __future__ import annotations

import asyncio
from hashlib import sha512
from pathlib import Path
from typing import Any

import msgspec
import pytest

from podpatterns.errors import ConfigError
from podpatterns.formats import forward_key
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.units import Address, Duration, SecretFile
from podpatterns.sidecar.batch import Batch, Source
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.inputs.forward import ForwardConfig as InputConfig
from podpatterns.sidecar.outputs import OutputConfig
from podpatterns.sidecar.outputs.forward import ForwardConfig
from podpatterns.sidecar.outputs.sqlite import SqliteConfig
from podpatterns.sidecar.runtime import Sidecar
from podpatterns.testing.streams import FakeForward


def batch() -> Batch:
    made = Batch(Source("app.log", "1-2-3/0"), None, 0, 2, lines=[b"x"])
    made.encode({})
    return made


async def delivered(server: FakeForward, tmp_path: Path, **more: Any) -> None:
    output = ForwardConfig(address=Address(server.address), tag="app", timeout=Duration("2s"), **more).build()
    await output.start()
    try:
        await output.deliver([batch()])
    finally:
        await output.stop()


def secret(tmp_path: Path, text: str, name: str = "key") -> SecretFile:
    (tmp_path / name).write_text(f"{text}\n")
    return SecretFile(tmp_path / name)


# --- as a client -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("users", [None, {"ann": "pass é"}])
async def test_both_know_the_key(tmp_path: Path, users: dict[str, str] | None) -> None:
    """The chunk is taken; with a user if the far side asks for one."""
    more: dict[str, Any] = {"shared_key": secret(tmp_path, "the key ü")}
    if users:
        more |= {"user": "ann", "password": secret(tmp_path, "pass é", "password")}
    async with FakeForward("the key ü", users) as server:
        await delivered(server, tmp_path, **more)
    assert len(server.records) == 1
    assert server.malformed == []


async def test_a_user_that_nobody_asks_for(tmp_path: Path) -> None:
    """It does no harm."""
    more = {"user": "ann", "password": secret(tmp_path, "pass", "password")}
    async with FakeForward("key") as server:
        await delivered(server, tmp_path, shared_key=secret(tmp_path, "key"), **more)
    assert len(server.records) == 1


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        ({"shared_key": "other"}, {}, "the far side has refused us: shared_key mismatch or wrong user"),
        ({"shared_key": "key", "users": {"ann": "a"}}, {}, "the far side asks for a user and a password"),
        ({"shared_key": "key", "users": {"ann": "a"}}, {"user": "ann"}, "the far side has refused us"),
        ({"shared_key": "key"}, {"hostname": FakeForward.HOST}, "calls itself fake.example, as we do; set hostname"),
    ],
)
async def test_what_does_not_fit_is_said(tmp_path: Path, theirs: Any, ours: Any, said: str) -> None:
    """Nothing is sent, and it is tried again later: the key may be changed."""
    more = {"shared_key": secret(tmp_path, "key"), **ours}
    if "user" in more:
        more["password"] = secret(tmp_path, "wrong", "password")
    async with FakeForward(**theirs) as server:
        with pytest.raises(ConnectionError, match=said):
            await delivered(server, tmp_path, **more)
    assert server.records == []


async def test_a_key_that_we_do_not_have() -> None:
    """What the far side says instead of an acknowledgement is understood."""
    async with FakeForward("key") as server:
        with pytest.raises(ConnectionError, match="it asks for a shared_key"):
            await delivered(server, Path())


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([["HELLO", {}]], "did not begin with HELO"),
        ([{"ack": "x"}], "did not begin with HELO"),
        ([["HELO", {"nonce": 7}]], "not text"),
        (
            [["HELO", {"nonce": "n", "auth": ""}], ["PONG", True, "", "server", "0" * 128]],
            "does not know the shared key",
        ),
        ([["HELO", {}], ["PONG"]], "did not answer PING with PONG"),
        ([["HELO", {}], ["PONG", False, b"go away", "", ""]], "has refused us: go away"),
    ],
)
async def test_a_far_side_that_is_none_or_does_not_know_the_key(tmp_path: Path, answers: Any, said: str) -> None:
    """The key works in both directions: records go to nobody who does not know it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            writer.write(msgspec.msgpack.encode(answer))
            await reader.read(1 << 16)
        writer.transport.abort()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    address = Address(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    output = ForwardConfig(
        address=address, tag="app", shared_key=secret(tmp_path, "key"), timeout=Duration("2s")
    ).build()
    await output.start()
    with pytest.raises(ConnectionError, match=said):
        await output.deliver([batch()])
    await output.stop()
    await ended.wait()
    server.close()
    await asyncio.sleep(0)  # the connection's own end


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("{user: a, shared_key: /k}", "user and password stand together"),
        ("{user: a, password: /p}", "stands beside a shared_key"),
    ],
)
def test_mistakes(item: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        decode(parse("{type: forward, address: 'x:1', tag: a, " + item[1:])[0], OutputConfig)


# --- as a server -----------------------------------------------------------------------------------------------------


def receiver(tmp_path: Path, **more: Any) -> Sidecar:
    listen = InputConfig(listen=Address("127.0.0.1:0"), shared_key=secret(tmp_path, "key"), hostname="server", **more)
    config = SidecarConfig(
        inputs=(listen,),
        outputs=(SqliteConfig(path=f"{tmp_path}/store"),),
        checkpoint=f"{tmp_path}/state/checkpoint",
        linger=Duration("2ms"),
    )
    return Sidecar(config)


async def ask(sidecar: Sidecar, key: bytes, *, host: bytes = b"client", then: bytes = b"") -> Any:
    """A client as the specification has it; returns the PONG, and what comes behind it."""
    source: Any = sidecar.inputs["forward"]
    reader, writer = await asyncio.open_connection("127.0.0.1", source.listener.port)
    kind, options = msgspec.msgpack.decode(await reader.read(1 << 16))
    assert kind == "HELO"
    assert options["auth"] == ""
    nonce, salt = options["nonce"].encode(), b"\x00\xff salt"
    digest = sha512(salt + host + nonce + key).hexdigest()
    # As Ruby writes it: salts are bytes.
    writer.write(msgspec.msgpack.encode(["PING", host.decode(), salt, digest, "", ""]) + then)
    data = await reader.read(1 << 16)
    pong = msgspec.msgpack.decode(data) if data else None
    if pong and pong[1]:
        assert pong[4] == sha512(salt + pong[3].encode() + nonce + key).hexdigest()
    rest = await reader.read(1 << 16) if then or not (pong and pong[1]) else b""
    writer.close()
    return pong, rest


async def test_senders_that_know_the_key(tmp_path: Path) -> None:
    """They are told that we know it too; what they send with their PING is taken."""
    chunk = msgspec.msgpack.encode(["app", [[1, {"a": 1}]], {"chunk": "c"}])
    async with receiver(tmp_path) as sidecar:
        pong, rest = await ask(sidecar, b"key", then=chunk)
        await sidecar.acknowledged(1)
    assert pong[:4] == ["PONG", True, "", "server"]
    assert msgspec.msgpack.decode(rest) == {"ack": "c"}


async def test_senders_that_do_not(tmp_path: Path) -> None:
    """They are told, the connection is closed, and it is counted; nothing of theirs is taken."""
    chunk = msgspec.msgpack.encode(["app", [[1, {"a": 1}]], {"chunk": "c"}])
    async with receiver(tmp_path) as sidecar:
        pong, rest = await ask(sidecar, b"other", then=chunk)
        registry = sidecar.context.telemetry.registry
        assert registry.get_sample_value("podpatterns_sidecar_refused_senders_total", {"input": "forward"}) == 1
        assert sidecar.ledger.read == 0
    assert pong[:3] == ["PONG", False, "shared_key mismatch"]
    assert rest == b""


@pytest.mark.parametrize("data", [b"\xc1", msgspec.msgpack.encode(["app", 1, {"a": 1}]), b"\xdb\xff\xff\xff\xff", b""])
async def test_senders_without_a_ping(tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else comes, or nothing, ends the connection, and nothing of it is taken."""
    monkeypatch.setattr("podpatterns.sidecar.inputs.forward.GREETING", 0.2)
    async with receiver(tmp_path) as sidecar:
        source: Any = sidecar.inputs["forward"]
        reader, writer = await asyncio.open_connection("127.0.0.1", source.listener.port)
        await reader.read(1 << 16)
        writer.write(data)
        assert await reader.read() == b""
        writer.close()
        assert sidecar.ledger.read == 0


async def test_our_output_to_our_input(tmp_path: Path) -> None:
    """With the same key, and with a changed one after both files have changed."""
    key = secret(tmp_path, "key")
    async with receiver(tmp_path) as sidecar:
        source: Any = sidecar.inputs["forward"]
        address = Address(f"127.0.0.1:{source.listener.port}")
        for text in ("key", "another"):
            secret(tmp_path, text)
            output = ForwardConfig(address=address, tag="app", shared_key=key).build()
            await output.start()
            await output.deliver([batch()])
            await output.stop()
        assert sidecar.ledger.acknowledged == 2


def test_a_ping_sent_back_is_no_pong() -> None:
    """Somebody without the key could only send our own digest back, under our own name: it is refused."""
    greeting = forward_key.Helo(b"nonce", b"")
    message = msgspec.msgpack.decode(forward_key.ping(greeting, host="us", salt="salt", key="key"))
    pong = ["PONG", True, "", message[1], message[3]]
    with pytest.raises(forward_key.HandshakeError, match="calls itself us"):
        forward_key.check_pong(pong, greeting, host="us", salt="salt", key="key")
