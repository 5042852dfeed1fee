"""Policies without sockets: buckets, addresses of redirects, texts with variables, and what a configuration may say."""

import re
from types import SimpleNamespace
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import read_request
from podpatterns.ambassador.http1.response import read_response
from podpatterns.ambassador.policies.headers import FieldsConfig
from podpatterns.ambassador.policies.rate_limit import Buckets, RateLimitConfig
from podpatterns.ambassador.policies.redirect import RedirectConfig
from podpatterns.ambassador.policies.rewrite import RewriteConfig
from podpatterns.ambassador.policies.variables import REQUEST, RESPONSE, check_text, compile_text
from podpatterns.errors import ConfigError
from podpatterns.runtime.config import loads
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration


def asking(target="/", host="shop:8080", method="GET"):
    return read_request(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), Limits())


# --- buckets ------------------------------------------------------------------------------------------------------

CLOCKS = st.lists(st.floats(0, 3, allow_subnormal=False), max_size=60)


def limit(requests, burst=None, **options):
    return RateLimitConfig(requests=requests, per=Duration("1s"), burst=burst, **options)


@given(st.integers(1, 20), st.integers(1, 20), CLOCKS)
def test_never_more_than_the_burst_and_the_rate(requests, burst, pauses):
    """In any stretch of time no more is let through than the burst and what the rate has added since."""
    buckets, now, passed = Buckets(limit(requests, burst)), 1000.0, []
    for pause in pauses:
        now += pause
        if not buckets.take(b"", now):
            passed.append(now)
    for first, start in enumerate(passed):
        for last, end in enumerate(passed[first:], first):
            assert last - first + 1 <= burst + (end - start) * requests + 1e-6


@given(st.integers(1, 20), st.integers(1, 20), CLOCKS)
def test_whoever_waits_as_told_is_let_through(requests, burst, pauses):
    """The wait is enough, and nothing shorter is; a refusal takes nothing."""
    buckets, now = Buckets(limit(requests, burst)), 1000.0
    for pause in pauses:
        now += pause
        wait = buckets.take(b"", now)
        if wait > 1e-6:
            assert buckets.take(b"", now + wait * 0.9) > 0
            now += wait
            assert buckets.take(b"", now) == 0


@given(st.integers(1, 50), st.integers(1, 50))
def test_a_quiet_time_fills_the_bucket(requests, burst):
    """The burst at once, and not one more; as many again after the time that they take at the rate."""
    buckets = Buckets(limit(requests, burst))
    for now in (1000.0, 1000.0 + burst / requests + 1e-6):
        assert [buckets.take(b"", now) for _ in range(burst)] == [0.0] * burst
        assert buckets.take(b"", now) > 0


def test_a_client_that_counts_by_the_clock_is_never_refused():
    """By default the burst is the rate: as many at the start of every second are let through."""
    buckets = Buckets(limit(7))
    for second in range(50):
        assert all(not buckets.take(b"", 1000.0 + second) for _ in range(7))


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c" * 100, b"c" * 99]), st.floats(0, 0.4)), max_size=50))
def test_keys_have_limits_of_their_own(asked):
    """Each key is let through as if it were alone, long ones too."""
    together, alone, now = Buckets(limit(3)), {}, 1000.0
    for key, pause in asked:
        now += pause
        assert together.take(key, now) == alone.setdefault(key, Buckets(limit(3))).take(b"", now)


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 9), st.floats(0, 1)), max_size=80))
def test_memory_is_bounded(most, asked):
    """Never more keys than allowed; who was asked last stays; one that is at rest is forgotten without loss."""
    buckets, now = Buckets(limit(2, max_keys=most)), 1000.0
    for number, pause in asked:
        now += pause
        key = b"%d" % number
        refused = buckets.take(key, now) > 0
        assert len(buckets) <= most
        assert not refused or buckets.take(key, now) > 0
    buckets = Buckets(limit(2, max_keys=2))
    for second in range(10):
        buckets.take(b"%d" % second, 1000.0 + second)
    assert buckets.forgotten == 0
    buckets.take(b"x", 1009.0)
    assert buckets.forgotten == 0
    buckets.take(b"y", 1009.0)
    assert buckets.forgotten == 1


