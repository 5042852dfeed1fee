"""The account of connections: any order of requests, answers, failures and closings, without a socket."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from podpatterns.ambassador.balance.key import HashConfig, HashKeyConfig
from podpatterns.ambassador.endpoints.outliers import State
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.upstreams.hosts import HostsConfig
from podpatterns.errors import UpstreamError
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Address, Duration

BY_USER = HashConfig(hash=HashKeyConfig(header="x-user"))
REFUSED = UpstreamError(502, "connect_failure", "refused")
SILENT = UpstreamError(504, "connect_timeout", "silent")


class Transport:
    """A connection without a wire."""

    def __init__(self, scene, protocol):
        self.scene, self.protocol, self.closing = scene, protocol, False
        scene.transports.add(self)

    def get_extra_info(self, _name):
        return None

    def is_closing(self):
        return self.closing

    def abort(self):
        if not self.closing:
            self.closing = True
            self.scene.loop.call_soon(self.lost)

    def lost(self):
        self.scene.transports.discard(self)
        self.protocol.connection_lost(None)


class Exchange:
    """A request that knows what has become of it."""

    def __init__(self, user, *, last_chance=False):
        self.request = SimpleNamespace(head=b"GET / HTTP/1.1\r\nHost: a\r\nX-User: %d\r\n" % user)
        self.last_chance = last_chance
        self.state, self.link = "new", None

    def within(self, _seconds):
        assert self.state in {"new", "waiting"}
        self.state = "waiting"

    def connected(self, link):
        assert self.state in {"new", "waiting"}
        assert link.exchange is None
        assert not link.transport.is_closing()
        self.state, self.link, link.exchange = "served", link, self

    def failed(self, _error):
        assert self.state == "waiting"
        self.state = "failed"

    def lost(self, _link, *_):
        self.state, self.link = "lost", None


class Silence:
    def debug(self, _event, **_fields):
        pass

    info = warning = debug


class Scene:
    """A pool, attempts to connect that a test decides on, and a clock that it moves."""

    def __init__(self, loop, number, **options):
        self.loop, self.now = loop, 1000.0
        loop.time = lambda: self.now
        self.transports, self.attempts, self.tasks, self.exchanges = set(), [], set(), []
        config = HostsConfig(addresses=tuple(Address(f"10.0.0.{each}:80") for each in range(number)), **options)
        self.config = config
        self.pool = config.build("stable", AmbassadorEvents(Telemetry(Silence())), self.spawn)
        self.pool._connector = SimpleNamespace(open=self.open, patience=config.connect)

    def spawn(self, work):
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(lambda done: done.result())

    async def open(self, _endpoint, make):
        decision = self.loop.create_future()
        self.attempts.append(decision)
        await decision
        protocol = make()
        protocol.connection_made(Transport(self, protocol))
        return protocol

    async def settle(self):
        for _ in range(6):
            await asyncio.sleep(0)

    # --- what can happen ------------------------------------------------------------------------------------------

    def ask(self, user, *, fresh=False, avoid=None, last_chance=False):
        exchange = Exchange(user, last_chance=last_chance)
        self.exchanges.append(exchange)
        endpoint = None if avoid is None else self.pool._roster.endpoints[avoid % len(self.pool._roster.endpoints)]
        try:
            link = self.pool.acquire(exchange, fresh=fresh, avoid=endpoint)
        except UpstreamError:
            exchange.state = "refused"
        else:
            if link is not None:
                exchange.connected(link)
        return exchange

    def of(self, state, which):
        found = [each for each in self.exchanges if each.state == state]
        return found[which % len(found)] if found else None

    def finish(self, which):
        if (exchange := self.of("served", which)) is not None:
            link, exchange.link, exchange.state = exchange.link, None, "done"
            link.rest()
            self.pool.release(link)

    def drop(self, which):
        if (exchange := self.of("served", which)) is not None:
            link, exchange.link, exchange.state = exchange.link, None, "done"
            link.close()

    def leave(self, which):
        if (exchange := self.of("waiting", which)) is not None:
            exchange.state = "gone"
            self.pool.withdraw(exchange)

    def hang_up(self, which):
        """The far side closes a connection, whatever is on it."""
        if self.transports:
            sorted(self.transports, key=id)[which % len(self.transports)].abort()

    def decide(self, which, outcome):
        if self.attempts:
            decision = self.attempts.pop(which % len(self.attempts))
            if outcome is None:
                decision.set_result(None)
            else:
                decision.set_exception(outcome)

    def wait(self, seconds):
        self.now += seconds
        self.pool.sweep(self.now)

    # --- what must hold -------------------------------------------------------------------------------------------

    def check(self):
        pool = self.pool
        endpoints = (*pool._roster.endpoints, *pool._left)
        assert pool._open == len(self.transports) + len(self.attempts)
        assert pool._open <= self.config.max_connections
        assert pool._connecting == len(self.attempts)
        waiting = {waiter.exchange for waiter in pool._line}
        assert waiting == {each for each in self.exchanges if each.state == "waiting"}
        idle = [link for endpoint in endpoints for link in endpoint.idle]
        busy = [each.link for each in self.exchanges if each.state == "served"]
        links = [link for endpoint in endpoints for link in endpoint.links]
        assert set(links) == {transport.protocol for transport in self.transports}
        assert len(links) == len(set(links)) == len(set(idle) | set(busy)) == len(idle) + len(busy)
        assert all(link.exchange is None for link in idle)
        assert pool.active == len(busy)
        if pool._open < self.config.max_connections and any(
            each.record.state is State.WELL for each in pool._roster.endpoints
        ):
            assert not pool._waiting.stranded
        assert not (pool._waiting.stranded and idle)


def played(number, moves, **options):
    """Run moves; at the end every attempt succeeds and every answer comes: then nobody may be left waiting."""
    with asyncio.Runner() as runner:

        async def play():
            scene = Scene(asyncio.get_running_loop(), number, **options)
            for name, *arguments in moves:
                getattr(scene, name)(*arguments)
                await scene.settle()
                scene.check()
            for _ in range(1000):
                if not (scene.attempts or scene.pool._line or scene.of("served", 0)):
                    break
                scene.decide(0, None)
                await scene.settle()
                scene.finish(0)
                await scene.settle()
                scene.wait(0.15)
                await scene.settle()
                scene.check()
            assert {each.state for each in scene.exchanges} <= {"done", "failed", "gone", "refused", "lost"}
            scene.pool.abort()
            await scene.settle()
            assert not scene.pool.busy
            assert not scene.tasks

        runner.run(play())


WHICH = st.integers(0, 20)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 5)),
        st.tuples(st.just("ask"), st.integers(0, 5)),
        st.tuples(st.just("again"), st.integers(0, 5), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("finish"), WHICH),
        st.tuples(st.just("drop"), WHICH),
        st.tuples(st.just("leave"), WHICH),
        st.tuples(st.just("hang_up"), WHICH),
        st.tuples(st.just("decide"), WHICH, st.none()),
        st.tuples(st.just("decide"), WHICH, st.sampled_from([REFUSED, SILENT])),
        st.tuples(st.just("wait"), st.sampled_from([0.05, 0.5, 5.0])),
    ),
    max_size=60,
)


def again(self, user, avoid, last_chance):
    """A request whose connection has failed."""
    self.ask(user, fresh=True, avoid=avoid, last_chance=last_chance)


Scene.again = again


OPTIONS = st.fixed_dictionaries(
    {
        "max_connections": st.sampled_from([1, 2, 3, 100]),
        "max_pending": st.sampled_from([0, 2, 100]),
        "max_requests": st.sampled_from([None, 3]),
        "balance": st.sampled_from(["round_robin", "p2c", BY_USER]),
    }
)
ASKED = ("ask", 0)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 4), MOVES, OPTIONS)
@example(1, [ASKED, ASKED, ("decide", 0, SILENT)], {"max_connections": 1})
@example(2, [ASKED, ("again", 0, 0, False), ("decide", 0, None), ("finish", 0)], {"max_connections": 1})
@example(
    2,
    [*(("ask", user) for user in range(6)), ("decide", 0, None), ("finish", 0)],
    {"max_connections": 1, "balance": BY_USER},
)
@example(3, [ASKED, ("leave", 0), ("decide", 0, None), ASKED, ASKED, ("decide", 1, None)], {"max_connections": 3})
@example(2, [ASKED, ("leave", 0), ("decide", 0, REFUSED), ("again", 0, 0, False)], {"max_connections": 1})
def test_whatever_happens(number, moves, options):
    """Connections are counted exactly and never exceed their bound; each request is served, refused, failed or gone,
    and only one of them; nobody waits while there is room for another connection; and in the end nobody waits."""
    played(number, moves, **options)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), MOVES)
def test_whatever_happens_to_short_connections(number, moves):
    """The same where each connection carries two requests at most, and is old after a second."""
    played(number, moves, max_connections=3, keep_requests=2, keep_age=Duration("1s"))


async def test_a_fresh_connection_at_the_bound():
    """A kept connection was closed, and there may be no more: another kept one makes room for a new one."""
    scene = Scene(asyncio.get_running_loop(), 1, max_connections=2)
    for _ in range(2):
        scene.ask(0)
        await scene.settle()
    scene.decide(0, None)
    scene.decide(0, None)
    await scene.settle()
    scene.finish(0)
    scene.finish(0)
    exchange = scene.ask(0, fresh=True)
    await scene.settle()
    scene.check()
    assert exchange.state == "waiting"
    scene.decide(0, None)
    await scene.settle()
    assert exchange.state == "served"
    assert len(scene.transports) == 2


@pytest.mark.parametrize("idle", [3.9, 4.1])
async def test_unused_connections_are_kept_for_a_while(idle):
    """`keep` is how long."""
    scene = Scene(asyncio.get_running_loop(), 1)
    scene.ask(0)
    await scene.settle()
    scene.decide(0, None)
    await scene.settle()
    scene.finish(0)
    scene.wait(idle)
    await scene.settle()
    scene.check()
    assert len(scene.transports) == (idle < 4.0)
