"""Steering: where a request has a say in its version, by an override or by being sticky."""

from __future__ import annotations

from random import random
from typing import TYPE_CHECKING

from podpatterns.ambassador.policies import Edit
from podpatterns.ambassador.policies.key import key_of
from podpatterns.ambassador.policies.override import Override
from podpatterns.ambassador.policies.sticky import Cookie

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.handler import Target
    from podpatterns.ambassador.http1.request import Request
    from podpatterns.ambassador.http1.response import Response
    from podpatterns.ambassador.route import Route


class Steering:
    """The step that chooses a version. Only versions that were drawn count as picks: by them shares are judged."""

    def __init__(self, route: Route) -> None:
        config, sticky = route.config, route.config.sticky
        self._route = route
        self._override = Override(config.override, route.targets) if config.override is not None else None
        self._cookie, self._key, self._drained = None, None, "migrate"
        if sticky is not None:
            self._drained = sticky.drained
            self._key = key_of(sticky.header, client=sticky.client)
            self._cookie = Cookie(sticky.cookie, sticky.max_age, route.targets) if sticky.cookie is not None else None

    def __call__(self, exchange: Exchange) -> bool:
        """See policies.Step. The override comes first; it neither uses nor changes what a client is stuck to."""
        if self._override is not None:
            version = self._override.version(exchange.request)
            if version is not None:
                exchange.target, exchange.pinned = self._route.targets[version], True
                return True
        exchange.target, line = self.choose(exchange)
        if line:
            exchange.edits += (marking(line),)
        return True

    def choose(self, exchange: Exchange) -> tuple[Target, bytes]:
        """The version for a request that names none, and the line that its response gets (empty: none)."""
        route = self._route
        if self._cookie is not None:
            return self._by_cookie(self._cookie, exchange.request)
        if self._key is not None:
            key = self._key(exchange)
            if key:
                return self._placed(key), b""
        return route.draw(), b""

    def _by_cookie(self, cookie: Cookie, request: Request) -> tuple[Target, bytes]:
        route = self._route
        version = cookie.version(request)
        if version is None or (self._drained == "migrate" and not route.split.weights[version]):
            target = route.draw()
            return target, cookie.setting(target.upstream.name)
        target = route.targets[version]
        if not target.upstream.available:
            # Another version helps out; the cookie stays, so the client is back on its own as soon as that is.
            instead = route.split.pick(random(), route.available())  # noqa: S311 - a share, not a secret
            return target if instead is None else route.targets[instead], b""
        return target, cookie.removal if self._drained == "expire" and not route.split.weights[version] else b""

    def _placed(self, key: bytes) -> Target:
        route = self._route
        version = route.split.place(key) or ""
        if not route.targets[version].upstream.available:
            version = route.split.place(key, route.available()) or version
        return route.targets[version]


def marking(line: bytes) -> Edit:
    """Adds a line to a response that comes from the upstream."""

    def mark(_: Exchange, response: Response) -> None:
        response.head += line
        response.verbatim = False

    return mark