# --- redirects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "target", "expected"),
    [
        ({"scheme": "https"}, "/a?b", "https://shop/a?b"),
        ({"scheme": "https", "port": 8443}, "/a", "https://shop:8443/a"),
        ({"scheme": "https", "port": 443}, "/a", "https://shop/a"),
        ({"host": "other"}, "/a", "http://other/a"),
        ({"host": "other", "port": 80}, "/a", "http://other/a"),
        ({"host": "[::1]", "scheme": "https"}, "/a", "https://[::1]/a"),
        ({"port": 9000}, "/a?", "http://shop:9000/a?"),
        ({"path": "/new"}, "/a?b", "/new?b"),
        ({"path": "/new?x=1"}, "/a?b", "/new?x=1&b"),
        ({"prefix": "/v2", "host": "other"}, "/api/x", "http://other/v2/x"),
        ({"prefix": "/"}, "/api/x", "/x"),
    ],
)
def test_addresses(config, target, expected):
    """What is not configured stays; a port that goes without saying is not said."""
    found = RedirectConfig(**config).location(asking(target), "/api")
    assert found.decode() == expected


def test_the_server_as_a_whole():
    """`OPTIONS *` has no path; it is redirected to the root."""
    request = asking("*", method="OPTIONS")
    assert RedirectConfig(host="other").location(request, None) == b"http://other/"
    assert RewriteConfig(path="/x").rewriter(None)(request.target) == b"*"


def test_an_address_as_the_host():
    """The colons of an IPv6 address are no port."""
    for host, expected in (("[::1]", b"https://[::1]/"), ("[::1]:80", b"https://[::1]/")):
        assert RedirectConfig(scheme="https").location(asking(host=host), None) == expected


PATHS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#?"), max_size=12)


@given(PATHS, st.sampled_from(["/", "/v2", "/v2/"]))
def test_a_redirect_never_leads_to_another_host(path, prefix):
    """Whatever stands in the path: for a browser too, which takes a backslash for a slash."""
    for target in ("/api" + path, "/api/" + path, "/api//" + path, "/api/\\" + path):
        if target[4:5] not in {"", "/"}:
            continue
        location = RedirectConfig(prefix=prefix).location(asking(target), "/api").decode()
        for seen in (location, location.replace("\\", "/")):
            assert seen.startswith("/")
            assert not seen.startswith("//")
            assert urlsplit(seen).netloc == ""
            assert urlsplit(urljoin("http://shop:8080/x", seen)).netloc == "shop:8080"


# --- texts with variables -----------------------------------------------------------------------------------------

EXCHANGE = SimpleNamespace(
    client=SimpleNamespace(address="10.0.0.1"),
    request=asking("/a?b", method="PUT"),
    route=SimpleNamespace(listener="in", name="r"),
    target=SimpleNamespace(upstream=SimpleNamespace(name="test")),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{client}", b"10.0.0.1"),
        ("for={client};host={host}", b"for=10.0.0.1;host=shop:8080"),
        ("{method} {path}", b"PUT /a"),
        ("{listener}/{route}/{version}", b"in/r/test"),
        ("{{client}}", b"{client}"),
        ('{{"a": "{version}"}}', b'{"a": "test"}'),
        ("ä", "ä".encode()),
        ("", b""),
    ],
)
def test_texts(text, expected):
    """Variables are filled in, doubled braces are braces, and a text without variables is made once."""
    check_text(text, RESPONSE, "x")
    found = compile_text(text, RESPONSE)
    assert isinstance(found, bytes) == (re.search(r"(?<!\{)\{[a-z]", text) is None)
    assert (found if isinstance(found, bytes) else found(EXCHANGE)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{vresion}", 'unknown variable "vresion"; did you mean "version"?'),
        ("{", 'write "{{" for a brace'),
        ("a}b", 'write "}}" for a brace'),
        ("{}", 'unknown variable ""'),
        ("a\r\nX: b", "neither line ends"),
        ("a\0", "neither line ends"),
        (" a", "no space at its ends"),
    ],
)
def test_texts_are_checked(text, message):
    """What cannot be filled in, or could end the line, is a mistake in the configuration."""
    with pytest.raises(InvalidField, match=re.escape(message)):
        check_text(text, RESPONSE, "x")


