"""The configuration: one screen of YAML, every mistake in it with its place; routes; explain."""

import pytest

from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import read_request
from podpatterns.ambassador.match import MatchConfig, compile_match
from podpatterns.errors import ConfigError
from podpatterns.runtime import config as configuration
from podpatterns.runtime.config import loads

GOOD = """
ambassador:
  listeners:
  - listen: 127.0.0.1:8000
    routes:
    - {match: {prefix: /admin, headers: {x-tester: "*"}}, to: test}
    - split: {stable: 90, test: 10}
  upstreams:
    stable: 10.0.0.1:80
    test: {addresses: ["10.0.0.2:80"], host: test.example}
"""


def load(text):
    return loads([("a.yaml", text)], {}).patterns["ambassador"]


def problems(text):
    with pytest.raises(ConfigError) as caught:
        load(text)
    return [str(problem) for problem in caught.value.problems]


def test_short_forms():
    """An address alone is an upstream; a listener is http and an upstream is hosts, unless they say otherwise."""
    config = load(GOOD)
    assert config.upstreams["stable"].addresses == ("10.0.0.1:80",)
    assert config.listeners[0].routes[1].weights == {"stable": 90, "test": 10}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("test: 10}", "tset: 10}", "a.yaml:7:33: ambassador.listeners[0].routes[1].split.tset: unknown"),
        ("to: test}", "to: tst}", 'unknown upstream "tst"; did you mean "test"?'),
        ("{stable: 90, test: 10}", "{stable: 0, test: 0}", "at least one weight must be above 0"),
        ("{stable: 90, test: 10}", "{stable: -1}", "negative"),
        ("- split: {stable: 90, test: 10}", "- {}", 'a route needs either "to: NAME" or "split: {NAME: WEIGHT, ...}"'),
        ("prefix: /admin", "prefix: admin", 'did you mean "/admin"?'),
        ("prefix: /admin", "prefix: /a, path: /b", "only one of path, prefix and regex"),
        ("prefix: /admin", "regex: '('", "is not a regular expression"),
        ("prefix: /admin", "methods: [get]", 'did you mean "GET"?'),
        ("listen:", "lisen:", 'unknown key "lisen"; did you mean "listen"?'),
        ("10.0.0.1:80", ":80", 'lacks a host; did you mean "127.0.0.1:80"?'),
        ("host: test.example", 'host: "a\\r\\nb"', "is not a host name"),
        ("- listen", "- type: htp\n    listen", 'unknown ambassador listener "htp"; did you mean "http"?'),
    ],
)  # fmt: skip
def test_mistakes_are_named(old, new, expected):
    """What is wrong, where, and what was probably meant."""
    assert old in GOOD
    assert any(expected in problem for problem in problems(GOOD.replace(old, new)))


def test_every_unknown_name_is_reported_at_once():
    """Two mistakes, two problems."""
    assert len(problems(GOOD.replace("test: 10}", "tset: 10}").replace("to: test}", "to: tst}"))) == 2


REQUEST = b"GET /api/users?id=1 HTTP/1.1\r\nHost: Shop.example:8000\r\nX-Tester: ann\r\nX-Tester: bob\r\n\r\n"


@pytest.mark.parametrize(
    ("match", "wanted"),
    [
        ({}, True),
        ({"prefix": "/api"}, True),
        ({"prefix": "/api/"}, True),
        ({"prefix": "/api/users"}, True),
        ({"prefix": "/ap"}, False),
        ({"prefix": "/"}, True),
        ({"path": "/api/users"}, True),
        ({"path": "/api"}, False),
        ({"regex": "/api/[a-z]+"}, True),
        ({"regex": "/api"}, False),
        ({"methods": ("GET", "HEAD")}, True),
        ({"methods": ("POST",)}, False),
        ({"hosts": ("shop.example",)}, True),
        ({"hosts": ("*.example",)}, True),
        ({"hosts": ("*.shop.example",)}, False),
        ({"hosts": ("shopXexample",)}, False),
        ({"headers": {"x-tester": "*"}}, True),
        ({"headers": {"X-TESTER": "bob"}}, True),
        ({"headers": {"x-tester": "bo"}}, False),
        ({"headers": {"tester": "*"}}, False),
        ({"prefix": "/api", "methods": ("POST",)}, False),
        ({"prefix": "/api", "headers": {"x-tester": "ann"}}, True),
    ],
)
def test_routes_match(match, wanted):
    """Everything that is set must hold."""
    test = compile_match(MatchConfig(**match))
    assert (test is None or test(read_request(REQUEST, Limits()))) is wanted


def test_explain():
    """Route, versions with shares, what is removed, added, sent again."""
    text = "\n".join(load(GOOD).explain(None))
    assert "90.00% to stable: 10.0.0.1:80" in text
    assert "removes Connection: keep-alive" in text
    assert "adds Via" in text
    text = "\n".join(load(GOOD).explain("POST /admin/x HTTP/1.1\nHost: a\nx-tester: me\nContent-Length: 5\n\nhello"))
    assert "100.00% to test: 10.0.0.2:80" in text
    assert "Host becomes test.example" in text
    assert "sent again: up to 2 times, after no connection came about\n" in text
    assert "refused with 400" in "\n".join(load(GOOD).explain("GET / HTTP/1.1"))


def test_explain_says_how_long_and_how_often():
    """Retries that this request may have, time limits of the route, the ramp, and how the upstream is spoken to; no
    secret, not even that of a URL."""
    text = """
ambassador:
  listeners:
  - listen: 127.0.0.1:8000
    routes:
    - match: {prefix: /never}
      to: stable
      retry: {attempts: 0}
    - split: {stable: 3, other: 1, test: 0}
      ramp: {steps: [20, 100], p99: 500ms}
      retry: {attempts: 1, on: [reset, "503"]}
      timeout: 5s
      first_byte: 2s
  upstreams:
    stable: {addresses: ["https://stable.example"], credentials: {type: bearer, token: /run/token}}
    other: 10.0.0.2:80
    test: 10.0.0.3:80
"""
    explained = "\n".join(load(text).explain("GET /\nHost: a"))
    assert "60.00% to stable: https://stable.example; connect 1s" in explained
    assert "; Host becomes stable.example; TLS; credentials: bearer" in explained
    assert "/run/token" not in explained
    assert "20.00% to test: 10.0.0.3:80" in explained
    assert (
        "ramp: test starts with 20 %, then 100 %; each step takes 1m and 200 requests; "
        "it goes back to 0 unless 99% succeed and 99% take no longer than 500ms\n"
    ) in explained
    assert "sent again: once, after it was closed before an answer or an answer 503\n" in explained
    assert "this route waits 2s for the first byte" in explained
    assert "this route takes 5s in all" in explained
    assert "sent again: never" in "\n".join(load(text).explain("GET /never\nHost: a"))


def test_a_sample_may_leave_the_version_out() -> None:
    """People type `GET /path`; the explanation is that of HTTP/1.1."""
    text = "ambassador: {listeners: [{listen: 127.0.0.1:80, routes: [{to: a}]}], upstreams: {a: 'h:1'}}"
    ambassador = configuration.loads([("f.yaml", text)]).patterns["ambassador"]
    typed = list(ambassador.explain("GET /x\nHost: a"))
    assert typed == list(ambassador.explain("GET /x HTTP/1.1\nHost: a"))
    assert not any("refused" in line for line in typed)
