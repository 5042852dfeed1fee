"""The requests that wait for a connection. Pure: opens none.

Each waits for the connection that is being opened for it, or for any that becomes free and helps it, whichever is
first; those without one on its way (there are too many already) for the latter alone.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from podpatterns.errors import UpstreamError

if TYPE_CHECKING:
    from podpatterns.ambassador.endpoints.endpoint import Endpoint
    from podpatterns.ambassador.exchange import Exchange


class Waiter:
    """One of them."""

    __slots__ = ("avoid", "connecting", "endpoint", "error", "exchange", "since")

    def __init__(self, exchange: Exchange, endpoint: Endpoint | None, avoid: Endpoint | None, since: float) -> None:
        self.exchange = exchange
        self.since = since
        """When it began to wait (loop time)."""
        self.endpoint = endpoint
        """The one that was chosen for it; None if there was nobody to choose."""
        self.avoid = avoid
        """Where it has failed already: a connection to there is no help."""
        self.connecting = False
        """True while a connection is being opened for it."""
        self.error: UpstreamError | None = None
        """Why the last attempt has failed."""


class Waiting:
    """First come, first served. `affine`: a request must go to the endpoint that was chosen for it."""

    __slots__ = ("_affine", "queue")

    def __init__(self, *, affine: bool) -> None:
        self._affine = affine
        self.queue: deque[Waiter] = deque()
        """In the order of arrival; the same object for ever, so that it can be looked at without a call."""

    def __len__(self) -> int:
        return len(self.queue)

    def join(self, exchange: Exchange, endpoint: Endpoint | None, avoid: Endpoint | None, now: float = 0.0) -> Waiter:
        """Wait; not for `avoid`, unless that was chosen all the same."""
        waiter = Waiter(exchange, endpoint, None if avoid is endpoint else avoid, now)
        self.queue.append(waiter)
        return waiter

    def take(self, endpoint: Endpoint, owner: Waiter | None = None) -> Exchange | None:
        """Who gets a connection to this endpoint, which was opened for `owner`; None if it helps nobody.

        Its owner, if that still waits: the others have one on its way themselves, or there are too many already.
        """
        if owner is not None and self.leave(owner):
            return owner.exchange
        for waiter in self.queue:
            if waiter.endpoint is endpoint if self._affine else waiter.avoid is not endpoint:
                self.queue.remove(waiter)
                return waiter.exchange
        return None

    def leave(self, waiter: Waiter) -> bool:
        """Wait no more. False if it was served already, or has left."""
        if waiter not in self.queue:
            return False
        self.queue.remove(waiter)
        return True

    def withdraw(self, exchange: Exchange) -> None:
        """The exchange waits no more."""
        for waiter in self.queue:
            if waiter.exchange is exchange:
                self.queue.remove(waiter)
                return

    @property
    def stranded(self) -> list[Waiter]:
        """Those for whom no connection is being opened."""
        return [waiter for waiter in self.queue if not waiter.connecting]
