"""Routes on which the request has a say in its version.

They are a class of their own, chosen when the routes are built, so that all other routes have nothing to ask for.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import random
from typing import TYPE_CHECKING

from podpatterns.ambassador.events import AmbassadorEvents, Tally
from podpatterns.ambassador.exchange import Exchange
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.http1.response import Response
from podpatterns.ambassador.override import Override
from podpatterns.ambassador.route import Route, RouteConfig, Target
from podpatterns.ambassador.sticky import Cookie, Key
from podpatterns.ambassador.upstreams import Upstream

if TYPE_CHECKING:
    from podpatterns.ambassador.downstream import Downstream


class MarkedExchange(Exchange):
    """An exchange whose response gets a line from us, if it comes from the upstream."""

    __slots__ = ("_line",)

    def __init__(self, client: Downstream, request: Request, upstream: Upstream, tally: Tally, line: bytes) -> None:
        super().__init__(client, request, upstream, tally)
        self._line = line

    def _mark(self, response: Response) -> None:
        response.head += self._line
        response.verbatim = False

    def _respond(self, response: Response, data: bytes) -> None:
        self._mark(response)
        super()._respond(response, data)

    def _switch(self, response: Response, data: bytes) -> None:
        self._mark(response)
        super()._switch(response, data)


class SteeredRoute(Route):
    """A route with an override, or sticky. Only versions that were drawn count as picks: by them shares are judged."""

    def __init__(
        self, name: str, listener: str, config: RouteConfig, upstreams: Mapping[str, Upstream], events: AmbassadorEvents
    ) -> None:
        super().__init__(name, listener, config, upstreams, events)
        sticky = config.sticky
        self._override = Override(config.override, self.targets) if config.override is not None else None
        self._cookie, self._key, self._drained = None, None, "migrate"
        if sticky is not None:
            self._drained = sticky.drained
            self._key = Key(sticky.header) if sticky.header is not None else None
            self._cookie = Cookie(sticky.cookie, sticky.max_age, self.targets) if sticky.cookie is not None else None

    def handle(self, client: Downstream, request: Request, payload: bytes, *, complete: bool) -> None:
        """See Route."""
        target, line = self.choose(request)
        if line:
            exchange: Exchange = MarkedExchange(client, request, target.upstream, target.tally, line)
        else:
            exchange = Exchange(client, request, target.upstream, target.tally)
        client.exchange = exchange
        exchange.begin(payload, complete=complete)

    def choose(self, request: Request) -> tuple[Target, bytes]:
        """The version for a request, and the line that its response gets (empty: none).

        The override comes first; it neither uses nor changes what a client is stuck to.
        """
        if self._override is not None:
            version = self._override.version(request)
            if version is not None:
                return self.targets[version], b""
        if self._cookie is not None:
            return self._by_cookie(self._cookie, request)
        if self._key is not None:
            key = self._key.value(request)
            if key:
                return self._placed(key), b""
        return self.draw(), b""

    def _by_cookie(self, cookie: Cookie, request: Request) -> tuple[Target, bytes]:
        version = cookie.version(request)
        if version is None or (self._drained == "migrate" and not self.split.weights[version]):
            target = self.draw()
            return target, cookie.setting(target.upstream.name)
        target = self.targets[version]
        if not target.upstream.available:
            # Another version helps out; the cookie stays, so the client is back on its own as soon as that is.
            instead = self.split.pick(random(), self.available())  # noqa: S311 - a share, not a secret
            return target if instead is None else self.targets[instead], b""
        return target, cookie.removal if self._drained == "expire" and not self.split.weights[version] else b""

    def _placed(self, key: bytes) -> Target:
        version = self.split.place(key) or ""
        if not self.targets[version].upstream.available:
            version = self.split.place(key, self.available()) or version
        return self.targets[version]


def build_route(
    name: str, listener: str, config: RouteConfig, upstreams: Mapping[str, Upstream], events: AmbassadorEvents
) -> Route:
    """The kind of route that a configuration needs."""
    kind = Route if config.override is None and config.sticky is None else SteeredRoute
    return kind(name, listener, config, upstreams, events)
