"""Mirroring: a copy of each request goes to another upstream as well, whose answer nobody waits for.

A copy is an exchange of its own, at the end of which stands nobody: what its upstream says is read, counted and thrown
away. Nothing that becomes of it is felt by the request it was made from: it has its own connection, its own
time limit, and bounds on what it may hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from math import inf
from random import random
from typing import TYPE_CHECKING, Annotated, cast

from msgspec import Meta

from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.policies import PolicyConfig, Site, Step
from podpatterns.formats.http1 import Refused
from podpatterns.runtime.decode import suggest
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration, Share, Size

if TYPE_CHECKING:
    from podpatterns.ambassador.downstream import Downstream
    from podpatterns.ambassador.events import AmbassadorEvents
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.handler import Handler, Target
    from podpatterns.ambassador.match import MatchConfig
    from podpatterns.ambassador.upstreams import Upstream

_HOST = named(b"host")
_EXPECT = named(b"expect")


class MirrorConfig(PolicyConfig, frozen=True, kw_only=True):
    """Sends a copy of a share of the requests to another upstream, and ignores the answers."""

    to: str
    """The upstream that gets the copies. Its Host gains `-shadow`, as in `shop-shadow:8080`, so that its logs and
    metrics can tell them apart; an upstream with a `host` of its own is sent that."""

    percent: Share = Share("100%")
    """The share of the requests that are copied."""

    max_body: Size = Size("64KiB")
    """Bytes of a body up to which a request is copied: so much is held if the copy's upstream is slow. A longer one
    with a Content-Length is not copied at all, one in chunks is broken off."""

    max_pending: Annotated[int, Meta(ge=1)] = 100
    """Copies that are under way at the same time; beyond that requests are not copied. With `max_body` it bounds the
    memory that a slow upstream can cost."""

    timeout: Duration = Duration("10s")
    """How long a copy may take in all."""

    def __post_init__(self) -> None:
        """Some time to answer."""
        if not self.timeout:
            raise InvalidField("timeout", "must be longer than 0s")

    def unknown(self, upstreams: Collection[str]) -> Iterator[InvalidField]:
        """The name of an upstream that there is not."""
        if self.to not in upstreams:
            yield InvalidField("to", f'unknown upstream "{self.to}"{suggest(self.to, upstreams)}')

    def compile(self, site: Site) -> Step:
        """See PolicyConfig."""
        mirror = Mirror(self, site)
        share = float(self.percent)

        def copy(exchange: Exchange) -> bool:
            if random() < share:  # noqa: S311 - a share, not a secret
                mirror.copy(exchange)
            return True

        return copy

    def describe(self, request: Request, match: MatchConfig) -> Iterator[str]:  # noqa: ARG002
        """See PolicyConfig."""
        reason = self.skipped(request)
        yield f"copies {self.percent} of them to {self.to}" if not reason else f"is not copied to {self.to}: {reason}"

    def skipped(self, request: Request) -> str:
        """Why a request is not copied, as far as it says so itself; empty if it is."""
        if request.upgrade:
            return "upgrade"
        return "too_large" if request.length > self.max_body else ""


def shadowed(head: bytes) -> bytes:
    """The head of a copy: Host has `-shadow` behind its name, and nothing is expected. Pure.

    An address in brackets stays: there is no room for a word in it.
    """
    found = _HOST.search(head)
    if found is not None:
        name, colon, port = found[1].strip(b" \t").partition(b":")
        if name and not name.startswith(b"["):
            head = head[: found.start()] + b"\r\nHost: " + name + b"-shadow" + colon + port + head[found.end() :]
    return _EXPECT.sub(b"", head)


class Mirror:
    """The copies of one route; to each of them it is route, listener and events in one."""

    edits = ()
    draining = False

    def __init__(self, config: MirrorConfig, site: Site) -> None:
        from podpatterns.ambassador.retry import Retry, RetryConfig

        self.config = config
        self.listener, self.name = site.listener, site.route
        self.upstream = site.upstreams[config.to]
        self.total = self.first_byte = float(config.timeout)
        self.retry = Retry(RetryConfig(attempts=0))
        self.pending = 0
        self._events: AmbassadorEvents = site.events

    @property
    def events(self) -> Mirror:
        """What an exchange tells: its outcome is counted once, here, and its upstream is nobody's version."""
        return self

    def upstream_failed(self, version: str, flag: str, detail: str) -> None:
        """Counted as the outcome of the copy."""

    def another(self, _: Exchange) -> None:
        """There is no other version."""

    def copy(self, exchange: Exchange) -> None:
        """Make a copy of a request, as it is sent, or count why not."""
        reason = self.config.skipped(exchange.request)
        if not reason and self.pending >= self.config.max_pending:
            reason = "overflow"
        if reason:
            self.count(reason)
            return
        copy = Copy(self, exchange)
        exchange.taps += (copy,)
        exchange.on_end += (copy.original_over,)

    def count(self, outcome: str) -> None:
        """What has become of a copy: the class of its answer's status, or why there is none."""
        self._events.mirrored(self.listener, self.name, self.config.to, outcome)


