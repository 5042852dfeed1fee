"""How many requests may be sent again. Pure: clock and request counter are arguments.

Retries help as long as few requests fail; once most of them do, they multiply the load on whoever is down already. So
they may add a share of the traffic, and a few per second where there is little. Source: the retry budget of Finagle
and linkerd (20 %, 10 per second, over 10 s).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class RetryBudget:
    """Counts requests and retries of the last `window` seconds, in steps of one second."""

    __slots__ = ("_clock", "_floor", "_requests", "_retries", "_samples", "_share", "_window")

    def __init__(
        self,
        clock: Callable[[], float],
        requests: Callable[[], int],
        *,
        share: float = 0.2,
        floor: float = 10.0,
        window: float = 10.0,
    ) -> None:
        self._clock = clock
        self._requests = requests
        self._share = share
        self._floor = floor
        self._window = window
        self._retries = 0
        """All that were ever allowed."""
        self._samples: deque[tuple[float, int, int]] = deque()
        """Time, and requests and retries up to then; the first one is what the window starts from."""

    def tick(self) -> None:
        """Remember where the counters stand; to be called once a second or more often."""
        now = self._clock()
        if not self._samples or now - self._samples[-1][0] >= 1.0:
            self._samples.append((now, self._requests(), self._retries))
        while len(self._samples) > 1 and self._samples[1][0] <= now - self._window:
            self._samples.popleft()

    @property
    def left(self) -> float:
        """Retries that may be made now."""
        self.tick()
        _, requests, retries = self._samples[0]
        return self._share * (self._requests() - requests) + self._floor * self._window - (self._retries - retries)

    def allows(self) -> bool:
        """Take one retry from the budget; False if there is none left."""
        if self.left < 1.0:
            return False
        self._retries += 1
        return True
