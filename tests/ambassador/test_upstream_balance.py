"""Balancing: who gets a request, with dice that a test throws."""

import random
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.balance import balancer
from podpatterns.ambassador.balance.ewma import START, Latency
from podpatterns.ambassador.balance.hash import SLOTS, slot, winner
from podpatterns.ambassador.balance.key import HashConfig, HashKeyConfig
from podpatterns.ambassador.balance.p2c import two
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import read_request
from podpatterns.runtime.config import loads
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.schema import InvalidField


def endpoints(number, **options):
    return [
        SimpleNamespace(identity=f"10.0.0.{each}:80", active=0, latency=Latency(), **options) for each in range(number)
    ]


def asking(head, target=b"/"):
    return read_request(b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (target, head), Limits())


def hashing(**key):
    return balancer(HashConfig(hash=HashKeyConfig(**key)), random.random)


def test_round_robin_is_exactly_even():
    """Each endpoint gets every n-th request."""
    hosts, ways = endpoints(3), balancer("round_robin", random.random)
    picked = [ways.pick(hosts, None, 0.0) for _ in range(12)]
    assert picked[:3] * 4 == picked
    assert len(set(map(id, picked[:3]))) == 3


def test_round_robin_survives_a_change():
    """Fewer endpoints than before are no reason to fall off the end."""
    ways = balancer("round_robin", random.random)
    for number in (5, 1, 4, 2, 3):
        assert ways.pick(endpoints(number), None, 0.0) is not None


@given(st.integers(1, 20), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_two_are_two(number, first, second):
    """Two choices are two different ones, unless there is only one."""
    draws = iter((first, second))
    one, other = two(range(number), lambda: next(draws))
    assert (one != other) is (number > 1)


def test_two_are_drawn_evenly():
    """Every pair as often as every other."""
    dice = random.Random(7)
    pairs = Counter(two("abc", dice.random) for _ in range(6000))
    assert len(pairs) == 6
    assert all(850 < times < 1150 for times in pairs.values())


def test_p2c_never_takes_the_busiest():
    """Of two, the one with fewer requests; so the busiest of all is never chosen, and idle ones often."""
    hosts, dice = endpoints(5), random.Random(7)
    for number, host in enumerate(hosts):
        host.active = number
    ways = balancer("p2c", dice.random)
    picked = Counter(ways.pick(hosts, None, 0.0).active for _ in range(2000))
    assert picked[4] == 0
    assert picked[0] > picked[1] > picked[2] > picked[3]


def test_p2c_evens_out():
    """Requests that stay under way: after a thousand, nobody has five more than another."""
    hosts, ways = endpoints(10), balancer("p2c", random.Random(7).random)
    for _ in range(1000):
        ways.pick(hosts, None, 0.0).active += 1
    assert max(host.active for host in hosts) - min(host.active for host in hosts) < 5


def test_ewma_avoids_who_is_slow():
    """Three times slower is three times too expensive, until three times as much waits at the others."""
    hosts, ways = endpoints(2), balancer("ewma", random.Random(7).random)
    hosts[0].latency.observe(0.010, 0.0)
    hosts[1].latency.observe(0.035, 0.0)
    assert {id(ways.pick(hosts, None, 0.0)) for _ in range(50)} == {id(hosts[0])}
    hosts[0].active = 3
    assert {id(ways.pick(hosts, None, 0.0)) for _ in range(50)} == {id(hosts[1])}


def test_ewma_tries_everybody():
    """Who has answered nothing yet gets one request, however fast the others are; more only after its answer."""
    hosts, ways = endpoints(2), balancer("ewma", random.Random(7).random)
    hosts[0].latency.observe(0.0001, 0.0)
    assert ways.pick(hosts, None, 0.0) is hosts[1]
    hosts[1].active = 1
    assert {id(ways.pick(hosts, None, 0.0)) for _ in range(50)} == {id(hosts[0])}


def test_a_latency_rises_at_once_and_falls_slowly():
    """A peak counts as it is; after ten seconds of good answers two thirds of it are forgotten."""
    latency = Latency()
    assert latency.estimate(0.0) == START
    latency.observe(0.01, 0.0)
    assert latency.estimate(0.0) == 0.01
    latency.observe(1.0, 0.0)
    assert latency.estimate(0.0) == 1.0
    latency.observe(0.01, 1.0)
    assert 0.85 < latency.estimate(1.0) < 1.0
    for second in range(2, 12):
        latency.observe(0.01, float(second))
    assert 0.3 < latency.estimate(11.0) < 0.4


def test_who_was_slow_is_tried_again():
    """What is expected of an endpoint of which nothing is heard shrinks."""
    latency = Latency()
    latency.observe(5.0, 0.0)
    assert latency.estimate(100.0) < 0.001


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 60)), min_size=1))
def test_an_estimate_lies_between_what_was_seen(steps):
    """Never above the highest observation, never negative."""
    latency, now = Latency(), 0.0
    for seconds, pause in steps:
        now += pause
        latency.observe(seconds, now)
    assert 0 <= latency.estimate(now) <= max(seconds for seconds, _ in steps)