class Aim:
    """What an exchange needs to know of a version."""

    __slots__ = ("upstream",)

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream


class Copy:
    """One copy under way: a tap on the body of the request it was made from, and the client of its own exchange."""

    __slots__ = (
        "_begun",
        "_exchange",
        "_mirror",
        "_original",
        "_over",
        "_sent",
        "_timer",
        "clock",
        "due",
        "held",
        "persistent",
        "slow",
        "trailers",
    )  # fmt: skip

    def __init__(self, mirror: Mirror, original: Exchange) -> None:
        from podpatterns.ambassador.exchange import Exchange

        self.clock = original.client.clock
        self.due = inf
        self.held = self.slow = False
        self.persistent = True
        self.trailers = b""
        self._mirror = mirror
        self._original = original
        self._exchange = Exchange(cast("Downstream", self), original.request, cast("Handler", mirror))
        self._exchange.head = shadowed(original.head)
        self._begun = self._over = False
        self._sent = 0
        mirror.pending += 1
        self._timer = asyncio.get_running_loop().call_later(mirror.total, self._expired)

    # --- the original's body --------------------------------------------------------------------------------------

    def data(self, payload: bytes, *, complete: bool) -> None:
        """See Tap."""
        if self._over:
            return
        self._sent += len(payload)
        if self._sent > self._mirror.config.max_body:
            self._break_off("too_large")
            return
        self.trailers = self._original.client.trailers
        if self._begun:
            self._exchange.upload(payload, complete=complete)
        else:
            self._begun = True
            self._exchange.begin(cast("Target", Aim(self._mirror.upstream)), payload, complete=complete)

    def original_over(self, _exchange: Exchange, _now: float) -> None:
        """Nothing more of the body will come."""
        if not self._over and not self._exchange.uploaded:
            self._break_off("incomplete")

    def _expired(self) -> None:
        if self._begun:
            self._exchange.expired()
        self._end("timeout")

    def _break_off(self, reason: str) -> None:
        if self._begun:
            self._exchange.client_gone()
        self._end(reason)

    def _end(self, outcome: str) -> None:
        if not self._over:
            self._over = True
            self._timer.cancel()
            self._mirror.pending -= 1
            self._mirror.count(outcome)

    # --- the client's side of an exchange -------------------------------------------------------------------------

    @property
    def listener(self) -> Mirror:
        """What an exchange asks its listener for."""
        return self._mirror

    @property
    def transport(self) -> Copy:
        """What an exchange writes to."""
        return self

    def write(self, data: bytes) -> None:
        """The answer; nobody reads it."""

    def hold(self) -> None:
        """The original is never held back for its copy."""

    go_on = hold

    def completed(self, exchange: Exchange) -> None:
        """The answer is complete."""
        self._end(f"{exchange.status // 100}xx")

    def respond(self, exchange: Exchange, text: str, fields: Mapping[str, str] | None = None) -> None:  # noqa: ARG002
        """There is no answer."""
        self._end(exchange.flag)

    def cut(self, exchange: Exchange) -> None:
        """The answer is not complete."""
        self._end(exchange.flag)

    def refuse(self, error: Refused) -> None:
        """The request was not complete in time."""
        self._end(error.reason)
