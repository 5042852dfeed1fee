"""What a listener does when there is more than it may take: say so at once, to those who can still be told.

Who is refused early costs little and may try elsewhere or later; a queue would only make everybody late.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from podpatterns.runtime.telemetry import Cell

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents
    from podpatterns.ambassador.exchange import Exchange

TURNED_AWAY = 1000
"""Connections that are being told 503 at the same time; what comes beyond is reset, for telling takes room, too."""

SPARE = 200
"""Descriptors for everything but connections: listeners, files, the admin endpoint, name resolution."""


class InFlight:
    """A step: so many requests at the same time; `taken` counts them, and goes on through a reload."""

    __slots__ = ("_events", "_limit", "_listener", "_taken")

    def __init__(self, listener: str, limit: int, taken: Cell, events: AmbassadorEvents) -> None:
        self._listener = listener
        self._limit = limit
        self._taken = taken
        self._events = events

    def __call__(self, exchange: Exchange) -> bool:
        """See policies.Step."""
        if self._taken.value >= self._limit:
            self._events.refused(self._listener, 503, "max_requests")
            exchange.answer(
                503,
                "podpatterns: too many requests at the same time\n",
                reason="max_requests",
                fields={"Retry-After": "1"},
            )
            return False
        self._taken.value += 1
        exchange.on_end += (self._end,)
        return True

    def _end(self, _exchange: Exchange, _now: float) -> None:
        self._taken.value -= 1


def descriptors(connections: int) -> tuple[int, int]:
    """Raise the process's limit of descriptors for so many clients, as far as it may be; how many are needed, and had.

    Each client may need one to an upstream. The soft limit is low for the sake of programs that use select(2), of
    which this is none.
    """
    needed = 2 * connections + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed, needed
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with suppress(ValueError, OSError):  # a system with another limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return needed, min(soft, sys.maxsize)
