"""The power of two choices: of two at random, the one with fewer requests under way.

Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (1996): nearly as even as asking all
of them, and several proxies do not all run to the same idle endpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from podpatterns.ambassador.balance import Balancer, Even

if TYPE_CHECKING:
    from podpatterns.ambassador.endpoints.endpoint import Endpoint
    from podpatterns.ambassador.http1.request import Request


def two(endpoints: Sequence[Endpoint], draw: Even) -> tuple[Endpoint, Endpoint]:
    """Two different ones, evenly; the same one twice if it is the only one."""
    count = len(endpoints)
    first = int(draw() * count)
    second = int(draw() * (count - 1))
    return endpoints[first], endpoints[second + (second >= first)] if count > 1 else endpoints[first]


class P2c(Balancer):
    """Needs nothing but dice."""

    def __init__(self, draw: Even) -> None:
        self._draw = draw

    def pick(self, endpoints: Sequence[Endpoint], request: Request | None, now: float) -> Endpoint:  # noqa: ARG002
        """See Balancer."""
        first, second = two(endpoints, self._draw)
        return second if second.active < first.active else first