NAMES = st.sampled_from(["a", "A", "x-b", "X-C", "set-cookie", "Date"])
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x17F, exclude_characters="{}\x7f"), max_size=5)
HEADS = st.lists(st.tuples(NAMES, VALUES.map(str.strip)), max_size=8)


@given(HEADS, st.dictionaries(NAMES, VALUES.map(str.strip), max_size=3), HEADS.map(dict), st.lists(NAMES, max_size=3))
def test_edited_heads_stay_heads(fields, set_, add, remove):
    """Exactly the fields that are meant change; the head is read as one afterwards, with the same framing."""
    config = FieldsConfig(set=set_, add=add, remove=tuple(remove))
    assert list(config.mistakes(REQUEST)) == []
    first = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
    head = (first + "".join(f"{name}: {value}\r\n" for name, value in fields)).encode()
    edited = config.editor(REQUEST)(head, EXCHANGE)
    gone = {name.lower() for name in (*set_, *remove)}
    kept = [(name, value) for name, value in fields if name.lower() not in gone]
    expected = [*kept, *set_.items(), *add.items()]
    assert edited == (first + "".join(f"{name}: {value}\r\n" for name, value in expected)).encode()
    assert read_response(edited + b"\r\n", b"GET", Limits()).length == 5


# --- configuration ------------------------------------------------------------------------------------------------

