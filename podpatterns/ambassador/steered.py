"""Routes on which the request has a say in its version.

They are a class of their own, chosen when the routes are built, so that all other routes have nothing to ask for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.exchange import Exchange
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.override import Override
from podpatterns.ambassador.route import Route, RouteConfig
from podpatterns.ambassador.upstreams import Upstream

if TYPE_CHECKING:
    from podpatterns.ambassador.downstream import Downstream


class SteeredRoute(Route):
    """A route with an override. Only versions that were drawn are counted as picks, so shares stay comparable."""

    def __init__(
        self, name: str, listener: str, config: RouteConfig, upstreams: Mapping[str, Upstream], events: AmbassadorEvents
    ) -> None:
        super().__init__(name, listener, config, upstreams, events)
        self._override = Override(config.override, self.targets) if config.override is not None else None

    def handle(self, client: Downstream, request: Request, payload: bytes, *, complete: bool) -> None:
        """See Route."""
        version = self._override.version(request) if self._override is not None else None
        target = self.draw() if version is None else self.targets[version]
        client.exchange = exchange = Exchange(client, request, target.upstream, target.tally)
        exchange.begin(payload, complete=complete)


def build_route(
    name: str, listener: str, config: RouteConfig, upstreams: Mapping[str, Upstream], events: AmbassadorEvents
) -> Route:
    """The kind of route that a configuration needs."""
    kind = Route if config.override is None else SteeredRoute
    return kind(name, listener, config, upstreams, events)
