"""The override: a tester's request goes to the version it names, and no share is measured by it."""

import pytest

from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import read_request
from podpatterns.ambassador.policies.override import Override, OverrideConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.ambassador.runtime import share_checks
from podpatterns.errors import ConfigError
from podpatterns.runtime.config import loads
from podpatterns.runtime.units import Duration

SPLIT = RouteConfig(split={"stable": 100, "test": 0}, override=OverrideConfig(header="X-Version"))


def saying(name):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name)


def asking(fields=b""):
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"Connection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"", None),
        (b"X-Version: test\r\n", "test"),
        (b"x-version:test \t\r\n", "test"),
        (b"X-VERSION: stable\r\n", "stable"),
        (b"X-Version: Test\r\n", None),
        (b"X-Version: tes\r\n", None),
        (b"X-Version: \r\n", None),
        (b"My-X-Version: test\r\n", None),
        (b"X-Version: nobody\r\nX-Version: test\r\n", "test"),
        (b"X-Version: \xff\r\n", None),
    ],
)
def test_names(fields, expected):
    """The field in any case, its whole value, the first one that is a version."""
    request = read_request(asking(fields), Limits())
    assert Override(SPLIT.override, SPLIT.weights).version(request) == expected


async def test_the_named_version_answers(upstream, running, ask):
    """Also with weight 0; the field is passed on; an unknown name is no error; drawn requests alone are picks."""
    stable, test = await upstream(saying(b"stable")), await upstream(saying(b"test"))
    async with running({"stable": stable, "test": test}, routes=(SPLIT,)) as proxy:
        for fields, expected in (
            (b"X-Version: test\r\n", b"test"),
            (b"X-Version: stable\r\n", b"stable"),
            (b"X-Version: nobody\r\n", b"stable"),
            (b"", b"stable"),
        ):
            assert (await ask(proxy, asking(fields))).endswith(b"\r\n\r\n" + expected)
        (route,) = proxy.all_routes()
        assert {name: target.picks for name, target in route.targets.items()} == {"stable": 2, "test": 0}
        assert route.targets["test"].tally.requests == 1
    assert b"X-Version: test\r\n" in test.heads[0]


async def test_shares_are_judged_without_it(upstream, running, connect):
    """A tester who sends 300 requests to the version of 10 % does not make its share look wrong."""
    server = await upstream()
    routes = (RouteConfig(split={"stable": 90, "test": 10}, override=OverrideConfig(header="x-version")),)
    async with running({"stable": server, "test": server}, routes=routes) as proxy:
        client = await connect(proxy)
        for number in range(600):
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Version: test\r\n" * (number % 2) + b"\r\n")
            await client.until(b"\r\n\r\nok")
        (route,) = proxy.all_routes()
        assert sum(target.picks for target in route.targets.values()) == 300
        assert all(check.ok for check in share_checks(route))


async def test_a_named_version_that_is_away_is_an_error(upstream, running, ask, unused_tcp_port):
    """A tester is never sent to another version unawares."""
    server = await upstream()
    hosts = {"failfast": Duration("0s")}
    async with running({"stable": server, "test": unused_tcp_port}, routes=(SPLIT,), hosts=hosts) as proxy:
        for _ in range(5):
            assert (await ask(proxy, asking(b"X-Version: test\r\n"))).split()[1] in {b"502", b"503"}
    assert server.heads == []


async def test_it_costs_nothing_where_it_is_not_configured(upstream, running):
    """Other routes have no step for it."""
    server = await upstream()
    plain = RouteConfig(split={"stable": 1, "test": 1})
    async with running({"stable": server, "test": server}, routes=(SPLIT, plain)) as proxy:
        assert [len(route.steps) for route in proxy.all_routes()] == [1, 0]


YAML = """
ambassador:
  listeners:
  - listen: 127.0.0.1:8000
    routes:
    - split: {stable: 90, test: 10}
      override: {header: x-version}
  upstreams: {stable: "10.0.0.1:80", test: "10.0.0.2:80"}
"""


def test_explain():
    """The decision for a sample: the name counts, an unknown one leaves it to the weights."""
    config = loads([("a.yaml", YAML)], {}).patterns["ambassador"]
    head = "GET / HTTP/1.1\nHost: a\nX-Version: {}\n"
    assert "to test, named by x-version: 10.0.0.2:80" in "\n".join(config.explain(head.format("test")))
    assert "90.00% to stable" in "\n".join(config.explain(head.format("tset")))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{header: x-version}", "{header: 'x version'}", "is not the name of a field"),
        ("{header: x-version}", "{}", "header"),
        ("split: {stable: 90, test: 10}", "to: stable", "needs a split"),
    ],
)
def test_mistakes_are_named(old, new, expected):
    """A field that cannot be one, and a route without a choice."""
    with pytest.raises(ConfigError, match=expected):
        loads([("a.yaml", YAML.replace(old, new))], {})
