"""Laws of reading datagrams: the same whichever way they are read, with one call for many or one for each."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from podpatterns.adapter import datagrams
from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.datagrams import AT_ONCE, DATAGRAM, InBulk, OneByOne, Reader, reader, recvmmsg
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.runtime.units import Address, Duration
from tests.adapter.test_statsd_clients import samples, until


@pytest.fixture(params=["in bulk", "one by one"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way of reading, whatever this machine would choose."""
    if request.param == "one by one":
        monkeypatch.setattr(datagrams, "recvmmsg", lambda: None)
    elif recvmmsg() is None:
        pytest.skip("no recvmmsg here")


@pytest.fixture
def pair(way: None) -> Iterator[tuple[Reader, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for each in (ours, theirs):
        each.settimeout(0)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    with ours, theirs:
        yield reader(ours), theirs


def taken(read: Reader) -> tuple[list[bytes], list[int]]:
    """What waits, and which of it was cut."""
    found: list[bytes] = []
    cut: list[int] = []
    while True:
        some = read()
        cut += [len(found) + at for at in some.cut]
        found += map(bytes, some.datagrams)
        if not some.datagrams:
            return found, cut


def test_this_machine_reads_in_bulk() -> None:
    """Linux with any usual C library has the call, and it passes its trial."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        assert isinstance(reader(ours), InBulk)


def test_a_call_that_is_refused_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the C library has no such function, or a sandbox refuses it, each datagram is read by itself."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        for library in (object(), type("Refusing", (), {"recvmmsg": lambda *_: -1})()):
            recvmmsg.cache_clear()
            with monkeypatch.context() as patch:
                patch.setattr(datagrams.ctypes, "CDLL", lambda *_, library=library, **__: library)
                assert isinstance(reader(ours), OneByOne)
    recvmmsg.cache_clear()


def test_nothing_is_there(pair: tuple[Reader, socket.socket]) -> None:
    """An empty socket gives nothing, again and again."""
    read, _ = pair
    assert [(list(each.datagrams), list(each.cut), each.dropped) for each in (read(), read())] == [([], [], None)] * 2


def test_every_datagram_comes_once_in_order_byte_by_byte(pair: tuple[Reader, socket.socket]) -> None:
    """Empty, short and long ones, of any bytes, more than a call takes; what the next call brings is all new."""
    read, client = pair
    found: list[bytes] = []
    sent = [bytes([at % 256]) * (at * 37 % 3000) for at in range(3 * AT_ONCE)] + [b"\n\x00\xff" * 20_000, b"", b"end"]
    for each in sent:
        while True:
            try:
                client.send(each)
                break
            except BlockingIOError:
                found += taken(read)[0]
    found += taken(read)[0]
    assert found == sent


@pytest.mark.parametrize("more", [-1, 0, 1, 5000])
def test_a_datagram_beyond_the_limit_is_cut_and_told(pair: tuple[Reader, socket.socket], more: int) -> None:
    """What is kept of it is its beginning; the ones around it are whole."""
    read, client = pair
    long = bytes(range(256)) * 300
    for each in (b"before", long[: DATAGRAM + more], b"after"):
        client.send(each)
    assert taken(read) == ([b"before", long[: min(DATAGRAM + more, DATAGRAM)], b"after"], [1] if more > 0 else [])


def test_drops_are_told(way: None) -> None:
    """The first datagram after drops brings their count: what was taken and dropped makes what was sent."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        ours.settimeout(0)
        read = reader(ours)
        ours.bind(("127.0.0.1", 0))
        client.connect(ours.getsockname())
        for _ in range(500):
            client.send(b"a:1|c")
        count = len(taken(read)[0])
        client.send(b"last")
        last = read()
        assert list(map(bytes, last.datagrams)) == [b"last"]
        assert last.dropped == 500 - count > 100


async def test_half_a_line_does_not_count(way: None, tmp_path: Path) -> None:
    """Of a datagram that was too long, whole lines count; the one at which it was cut is refused, and so is told."""
    path = tmp_path / "dsd.sock"
    page = PrometheusConfig(listen=Address("127.0.0.1:0"), final_scrape=Duration("0s"))
    config = AdapterConfig(inputs=[StatsdConfig(listen=Address(f"unix:{path}"))], outputs=[page])
    line = b"hits:1000|c"
    count = DATAGRAM // (len(line) + 1) + 10
    async with Adapter(config) as adapter:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            client.connect(str(path))
            client.send(b"\n".join([line] * count))
            client.send(b"end:1|c")
            await until(lambda: adapter.events.refused == {"too_long": 1})
            found = await samples(adapter)
        whole = DATAGRAM // (len(line) + 1)
        assert (found["hits_total"], found["end_total"]) == (1000 * whole, 1)
        assert adapter.events.lines == whole + 2
