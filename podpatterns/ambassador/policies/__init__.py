"""Policies: what a route does with a request beside choosing a version. One file each: configuration, then the doing.

A route is compiled into steps; what it does not configure is in none of them, and costs nothing per request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podpatterns.runtime.schema import Config, InvalidField

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.http1.request import Request
    from podpatterns.ambassador.http1.response import Response
    from podpatterns.ambassador.match import MatchConfig
    from podpatterns.ambassador.upstreams import Upstream

Step = Callable[["Exchange"], bool]
"""Does one thing with a request before its version is asked. True: go on; False: the step has answered it."""

Edit = Callable[["Exchange", "Response"], None]
"""Changes `response.head` of a final response, and sets `response.verbatim` to False where it has."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a policy is at work, and what it may use."""

    listener: str
    route: str
    events: AmbassadorEvents
    upstreams: Mapping[str, Upstream]
    match: MatchConfig


class PolicyConfig(Config, frozen=True, kw_only=True):
    """Base of every policy's configuration."""

    def mistakes(self, match: MatchConfig) -> Iterator[InvalidField]:  # noqa: ARG002
        """What does not go together with what the route matches."""
        yield from ()

    def compile(self, site: Site) -> Step | None:
        """The step that carries it out; None if there is nothing to do before a version is asked."""
        raise NotImplementedError

    def edit(self, site: Site) -> Edit | None:  # noqa: ARG002
        """What is done to each response of the upstream; None: nothing."""
        return None

    def describe(self, request: Request, match: MatchConfig) -> Iterator[str]:
        """What it would do with a request, a sentence for each thing."""
        raise NotImplementedError
