"""One address behind an upstream: its connections, and how it has been doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podpatterns.runtime.units import Address

if TYPE_CHECKING:
    from podpatterns.ambassador.link import Link


class Endpoint:
    """Its kept connections are a stack: the last one back is the first one out, so that the others grow old."""

    __slots__ = (
        "address", "connecting", "dialed", "failures", "idle", "links", "probing", "requests", "rests_until",
        "times_rested", "watched",
    )  # fmt: skip

    def __init__(self, address: Address) -> None:
        self.address = address
        self.idle: list[Link] = []
        self.links: set[Link] = set()
        """Every pooled connection, idle or not."""
        self.connecting = 0
        """Pooled connections on their way."""
        self.dialed = 0
        """Connections that are not pooled, those on their way included."""
        self.requests = 0
        self.watched = False
        """True while every outcome is of interest, not only failures."""
        self.failures = 0
        self.times_rested = 0
        self.rests_until = 0.0
        self.probing = False
        """True while one real request finds out whether a rested address answers again."""

    def __str__(self) -> str:
        return str(self.address)

    @property
    def active(self) -> int:
        """Requests and streams that it has at the moment."""
        return len(self.links) - len(self.idle) + self.connecting + self.dialed

    @property
    def connections(self) -> int:
        """Connections of any kind, those on their way included."""
        return len(self.links) + self.connecting + self.dialed
