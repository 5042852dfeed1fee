"""Active health checks: the counting, and the asking over real sockets."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.endpoints.connector import Connector
from podpatterns.ambassador.endpoints.endpoint import Endpoint
from podpatterns.ambassador.endpoints.health import Checks, Health, HealthConfig
from podpatterns.ambassador.endpoints.outliers import OutliersConfig
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.errors import ConfigError
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Address, Duration


def judged(results, fall=3, rise=2):
    health = Health(fall, rise)
    return [health.checked(passed=passed) and health.well for passed in results], health.well


def test_three_failures_then_two_passes():
    """In a row: what comes in between starts the count anew."""
    assert judged([False, False, True, False, False, False])[1] is False
    assert judged([False, False, True] * 10)[1] is True
    assert judged([False] * 3 + [True, False] * 10)[1] is False
    assert judged([False] * 3 + [True, True]) == ([False, False, False, False, True], True)


@given(st.lists(st.booleans()), st.integers(1, 5), st.integers(1, 5))
def test_a_change_needs_a_streak(results, fall, rise):
    """Each change of mind was preceded by exactly as many results in a row as it takes."""
    health = Health(fall, rise)
    for index, passed in enumerate(results):
        if health.checked(passed=passed):
            needed = rise if passed else fall
            assert results[index + 1 - needed : index + 1] == [passed] * needed
            assert health.well is passed


class Roster:
    """Endpoints, and a note that somebody has changed them."""

    def __init__(self, *ports):
        self.endpoints = [Endpoint(Address(f"127.0.0.1:{port}"), OutliersConfig()) for port in ports]
        self.judged = asyncio.Event()

    def judge(self, now):
        self.judged.set()


def checks(roster, **options):
    telemetry = Telemetry()
    options = {"every": Duration("50ms"), "timeout": Duration("50ms"), "fall": 1, "rise": 1, **options}
    connector = Connector("stable", Duration("5s"))
    return Checks("stable", HealthConfig(**options), roster, connector, AmbassadorEvents(telemetry), host=b"shop")


class Checked:
    """Runs checks until the block ends."""

    def __init__(self, roster, **options):
        self.roster, self.checks = roster, checks(roster, **options)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.checks.run())
        return self

    async def until(self, *healthy):
        async with asyncio.timeout(10):
            while [endpoint.healthy for endpoint in self.roster.endpoints] != list(healthy):
                self.roster.judged.clear()
                await self.roster.judged.wait()

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Switch:
    """An upstream whose answer a test changes."""

    def __init__(self, answer):
        self.answer = answer

    async def __call__(self, server, peer):
        await server.head(peer)
        if self.answer is not None:
            await peer.send(self.answer)
        else:
            await peer.rest()


def status(number):
    return b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % number


@pytest.mark.parametrize(
    "bad", [status(503), status(404), b"", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", None]
)
async def test_http(upstream, bad):
    """A bad status, an empty answer, another protocol or silence: unwell; a good answer: well again."""
    switch = Switch(status(200))
    server = await upstream(switch)
    roster = Roster(server.port)
    async with Checked(roster, path="/healthz") as checked:
        switch.answer = bad
        await checked.until(0)
        switch.answer = b"HTTP/1.1 103 Early\r\n\r\n" + status(302)
        await checked.until(1)
    assert server.heads[0].startswith(b"GET /healthz HTTP/1.1\r\nHost: shop\r\n")


async def test_tcp(upstream, unused_tcp_port):
    """Without a path it is enough that somebody listens; nothing is sent."""

    async def listen(server, peer):
        assert await peer.rest() == b""

    server = await upstream(listen)
    async with Checked(Roster(server.port, unused_tcp_port), timeout=Duration("5s"), every=Duration("5s")) as checked:
        await checked.until(1, 0)
    assert server.connections


async def test_endpoints_come_and_go(upstream, unused_tcp_port):
    """What has left is not asked any more, what is new is asked soon."""
    server = await upstream(Switch(status(200)))
    roster = Roster(unused_tcp_port)
    async with Checked(roster, path="/") as checked:
        await checked.until(0)
        roster.endpoints = Roster(server.port, unused_tcp_port).endpoints
        await checked.until(1, 0)
        assert len(checked.checks._health) == 2


def test_each_at_its_own_time():
    """Every endpoint once in each interval, give or take a tenth."""
    roster = Roster(1, 2, 3)
    asked = checks(roster, every=Duration("10s"))
    counts = dict.fromkeys(roster.endpoints, 0)
    for tenth in range(1000):
        for endpoint in asked.due(roster.endpoints, tenth / 10):
            counts[endpoint] += 1
    assert all(9 <= count <= 12 for count in counts.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path: healthz", '"healthz" cannot be asked for; write it as it is sent, such as "/healthz"'),
        ('path: "/a b"', '"/a b" cannot be asked for'),
        ('path: "/a\\r\\nX: 1"', "cannot be asked for"),
        ('host: "a\\r\\nX: 1"', "is not a host name, with or without a port"),
        ("status: 399-200", '399-200 is empty; did you mean "200-399"?'),
        ("status: ok", "status"),
        ("every: 0s", "must be longer than nothing"),
        ("{every: 1s, timeout: 2s}", "2s is longer than every, 1s: checks would overlap"),
        ("fall: 0", "must be at least 1"),
    ],
)
def test_mistakes(text, message):
    """Are named, with what to do."""
    with pytest.raises(ConfigError) as caught:
        decode(parse(text)[0], HealthConfig)
    assert message in str(caught.value)
