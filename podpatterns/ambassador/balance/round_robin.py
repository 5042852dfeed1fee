"""Round robin: each in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from podpatterns.ambassador.balance import Balancer

if TYPE_CHECKING:
    from podpatterns.ambassador.endpoints.endpoint import Endpoint
    from podpatterns.ambassador.http1.request import Request


class RoundRobin(Balancer):
    """Knows whose turn it is."""

    def __init__(self) -> None:
        self._turn = 0

    def pick(self, endpoints: Sequence[Endpoint], request: Request | None, now: float) -> Endpoint:  # noqa: ARG002
        """See Balancer."""
        self._turn += 1
        return endpoints[self._turn % len(endpoints)]
