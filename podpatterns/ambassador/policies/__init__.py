"""Policies: what a route does with a request beside choosing a version. One file each: configuration, then the doing.

A route is compiled into steps; what it does not configure is in none of them, and costs nothing per request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podpatterns.runtime.schema import Config

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.http1.response import Response
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


class PolicyConfig(Config, frozen=True, kw_only=True):
    """Base of every policy's configuration."""

    def compile(self, site: Site) -> Step:
        """The step that carries it out."""
        raise NotImplementedError
