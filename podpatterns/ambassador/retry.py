"""Retries: which requests may be sent again, after what, and how soon. Pure.

RFC 9110 9.2.2 forbids a proxy to repeat what is not idempotent, unless it knows that the first attempt did nothing:
that is so where no connection came about, and where the request says itself that it may be repeated.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.request import Request
from podpatterns.runtime.backoff import Backoff
from podpatterns.runtime.schema import Config, InvalidField, Items
from podpatterns.runtime.units import Duration, Size

Cause = Literal["connect", "reset", "timeout", "429", "500", "502", "503", "504"]

CAUSES: Final[dict[str, Cause]] = {
    "connect_failure": "connect",
    "connect_timeout": "connect",
    "tls_failure": "connect",
    "reset_before_response": "reset",
    "first_byte_timeout": "timeout",
}
"""What stands behind a failure's flag; other failures, such as an overflow of the breaker, are never retried."""

_KEY = named(b"idempotency-key")


class RetryConfig(Config, frozen=True, kw_only=True):
    """When a request is sent again. Each upstream adds a budget, so that retries never become a flood."""

    attempts: Annotated[int, Meta(ge=0, le=10)] = 2
    """How often a request may be sent again; `0`: never. Two bridge a restart of one address."""

    on: Items[Cause] = ("connect", "reset")
    """After what: `connect` no connection came about (safe for every method: nothing was sent), `reset` it was closed
    before an answer, `timeout` no answer came in time, or an answer with this status. The last three kinds cost the
    upstream work twice, and are for you to ask for."""

    idempotency_key: bool = False
    """Whether requests with an `Idempotency-Key` are repeated like idempotent ones. Only where the service keeps to
    it."""

    backoff: Duration = Duration("25ms")
    """The bound of the first wait; it doubles with each retry, and the wait is drawn evenly below it. A kept
    connection that turns out to be closed is replaced without a wait."""

    max_backoff: Duration = Duration("250ms")
    """The highest bound: longer than that the application could wait itself."""

    max_body: Size = Size("64KiB")
    """Bytes of a request's body that are kept for sending it again; a larger request gets one chance."""

    def __post_init__(self) -> None:
        """Bounds in their order."""
        if self.max_backoff < self.backoff:
            raise InvalidField("max_backoff", f"{self.max_backoff} is below backoff, {self.backoff}")


class Retry:
    """A retry policy, compiled."""

    __slots__ = ("_backoff", "_by_key", "_on", "attempts", "max_body", "statuses")

    def __init__(self, config: RetryConfig) -> None:
        self.attempts = config.attempts
        self.max_body = int(config.max_body)
        self.statuses = frozenset(int(cause) for cause in config.on if cause.isdigit())
        """Answers after which a request is sent again."""
        self._on = frozenset(config.on)
        self._by_key = config.idempotency_key
        self._backoff = Backoff(first=float(config.backoff), cap=float(config.max_backoff))

    def repeatable(self, request: Request) -> bool:
        """True if the request does no harm when it is carried out twice."""
        return request.idempotent or (self._by_key and _KEY.search(request.head) is not None)

    def allows(self, cause: str, request: Request, retries: int) -> bool:
        """Whether a request that was sent again `retries` times already may be sent once more."""
        return retries < self.attempts and cause in self._on and (cause == "connect" or self.repeatable(request))

    def delay(self, retries: int, u: float) -> float:
        """Seconds to wait before the next attempt; `u` drawn evenly from [0, 1)."""
        return self._backoff.delay(retries, u)
