"""Peak EWMA: of two at random, the one whose requests will be done sooner, by its latest latencies.

A slower response counts at once, a faster one bit by bit: whoever becomes slow is avoided from then on, whoever
recovers is trusted again after some seconds. Source: Finagle's and linkerd's peak EWMA.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import TYPE_CHECKING, ClassVar

from podpatterns.ambassador.balance import Balancer, Even
from podpatterns.ambassador.balance.p2c import two

if TYPE_CHECKING:
    from podpatterns.ambassador.endpoints.endpoint import Endpoint
    from podpatterns.ambassador.http1.request import Request

DECAY = 10.0
"""Seconds after which an old latency has lost two thirds of its weight; linkerd's default."""

START = 0.03
"""Seconds assumed of an endpoint that has answered nothing yet, beyond the one request that tries it; linkerd's
default."""


class Latency:
    """The latency of one endpoint, in seconds: its recent peak, decaying to its mean."""

    __slots__ = ("_at", "_value")

    def __init__(self) -> None:
        self._at = float("-inf")
        self._value = START

    @property
    def known(self) -> bool:
        """False before the first observation."""
        return self._at > float("-inf")

    def observe(self, seconds: float, now: float) -> None:
        """A response took so long."""
        if seconds >= self._value or not self.known:
            self._value = seconds
        else:
            kept = exp((self._at - now) / DECAY)
            self._value = self._value * kept + seconds * (1 - kept)
        self._at = now

    def estimate(self, now: float) -> float:
        """What to expect. It shrinks while nothing is heard, so that even the slowest is tried again some day."""
        return self._value * exp((self._at - now) / DECAY) if self.known else self._value


class Ewma(Balancer):
    """Latency times what waits already, one more included."""

    latencies: ClassVar[bool] = True

    def __init__(self, draw: Even) -> None:
        self._draw = draw

    def pick(self, endpoints: Sequence[Endpoint], request: Request | None, now: float) -> Endpoint:  # noqa: ARG002
        """See Balancer."""
        first, second = two(endpoints, self._draw)
        return second if _cost(second, now) < _cost(first, now) else first


def _cost(endpoint: Endpoint, now: float) -> float:
    active = endpoint.active
    if not active and not endpoint.latency.known:
        return 0.0
    return endpoint.latency.estimate(now) * (active + 1)
