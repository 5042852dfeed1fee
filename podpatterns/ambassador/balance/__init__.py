"""Balancing: which of several endpoints takes a request. One file for each way; all of them pure.

Ways are not components with a `type`: three of four have nothing to configure, so their name is all that is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from podpatterns.ambassador.balance.key import HashConfig

if TYPE_CHECKING:
    from podpatterns.ambassador.endpoints.endpoint import Endpoint
    from podpatterns.ambassador.http1.request import Request

Even = Callable[[], float]
"""Draws evenly from [0, 1)."""

BalanceConfig = Literal["round_robin", "p2c", "ewma"] | HashConfig


class Balancer:
    """Chooses."""

    latencies: ClassVar[bool] = False
    """True if it wants to know how long each response took."""

    affine: ClassVar[bool] = False
    """True if no other endpoint than the one that it picks will do, as long as that is there."""

    def pick(self, endpoints: Sequence[Endpoint], request: Request | None, now: float) -> Endpoint:
        """One of them (there is at least one), for a request; None: for a connection, whatever it will carry."""
        raise NotImplementedError


def balancer(config: BalanceConfig, draw: Even) -> Balancer:
    """The one that a configuration names; only that one is imported."""
    if isinstance(config, HashConfig):
        from podpatterns.ambassador.balance.hash import Hash

        return Hash(config)
    if config == "p2c":
        from podpatterns.ambassador.balance.p2c import P2c

        return P2c(draw)
    if config == "ewma":
        from podpatterns.ambassador.balance.ewma import Ewma

        return Ewma(draw)
    from podpatterns.ambassador.balance.round_robin import RoundRobin

    return RoundRobin()
