"""Who may be chosen: endpoints in virtual time, with dice that a test throws."""

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.balance import balancer
from podpatterns.ambassador.endpoints.endpoint import Endpoint
from podpatterns.ambassador.endpoints.outliers import OutliersConfig, Reason, State
from podpatterns.ambassador.endpoints.roster import Roster
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Address, Share


class Silence:
    """A log for tests that make thousands of lines."""

    def debug(self, _event, **_fields):
        pass

    info = warning = debug


class Scene:
    """A roster, its endpoints by number, and a clock that a test moves."""

    def __init__(self, number, *, balance="round_robin", panic=0.5, **outliers):
        self.now = 1000.0
        self.telemetry = Telemetry(Silence())
        self.events = AmbassadorEvents(self.telemetry)
        self.config = OutliersConfig(**outliers)
        self.hosts = [Endpoint(Address(f"10.0.0.{each}:80"), self.config) for each in range(number)]
        dice = random.Random(7)
        self.roster = Roster(
            "stable",
            self.hosts,
            balancer=balancer(balance, dice.random),
            outliers=self.config,
            panic=panic,
            patience=5.0,
            events=self.events,
            clock=lambda: self.now,
            draw=dice.random,
        )

    def choose(self, *tried):
        chosen = self.roster.choose(None, [self.hosts[each] for each in tried])
        return None if chosen is None else self.hosts.index(chosen)

    def chosen(self, times=60):
        return Counter(self.choose() for _ in range(times))

    def answer(self, number, status, times=1, head=b"", seconds=0.01):
        for _ in range(times):
            self.hosts[number].requests += 1
            self.roster.outcome(self.hosts[number], status, seconds, head)

    def refuse(self, number, times=3):
        for _ in range(times):
            self.roster.connect_failed(self.hosts[number], "connect_failure")

    def wait(self, seconds):
        self.now += seconds
        self.roster.sweep(self.now)

    def metric(self, name):
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.telemetry.registry.collect()
            for sample in family.samples
            if sample.name == f"podpatterns_ambassador_{name}" and sample.value
        }


def test_a_single_one_needs_no_choice():
    """`only` is set as long as nothing is wrong, so that the usual request costs nothing."""
    scene = Scene(1)
    assert scene.roster.only is scene.hosts[0]
    scene.refuse(0)
    assert scene.roster.only is None


@pytest.mark.parametrize("number", range(2, 10))
def test_few_endpoints_can_be_ejected(number):
    """One of two is half of them; a share of them that rounds to nothing protects nobody."""
    scene = Scene(number, max_ejected=Share("1%"))
    scene.answer(0, 500, times=5)
    assert scene.hosts[0].record.state is State.RESTING
    assert 0 not in scene.chosen()


def test_the_last_one_is_never_ejected_for_its_answers():
    """With one endpoint, errors go to the client as they are: they say more than a 503 of ours."""
    scene = Scene(1)
    scene.answer(0, 500, times=100)
    assert scene.choose() == 0
    assert scene.roster.available
    scene = Scene(2)
    scene.answer(0, 500, times=100)
    scene.answer(1, 500, times=100)
    assert scene.chosen() == {1: 60}


def test_the_last_one_that_cannot_be_connected_to_is():
    """There is nothing to lose: then other versions get its requests."""
    scene = Scene(1)
    scene.refuse(0)
    assert scene.choose() is None
    assert not scene.roster.available
    scene.wait(1.0)
    assert scene.roster.available


def test_where_all_rest_each_is_tried_now_and_then():
    """A rest of half a minute would make an outage longer than it is, where there is nobody else to ask. So one request
    at a time finds out, ten times a second at most for each; to a split the version still counts as unavailable."""
    scene = Scene(2)
    scene.refuse(0)
    scene.refuse(1)
    for _ in range(5):  # rests become long
        scene.wait(31.0)
        for _ in range(2):
            scene.refuse(scene.choose(), times=1)
    ejections = scene.metric("ejections_total")
    assert scene.choose() is None
    for _ in range(20):
        scene.wait(0.099)
        assert scene.choose() is None
        scene.wait(0.002)
        for number in range(2):
            assert not scene.roster.available
            assert scene.choose() == number
            assert scene.choose() is None
            scene.refuse(number, times=1)
        assert scene.choose() is None
    assert scene.metric("ejections_total") == ejections
    scene.wait(0.101)
    scene.roster.connected(scene.hosts[scene.choose()])
    assert scene.roster.available
    assert scene.choose() is not None


