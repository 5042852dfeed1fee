"""What takes a listener's requests: a route, or what stands at the end of the routes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING

from podpatterns.ambassador.events import AmbassadorEvents, Tally
from podpatterns.ambassador.exchange import Exchange
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.policies import Edit
from podpatterns.ambassador.retry import Retry, RetryConfig
from podpatterns.ambassador.upstreams import Upstream

if TYPE_CHECKING:
    from podpatterns.ambassador.downstream import Downstream


class Target:
    """One version in a route: its upstream, its series, and how often it was picked."""

    __slots__ = ("picks", "tally", "upstream")

    def __init__(self, upstream: Upstream, tally: Tally) -> None:
        self.upstream = upstream
        self.tally = tally
        self.picks = 0


class Handler(ABC):
    """What takes a listener's requests: a route, or what stands at its end for those that no route wants."""

    edits: tuple[Edit, ...] = ()
    """What is done to each response."""

    total = inf
    """Seconds for a request in all."""

    first_byte: float | None = None
    """Seconds that the upstream may think; None: what the upstream says."""

    retry = Retry(RetryConfig(attempts=0))

    def __init__(self, name: str, listener: str, events: AmbassadorEvents) -> None:
        self.name = name
        self.listener = listener
        self.events = events

    @cached_property
    def own(self) -> Tally:
        """The series of requests that were answered here."""
        return self.events.tally(self.listener, self.name, "")

    @abstractmethod
    def handle(self, client: Downstream, request: Request, payload: bytes, *, complete: bool) -> None:
        """Answer a request, now or later, through `client`; never blocks.

        `payload` is as much of the body as has come, `complete` whether that is all of it.
        """

    def another(self, exchange: Exchange) -> Target | None:  # noqa: ARG002
        """Another version for a request that could not be sent to its own; None if there is none."""
        return None


class Unrouted(Handler):
    """Answers requests that no route wants."""

    def __init__(self, listener: str, events: AmbassadorEvents) -> None:
        super().__init__("", listener, events)

    def handle(self, client: Downstream, request: Request, payload: bytes, *, complete: bool) -> None:  # noqa: ARG002
        """See Handler."""
        client.exchange = exchange = Exchange(client, request, self)
        self.events.refused(self.listener, 404, "no_route")
        exchange.answer(404, "podpatterns: no route matches this request\n", reason="no_route")
