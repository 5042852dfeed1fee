"""Rate limits: token buckets, one for all requests or one for each key.

The buckets are pure: the clock is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from podpatterns.ambassador.http1.grammar import TOKEN
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.policies import PolicyConfig, Site, Step
from podpatterns.ambassador.policies.key import key_of
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.match import MatchConfig

ROUNDING = 1e-6
"""Seconds by which sums of floats may be off; a request that comes exactly on time is not refused for them."""

MAX_KEY = 64
"""Bytes of a key that is remembered as it is; of a longer one a hash is."""


class RateLimitConfig(PolicyConfig, frozen=True, kw_only=True):
    """So many requests in so long a time; one more is answered 429 with Retry-After.

    Each worker counts its own. A reload that changes the limit starts anew.
    """

    requests: Annotated[int, Meta(ge=1)]
    """Requests in each `per`, over time."""

    per: Duration = Duration("1s")
    """The time that `requests` refers to."""

    burst: Annotated[int, Meta(ge=1)] | None = None
    """How many may come at once after a quiet time. None: `requests`, so that a client which counts them by the clock
    is never refused."""

    header: str | None = None
    """The field by whose value requests are told apart, such as `x-user-id`: each value has a limit of its own, and
    requests without the field share one. None: see `client`."""

    client: bool = False
    """Whether each address that connects has a limit of its own. With neither this nor `header` there is one limit for
    all."""

    max_keys: Annotated[int, Meta(ge=1)] = 10_000
    """Keys that are remembered, at about 200 bytes each; beyond that the one unused for longest is forgotten, and if it
    was not at rest that is counted, for its next request finds a full bucket."""

    def __post_init__(self) -> None:
        """A rate, and one kind of key at most."""
        if not self.per:
            raise InvalidField("per", "must be longer than 0s")
        if self.header is not None and TOKEN.fullmatch(self.header.encode()) is None:
            raise InvalidField("header", f'"{self.header}" is not the name of a field')
        if self.header is not None and self.client:
            raise InvalidField("client", "only one of header and client can be given")

    def __str__(self) -> str:
        """For people: `100 in 1s for each x-user-id`."""
        key = f" for each {self.header}" if self.header is not None else " for each client" if self.client else ""
        return f"{self.requests} in {self.per}{key}"

    def compile(self, site: Site) -> Step:
        """See PolicyConfig."""
        return Limiter(self, site)

    def describe(self, request: Request, match: MatchConfig) -> Iterator[str]:  # noqa: ARG002
        """See PolicyConfig."""
        yield f"limits the rate: {self}, {self.burst or self.requests} at once; then 429"


class Limiter:
    """The step; a listener's own is one step for all of its routes."""

    def __init__(self, config: RateLimitConfig, site: Site) -> None:
        self.config = config
        self.site = site
        self.buckets = Buckets(config)
        self._key = key_of(config.header, client=config.client) or (lambda _: b"")

    def __call__(self, exchange: Exchange) -> bool:
        """See policies.Step."""
        site, buckets = self.site, self.buckets
        forgotten = buckets.forgotten
        wait = buckets.take(self._key(exchange), exchange.started)
        if buckets.forgotten != forgotten:
            site.events.rate_key_forgotten(site.listener, site.route)
        if not wait:
            return True
        site.events.rate_limited(site.listener, site.route)
        seconds = str(math.ceil(wait - ROUNDING))
        text = f"podpatterns: too many requests: {self.config}\n"
        exchange.answer(429, text, reason="rate_limited", fields={"Retry-After": seconds})
        return False

    def inherit(self, old: Iterable[Step]) -> None:
        """Go on with the buckets of the same limit among the steps that this one's replace."""
        for each in old:
            if isinstance(each, Limiter) and (each.config, each.site.route) == (self.config, self.site.route):
                self.buckets = each.buckets


class Buckets:
    """Token buckets by key, as the time at which each will be full again.

    That is the generic cell rate algorithm (ITU-T I.371). A bucket that is full has nothing to remember, so
    only keys that are in use take room.
    """

    __slots__ = ("_full_at", "_interval", "_max_keys", "_tolerance", "forgotten")

    def __init__(self, config: RateLimitConfig) -> None:
        self._interval = config.per / config.requests
        self._tolerance = self._interval * ((config.burst or config.requests) - 1)
        self._max_keys = config.max_keys
        self._full_at: dict[bytes, float] = {}
        self.forgotten = 0
        """Keys that had to go though they were in use."""

    def __len__(self) -> int:
        """Keys that are remembered."""
        return len(self._full_at)

    def take(self, key: bytes, now: float) -> float:
        """Take a token at `now`, in seconds of a clock that never goes back.

        Returns 0, or the seconds until there is one; then nothing was taken.
        """
        if len(key) > MAX_KEY:
            key = blake2b(key, digest_size=16).digest()
        full_at = self._full_at.pop(key, 0.0)  # what is put back goes to the end: the first is unused for longest
        wait = full_at - self._tolerance - now
        if wait > ROUNDING:
            self._full_at[key] = full_at
            return wait
        self._full_at[key] = max(full_at, now) + self._interval
        if len(self._full_at) > self._max_keys:
            oldest = next(iter(self._full_at))
            self.forgotten += self._full_at.pop(oldest) > now
        return 0.0
