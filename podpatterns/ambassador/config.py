"""The ambassador's configuration: listeners, their routes, and the upstreams behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from podpatterns.ambassador.listeners import ListenerConfig
from podpatterns.ambassador.upstreams import UpstreamConfig
from podpatterns.runtime.config import PatternConfig
from podpatterns.runtime.schema import InvalidField, InvalidFields, Items

if TYPE_CHECKING:
    from podpatterns.ambassador.runtime import Ambassador
    from podpatterns.runtime.service import Context


class AmbassadorConfig(PatternConfig, frozen=True, kw_only=True):
    """Proxies the application's requests on localhost, and routes a share of them to each version of a service."""

    listeners: Items[ListenerConfig]
    """Where the application's connections come in, and what is done with them."""

    upstreams: dict[str, UpstreamConfig]
    """Who answers, by name: each version of a service is an upstream. `stable: 10.0.0.7:8080` is short for
    `stable: {type: hosts, addresses: [10.0.0.7:8080]}`."""

    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Processes that share the connections, for more than one core; one of them fills a core at some 20 000 requests a
    second, and each takes 7 MB of its own. Admin endpoint, metrics, weights and ramps are common to all. What a worker
    counts in order to decide is its own: limits of connections and requests, rate limits, pools, budgets, outliers,
    health checks. A worker that dies is replaced."""

    def __post_init__(self) -> None:
        """Listeners can be told apart, and every name in a route is that of an upstream."""
        if not self.listeners:
            raise InvalidField("listeners", "must have at least one listener")
        titles = [listener.title for listener in self.listeners]
        mistakes = [
            InvalidField(f"listeners[{index}]", f'another listener is called "{title}"; give it a name of its own')
            for index, title in enumerate(titles)
            if title in titles[:index]
        ]
        mistakes += [
            InvalidField(f"listeners[{index}].{mistake.field}", str(mistake))
            for index, listener in enumerate(self.listeners)
            for mistake in listener.mistakes(self.upstreams)
        ]
        if mistakes:
            raise InvalidFields(mistakes)

    def build(self, context: Context) -> Ambassador:
        """The runtime."""
        if self.workers > 1:
            from podpatterns.ambassador.workers.master import Master

            return Master(self, context)
        from podpatterns.ambassador.runtime import Ambassador

        return Ambassador(self, context)

    def explain(self, sample: str | None) -> Iterator[str]:
        """What would be done with a request: `sample` is its head, with any line ends."""
        from podpatterns.ambassador.explain import explain

        return explain(self, sample)
