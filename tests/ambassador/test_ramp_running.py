"""Ramps at work: on real requests, and for hours of virtual time."""

import asyncio
import json
import re

import msgspec
import pytest

from podpatterns import Ambassador, AmbassadorConfig
from podpatterns.ambassador.listeners.http import HttpConfig
from podpatterns.ambassador.policies.sticky import StickyConfig
from podpatterns.ambassador.ramp import RampConfig, State
from podpatterns.ambassador.retry import RetryConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.ambassador.upstreams.hosts import HostsConfig
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.service import Request
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Address, Duration
from podpatterns.testing.clock import run_virtually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ERROR = b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"
SPLIT = {"stable": 100, "test": 0}


def route(**ramp):
    fields = {"steps": (50, 100), "every": Duration("200ms"), "min_requests": 10, **ramp}
    return RouteConfig(name="main", split=SPLIT, ramp=RampConfig(**fields), retry=RetryConfig(attempts=0))


def rollout(proxy):
    (found,) = proxy.rollouts()
    return found


async def ask(proxy, method, path, body=None):
    (found,) = [each for each in proxy.routes() if (each.method, each.path) == (method, path)]
    reply = await found.handle(Request({}, json.dumps(body).encode()))
    return reply.status, reply.data


async def steer(proxy, action):
    return await ask(proxy, "PUT", "/ambassador/ramp", {"action": action})


class Traffic:
    """Asks without pause until the ramp has ended; what a broken connection costs is a new one."""

    def __init__(self, proxy, connect):
        self.proxy, self.connect = proxy, connect

    async def until(self, *states):
        async with asyncio.timeout(30):
            client = await self.connect(self.proxy)
            while rollout(self.proxy).ramp.state not in states:
                try:
                    await client.send(GET)
                    head = await client.until(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                    await client.exactly(length)
                except (asyncio.IncompleteReadError, ConnectionError):
                    client.close()
                    client = await self.connect(self.proxy)


# --- on real requests -------------------------------------------------------------------------------------------------


async def test_a_good_version_gets_everything(upstream, running, connect):
    """Step by step, while no request fails; afterwards the others get nothing."""
    ports = {"stable": await upstream(OK), "test": await upstream(OK)}
    async with running(ports, routes=(route(),)) as proxy:
        assert rollout(proxy).route.split.weights == {"stable": 1, "test": 1}
        await Traffic(proxy, connect).until(State.DONE, State.ROLLED_BACK)
        assert rollout(proxy).route.split.weights == {"stable": 0, "test": 1}
        assert rollout(proxy).ramp.describe()["state"] == "done"
        assert rollout(proxy).route.targets["test"].tally.failures == 0


async def truncating(server, peer):
    await server.head(peer)
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


async def resetting(server, peer):
    await server.head(peer)
    peer.reset()


@pytest.mark.parametrize("bad", [ERROR, truncating, resetting])
async def test_a_bad_version_gets_nothing_any_more(upstream, running, connect, bad):
    """Whether it answers 500, breaks off its answers, or gives none."""
    ports = {"stable": await upstream(OK), "test": await upstream(bad)}
    async with running(ports, routes=(route(every=Duration("60s")),)) as proxy:
        await Traffic(proxy, connect).until(State.DONE, State.ROLLED_BACK)
        assert rollout(proxy).route.split.weights == {"stable": 1, "test": 0}
        assert rollout(proxy).ramp.reason.startswith("0.00% of ")
        assert rollout(proxy).route.targets["stable"].tally.failures == 0


async def test_a_slow_version_gets_nothing_any_more(upstream, running, connect):
    """By a limit that is none of the histogram's bounds: it is told exactly."""

    async def slow(server, peer):
        while True:
            await server.head(peer)
            await asyncio.sleep(0.1)
            await peer.send(OK)

    ports = {"stable": await upstream(OK), "test": await upstream(slow)}
    async with running(ports, routes=(route(p99=Duration("70ms"), every=Duration("60s")),)) as proxy:
        await Traffic(proxy, connect).until(State.DONE, State.ROLLED_BACK)
        assert "took longer than 70ms, 1% may" in rollout(proxy).ramp.reason


async def test_failures_that_retries_hide_count(upstream, running, connect):
    """Clients see none of them; the ramp does, because at its last step nobody else will help out."""

    async def flaky(server, peer):
        fails = server.connections % 5 == 0
        await server.head(peer)
        if fails:
            peer.reset()
        else:
            await peer.send(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))

    ports = {"stable": await upstream(OK), "test": await upstream(flaky)}
    retrying = msgspec.structs.replace(route(every=Duration("60s")), retry=RetryConfig(backoff=Duration("0s")))
    async with running(ports, routes=(retrying,)) as proxy:
        await Traffic(proxy, connect).until(State.DONE, State.ROLLED_BACK)
        tally = rollout(proxy).route.targets["test"].tally
        assert tally.retried > 0 == tally.failures
        assert rollout(proxy).ramp.state is State.ROLLED_BACK