YAML = """
ambassador:
  listeners:
  - listen: 127.0.0.1:8000
    routes:
    - match: {prefix: /api}
      to: stable
      POLICY
  upstreams: {stable: "10.0.0.1:80"}
"""


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("rewrite: {}", "says nothing to rewrite"),
        ("rewrite: {path: /a, prefix: /b}", "only one of path, prefix and regex"),
        ("rewrite: {path: a}", 'rewrite.path: must start with "/"'),
        ("rewrite: {regex: /x}", "`regex` and `to` go together"),
        ("rewrite: {to: /x}", "`regex` and `to` go together"),
        (r"rewrite: {regex: '/(', to: '/\1'}", "rewrite.regex: is not a regular expression"),
        (r"rewrite: {regex: '/', to: '/\1'}", 'rewrite.to: there is no group "1"'),
        ("rewrite: {host: 'a b'}", 'rewrite.host: "a b" is not a host'),
        ("headers: {}", "says nothing to change"),
        ("headers: {request: {set: {connection: x}}}", "headers.request.set.connection"),
        ("headers: {request: {set: {content_length: '5'}}}", '"content_length" says where a body ends'),
        ("headers: {request: {remove: [host]}}", "rewrite: {host: NAME}"),
        ("headers: {response: {add: {transfer-encoding: chunked}}}", "headers.response.add.transfer-encoding"),
        ("headers: {request: {set: {a: '{version}'}}}", 'unknown variable "version"'),
        ('headers: {request: {set: {a: "x\\r\\ny"}}}', "headers.request.set.a: a value has neither"),
        ("headers: {request: {set: {'a b': x}}}", "is not the name of a field"),
        ("redirect: {path: /x}", "only one of to, split, redirect and respond"),
        ("rate_limit: {}", '"requests" is required'),
        ("rate_limit: {requests: 0}", "at least 1"),
        ("rate_limit: {requests: 1, per: 0s}", "longer than 0s"),
        ("rate_limit: {requests: 1, header: a, client: true}", "only one of header and client"),
        ("rate_limit: {requests: 1, header: 'a:'}", "is not the name of a field"),
        ("faults: {}", "says nothing to break"),
        ("faults: {abort: {status: 200}}", "at least 400"),
        ("faults: {abort: {percent: 10}}", 'did you mean "10%"'),
        ("faults: {delay: {percent: 10%}}", '"time" is required'),
        ("faults: {bandwidth: {rate: 0}}", "at least 1"),
        ("faults: {headers: {'a b': x}, reset: {}}", "is not the name of a field"),
    ],
)
def test_mistakes_are_named(policy, expected):
    """Where it stands, and what is wrong with it."""
    with pytest.raises(ConfigError, match=re.escape(expected)):
        loads([("a.yaml", YAML.replace("POLICY", policy))], {})


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("redirect: {}", "leads to where it came from"),
        ("redirect: {path: /a, prefix: /b}", "only one of path and prefix"),
        ("redirect: {host: 'a:80'}", "a port is given with `port`"),
        ("redirect: {status: 304, path: /}", 'unknown value "304"'),
        ("redirect: {path: /}, headers: {request: {remove: [a]}}", "headers: needs an upstream"),
        ("redirect: {path: /}, sticky: {cookie: a}", "needs a split"),
        ("respond: {status: 100}", "at least 200"),
        ("respond: {status: 204, body: x}", "has no body"),
        ("respond: {headers: {content-length: '1'}}", "says where a body ends"),
        ("respond: {headers: {content-type: a}}", "is given with `content_type`"),
        ("respond: {}, redirect: {path: /}", "only one of"),
        ("redirect: {prefix: /}", "redirect.prefix: needs a prefix to replace"),
        ("match: {path: /a}, to: stable, rewrite: {prefix: /}", "rewrite.prefix: needs a prefix to replace"),
        ("match: {path: /a}", 'a route needs either "to: NAME" or'),
    ],
)
def test_a_route_without_an_upstream(end, expected):
    """It ends in one place, and has nothing that only an upstream could use."""
    text = re.sub(r"- match.*POLICY", f"- {{{end}}}", YAML, flags=re.DOTALL)
    with pytest.raises(ConfigError, match=re.escape(expected)):
        loads([("a.yaml", text)], {})


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("rewrite: {prefix: /v2, host: h}", ["rewrites /api/x?y to /v2/x?y", "rewrites Host to h"]),
        ("headers: {request: {set: {a: b}, remove: [c]}}", ["sets a: b in the request", "removes c from the request"]),
        ("headers: {response: {add: {a: '{version}'}}}", ["adds a: {version} to the response"]),
        ("rate_limit: {requests: 9, per: 1m, client: true}", ["limits the rate: 9 in 1m for each client, 9 at once"]),
        (
            "faults: {abort: {percent: 5%}, delay: {time: 1s}}",
            ["answers 5% of them with 503", "delays 100% of them by 1s"],
        ),
        (
            "faults: {reset: {}, bandwidth: {rate: 1KiB}}",
            ["resets 100%", "sends 100% of the responses with 1KiB a second"],
        ),
    ],
)
def test_explain(policy, expected):
    """Each policy says what it would do with the request, and the versions follow."""
    config = loads([("a.yaml", YAML.replace("POLICY", policy))], {}).patterns["ambassador"]
    shown = "\n".join(config.explain("GET /api/x?y HTTP/1.1\nHost: a\n"))
    for line in expected:
        assert line in shown
    assert "to stable" in shown


def test_explain_of_an_answer():
    """Nothing is said of upstreams, for none is asked; faults for others are not mentioned."""
    for end, expected in (
        ("redirect: {prefix: /new}", "redirects with 307 to /new/x?y"),
        ("respond: {status: 404, body: gone}", "answers 404 itself, with 4 bytes of text/plain"),
    ):
        text = YAML.replace("to: stable", end).replace("POLICY", "faults: {headers: {x-chaos: '*'}, reset: {}}")
        shown = "\n".join(
            loads([("a.yaml", text)], {}).patterns["ambassador"].explain("GET /api/x?y HTTP/1.1\nHost: a\n")
        )
        assert expected in shown
        assert "stable" not in shown
        assert "resets" not in shown
