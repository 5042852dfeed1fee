"""Listeners: where the application's connections come in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from podpatterns.runtime.schema import ComponentConfig, InvalidField
from podpatterns.runtime.units import Address

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents
    from podpatterns.ambassador.plan import Plan
    from podpatterns.ambassador.route import Route
    from podpatterns.ambassador.upstreams import Upstream
    from podpatterns.runtime.service import Deadline

TUNNELS = 0.8
"""The part of the grace that connections without an end of their own may take; what is left is for closing them."""


class ListenerConfig(ComponentConfig, frozen=True, kw_only=True):
    """Base of every listener's configuration."""

    DEFAULT: ClassVar[str | None] = "http"

    listen: Address
    """Where to listen: `127.0.0.1:8000` for the containers of this pod alone, `:8000` for everyone, `unix:/path`.
    Port 0 takes a free one."""

    name: str | None = None
    """What metrics, logs and the admin endpoint call it. None: its address."""

    @property
    def title(self) -> str:
        """The name, or the address in its place."""
        return self.name or str(self.listen)

    def mistakes(self, upstreams: Collection[str]) -> Iterator[InvalidField]:
        """Names in it that are not those of upstreams; where they stand."""
        raise NotImplementedError

    def plan(self, upstreams: Mapping[str, Upstream], events: AmbassadorEvents) -> Plan:
        """Its routes, compiled."""
        raise NotImplementedError

    def build(self, events: AmbassadorEvents) -> Listener:
        """The listener at work; nothing is opened before its `open`."""
        raise NotImplementedError


class Listener(ABC):
    """A listener at work: open, serve, drain, abort."""

    name: str
    config: ListenerConfig

    @abstractmethod
    def open(self) -> None:
        """Bind, so that the system queues connections from now on. Raises StartError."""

    @abstractmethod
    async def serve(self) -> None:
        """Start to accept."""

    @abstractmethod
    def apply(self, config: ListenerConfig, plan: Plan) -> None:
        """Route by another plan from the next request on; the address stays."""

    @abstractmethod
    def sweep(self, now: float) -> None:
        """Look for connections whose time is up; called several times a second."""

    @abstractmethod
    async def drain(self, deadline: Deadline) -> None:
        """Accept nothing new; return when the last connection is gone."""

    @abstractmethod
    def abort(self) -> None:
        """Close everything; requests that are still under way are counted as dropped."""

    @property
    @abstractmethod
    def port(self) -> int:
        """The port listened on, also where 0 was asked for; 0 for a unix socket."""

    @property
    @abstractmethod
    def routes(self) -> Sequence[Route]:
        """The routes in force."""