async def test_a_version_that_is_not_there(upstream, running, connect):
    """Nobody listens: the others help out, no client notices, and the version is taken back."""
    ports = {"stable": await upstream(OK), "test": 1}
    missing = msgspec.structs.replace(route(every=Duration("300ms"), min_requests=10_000), retry=RetryConfig())
    async with running(ports, routes=(missing,)) as proxy:
        await Traffic(proxy, connect).until(State.DONE, State.ROLLED_BACK)
        assert rollout(proxy).ramp.reason == "could not be reached for 300ms"
        assert [target.tally.failures for target in rollout(proxy).route.targets.values()] == [0, 0]


# --- the admin endpoint -----------------------------------------------------------------------------------------------


async def test_a_ramp_is_steered(upstream, running):
    """pause, resume, promote, restart, abort: each answers with the weights that follow from it, or says why not."""
    server = await upstream(OK)
    async with running({"stable": server, "test": server}, routes=(route(steps=(1, 100)),)) as proxy:
        assert proxy.status().facts["ramp on main"] == "test: step 1 of 2, 1 %"
        assert (await steer(proxy, "pause"))[1]["ramp"]["state"] == "paused"
        assert proxy.status().facts["ramp on main"] == "test: step 1 of 2, 1 %, paused"
        assert await steer(proxy, "pause") == (
            409,
            {"error": "cannot pause a ramp that is paused; possible now: resume, abort, promote, restart"},
        )
        assert (await steer(proxy, "resume"))[1]["versions"]["test"]["weight"] == 1
        assert (await steer(proxy, "promote"))[1]["versions"]["stable"]["weight"] == 0
        assert (await steer(proxy, "restart"))[1]["versions"]["stable"]["weight"] == 99
        status, shown = await steer(proxy, "abort")
        assert (status, shown["versions"]["test"]["weight"], shown["ramp"]["state"]) == (200, 0, "rolled_back")
        assert proxy.status().facts["ramp on main"] == "test: rolled back"
        status, answer = await steer(proxy, "stop")
        assert (status, "pause, resume, abort, promote, restart" in answer["error"]) == (400, True)
        page = (await ask(proxy, "GET", "/ambassador"))[1]
        assert page["listeners"]["127.0.0.1:0"]["routes"][0]["ramp"]["reason"] == "asked for through the admin endpoint"


async def test_the_page_for_browsers(upstream, running):
    """It loads nothing from elsewhere, writes no HTML from data, and what it reads is what the admin endpoint says."""
    server = await upstream(OK)
    async with running({"stable": server, "test": server}, routes=(route(),)) as proxy:
        (found,) = [each for each in proxy.routes() if each.path == "/ambassador/page"]
        reply = await found.handle(Request({}))
        data = (await ask(proxy, "GET", "/ambassador"))[1]
    text = reply.data.decode()
    assert (reply.content_type, found.public) == ("text/html; charset=utf-8", False)
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"innerHTML|insertAdjacentHTML|\bsrc=|\bhref=", text)
    (shown,) = data["listeners"]["127.0.0.1:0"]["routes"]
    assert set(re.findall(r"\bversion\.(\w+)", text)) <= shown["versions"]["test"].keys()
    assert set(re.findall(r"\bstate\.(\w+)", text)) <= shown["ramp"].keys()
    assert set(re.findall(r"\bdata\.(\w+)", text)) == data.keys()


async def test_without_a_ramp_there_is_nothing_to_steer(upstream, running):
    """Says so, and which routes there are."""
    async with running(await upstream(OK)) as proxy:
        assert await steer(proxy, "pause") == (
            400,
            {
                "error": "no route has a ramp; name listener and route",
                "choice": [{"listener": "127.0.0.1:0", "route": "route-0"}],
            },
        )


async def test_weights_by_hand_end_the_ramp(upstream, running):
    """They stay as they were set, through a reload as well, until the ramp is restarted."""
    server = await upstream(OK)
    async with running({"stable": server, "test": server}, routes=(route(),)) as proxy:
        await ask(proxy, "PUT", "/ambassador/weights", {"weights": {"stable": 7, "test": 3}})
        assert rollout(proxy).ramp.state is State.BY_HAND
        await proxy.reload(proxy.config)
        assert rollout(proxy).route.split.weights == {"stable": 7, "test": 3}
        await steer(proxy, "restart")
        assert rollout(proxy).route.split.weights == {"stable": 1, "test": 1}


def changed(config, **fields):
    (listener,) = config.listeners
    (only,) = listener.routes
    routes = (msgspec.structs.replace(only, **fields),)
    return msgspec.structs.replace(config, listeners=(msgspec.structs.replace(listener, routes=routes),))


