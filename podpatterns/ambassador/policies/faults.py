"""Faults on purpose: to see how an application takes errors, slowness and broken connections."""

from __future__ import annotations

from collections.abc import Iterator
from random import random
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.policies import PolicyConfig, Site, Step
from podpatterns.ambassador.policies.fields import Demand, ValueConfig, check_demand
from podpatterns.ambassador.throttle import Throttle
from podpatterns.runtime.schema import Config, InvalidField
from podpatterns.runtime.units import Duration, Share, Size

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.match import MatchConfig

ALL = Share("100%")


class AbortConfig(Config, frozen=True, kw_only=True):
    """Answers with an error, and the upstream is not asked."""

    status: Annotated[int, Meta(ge=400, le=599)] = 503
    """The status of the error."""

    percent: Share = ALL
    """The share of requests."""


class DelayConfig(Config, frozen=True, kw_only=True):
    """Lets a request wait before the upstream is asked."""

    time: Duration
    """How long it waits; the route's `timeout` goes on meanwhile."""

    percent: Share = ALL
    """The share of requests."""


class ResetConfig(Config, frozen=True, kw_only=True):
    """Resets the client's connection without an answer."""

    percent: Share = ALL
    """The share of requests."""


class BandwidthConfig(Config, frozen=True, kw_only=True):
    """Sends the response slowly. The upstream is held back too, so that nothing piles up here."""

    rate: Size
    """Bytes in each second."""

    percent: Share = ALL
    """The share of requests."""

    def __post_init__(self) -> None:
        """Some bytes at least."""
        if not self.rate:
            raise InvalidField("rate", "must be at least 1: a response that never comes is a `delay`")


class FaultsConfig(PolicyConfig, frozen=True, kw_only=True):
    """Breaks a share of the requests. Each kind is drawn for itself, `reset` before `abort` before the others."""

    headers: dict[str, str | ValueConfig] = {}
    """Only requests with these fields, as in `match`, such as `{x-chaos: "*"}`. Empty: every request."""

    abort: AbortConfig | None = None
    """Errors. None: no request is answered with one."""

    delay: DelayConfig | None = None
    """Latency. None: no request waits."""

    reset: ResetConfig | None = None
    """Broken connections. None: none is reset."""

    bandwidth: BandwidthConfig | None = None
    """Slow responses. None: as fast as the client reads."""

    def __post_init__(self) -> None:
        """Something to break."""
        for name in self.headers:
            check_demand(name, f"headers.{name}")
        if all(each is None for each in (self.abort, self.delay, self.reset, self.bandwidth)):
            raise ValueError("says nothing to break: give abort, delay, reset or bandwidth")

    def compile(self, site: Site) -> Step:
        """See PolicyConfig."""
        demands = tuple(Demand(name, value) for name, value in self.headers.items())
        faults = tuple(self.faults())
        events = site.events

        def break_some(exchange: Exchange) -> bool:
            if not all(demand(exchange.request) for demand in demands):
                return True
            for flag, share, fault in faults:
                if random() < share:  # noqa: S311 - a share, not a secret
                    exchange.flag = flag
                    events.fault(site.listener, site.route, flag)
                    if not fault(exchange):
                        return False
            return True

        return break_some

    def faults(self) -> Iterator[tuple[str, Share, Step]]:
        """What is configured: the flag that says so in the access log, how often it strikes, what it does."""
        if self.reset is not None:
            yield "fault_reset", self.reset.percent, _reset
        if self.abort is not None:
            yield "fault_abort", self.abort.percent, _abort(self.abort.status)
        if self.delay is not None:
            yield "fault_delay", self.delay.percent, _delay(self.delay.time)
        if self.bandwidth is not None:
            yield "fault_bandwidth", self.bandwidth.percent, _bandwidth(self.bandwidth.rate)

    def describe(self, request: Request, match: MatchConfig) -> Iterator[str]:  # noqa: ARG002
        """See PolicyConfig."""
        if not all(Demand(name, value)(request) for name, value in self.headers.items()):
            return
        if self.reset is not None:
            yield f"resets {self.reset.percent} of them"
        if self.abort is not None:
            yield f"answers {self.abort.percent} of them with {self.abort.status}"
        if self.delay is not None:
            yield f"delays {self.delay.percent} of them by {self.delay.time}"
        if self.bandwidth is not None:
            yield f"sends {self.bandwidth.percent} of the responses with {self.bandwidth.rate} a second"


def _reset(exchange: Exchange) -> bool:
    exchange.client.cut(exchange)
    return False


def _abort(status: int) -> Step:
    def abort(exchange: Exchange) -> bool:
        exchange.answer(status, "podpatterns: a fault on purpose (fault_abort)\n", reason="fault_abort")
        return False

    return abort


def _delay(seconds: float) -> Step:
    def delay(exchange: Exchange) -> bool:
        exchange.delay += seconds
        return True

    return delay


def _bandwidth(rate: int) -> Step:
    def throttle(exchange: Exchange) -> bool:
        throttled = Throttle.around(exchange.client, rate)
        exchange.on_end += (lambda _exchange, _now: throttled.release(),)
        return True

    return throttle
