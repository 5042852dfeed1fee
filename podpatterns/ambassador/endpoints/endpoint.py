"""One address behind an upstream: its connections, and how it has been doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podpatterns.ambassador.balance.ewma import Latency
from podpatterns.ambassador.endpoints.outliers import OutliersConfig, Record
from podpatterns.runtime.units import Address

if TYPE_CHECKING:
    from podpatterns.ambassador.link import Link


class Endpoint:
    """Its kept connections are a stack: the last one back is the first one out, so that the others grow old."""

    __slots__ = (
        "address", "connecting", "dialed", "healthy", "host", "identity", "idle", "latency", "leaving", "links", "name",
        "record", "requests", "watched",
    )  # fmt: skip

    def __init__(self, address: Address, outliers: OutliersConfig, host: str | None = None) -> None:
        self.address = address
        """As it is configured."""
        self.host = address.host if host is None else host
        """What to connect to: the host of the address, or one of the addresses that its name has."""
        self.name = str(address) if host is None else f"{address} ({host})"
        self.identity = self.name
        """By what keys are hashed to it."""
        self.idle: list[Link] = []
        self.links: set[Link] = set()
        """Every pooled connection, idle or not."""
        self.connecting = 0
        """Connections on their way."""
        self.dialed = 0
        """Open connections that are not pooled."""
        self.requests = 0
        """Requests that it was given, repetitions included."""
        self.record = Record(outliers)
        self.latency = Latency()
        self.healthy = True
        """What health checks say; without any it is always True."""
        self.leaving = False
        """True once its name no longer leads to it: what is under way ends, nothing new begins."""
        self.watched = False
        """True while every outcome is of interest, not only failures."""

    def __str__(self) -> str:
        return self.name

    @property
    def active(self) -> int:
        """Requests and streams that it has at the moment."""
        return len(self.links) - len(self.idle) + self.connecting + self.dialed