async def test_a_reload_keeps_an_unchanged_ramp(upstream, running):
    """Its step, its state and its weights; a ramp or a split that has changed starts from the beginning."""
    server = await upstream(OK)
    async with running({"stable": server, "test": server}, routes=(route(steps=(1, 50)),)) as proxy:
        await steer(proxy, "promote")
        await proxy.reload(changed(proxy.config, timeout=Duration("5s")))
        assert (rollout(proxy).ramp.state, rollout(proxy).route.split.weights) == (
            State.DONE,
            {"stable": 1, "test": 1},
        )
        await proxy.reload(changed(proxy.config, ramp=RampConfig(steps=(20, 50))))
        assert (rollout(proxy).ramp.state, rollout(proxy).route.split.weights) == (
            State.RAMPING,
            {"stable": 4, "test": 1},
        )
        await proxy.reload(changed(proxy.config, ramp=None))
        assert list(proxy.rollouts()) == []


# --- in virtual time --------------------------------------------------------------------------------------------------


def virtual(ramp):
    listener = HttpConfig(
        name="web", listen=Address("127.0.0.1:0"), routes=(RouteConfig(name="main", split=SPLIT, ramp=ramp),)
    )
    upstreams = {name: HostsConfig(addresses=(Address("127.0.0.1:1"),)) for name in SPLIT}
    return AmbassadorConfig(listeners=(listener,), upstreams=upstreams)


async def traffic(proxy, seconds, *, per_second=100, failing=()):
    """What requests would count: by the weights in force, each second."""
    for _ in range(seconds):
        found = rollout(proxy).route
        for version, target in found.targets.items():
            count = per_second * found.split.share(version)
            target.tally.classes[5 if version in failing else 2].value += count
        await asyncio.sleep(1)


def test_the_whole_way_takes_the_time_it_says():
    """Five steps of a minute: the share at each moment, and all of it in the metrics."""

    async def main():
        from podpatterns.runtime.service import Context

        context = Context(telemetry=Telemetry())
        shares = {}
        async with Ambassador(virtual(RampConfig(min_requests=50)), context) as proxy:
            start = asyncio.get_running_loop().time()
            for _ in range(330):
                shares.setdefault(rollout(proxy).ramp.percent, asyncio.get_running_loop().time() - start)
                await traffic(proxy, 1)
            assert rollout(proxy).ramp.state is State.DONE
            return shares, context.telemetry.exposition().decode()

    shares, text = run_virtually(main())
    assert list(shares) == [1, 5, 25, 50, 100]
    assert [round(at / 60) for at in shares.values()] == [0, 1, 2, 3, 4]
    labels = 'listener="web",route="main",'
    assert f'podpatterns_ambassador_ramp_state{{{labels}state="done",version="test"}} 1.0' in text
    assert f'podpatterns_ambassador_ramp_state{{{labels}state="ramping",version="test"}} 0.0' in text
    assert f'podpatterns_ambassador_ramp_step{{{labels}version="test"}} 5.0' in text
    assert (
        'podpatterns_ambassador_ramp_moves_total{cause="",listener="web",move="up",route="main",version="test"} 4.0'
        in text
    )
    assert f'podpatterns_ambassador_weight{{{labels}version="stable"}} 0.0' in text


def test_a_broken_version_costs_little():
    """At 1 % of 100 requests a second: gone after some ten failures, not after 200."""

    async def main():
        async with Ambassador(virtual(RampConfig())) as proxy:
            await traffic(proxy, 60, failing=("test",))
            assert rollout(proxy).ramp.state is State.ROLLED_BACK
            return rollout(proxy).route.targets["test"].tally.failures

    assert run_virtually(main()) <= 12


def test_a_back_end_that_all_share_is_no_reason():
    """While every version fails alike, the ramp holds; when it is over, it goes on."""

    async def main():
        async with Ambassador(virtual(RampConfig(steps=(10, 50), min_requests=50))) as proxy:
            await traffic(proxy, 130, failing=("stable", "test"))
            held = rollout(proxy).ramp.percent, rollout(proxy).ramp.state
            await traffic(proxy, 130)
            return held, rollout(proxy).ramp.percent

    assert run_virtually(main()) == ((10, State.RAMPING), 50)


# --- the configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ({"to": "stable", "ramp": RampConfig()}, "ramp", "needs a split"),
        ({"split": {"a": 1, "b": 1}, "ramp": RampConfig()}, "ramp.version", "the split has none"),
        (
            {"split": SPLIT, "ramp": RampConfig(), "sticky": StickyConfig(cookie="v", drained="keep")},
            "sticky.drained",
            "taken back",
        ),
    ],
)
def test_what_a_ramp_needs(fields, place, message):
    """A split, a version with weight 0, and nobody who stays on a version that was taken back."""
    with pytest.raises(InvalidField, match=message) as raised:
        RouteConfig(**fields)
    assert raised.value.field == place
