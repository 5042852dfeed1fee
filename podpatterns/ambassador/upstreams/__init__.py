"""Upstreams: who answers. An upstream is one version of a service, at one or several addresses."""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from podpatterns.errors import UpstreamError
from podpatterns.runtime.schema import ComponentConfig

if TYPE_CHECKING:
    from podpatterns.ambassador.endpoints.budget import RetryBudget
    from podpatterns.ambassador.endpoints.endpoint import Endpoint
    from podpatterns.ambassador.events import AmbassadorEvents
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.http1.limits import Limits
    from podpatterns.ambassador.link import Link

Make = Callable[[], asyncio.Protocol]
"""Makes the protocol for a new connection."""

Done = Callable[[asyncio.Protocol | UpstreamError], None]
"""Takes what has come of an attempt to connect."""

Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Starts a task that the runtime owns."""


class UpstreamConfig(ComponentConfig, frozen=True, kw_only=True):
    """Base of every upstream's configuration."""

    DEFAULT: ClassVar[str | None] = "hosts"
    SHORT: ClassVar[str | None] = "addresses"

    def build(self, name: str, events: AmbassadorEvents, spawn: Spawn) -> Upstream:
        """The upstream at work; no connection is opened before the first request."""
        raise NotImplementedError


class Upstream(ABC):
    """An upstream at work: gives an exchange a connection, and takes it back."""

    name: str
    available: bool
    """False while a request had better go to another version."""

    requests: int
    """Requests that it was sent; whoever sends one adds to it. Repetitions do not count."""

    budget: RetryBudget
    """How many of them may be sent again."""

    limits: Limits
    """Bounds on its responses."""

    tail: bytes
    """What is added behind the fields of each request: lines with CRLF, and the closing empty line."""

    strip: re.Pattern[bytes] | None = None
    """Fields of the client, each as a whole line with the CRLF before it, that those in `tail` replace."""

    host: bytes | None
    """The Host that it is to see; None: the client's."""

    first_byte: float
    """Seconds from the end of the request to the start of the response."""

    idle: float
    """Seconds without any progress in the middle of a message."""

    @abstractmethod
    def acquire(self, exchange: Exchange, *, fresh: bool = False, avoid: Endpoint | None = None) -> Link | None:
        """An idle connection now; or None, and `exchange.connected` or `exchange.failed` is called later.

        `fresh` asks for a connection that has not been idle, `avoid` for one to another address than the one that
        has just failed, if there is another. Raises UpstreamError when it is overloaded.
        """

    @abstractmethod
    def outcome(self, link: Link, status: int, seconds: float, head: bytes = b"") -> None:
        """What has come of a request: called once, with the status of the response and the time to its head.

        Status 0: the connection was reset, or there was no response in time. Good ones need not be told unless
        `link.endpoint.watched`. `head` is the response's, for statuses that may come with Retry-After.
        """

    def renew(self, exchange: Exchange) -> bool:  # noqa: ARG002 - for those with credentials
        """A request was answered 401: whether there are other credentials, or will be, so that it may be sent again."""
        return False

    def learn(self, head: bytes) -> None:  # noqa: B027 - most learn nothing from it
        """The head of the first response on a connection, if there was something unusual in it."""

    @abstractmethod
    def release(self, link: Link) -> None:
        """Take back a connection that may carry another request."""

    @abstractmethod
    def withdraw(self, exchange: Exchange) -> None:
        """The exchange no longer waits for a connection."""

    @abstractmethod
    def closed(self, link: Link) -> None:
        """A connection is gone."""

    @abstractmethod
    def dial(self, make: Make, done: Done) -> None:
        """Open a connection that is not pooled; `done` gets its protocol, or the error, now or later."""

    @abstractmethod
    def hung_up(self, protocol: asyncio.Protocol) -> None:
        """A connection that was dialed is gone."""

    async def run(self) -> None:  # noqa: B027 - most have nothing beside requests
        """What goes on beside requests: names are resolved, addresses checked, credentials renewed. May return."""

    @abstractmethod
    def sweep(self, now: float) -> None:
        """Close what has been idle for too long; called several times a second."""

    @abstractmethod
    def retire(self) -> None:
        """It is no longer in the configuration: close idle connections now, and the others once they are free."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """True while it has connections, or requests that wait for one."""

    @abstractmethod
    def abort(self) -> None:
        """Close every connection at once."""

    @abstractmethod
    def describe(self) -> Mapping[str, Any]:
        """Its state, for the admin endpoint."""
