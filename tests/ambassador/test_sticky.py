"""Stickiness: a client stays on its version, what happens when that has no weight or is away, and what is counted."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import read_request
from podpatterns.ambassador.policies.override import OverrideConfig
from podpatterns.ambassador.policies.sticky import Cookie, StickyConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.ambassador.runtime import share_checks
from podpatterns.ambassador.split import Split
from podpatterns.errors import ConfigError
from podpatterns.runtime.config import loads
from podpatterns.runtime.units import Duration

DAY = Duration("1d")
BY_COOKIE = StickyConfig(cookie="v", max_age=DAY)
SET = re.compile(rb"Set-Cookie: v=([^;]*); Path=/; HttpOnly; SameSite=Lax(?:; Max-Age=(\d+))?\r\n")


def saying(name):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name)


@pytest.fixture
async def versions(upstream):
    """Two upstreams that say their name."""
    return {"stable": await upstream(saying(b"stable")), "test": await upstream(saying(b"test"))}


def split(stable, test, sticky, **options):
    return (RouteConfig(split={"stable": stable, "test": test}, sticky=sticky, **options),)


async def answer(client, fields=b""):
    """Ask once on a kept connection: the version that answers, and the cookie that it sets (None: none)."""
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
    head = await client.until(b"\r\n\r\n")
    length = int(re.search(rb"Content-Length: (\d+)", head)[1])
    found = SET.search(head)
    assert head.count(b"Set-Cookie") == (found is not None)
    return await client.exactly(length), found and found.groups()


# --- by cookie ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"", None),
        (b"Cookie: v=test\r\n", "test"),
        (b"cookie:a=1;v=test ; b=2\r\n", "test"),
        (b"Cookie: a=1\r\nCookie: v=a%20b\r\n", "a b"),
        (b"Cookie: xv=test\r\n", None),
        (b"Cookie: v=tes\r\n", None),
        (b"Cookie: v=gone; v=test\r\n", "test"),
        (b"X-Cookie: v=test\r\n", None),
        (b"Cookie: v=\r\n", None),
        (b"Cookie: v=\xff\r\n", None),
    ],
)
def test_cookies(fields, expected):
    """The cookie wherever it stands among others; a value that is no version is none."""
    request = read_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n", Limits())
    assert Cookie("v", None, ["test", "a b"]).version(request) == expected


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_what_is_set_is_understood(version):
    """Any name of a version survives the way to the client and back, and cannot add to the response."""
    cookie = Cookie("v", DAY, [version, "other"])
    line = cookie.setting(version)
    assert SET.fullmatch(line)[2] == b"86400"
    value = SET.fullmatch(line)[1]
    request = read_request(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: v=" + value + b"\r\n\r\n", Limits())
    assert cookie.version(request) == version


async def test_a_client_stays_on_its_version(versions, running, connect):
    """The cookie comes with the first response alone, and decides from then on; upstreams see it as it was sent."""
    async with running(versions, routes=split(50, 50, BY_COOKIE)) as proxy:
        client = await connect(proxy)
        for _ in range(20):
            name, (value, age) = await answer(client)
            assert (value, age) == (name, b"86400")
            for _ in range(3):
                assert await answer(client, b"Cookie: v=" + value + b"\r\n") == (name, None)
        (route,) = proxy.all_routes()
        assert sum(target.picks for target in route.targets.values()) == 20
    assert b"Cookie: v=" in b"".join(versions["stable"].heads + versions["test"].heads)


async def test_sticky_requests_do_not_count_in_the_shares(versions, running, connect):
    """300 requests of one client on the version of 10 % are no deviation; the drawn ones are judged."""
    async with running(versions, routes=split(90, 10, BY_COOKIE)) as proxy:
        client = await connect(proxy)
        for _ in range(300):
            assert await answer(client, b"Cookie: v=test\r\n") == (b"test", None)
            await answer(client)
        (route,) = proxy.all_routes()
        checks = list(share_checks(route))
        assert len(checks) == 2
        assert all(check.ok for check in checks)


@pytest.mark.parametrize(
    ("drained", "expected"),
    [
        ("migrate", [(b"stable", (b"stable", b"86400")), (b"stable", None)]),
        ("keep", [(b"test", None), (b"test", None)]),
        ("expire", [(b"test", (b"", b"0")), (b"stable", (b"stable", b"86400"))]),
    ],
)
async def test_a_version_without_weight(versions, running, connect, drained, expected):
    """Its clients move at once, stay, or are let go with their next response; new ones never get it."""
    sticky = StickyConfig(cookie="v", max_age=DAY, drained=drained)
    async with running(versions, routes=split(50, 50, sticky)) as proxy:
        (route,) = proxy.all_routes()
        client = await connect(proxy)
        assert await answer(client, b"Cookie: v=test\r\n") == (b"test", None)
        route.reweigh({"test": 0})
        jar, got = b"test", []
        for _ in expected:
            got.append(await answer(client, b"Cookie: v=%b\r\n" % jar if jar else b""))
            jar = got[-1][1][0] if got[-1][1] else jar
        assert got == expected
        assert (await answer(client))[0] == b"stable"


async def test_a_version_that_is_away(versions, running, connect):
    """Another one helps out, without a new cookie: the client is back on its own as soon as that is."""
    async with running(versions, routes=split(50, 50, BY_COOKIE)) as proxy:
        client = await connect(proxy)
        proxy.upstreams["test"].available = False
        assert await answer(client, b"Cookie: v=test\r\n") == (b"stable", None)
        proxy.upstreams["test"].available = True
        assert await answer(client, b"Cookie: v=test\r\n") == (b"test", None)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"0\r\n\r\n"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", b"HTTP/1.1 304"),
        (b"HTTP/1.1 200 OK\r\nSet-Cookie: own=1\r\nContent-Length: 2\r\n\r\nok", b"Set-Cookie: own=1\r\n"),
    ],
)
async def test_every_kind_of_response_carries_it_once(upstream, running, ask, sent, expected):
    """In the final head, whatever its framing, beside cookies of the upstream; never in an interim one."""
    server = await upstream(sent)
    async with running({"stable": server, "test": server}, routes=split(1, 1, StickyConfig(cookie="v"))) as proxy:
        got = await ask(proxy, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert expected in got
    assert len(SET.findall(got)) == 1
    assert b"Set-Cookie: v" not in got.partition(b"100 Continue\r\n\r\n")[0] or b"100 Continue" not in got
    assert b"Max-Age" not in got


async def test_a_websocket_is_sticky_too(upstream, running, connect):
    """The answer to the handshake carries the cookie."""

    async def switch(server, peer):
        await server.head(peer)
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        await peer.rest()

    server = await upstream(switch)
    async with running({"stable": server, "test": server}, routes=split(1, 1, BY_COOKIE)) as proxy:
        client = await connect(proxy)
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert SET.search(await client.until(b"\r\n\r\n"))
        assert await client.exactly(5) == b"hello"


async def test_an_error_of_ours_sticks_nobody(running, ask, unused_tcp_port):
    """A client whose version gave no response is not bound to it."""
    ports = {"stable": unused_tcp_port, "test": unused_tcp_port}
    async with running(ports, routes=split(1, 1, BY_COOKIE), hosts={"failfast": Duration("0s")}) as proxy:
        got = await ask(proxy, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 502")
    assert b"Set-Cookie" not in got


async def test_the_override_comes_first(versions, running, connect):
    """It neither uses nor changes the cookie."""
    routes = split(50, 50, BY_COOKIE, override=OverrideConfig(header="x-version"))
    async with running(versions, routes=routes) as proxy:
        client = await connect(proxy)
        assert await answer(client, b"Cookie: v=stable\r\nX-Version: test\r\n") == (b"test", None)
        assert await answer(client, b"Cookie: v=stable\r\nX-Version: tset\r\n") == (b"stable", None)


# --- by a field ---------------------------------------------------------------------------------------------------

WEIGHTS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 50), min_size=1)
KEYS = [b"user-%d" % number for number in range(4000)]


@given(WEIGHTS, st.binary(), st.data())
def test_a_key_moves_only_with_its_version(weights, key, data):
    """Without another version, or with less weight for it, a key stays where it is."""
    whole = Split(weights)
    mine = whole.place(key)
    rest = data.draw(st.sets(st.sampled_from(sorted(weights)))) | {mine}
    assert whole.place(key, rest) == mine
    assert Split({name: weight if name in rest else 0 for name, weight in weights.items()}).place(key) == mine
    assert whole.place(key, ()) is None


def test_the_shares_of_keys_are_the_weights():
    """Within four standard deviations; and it is the same in every process, so the counts are known."""
    split = Split({"stable": 90, "test": 10})
    tested = {key for key in KEYS if split.place(key) == "test"}
    assert abs(len(tested) - 400) <= 4 * (4000 * 0.1 * 0.9) ** 0.5
    more = Split({"stable": 90, "test": 30})
    assert tested <= {key for key in KEYS if more.place(key) == "test"}
    assert [number for number, key in enumerate(KEYS[:100]) if key in tested] == PLACED


PLACED = [2, 8, 12, 42, 88, 89, 92, 95]
"""Pinned: a release that places clients elsewhere would move all of them in the middle of a rollout."""


async def test_the_field_decides(versions, running, connect):
    """The same value, the same version; without the field the weights, and only that is counted."""
    async with running(versions, routes=split(50, 50, StickyConfig(header="X-User"))) as proxy:
        client = await connect(proxy)
        expected = Split({"stable": 50, "test": 50})
        for number in range(40):
            name = expected.place(b"%d" % number).encode()
            assert await answer(client, b"X-User: %d \r\n" % number) == (name, None)
        await answer(client)
        (route,) = proxy.all_routes()
        assert sum(target.picks for target in route.targets.values()) == 1
        proxy.upstreams["test"].available = False
        assert {(await answer(client, b"x-user: %d\r\n" % number))[0] for number in range(10)} == {b"stable"}


async def test_the_address_decides(versions, running, connect):
    """Each address stays on the version that its hash is placed on, whatever the request says; none of it is drawn."""
    async with running(versions, routes=split(50, 50, StickyConfig(client=True))) as proxy:
        expected = Split({"stable": 50, "test": 50})
        for number in range(1, 9):
            client = await connect(proxy, local_addr=(f"127.0.2.{number}", 0))
            for fields in (b"", b"X-Forwarded-For: 1.2.3.4\r\n"):
                name = expected.place(b"127.0.2.%d" % number).encode()
                assert await answer(client, fields) == (name, None)
        (route,) = proxy.all_routes()
        assert sum(target.picks for target in route.targets.values()) == 0


# --- configuration ------------------------------------------------------------------------------------------------

YAML = """
ambassador:
  listeners:
  - listen: 127.0.0.1:8000
    routes:
    - split: {stable: 90, test: 10}
      sticky: {cookie: v, max_age: 1d}
  upstreams: {stable: "10.0.0.1:80", test: "10.0.0.2:80"}
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{cookie: v, max_age: 1d}", "{}", 'needs either "cookie: NAME" or "header: NAME"'),
        ("cookie: v, max_age: 1d", "cookie: v, header: h", 'needs either "cookie: NAME" or "header: NAME"'),
        ("cookie: v", "cookie: 'v;w'", "is not the name of a cookie"),
        ("cookie: v", "header: h", "max_age: goes with `cookie`"),
        ("cookie: v", "client: true", "max_age: goes with `cookie`"),
        ("cookie: v, max_age: 1d", "header: h, client: true", 'needs either "cookie: NAME" or "header: NAME"'),
        ("cookie: v, max_age: 1d", "client: true, drained: keep", "needs a cookie"),
        ("cookie: v, max_age: 1d", "header: 'h h'", "is not the name of a field"),
        ("cookie: v, max_age: 1d", "header: h, drained: keep", "needs a cookie"),
        ("max_age: 1d", "max_age: 500ms", "whole seconds"),
        ("max_age: 1d", "drained: stay", "drained"),
        ("split: {stable: 90, test: 10}", "to: stable", "needs a split"),
    ],
)
def test_mistakes_are_named(old, new, expected):
    """What is wrong with it, and what was probably meant."""
    with pytest.raises(ConfigError, match=expected):
        loads([("a.yaml", YAML.replace(old, new))], {})


def test_explain():
    """The version that a cookie or a field leads to, or that one will be set."""
    head = "GET / HTTP/1.1\nHost: a\nX-User: 7\nCookie: v={}\n"
    config = loads([("a.yaml", YAML)], {}).patterns["ambassador"]
    assert "to test, kept by the cookie v" in "\n".join(config.explain(head.format("test")))
    assert "sets the cookie v" in "\n".join(config.explain(head.format("none")))
    config = loads([("a.yaml", YAML.replace("cookie: v, max_age: 1d", "header: x-user"))], {}).patterns["ambassador"]
    assert "placed by x-user" in "\n".join(config.explain(head.format("none")))
    config = loads([("a.yaml", YAML.replace("cookie: v, max_age: 1d", "client: true"))], {}).patterns["ambassador"]
    assert "placed by the address of the client" in "\n".join(config.explain(head.format("none")))


async def test_it_costs_nothing_where_it_is_not_configured(versions, running):
    """Other routes have no step for it."""
    routes = split(1, 1, BY_COOKIE) + split(1, 1, None)
    async with running(versions, routes=routes) as proxy:
        assert [len(route.steps) for route in proxy.all_routes()] == [1, 0]
