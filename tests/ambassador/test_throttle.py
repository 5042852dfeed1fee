"""The slow line, in virtual time: exact in pace and order, bounded in what it holds, and gone when it is not needed."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.throttle import FULL, TICK, Pace, Throttle
from podpatterns.testing import run_virtually


class Line(asyncio.Transport):
    """A connection that keeps what is written, with the time."""

    def __init__(self):
        super().__init__()
        self.written = []
        self.ended = []
        self.paused = None

    def write(self, data):
        self.written.append((asyncio.get_running_loop().time(), data))

    def is_closing(self):
        return "close" in self.ended or "abort" in self.ended

    def can_write_eof(self):
        return True

    def get_write_buffer_size(self):
        return 0

    def get_extra_info(self, name, default=None):
        return f"the {name}"

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def close(self):
        self.ended.append("close")

    def abort(self):
        self.ended.append("abort")

    def write_eof(self):
        self.ended.append("eof")

    @property
    def data(self):
        return b"".join(data for _, data in self.written)


class Client:
    """What a throttle needs to know of a client's connection."""

    def __init__(self):
        self.transport = self.line = Line()
        self.slow = False

    def pause_writing(self):
        self.slow = True

    def resume_writing(self):
        self.slow = False


@given(st.integers(1, 10**8), st.integers(1, 10**7))
def test_the_pace_is_kept(rate, size):
    """Over any stretch what was taken is no more than the rate allows; and it does not stand still."""
    pace, now, left = Pace(rate), 100.0, min(size, rate * 3)
    total = left
    for _ in range(400):
        if not left:
            break
        now += pace.wait(now)
        taken = pace.take(left, now)
        assert 0 < taken <= max(1, rate * TICK)
        left -= taken
        assert total - left <= (now - 100.0) * rate + max(1, rate * TICK) + 1e-3 * rate


def test_everything_comes_in_its_time_and_order():
    """100 000 bytes at 50 000 a second take two seconds; then the connection is its own again."""

    async def main():
        client = Client()
        throttle = Throttle.around(client, 50_000)
        data = bytes(range(250)) * 400
        for start in range(0, len(data), 7_000):
            client.transport.write(data[start : start + 7_000])
        throttle.release()
        assert client.transport is throttle
        await asyncio.sleep(5)
        assert client.line.data == data
        assert client.transport is client.line
        first, last = client.line.written[0][0], client.line.written[-1][0]
        assert last - first == pytest.approx(2, abs=2 * TICK)

    run_virtually(main())


def test_the_next_response_waits_for_the_slow_one():
    """Also when it is slowed down itself, at a pace of its own."""

    async def main():
        client = Client()
        Throttle.around(client, 1_000).write(b"a" * 1_000)
        again = Throttle.around(client, 10_000)
        assert again is client.transport
        again.write(b"b" * 1_000)
        again.release()
        await asyncio.sleep(3)
        assert client.line.data == b"a" * 1_000 + b"b" * 1_000
        assert client.line.written[-1][0] - client.line.written[0][0] < 0.5
        assert client.transport is client.line

    run_virtually(main())


def test_the_writer_is_held_back():
    """Beyond a bound it is told to wait, and to go on when half of that is written."""

    async def main():
        client = Client()
        throttle = Throttle.around(client, FULL)
        throttle.write(bytes(FULL))
        assert not client.slow
        throttle.write(bytes(FULL))
        assert client.slow
        assert throttle.get_write_buffer_size() > FULL
        await asyncio.sleep(1)
        assert client.slow
        await asyncio.sleep(0.6)
        assert not client.slow

    run_virtually(main())


@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_an_end_comes_last(end):
    """A close or half-close waits for what was written before it; with nothing to wait for it is at once."""

    async def main():
        client = Client()
        throttle = Throttle.around(client, 1_000)
        throttle.write(b"x" * 500)
        getattr(throttle, end)()
        assert not client.line.ended
        assert throttle.is_closing() == (end == "close")
        assert throttle.can_write_eof() == (end == "close")
        await asyncio.sleep(1)
        assert client.line.data == b"x" * 500
        assert client.line.ended == [end.removeprefix("write_")]
        client = Client()
        getattr(Throttle.around(client, 1_000), end)()
        assert client.line.ended == [end.removeprefix("write_")]

    run_virtually(main())


def test_an_abort_is_at_once():
    """What waits is dropped, and no timer is left behind; so it is when the connection is lost underneath."""

    async def main():
        for lost in (False, True):
            client = Client()
            throttle = Throttle.around(client, 1_000)
            throttle.write(b"x" * 500)
            sent = client.line.data
            (client.line if lost else throttle).abort()
            await asyncio.sleep(1)
            assert client.line.data == sent
            assert client.line.ended == ["abort"]
            assert throttle.get_write_buffer_size() == 0

    run_virtually(main())


def test_the_rest_is_the_connection_s_own():
    """Reading, and what is known of it."""

    async def main():
        client = Client()
        throttle = Throttle.around(client, 1)
        throttle.pause_reading()
        assert client.line.paused is True
        throttle.resume_reading()
        assert client.line.paused is False
        assert throttle.get_extra_info("socket") == "the socket"

    run_virtually(main())
