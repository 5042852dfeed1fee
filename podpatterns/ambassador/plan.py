"""The plan: routes compiled from the configuration, so that what is not used costs nothing per request. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.route import Handler, MatchConfig, Route

Test = Callable[[Request], bool]


class Plan:
    """The routes of one listener; the first that matches a request counts."""

    __slots__ = ("_otherwise", "_tests", "only", "routes")

    def __init__(self, routes: Sequence[Route], otherwise: Handler) -> None:
        self.routes = tuple(routes)
        self._otherwise = otherwise
        self._tests = [(compile_match(route.config.match), route) for route in routes]
        first = self._tests[0] if self._tests else None
        self.only = first[1] if first is not None and first[0] is None else None
        """The first route, if it takes every request."""

    def match(self, request: Request) -> Handler:
        """The route for a request, or what deals with those that no route wants."""
        for test, route in self._tests:
            if test is None or test(request):
                return route
        return self._otherwise


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
    tests += [_header(name, value) for name, value in match.headers.items()]
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


def _header(name: str, value: str) -> Test:
    pattern, wanted = named(name.lower().encode()), value.encode()
    if value == "*":
        return lambda request: pattern.search(request.head) is not None
    return lambda request: any(found.strip(b" \t") == wanted for found in pattern.findall(request.head))
