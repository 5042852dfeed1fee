"""Matching: each demand for itself, by the whole value, whatever stands beside it and however it was encoded."""

import re
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import read_request
from podpatterns.ambassador.match import MatchConfig, compile_match
from podpatterns.ambassador.policies.fields import ValueConfig
from podpatterns.errors import ConfigError
from podpatterns.runtime.config import loads


def asking(target="/", fields="", method="GET"):
    return read_request(f"{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode("latin-1"), Limits())


def matches(request, **demands):
    return compile_match(MatchConfig(**demands))(request)


@pytest.mark.parametrize(
    ("target", "query", "expected"),
    [
        ("/?debug=1", {"debug": "1"}, True),
        ("/?a=2&debug=1&b=3", {"debug": "1"}, True),
        ("/?debug=1", {"debug": "*"}, True),
        ("/?debug", {"debug": "*"}, True),
        ("/?debug=", {"debug": "*"}, True),
        ("/?debug", {"debug": ""}, True),
        ("/?debug=&x", {"debug": ""}, True),
        ("/?debug=1", {"debug": ""}, False),
        ("/?debug=12", {"debug": "1"}, False),
        ("/?mydebug=1", {"debug": "1"}, False),
        ("/?debugs", {"debug": "*"}, False),
        ("/?x=debug", {"debug": "*"}, False),
        ("/debug=1", {"debug": "1"}, False),
        ("/", {"debug": "*"}, False),
        ("/?debug=0&debug=1", {"debug": "1"}, True),
        ("/?d%65bug=%31", {"debug": "1"}, True),
        ("/?q=a+b", {"q": "a b"}, True),
        ("/?q=a%20b", {"q": "a b"}, True),
        ("/?q=a%2Bb", {"q": "a+b"}, True),
        ("/?q=a+b", {"q": "a+b"}, False),
        ("/?q=%c3%A4", {"q": "ä"}, True),
        ("/?q=%2526", {"q": "%26"}, True),
        ("/?a=1&b=2", {"a": "1", "b": "2"}, True),
        ("/?a=1&b=3", {"a": "1", "b": "2"}, False),
        ("/?v=v12", {"v": ValueConfig(regex="v[0-9]+")}, True),
        ("/?v=xv12", {"v": ValueConfig(regex="v[0-9]+")}, False),
        ("/?v=%7612", {"v": ValueConfig(regex="v[0-9]+")}, True),
        ("/?v=x&v=v1", {"v": ValueConfig(regex="v[0-9]+")}, True),
        ("/?v", {"v": ValueConfig(regex="")}, True),
        ("/?a?v=1", {"v": "1"}, False),
    ],
)
def test_queries(target, query, expected):
    """Names and values as they are meant, decoded; one of several values is enough; all demands must hold."""
    assert matches(asking(target), query=query) is expected


NAMES = st.text("ab&=+% ä?/;", min_size=1, max_size=4)
ENCODERS = st.sampled_from([quote, quote_plus, lambda text, **_: "".join(f"%{byte:02x}" for byte in text.encode())])


@given(st.lists(st.tuples(NAMES, st.text("ab&=+% ä?/;*", max_size=4))), NAMES, st.text("ab&+% ä", min_size=1), ENCODERS)
def test_a_query_matches_however_it_was_encoded(pairs, name, value, encode):
    """The same as decoding the whole query and looking for the pair, for every encoding of it."""
    with_it = [*pairs, (name, value)]
    for these in (pairs, with_it):
        query = "&".join(f"{encode(key, safe='')}={encode(each, safe='')}" for key, each in these)
        decoded = parse_qsl(query, keep_blank_values=True)
        assert matches(asking(f"/?{query}"), query={name: value}) is ((name, value) in decoded)
        assert matches(asking(f"/?{query}"), query={name: "*"}) is (name in dict(decoded))
        like = ValueConfig(regex=re.escape(value))
        assert matches(asking(f"/?{query}"), query={name: like}) is ((name, value) in decoded)
    assert matches(asking("/?" + urlencode(with_it)), query={name: value})


@pytest.mark.parametrize(
    ("fields", "headers", "expected"),
    [
        ("X-User: 17\r\n", {"x-user": ValueConfig(regex="[0-9]+")}, True),
        ("X-User: 17a\r\n", {"x-user": ValueConfig(regex="[0-9]+")}, False),
        ("X-User: a\r\nx-user: 17 \r\n", {"X-User": ValueConfig(regex="[0-9]+")}, True),
        ("", {"x-user": ValueConfig(regex=".*")}, False),
        ("X-User:\r\n", {"x-user": ValueConfig(regex="")}, True),
        ("X-User: a\r\n", {"x-user": "a", "x-other": "*"}, False),
        ("X-User: a\r\nX-Other: b\r\n", {"x-user": "a", "x-other": "*"}, True),
        ("User-Agent: Mozilla/5.0 (iPhone)\r\n", {"user-agent": ValueConfig(regex=".*iPhone.*")}, True),
    ],
)
def test_fields(fields, headers, expected):
    """The whole value, by text or expression, without the spaces around it."""
    assert matches(asking(fields=fields), headers=headers) is expected


def test_everything_must_hold():
    """Method, path, host, field and parameter: each alone is not enough."""
    demands = {
        "methods": ("GET", "PUT"),
        "prefix": "/api",
        "hosts": ("a", "*.b"),
        "headers": {"x": "1"},
        "query": {"y": "*"},
    }
    assert matches(asking("/api/x?y", "X: 1\r\n"), **demands)
    for request in (
        asking("/api/x?y", "X: 1\r\n", method="POST"),
        asking("/apis?y", "X: 1\r\n"),
        asking("/api/x?y", "X: 2\r\n"),
        asking("/api/x?z", "X: 1\r\n"),
        read_request(b"GET /api?y HTTP/1.1\r\nHost: b\r\nX: 1\r\n\r\n", Limits()),
    ):
        assert not matches(request, **demands)


def test_nothing_to_test_is_no_test():
    """A route for every request costs nothing per request."""
    assert compile_match(MatchConfig()) is None


YAML = """
ambassador:
  listeners:
  - listen: 127.0.0.1:8000
    routes:
    - match: {query: {version: {regex: "v[0-9]+"}, debug: "*"}, headers: {x-user: {regex: "[0-9]+"}, x-team: shop}}
      to: test
    - to: stable
  upstreams: {stable: "10.0.0.1:80", test: "10.0.0.2:80"}
"""


def test_explain_shows_the_match():
    """In words, the expressions included."""
    config = loads([("a.yaml", YAML)], {}).patterns["ambassador"]
    head = "GET /?version=v2&debug HTTP/1.1\nHost: a\nX-User: 7\nX-Team: shop\n"
    shown = "\n".join(config.explain(head))
    assert "(x-user: like [0-9]+, x-team: shop, ?version=like v[0-9]+, ?debug=*)" in shown
    assert "route route-1 (every request)" in "\n".join(config.explain(head.replace("v2", "w")))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"v[0-9]+"', '"v["', r"routes\[0\]\.match\.query\.version\.regex: is not a regular expression"),
        ("x-user", "'x user'", "is not the name of a field"),
        ('regex: "v', 'regx: "v', 'did you mean "regex"'),
        ("x-team: shop", "x-team: [shop]", "x-team"),
    ],
)
def test_mistakes_are_named(old, new, expected):
    """Where it stands, and what is wrong with it."""
    with pytest.raises(ConfigError, match=expected):
        loads([("a.yaml", YAML.replace(old, new))], {})