# --- consistent hash --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "head", "target", "value"),
    [
        ({"header": "X-User"}, b"x-user:  ann \r\n", b"/", b"ann"),
        ({"header": "x-user"}, b"X-User: ann\r\nX-User: bob\r\n", b"/", b"ann"),
        ({"header": "x-user"}, b"X-Users: ann\r\n", b"/", b""),
        ({"cookie": "id"}, b"Cookie: a=1; id=42; b=2\r\n", b"/", b"42"),
        ({"cookie": "id"}, b"Cookie: xid=1\r\nCookie: id=7\r\n", b"/", b"7"),
        ({"cookie": "id"}, b"Cookie: xid=1\r\n", b"/", b""),
        ({"query": "user"}, b"", b"/a?x=1&user=a%20b", b"a b"),
        ({"query": "us er"}, b"", b"/a?us+er=a+b&us%20er=c", b"a b"),
        ({"query": "user"}, b"", b"/a?users=1", b""),
        ({"query": "user"}, b"", b"/a", b""),
        ({"path": True}, b"", b"/a/b?x=1", b"/a/b"),
    ],
)
def test_keys(key, head, target, value):
    """Where each kind of key is found; empty where there is none."""
    assert HashKeyConfig(**key).compile()(asking(head, target)) == value


def test_the_same_key_the_same_endpoint():
    """For as long as the endpoints stay; different keys are spread."""
    hosts, ways = endpoints(5), hashing(header="x-user")
    picked = {}
    for _ in range(3):
        for user in range(200):
            host = ways.pick(hosts, asking(b"X-User: %d\r\n" % user), 0.0)
            assert picked.setdefault(user, host) is host
    assert len({id(host) for host in picked.values()}) == 5


def test_without_a_key_in_turn():
    """Neither a request without the key nor a connection waits for anything."""
    hosts, ways = endpoints(3), hashing(header="x-user")
    assert len({id(ways.pick(hosts, request, 0.0)) for request in (asking(b""), None, asking(b""))}) == 3


def test_every_process_places_alike():
    """A restart, or another replica, gives a key to the same endpoint; the order of the endpoints does not matter."""
    hosts = endpoints(7)
    for user in range(50):
        request = asking(b"X-User: %d\r\n" % user)
        there = hashing(header="x-user").pick(hosts[::-1], request, 0.0)
        assert hashing(header="x-user").pick(hosts, request, 0.0) is there
    assert slot(b"ann") == SLOT_OF_ANN


SLOT_OF_ANN = 2104
"""Written down, because a new version of us must not move everybody's keys."""


@given(st.integers(2, 12), st.data())
def test_only_the_keys_of_who_leaves_move(number, data):
    """Rendezvous: without one endpoint, every slot of the others stays where it was."""
    names = [f"10.0.0.{each}:80" for each in range(number)]
    gone = data.draw(st.integers(0, number - 1))
    left = [name for name in names if name != names[gone]]
    for each in data.draw(st.lists(st.integers(0, SLOTS - 1), min_size=1, max_size=50)):
        before = names[winner(each, names)]
        after = left[winner(each, left)]
        assert after == before or before == names[gone]


def test_slots_are_spread_evenly():
    """Each of ten endpoints has its tenth of the slots, within four standard deviations."""
    names = [f"10.0.0.{each}:80" for each in range(10)]
    shares = Counter(winner(number, names) for number in range(SLOTS))
    deviation = (SLOTS * 0.1 * 0.9) ** 0.5
    assert all(abs(shares[each] - SLOTS / 10) < 4 * deviation for each in range(10))


