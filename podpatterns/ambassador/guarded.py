"""An upstream that wants to know who we are: its requests carry a credential, and wait while there is none."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from podpatterns.ambassador.credentials import Credential
from podpatterns.ambassador.endpoints import origin
from podpatterns.ambassador.upstreams.hosts import Hosts, HostsConfig
from podpatterns.errors import UpstreamError

if TYPE_CHECKING:
    from podpatterns.ambassador.endpoints.endpoint import Endpoint
    from podpatterns.ambassador.events import AmbassadorEvents
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.link import Link
    from podpatterns.ambassador.upstreams import Spawn


class Waiting:
    """A request that waits for a credential, until `due` (loop time)."""

    __slots__ = ("avoid", "due", "exchange", "fresh")

    def __init__(self, exchange: Exchange, avoid: Endpoint | None, due: float, *, fresh: bool) -> None:
        self.exchange = exchange
        self.avoid = avoid
        self.due = due
        self.fresh = fresh


class GuardedHosts(Hosts):
    """Hosts behind a credential; an upstream without one is a plain `Hosts`, and pays nothing for this."""

    def __init__(
        self, name: str, config: HostsConfig, credential: Credential, events: AmbassadorEvents, spawn: Spawn
    ) -> None:
        self._credential = credential
        super().__init__(name, config, events, spawn)
        self.strip = spelt(credential.name)
        self._bare = self.tail
        self._shown = b""
        """The line that requests carry now."""
        self._lacking: deque[Waiting] = deque()
        self._tasks_of_ours += (lambda: credential.run(self._changed_credential),)
        self._show()
        if config.secured is None:
            for place in config.places:
                if not origin.local(place):
                    events.credentials_unprotected(name, place)

    def _changed(self) -> None:
        super()._changed()
        if self._credential.problem and not self._credential.line:
            self.available = False  # other versions had better have the requests, if there are any

    def _show(self) -> None:
        self._shown = self._credential.line
        self.tail = self._shown + self._bare
        self._changed()

    def acquire(self, exchange: Exchange, *, fresh: bool = False, avoid: Endpoint | None = None) -> Link | None:
        """See Upstream."""
        if self._shown:
            exchange.shown = self._shown
            return super().acquire(exchange, fresh=fresh, avoid=avoid)
        if len(self._lacking) >= self.config.max_pending:
            raise UpstreamError(503, "overflow", f"{self.name} has {self.config.max_pending} requests waiting already")
        patience = self.config.connect
        # `sweep` comes first, and knows the reason.
        exchange.within(patience + 1.0)
        self._lacking.append(Waiting(exchange, avoid, self._clock() + patience, fresh=fresh))
        return None

    def _changed_credential(self) -> None:
        """There is another one, or none any more."""
        self._show()
        while self._lacking and self._shown:
            waiting = self._lacking.popleft()
            try:
                link = self.acquire(waiting.exchange, fresh=waiting.fresh, avoid=waiting.avoid)
            except UpstreamError as error:
                waiting.exchange.failed(error)
            else:
                if link is not None:
                    waiting.exchange.connected(link)

    def renew(self, exchange: Exchange) -> bool:
        """See Upstream."""
        others = self._credential.reject(exchange.shown)
        self._events.credentials_rejected(self.name, others=others)
        self._show()
        return others

    def withdraw(self, exchange: Exchange) -> None:
        """See Upstream."""
        for waiting in self._lacking:
            if waiting.exchange is exchange:
                self._lacking.remove(waiting)
                return
        super().withdraw(exchange)

    def sweep(self, now: float) -> None:
        """See Upstream."""
        super().sweep(now)
        while self._lacking and self._lacking[0].due <= now:
            reason = self._credential.problem or f"none came within {self.config.connect}"
            self._lacking.popleft().exchange.failed(
                UpstreamError(503, "credentials", f"{self.name} has no credentials: {reason}")
            )

    @property
    def busy(self) -> bool:
        """See Upstream."""
        return bool(self._lacking) or super().busy

    def retire(self) -> None:
        """See Upstream."""
        super().retire()
        self._credential.retire()

    def describe(self) -> Mapping[str, Any]:
        """See Upstream."""
        return {**super().describe(), "credentials": self._credential.describe()}


def spelt(name: bytes) -> re.Pattern[bytes]:
    """Finds the client's own field of this name: its line from the CRLF before it.

    With underscores, too: applications behind CGI or WSGI cannot tell `X_Api_Key` from `X-Api-Key`.
    """
    letters = b"[-_]".join(map(re.escape, re.split(rb"[-_]", name)))
    return re.compile(rb"\r\n(?i:" + letters + rb"):[^\r\n]*")
