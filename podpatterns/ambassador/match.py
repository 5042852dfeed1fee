"""Matching: what a request must have to take a route. Compiled into one test. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import unquote_to_bytes

from podpatterns.ambassador.http1.grammar import TOKEN
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.policies.fields import Demand, ValueConfig, check_demand
from podpatterns.runtime.regex import check_regex
from podpatterns.runtime.schema import Config, InvalidField, Items

Test = Callable[[Request], bool]


class MatchConfig(Config, frozen=True, kw_only=True):
    """What a request must have; everything that is set must hold."""

    hosts: Items[str] = ()
    """Host names without port, in any case; `*.example.org` stands for any name below. Empty: every host."""

    path: str | None = None
    """The whole path, exactly as it is sent (nothing is decoded or normalized). None: see `prefix` and `regex`."""

    prefix: str | None = None
    """The start of the path, by whole segments: `/api` stands for `/api` and `/api/users`, not `/apis`. None: any
    path."""

    regex: str | None = None
    """A regular expression (Python's) for the whole path. None: any path."""

    methods: Items[str] = ()
    """Methods, in capitals, such as `GET`. Empty: every method."""

    headers: dict[str, str | ValueConfig] = {}
    """Fields by name, in any case, with their whole value; `*` for any value, `{regex: …}` for one that is like an
    expression. A field that occurs more than once matches if one of its values does."""

    query: dict[str, str | ValueConfig] = {}
    """Parameters of the query by name, with their whole value, decoded: `a b` stands for `a+b` and `a%20b`. `*` and
    `{regex: …}` as in `headers`; of several values one is enough."""

    def __post_init__(self) -> None:
        """At most one kind of path, each of them well-formed."""
        given = [name for name in ("path", "prefix", "regex") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InvalidField(given[1], f"only one of path, prefix and regex can be given, not {' and '.join(given)}")
        for name in ("path", "prefix"):
            value = getattr(self, name)
            if value is not None and not value.startswith("/"):
                raise InvalidField(name, f'must start with "/"; did you mean "/{value}"?')
        if self.regex is not None:
            check_regex(self.regex, "regex")
        for method in self.methods:
            if TOKEN.fullmatch(method.encode()) is None or method != method.upper():
                raise InvalidField("methods", f'"{method}" is not a method; did you mean "{method.upper()}"?')
        for header in self.headers:
            check_demand(header, "headers")

    def __str__(self) -> str:
        """For people: `GET, path below /api, x-tester: *`."""
        parts = [", ".join(self.methods)] if self.methods else []
        parts += [f"host {' or '.join(self.hosts)}"] if self.hosts else []
        if self.prefix is not None:
            parts.append(f"path below {self.prefix}")
        if self.path is not None or self.regex is not None:
            parts.append(f"path {self.path if self.path is not None else f'like {self.regex}'}")
        parts += [f"{name}: {value}" for name, value in _shown(self.headers)]
        parts += [f"?{name}={value}" for name, value in _shown(self.query)]
        return ", ".join(parts) or "every request"


def _shown(demands: Mapping[str, str | ValueConfig]) -> Iterator[tuple[str, str]]:
    for name, value in demands.items():
        yield name, f"like {value.regex}" if isinstance(value, ValueConfig) else value


def compile_match(match: MatchConfig) -> Test | None:
    """One test for all that is set, the cheapest first; None if there is nothing to test."""
    tests: list[Test] = []
    if match.methods:
        tests.append(_method(frozenset(method.encode() for method in match.methods)))
    if match.path is not None:
        tests.append(_exact(match.path.encode()))
    if match.prefix is not None:
        tests.append(_pattern(re.compile(re.escape(match.prefix.rstrip("/").encode()) + rb"(?:/.*)?", re.DOTALL)))
    if match.regex is not None:
        tests.append(_pattern(re.compile(match.regex.encode())))
    if match.hosts:
        tests.append(_host(match.hosts))
    tests += [_parameter(name, value) for name, value in match.query.items()]
    tests += [Demand(name, value) for name, value in match.headers.items()]
    if not tests:
        return None
    return tests[0] if len(tests) == 1 else lambda request: all(test(request) for test in tests)


def _method(methods: frozenset[bytes]) -> Test:
    return lambda request: request.method in methods


def _exact(path: bytes) -> Test:
    return lambda request: request.path == path


def _pattern(pattern: re.Pattern[bytes]) -> Test:
    return lambda request: pattern.fullmatch(request.path) is not None


def _host(hosts: Sequence[str]) -> Test:
    names = "|".join(
        rb"[^.].*".decode() + re.escape(host[1:]) if host.startswith("*.") else re.escape(host) for host in hosts
    )
    pattern = re.compile(rb"(?i:" + names.encode() + rb")(?::[0-9]*)?")
    return lambda request: pattern.fullmatch(request.host) is not None


def _parameter(name: str, value: str | ValueConfig) -> Test:
    """A parameter is looked for in the query as it was sent: one search, and nothing is decoded that is not found."""
    start = rb"(?:^|&)" + _encoded(name)
    if isinstance(value, ValueConfig):
        found, like = re.compile(start + rb"(?:=([^&]*))?(?=&|$)"), re.compile(value.regex.encode()).fullmatch
        return lambda request: any(like(_decoded(each)) for each in found.findall(_query(request)))
    if value == "*":
        pattern = re.compile(start + rb"(?:[=&]|$)")
    elif not value:
        pattern = re.compile(start + rb"=?(?:&|$)")
    else:
        pattern = re.compile(start + rb"=" + _encoded(value) + rb"(?:&|$)")
    return lambda request: pattern.search(_query(request)) is not None


def _query(request: Request) -> bytes:
    return request.target.partition(b"?")[2]


def _decoded(value: bytes) -> bytes:
    return unquote_to_bytes(value.replace(b"+", b" "))


def _encoded(text: str) -> bytes:
    """An expression for each form in which a text may stand in a query; each byte has two at most."""
    return b"".join(map(_byte, text.encode()))


def _byte(byte: int) -> bytes:
    quoted = b"%%(?i:%02x)" % byte
    if byte == 0x20:
        return rb"(?:\+|" + quoted + rb")"
    # A plus is a space in a query, an ampersand ends the value, and a percent sign starts a code.
    if 0x20 < byte < 0x7F and byte not in b"+&%#":
        return rb"(?:" + re.escape(bytes([byte])) + rb"|" + quoted + rb")"
    return quoted
