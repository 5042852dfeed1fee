"""The access log: which requests get a line, and what stands in it."""

from __future__ import annotations

from random import random
from typing import TYPE_CHECKING, Any, Literal

from podpatterns.ambassador.http1.fields import named
from podpatterns.runtime.schema import Config, InvalidField
from podpatterns.runtime.units import Share

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents
    from podpatterns.ambassador.exchange import Exchange

_REQUEST_ID = named(b"x-request-id")
_TRACE = named(b"traceparent")

Which = Literal["off", "errors", "all"]


class AccessLogConfig(Config, frozen=True, kw_only=True):
    """Which requests get a line in the log. `access_log: all` is short for `access_log: {requests: all}`.

    The lines have the level info; with `runtime.log_level: warning` there are none.
    """

    requests: Which = "all"
    """`errors` are requests that were answered with 500 or more, or not as the upstream wanted: each such line has a
    flag that says why. `off`: none."""

    sample: Share = Share("100%")
    """With `all`, the share of the other requests that get a line, drawn at random; errors always do. Lines that were
    drawn carry it as `sample`, so that counts can be scaled up."""

    def __post_init__(self) -> None:
        """A sample of something."""
        if self.sample < 1 and self.requests != "all":
            raise InvalidField("sample", f"goes with requests: all; {self.requests} has nothing to draw from")


class AccessLog:
    """Writes the lines of one listener. A request below `threshold` without a flag costs nothing."""

    __slots__ = ("_events", "_listener", "_sample", "flagged", "threshold")

    def __init__(self, config: AccessLogConfig | Which, listener: str, events: AmbassadorEvents) -> None:
        if not isinstance(config, AccessLogConfig):
            config = AccessLogConfig(requests=config)
        self.threshold = {"off": 1000, "errors": 500, "all": 0}[config.requests]
        """The lowest status that is looked at here; 1000: none."""
        self.flagged = config.requests != "off"
        """Whether requests with a flag are."""
        self._sample = float(config.sample)
        self._listener = listener
        self._events = events

    def write(self, exchange: Exchange, seconds: float, version: str) -> None:
        """Write the line of an exchange that is over, if it is an error or drawn."""
        failed = exchange.status >= 500 or exchange.flag
        if not failed and self._sample < 1 and random() >= self._sample:  # noqa: S311 - a share, not a secret
            return
        request, endpoint = exchange.request, exchange.endpoint
        fields: dict[str, Any] = {
            "listener": self._listener,
            "route": exchange.route.name,
            "method": request.method.decode("latin-1"),
            # Without the query: that is where secrets stand.
            "path": request.path.decode("latin-1"),
            "host": request.host.decode("latin-1"),
            "status": exchange.status,
            "version": version,
            "seconds": round(seconds, 6),
            "flag": exchange.flag,
        }
        if endpoint is not None:
            fields["address"] = str(endpoint)
        if exchange.retries:
            fields["retries"] = exchange.retries
        if request.length > 0:
            fields["request_bytes"] = request.length
        for name, pattern in (("request_id", _REQUEST_ID), ("traceparent", _TRACE)):
            found = pattern.search(exchange.head)
            if found is not None:
                fields[name] = found[1].strip(b" \t").decode("latin-1")
        if not failed and self._sample < 1:
            fields["sample"] = self._sample
        self._events.access(fields)