def test_a_retry_elsewhere_does_not_confuse():
    """Other lists in between, as when an endpoint has just failed, change nothing for the usual one."""
    hosts, ways, request = endpoints(4), hashing(header="x-user"), asking(b"X-User: ann\r\n")
    usual = ways.pick(hosts, request, 0.0)
    others = [host for host in hosts if host is not usual]
    assert ways.pick(others, request, 0.0) is not usual
    assert ways.pick(hosts, request, 0.0) is usual


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("round_robin", "RoundRobin"),
        ("p2c", "P2c"),
        ("ewma", "Ewma"),
        ("{hash: {header: x-user}}", "Hash"),
        ("{hash: {path: true}}", "Hash"),
    ],
)
def test_names(text, kind):
    """Each name stands for its way."""
    from podpatterns.ambassador.upstreams.hosts import HostsConfig

    config = decode(parse(f"addresses: [a:1]\nbalance: {text}")[0], HostsConfig)
    assert type(balancer(config.balance, random.random)).__name__ == kind


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, 'hash needs exactly one of header, cookie, query and "path: true", not none'),
        ({"path": True, "query": "a"}, "not query and path"),
        ({"header": "a b"}, '"a b" is not the name of a header'),
        ({"cookie": "a;b"}, '"a;b" is not the name of a cookie'),
    ],
)
def test_mistakes(options, message):
    """Are named."""
    with pytest.raises((ValueError, InvalidField)) as caught:
        HashKeyConfig(**options)
    assert message in str(caught.value)


def test_a_key_is_found_in_any_request():
    """Whatever stands in the head, a key is bytes: configurations are compiled once, requests are never wrong."""
    keys = [HashKeyConfig(**options).compile() for options in ({"header": "a"}, {"cookie": "a"}, {"query": "a"})]
    for head in (b"", b"A:\r\n", b"Cookie: a\r\n", b"Cookie: a=\r\n", b"Cookie: ;;=;a=;\r\n"):
        for target in (b"/?a", b"/?a=", b"/?%", b"/?%61=%", b"/??a=1"):
            assert all(isinstance(key(asking(head, target)), bytes) for key in keys)


UPSTREAMS = """
ambassador:
  listeners:
  - listen: 127.0.0.1:8700
    routes: [{to: carts}]
  upstreams:
    carts: {addresses: [%s], balance: %s}
"""


@pytest.mark.parametrize(
    ("addresses", "balance", "head", "expected"),
    [
        ("10.0.0.1:80", "p2c", "", "to carts: 10.0.0.1:80; connect"),
        ("api:80", "round_robin", "", "to carts: api:80; connect"),
        ("10.0.0.1:80, 10.0.0.2:80", "round_robin", "", "10.0.0.2:80, each in turn; connect"),
        ("10.0.0.1:80, 10.0.0.2:80", "p2c", "", "10.0.0.2:80, of two at random the one with fewer requests; connect"),
        ("10.0.0.1:80, 10.0.0.2:80", "ewma", "", "10.0.0.2:80, of two at random the faster one; connect"),
        (
            "10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80",
            "{hash: {header: x-user}}",
            "X-User: ann\n",
            "10.0.0.3:80, of these 10.0.0.%d:80 by header x-user; connect",
        ),
        ("10.0.0.1:80, 10.0.0.2:80", "{hash: {cookie: id}}", "", "in turn, because it has no cookie id; connect"),
        ("api:80", "{hash: {path: true}}", "", "api:80 by path; connect"),
    ],
)
def test_explain(addresses, balance, head, expected):
    """Says which address a request would get, where that is certain, and how one is chosen, where it is not."""
    config = loads([("a.yaml", UPSTREAMS % (addresses, balance))], {}).patterns["ambassador"]
    text = "\n".join(config.explain(f"GET / HTTP/1.1\nHost: a\n{head}"))
    if "%d" in expected:
        hosts = [SimpleNamespace(identity=f"10.0.0.{each}:80") for each in (1, 2, 3)]
        chosen = hashing(header="x-user").pick(hosts, asking(b"X-User: ann\r\n"), 0.0)
        expected %= hosts.index(chosen) + 1
    assert expected in text
