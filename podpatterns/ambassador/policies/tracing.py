"""Tracing: what a request is called, so that it can be found again in the logs of every service that it passes.

What a client sends is passed on as it is. Identifiers are random, not secret: whoever knows one can do nothing with it.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Iterator
from random import getrandbits, random
from typing import TYPE_CHECKING, Literal

from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.policies import PolicyConfig, Site, Step
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Share

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.match import MatchConfig

_TRACE = named(b"traceparent")


class TracingConfig(PolicyConfig, frozen=True, kw_only=True):
    """What is done for requests that come without an identifier. One that a client sends is always passed on."""

    request_id: Literal["create", "keep"] = "create"
    """`create`: a request without an `X-Request-Id` gets one of 32 random hexadecimal digits; it stands in the access
    log, and costs a quarter of a microsecond. `keep`: it gets none."""

    traceparent: Literal["create", "keep"] = "keep"
    """`create`: a request without a W3C `traceparent` starts a trace here. `keep`: it gets none, for that is up to the
    application's own tracing, if there is any."""

    sample: Share = Share("100%")
    """With `traceparent: create`, the share of the new traces that are marked as sampled: services record those, and
    mostly those alone."""

    def __post_init__(self) -> None:
        """A sample of something."""
        if self.sample < 1 and self.traceparent != "create":
            raise InvalidField("sample", "goes with traceparent: create; otherwise no trace starts here")

    def compile(self, site: Site) -> Step | None:  # noqa: ARG002 - the signature of all
        """See PolicyConfig."""
        if self.traceparent == "keep":
            return None if self.request_id == "keep" else identify
        sample, creates = float(self.sample), self.request_id == "create"

        def trace(exchange: Exchange) -> bool:
            if _TRACE.search(exchange.head) is None:
                exchange.head += b"traceparent: %b\r\n" % traceparent(
                    getrandbits(128),
                    getrandbits(64),
                    sampled=random() < sample,  # noqa: S311 - a share, not a secret
                )
            return identify(exchange) if creates else True

        return trace

    def describe(self, request: Request, match: MatchConfig) -> Iterator[str]:  # noqa: ARG002
        """See PolicyConfig."""
        if self.request_id == "create" and not request.identified:
            yield "adds an X-Request-Id"
        if self.traceparent == "create" and _TRACE.search(request.head) is None:
            yield f"starts a trace: adds a traceparent, {self.sample} of them sampled"


def identify(exchange: Exchange) -> bool:
    """Give a request an X-Request-Id, unless it has one."""
    if not exchange.request.identified:
        exchange.head += b"X-Request-Id: " + hexlify(getrandbits(128).to_bytes(16, "big")) + b"\r\n"
    return True


def traceparent(trace: int, span: int, *, sampled: bool) -> bytes:
    """The value of version 00 (W3C Trace Context, 3.2): 128 and 64 bits; neither may be 0, so 0 becomes 1. Pure."""
    return b"00-%032x-%016x-%02x" % (trace or 1, span or 1, sampled)
