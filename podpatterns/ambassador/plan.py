"""The plan: routes compiled from the configuration, so that what is not used costs nothing per request. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from podpatterns.ambassador.handler import Handler
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.match import compile_match
from podpatterns.ambassador.route import Route


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