def test_not_more_than_the_share():
    """Of ten at most half rest for their answers, whatever they answer."""
    scene = Scene(10)
    for number in range(10):
        scene.answer(number, 503, times=20)
    assert scene.roster.count() == {"well": 5, "resting": 5, "unhealthy": 0}
    assert scene.metric("ejections_total") == {("stable", "failures"): 5}


def test_one_request_finds_out():
    """After the rest, one request is sent there, and no second one until the first was answered."""
    scene = Scene(2)
    scene.answer(0, 500, times=5)
    scene.wait(0.4)
    assert scene.chosen() == {1: 60}
    scene.wait(0.7)
    assert scene.chosen() == {1: 59, 0: 1}
    assert scene.hosts[0].record.state is State.TRIAL
    assert scene.hosts[0].watched
    scene.answer(0, 200)
    assert scene.chosen() == {0: 30, 1: 30}
    assert not scene.hosts[0].watched
    assert scene.metric("returns_total") == {("stable",): 1}


def test_a_failed_trial_is_a_longer_rest():
    """Half to all of two seconds, then."""
    scene = Scene(2)
    scene.answer(0, 500, times=5)
    scene.wait(1.0)
    assert 0 in scene.chosen()
    scene.answer(0, 500)
    scene.wait(0.9)
    assert 0 not in scene.chosen()
    scene.wait(1.1)
    assert 0 in scene.chosen()


def test_a_trial_that_nobody_answers():
    """Its client may have left: after some seconds another request is the trial."""
    scene = Scene(2)
    scene.answer(0, 500, times=5)
    scene.wait(1.0)
    assert scene.chosen()[0] == 1
    scene.wait(4.9)
    assert scene.chosen()[0] == 0
    scene.wait(0.1)
    assert scene.chosen()[0] == 1


def test_overload_is_believed_at_once():
    """429 or 503 with Retry-After: the endpoint rests for as long as it asks for, within the bound."""
    scene = Scene(3)
    scene.answer(0, 429, head=b"HTTP/1.1 429 No\r\nRetry-After: 7\r\n")
    scene.answer(1, 503, head=b"HTTP/1.1 503 No\r\nRetry-After: 7\r\n")  # one of three may, not two
    assert scene.chosen() == {1: 30, 2: 30}
    scene.wait(6.9)
    assert 0 not in scene.chosen()
    scene.wait(0.2)
    assert 0 in scene.chosen()
    assert scene.metric("ejections_total") == {("stable", "overload"): 1}


def test_429_counts_as_a_failure():
    """Also without Retry-After; 404 does not."""
    scene = Scene(2)
    scene.answer(0, 429, times=4)
    scene.answer(1, 404, times=50)
    assert scene.roster.count()["resting"] == 0
    scene.answer(0, 429)
    assert scene.roster.count()["resting"] == 1


def test_a_failure_rate_far_above_that_of_the_others():
    """Half of its answers fail, never five in a row; the others are well."""
    scene = Scene(2, failures=None)
    for _ in range(30):
        scene.answer(0, 500, times=2)
        scene.answer(0, 200)
        scene.answer(1, 200, times=3)
    assert scene.hosts[0].record.reason is Reason.FAILURE_RATE
    assert scene.roster.count() == {"well": 1, "resting": 1, "unhealthy": 0}


def test_where_all_fail_alike_nobody_is_ejected():
    """The fault is in something that they share."""
    scene = Scene(4, failures=None)
    for _ in range(30):
        for number in range(4):
            scene.answer(number, 500, times=2)
            scene.answer(number, 200)
    assert scene.roster.count()["resting"] == 0


def test_a_connection_tried_elsewhere():
    """Who has just failed is not asked again by the same request, unless nobody else is left."""
    scene = Scene(3)
    assert scene.choose(0, 1) == 2
    assert scene.choose(0, 1, 2) is None


def test_unhealthy_ones_get_nothing():
    """Whatever checks say counts for requests from then on."""
    scene = Scene(3)
    scene.hosts[1].healthy = False
    scene.roster.judge(scene.now)
    assert scene.chosen() == {0: 30, 2: 30}
    assert scene.roster.count() == {"well": 2, "resting": 0, "unhealthy": 1}


