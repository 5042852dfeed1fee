"""Laws of StatsD as clients speak it: DogStatsD's own client over every transport, overload, and a cardinality bomb."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from pathlib import Path

import pytest
from datadog.dogstatsd.base import DogStatsd
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.framing import ByLength, ByLine, ByLineOrLength, Overlong
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.adapter.store import OVERFLOW, Shape
from podpatterns.runtime.units import Address, Duration, Size
from tests.adapter.bomb.attack import explode, names, tags
from tests.adapter.looking import samples, until

ANY = Address("127.0.0.1:0")


def made(source: StatsdConfig) -> AdapterConfig:
    page = PrometheusConfig(listen=ANY, final_scrape=Duration("0s"))
    return AdapterConfig(inputs=[source], outputs=[page], own_metrics=False)


def send_everything(client: DogStatsd) -> None:
    """Whatever version 1.0 to 1.6 of the protocol has."""
    with client:  # buffered: several lines to a packet
        client.increment("orders", 3, tags=["country:ch", "new"])
        client.decrement("stock", 1)  # a counter cannot go down, and Prometheus has no other: refused
        client.gauge("load", 0.5, cardinality="low")
        client.histogram("size", 5)
        client.distribution("size", 7)
        client.timing("took", 30)
        client.set("users", "ada")
        client.gauge_with_timestamp("then", 7, 1_700_000_000)
        client.count_with_timestamp("counted", 2, 1_700_000_000)
    client.event("title", "text\nof two lines", tags=["a:b"])
    client.service_check("db", DogStatsd.OK, message="fine")
    client.flush()
    client.close_socket()


@pytest.mark.parametrize("transport", ["udp", "unixgram", "unixstream"])
@pytest.mark.holds("DogStatsD 1.0 to 1.6", "DogStatsD transports")
async def test_the_official_client_is_understood(transport: str, tmp_path: Path) -> None:
    """Types, tags, timestamps, cardinality and origin; packets behind their lengths on a stream; nothing is lost."""
    path = tmp_path / "dsd.sock"
    source = StatsdConfig(
        listen=ANY if transport == "udp" else Address(f"unix:{path}"),
        protocol="tcp" if transport == "unixstream" else "udp",
    )
    async with Adapter(made(source)) as adapter:
        if transport == "udp":
            port = adapter.inputs[0].address.port  # type: ignore[attr-defined]
            client = DogStatsd("127.0.0.1", port, disable_telemetry=True, origin_detection_enabled=False)
        else:
            where = f"{transport}://{path}"
            client = DogStatsd(socket_path=where, disable_telemetry=True, container_id="ci-123")
        await asyncio.to_thread(send_everything, client)
        await until(lambda: adapter.events.lines == 11)
        found = await samples(adapter)
        assert adapter.events.refused == {"negative_counter": 1}
        assert adapter.events.skipped == {"event": 1, "service_check": 1}
    assert found['orders_total{country="ch",new="true"}'] == 3
    assert (found["load"], found["then"], found["counted_total"], found["users"]) == (0.5, 7, 2, 1)
    assert found["size_count"] == 2
    assert found["took_seconds_sum"] == pytest.approx(0.03)


async def test_what_the_kernel_drops_is_counted() -> None:
    """More datagrams than the buffer holds while nobody reads: taken and dropped ones are as many as were sent."""
    async with Adapter(made(StatsdConfig(listen=ANY, buffer=Size(1)))) as adapter:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", adapter.inputs[0].address.port))  # type: ignore[attr-defined]
            for _ in range(500):
                client.send(b"a:1|c")
            sent = 500

            def accounted() -> bool:
                """The kernel tells what it has dropped with the next datagram that it does not drop."""
                nonlocal sent
                if adapter.events.lines + adapter.events.dropped.get("statsd", 0) == sent:
                    return True
                client.send(b"a:1|c")
                sent += 1
                return False

            await until(accounted)
        assert adapter.events.dropped["statsd"] > 100
        assert (await samples(adapter))["a_total"] == adapter.events.lines
        assert any(check.name == "no datagram dropped" and not check.ok for check in adapter.status().checks)


@pytest.mark.parametrize("count", [50_000])
def test_a_cardinality_bomb_stays_within_the_budget(count: int) -> None:
    """What is beyond it goes to one series, be it names or values of a tag, so that the sum is right; it is counted.

    `python -m tests.adapter.bomb` does the same with ten million.
    """
    shape = Shape(budget=2000, budget_per_metric=500)
    found = explode(names(count), shape)
    assert found.store.budget.taken == len(found.page) - 1 == 2000
    assert sum(found.page.values()) == count
    assert found.page[f"podpatterns_overflow_counters_total{OVERFLOW}"] == count - 2000
    assert not found.tally.refused
    assert found.tally.overflowed == {"": count - 2000}
    assert found.grown < 15e6
    found = explode(tags(count), shape)
    assert found.store.budget.taken == 500
    assert sum(found.page.values()) == count
    assert found.page[f"bomb_total{OVERFLOW}"] == count - 500
    assert found.tally.overflowed == {"bomb_total": count - 500}
    assert found.grown < 15e6
    assert found.tally.lines == count


# --- framing ----------------------------------------------------------------------------------------------------------


class Fed:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def feed(self, data: bytes) -> None:
        self.pieces.append(data)


def cut(framing, data: bytes, size: int) -> None:  # type: ignore[no-untyped-def]
    for at in range(0, len(data), size):
        framing.feed(data[at : at + size])
    framing.end()


packets = st.lists(
    st.binary(min_size=1, max_size=20).map(lambda raw: raw.replace(b"\n", b"").replace(b"\0", b"x")), max_size=8
)


@given(packets, st.integers(1, 9))
def test_pieces_do_not_depend_on_how_they_come(parts: list[bytes], size: int) -> None:
    """Lines, and packets in either order of their lengths, whole or in bits; the last line needs no end."""
    expected = [part for part in parts if part]
    lines = Fed()
    cut(ByLine(lines), b"\n".join(parts), size)
    assert [each for piece in lines.pieces for each in piece.split(b"\n") if each] == expected
    either = Fed()
    cut(ByLineOrLength(either, 100), b"".join(struct.pack("<I", len(part)) + part for part in parts), size)
    assert [each for piece in either.pieces for each in piece.split(b"\n") if each] == expected
    big = Fed()
    cut(ByLength(big, "big", 100, joined=False), b"".join(struct.pack(">I", len(part)) + part for part in parts), size)
    assert big.pieces == parts


@given(packets, st.integers(1, 9))
def test_lines_on_a_stream_are_told_from_packets(parts: list[bytes], size: int) -> None:
    """Whatever is no packet is lines, also where fewer than four bytes come."""
    either = Fed()
    cut(ByLineOrLength(either, 100), b"\n".join(parts), size)
    assert [each for piece in either.pieces for each in piece.split(b"\n") if each] == [part for part in parts if part]


def test_a_packet_in_single_bytes_costs_what_its_length_costs() -> None:
    """Four times the length takes four times the time, not sixteen: who sends in bits cannot keep the adapter busy."""

    def seconds(length: int) -> float:
        fed = Fed()
        began = time.process_time()
        cut(ByLength(fed, "big", length, joined=False), struct.pack(">I", length) + b"x" * length, 1)
        assert list(map(len, fed.pieces)) == [length]
        return time.process_time() - began

    assert seconds(400_000) < 8 * seconds(100_000) + 0.2


@pytest.mark.parametrize("size", [1, 1000])
def test_a_packet_beyond_the_limit_ends_the_connection(size: int) -> None:
    """What came before it counts; half a packet at the end means nothing."""
    fed = Fed()
    with pytest.raises(Overlong, match="101 was announced"):
        cut(ByLength(fed, "big", 100, joined=True), b"\0\0\0\1a\0\0\0\x65" + b"x" * 101, size)
    assert fed.pieces == [b"a"]
    fed = Fed()
    cut(ByLength(fed, "big", 100, joined=True), b"\0\0\0\5half", size)
    assert fed.pieces == []


async def test_a_client_with_an_overlong_packet_is_sent_away(tmp_path: Path) -> None:
    """Counted as refused; the others stay."""
    path = tmp_path / "s.sock"
    async with Adapter(made(StatsdConfig(listen=Address(f"unix:{path}"), protocol="tcp"))) as adapter:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(struct.pack("<I", 5) + b"a:1|c" + struct.pack("<I", 100_000) + b"x")
        assert await reader.read() == b""
        assert adapter.events.refused == {"too_long": 1}
        assert await samples(adapter) == {"a_total": 1}
        writer.close()
