"""Consistent hashing by rendezvous: of all endpoints, the one with the highest hash of key and identity.

When an endpoint leaves, exactly its keys move, evenly to all others; when one comes, it takes its share of each of
them. To ask all endpoints for each request would be slow, so keys fall into slots, and a slot's endpoint is
remembered. Source: D. Thaler, C. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates" (1998).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, ClassVar

from podpatterns.ambassador.balance import Balancer
from podpatterns.ambassador.balance.key import HashConfig
from podpatterns.ambassador.balance.round_robin import RoundRobin

if TYPE_CHECKING:
    from podpatterns.ambassador.endpoints.endpoint import Endpoint
    from podpatterns.ambassador.http1.request import Request

SLOTS = 4096
"""Enough that a hundred endpoints get forty each, give or take six; few enough that they fit in 300 KB."""


def slot(key: bytes) -> int:
    """The slot of a key: the same in every process, today and tomorrow."""
    return int.from_bytes(blake2b(key, digest_size=2).digest()) % SLOTS


def winner(number: int, names: Sequence[str]) -> int:
    """Which of several names has a slot; the order in which they stand does not matter."""
    start = number.to_bytes(2)
    scores = [(blake2b(start + name.encode(), digest_size=8).digest(), name) for name in names]
    return scores.index(max(scores))


class Hash(Balancer):
    """Remembers who has which slot, for as long as the endpoints stay the same."""

    affine: ClassVar[bool] = True

    def __init__(self, config: HashConfig) -> None:
        self._key = config.hash.compile()
        self._without = RoundRobin()
        self._seen: Sequence[Endpoint] = ()
        self._names: list[str] = []
        self._winners: dict[int, int] = {}

    def pick(self, endpoints: Sequence[Endpoint], request: Request | None, now: float) -> Endpoint:
        """See Balancer."""
        key = b"" if request is None else self._key(request)
        if not key:
            return self._without.pick(endpoints, request, now)
        return endpoints[self._place(slot(key), endpoints)]

    def _place(self, number: int, endpoints: Sequence[Endpoint]) -> int:
        if endpoints is not self._seen:
            # Whoever asks passes the same list for as long as nothing has changed.
            self._seen, names = endpoints, [endpoint.identity for endpoint in endpoints]
            if names != self._names:
                self._names, self._winners = names, {}
        found = self._winners.get(number)
        if found is None:
            found = self._winners[number] = winner(number, self._names)
        return found