def test_panic():
    """Below half, all are used that can be connected to; and that is over when enough are well again."""
    scene = Scene(5)
    scene.refuse(4)
    for number in (1, 2, 3):
        scene.hosts[number].healthy = False
    scene.roster.judge(scene.now)
    assert set(scene.chosen()) == {0, 1, 2, 3}
    assert scene.metric("panics_total") == {("stable",): 1}
    scene.hosts[1].healthy = scene.hosts[2].healthy = True
    scene.roster.judge(scene.now)
    assert set(scene.chosen()) == {0, 1, 2}


def test_panic_is_not_health():
    """Where none is well by its checks, other versions of a split are preferred; a route without them still goes on."""
    scene = Scene(2)
    for host in scene.hosts:
        host.healthy = False
    scene.roster.judge(scene.now)
    assert not scene.roster.available
    assert scene.choose() is not None


def test_without_panic():
    """At 0 % nobody is used who is not well."""
    scene = Scene(2, panic=0.0)
    for host in scene.hosts:
        host.healthy = False
    scene.roster.judge(scene.now)
    assert scene.choose() is None


def test_no_endpoint_at_all():
    """A name that does not exist any more: nothing to choose, nothing to fall over."""
    scene = Scene(1)
    scene.roster.replace([])
    scene.wait(1.0)
    assert scene.roster.choose(None) is None
    assert not scene.roster.available
    scene.roster.replace(scene.hosts)
    assert scene.choose() == 0


def test_who_fails_fast_does_not_look_fast():
    """With ewma a failure counts as a second at least; else a broken endpoint would draw all requests to it."""
    scene = Scene(2, balance="ewma", failures=None, failure_rate=None)
    assert all(host.watched for host in scene.hosts)
    scene.answer(0, 500, seconds=0.0001)
    scene.answer(1, 200, seconds=0.5)
    assert scene.chosen() == {1: 60}


def test_both_rules_can_be_switched_off():
    """Then answers never eject anybody."""
    scene = Scene(3, failures=None, failure_rate=None)
    scene.answer(0, 500, times=200)
    assert scene.roster.count()["resting"] == 0


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["good", "bad", "silent", "refused", "open", "sick", "fit", "wait", "choose"]),
        st.integers(0, 8),
        st.floats(0.0, 3.0),
    ),
    max_size=120,
)


@given(st.integers(1, 9), st.sampled_from([0.0, 0.5, 1.0]), MOVES)
def test_whatever_happens(number, panic, moves):
    """As long as somebody can be connected to and passes its checks, somebody is chosen; who rests is not, but in
    panic; and once everybody answers well again, everybody is used."""
    scene = Scene(number, panic=panic)
    for move, draw, seconds in moves:
        which = draw % number
        if move == "choose":
            chosen = scene.choose()
            fit = [host for host in scene.hosts if host.healthy and host.record.state is State.WELL]
            assert chosen is not None or not fit
            continue
        if move in {"sick", "fit"}:
            scene.hosts[which].healthy = move == "fit"
            scene.roster.judge(scene.now)
        elif move == "wait":
            scene.wait(seconds)
        elif move == "refused":
            scene.refuse(which, times=1)
        elif move == "open":
            scene.roster.connected(scene.hosts[which])
        else:
            scene.answer(which, {"good": 200, "bad": 500, "silent": 0}[move])
        answering = sum(
            host.record.state is not State.WELL and host.record.reason is not Reason.CONNECT for host in scene.hosts
        )
        assert answering <= max(1, number // 2)
        for host in scene.hosts:
            assert host.watched or not host.record.troubled
    for host in scene.hosts:
        host.healthy = True
    scene.roster.judge(scene.now)
    for _ in range(40):
        scene.wait(31.0)
        for which in scene.chosen(number * 2).keys() - {None}:
            scene.roster.connected(scene.hosts[which])
            scene.answer(which, 200)
    assert scene.roster.count() == {"well": number, "resting": 0, "unhealthy": 0}
    assert set(scene.chosen(number * 2)) == set(range(number))


def test_for_people():
    """Each state has its words."""
    scene = Scene(3)
    describe = lambda: [scene.roster.describe(host) for host in scene.hosts]  # noqa: E731
    assert describe() == ["ok"] * 3
    scene.answer(0, 500, times=5)
    scene.hosts[1].healthy = False
    scene.roster.judge(scene.now)
    assert describe()[0].startswith("rests for ")
    assert describe()[0].endswith("s (failures, 5 failures)")
    assert describe()[1:] == ["fails its health checks", "ok"]
    scene.wait(1.0)
    scene.chosen()
    assert describe()[0] == "on trial after a rest (failures)"
    assert msgspec.json.encode(describe())
