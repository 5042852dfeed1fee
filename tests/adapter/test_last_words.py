"""Laws of the end: what has arrived before a drain is in the last delivery, whichever way it came."""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import struct
import time
from pathlib import Path

import pytest

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.inputs import InputConfig
from podpatterns.adapter.inputs.graphite import GraphiteConfig
from podpatterns.adapter.inputs.influx import InfluxConfig
from podpatterns.adapter.inputs.otlp import OtlpConfig
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.outputs.json import JsonConfig
from podpatterns.adapter.quiet import quiet
from podpatterns.adapter.runtime import Adapter
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.units import Address, Duration

ANY = Address("127.0.0.1:0")
PICKLE = pickle.dumps([("a", (1_700_000_000, 3))], protocol=2)


def posted(path: str, kind: str, body: bytes) -> bytes:
    """A request whose answer nobody waits for."""
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def otlp() -> bytes:
    gauge = {"name": "a", "gauge": {"dataPoints": [{"asInt": "3", "timeUnixNano": "5"}]}}
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [gauge]}]}]}).encode()


def ended_with(source: InputConfig, path: Path) -> AdapterConfig:
    output = JsonConfig(path=str(path), interval=Duration("1h"))
    return AdapterConfig(inputs=[source], outputs=[output], own_metrics=False)


@pytest.mark.parametrize("early", [True, False], ids=["accepted", "not yet accepted"])
@pytest.mark.parametrize(
    ("source", "sent", "value"),
    [
        (StatsdConfig(listen=ANY), b"a:3|g", 3),
        (StatsdConfig(listen=ANY, protocol="tcp"), b"a:1|c\n" * 20_000, 20_000),
        (GraphiteConfig(listen=ANY), b"a 3 -1\n", 3),
        (GraphiteConfig(listen=ANY, protocol="pickle"), struct.pack("!L", len(PICKLE)) + PICKLE, 3),
        (InfluxConfig(listen=ANY), posted("/write", "text/plain", b"a value=3"), 3),
        (InfluxConfig(listen=ANY), posted("/write", "text/plain", b"a value=1\n" * 10_000 + b"a value=3"), 3),
        (OtlpConfig(listen=ANY), posted("/v1/metrics", "application/json", otlp()), 3),
    ],
    ids=["statsd", "statsd over tcp", "graphite", "pickle", "influx", "a long request", "otlp"],
)
async def test_the_last_samples_are_delivered(
    tmp_path: Path, source: InputConfig, sent: bytes, value: float, early: bool
) -> None:
    """Also those that nobody has read yet when the end is asked for, of clients that wait for nothing."""
    path = tmp_path / "last"
    kind = socket.SOCK_DGRAM if getattr(source, "protocol", "") == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as client:
        async with Adapter(ended_with(source, path)) as adapter:
            client.connect(("127.0.0.1", adapter.inputs[0].address.port))  # type: ignore[attr-defined]
            if early:
                for _ in range(10):
                    await asyncio.sleep(0)
            client.sendall(sent)
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["value"] == value


async def test_who_goes_on_sending_does_not_take_the_time_of_the_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drain waits for what has arrived, and not for what goes on arriving."""
    monkeypatch.setattr("podpatterns.adapter.quiet.ARRIVED", 0.1)
    path = tmp_path / "last"
    adapter = Adapter(ended_with(StatsdConfig(listen=ANY, protocol="tcp"), path))
    source = adapter.inputs[0]

    async def never_quiet(deadline: Deadline) -> None:
        moves = iter(range(10**9))
        await quiet(lambda: next(moves), deadline)

    monkeypatch.setattr(source, "drain", never_quiet)
    async with adapter:
        adapter.feed(b"a:3|g")
        began = time.monotonic()
    assert 0.1 <= time.monotonic() - began < 5
    assert json.loads(path.read_text())["value"] == 3
