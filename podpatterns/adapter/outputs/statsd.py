"""StatsD lines, sent to a daemon or an agent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec

from podpatterns.adapter.carriers import Carrier, Datagrams, Stream, check_destination
from podpatterns.adapter.deltas import adds_up
from podpatterns.adapter.outputs import Output, OutputContext
from podpatterns.adapter.pushing import Carried, PushConfig, bodies
from podpatterns.formats import statsd_lines
from podpatterns.formats.families import Family
from podpatterns.runtime.units import Address

LINES = 5000
"""Lines per delivery."""

CONTENT_TYPE = "text/plain; charset=utf-8"


class StatsdConfig(PushConfig, frozen=True, kw_only=True):
    """Sends StatsD lines: to a StatsD daemon, a Datadog agent, Telegraf and others.

    Counters, counts, sums and buckets are sent as what was added since the last interval, gauges and quantiles as they
    are. What a source had counted before the adapter looked for the first time is not sent.
    """

    EXAMPLE: ClassVar[str] = """
    type: statsd
    address: statsd.monitoring:8125
    tags: dogstatsd
    """

    address: Address
    """Where lines are taken: `host:port`, or `unix:/path`."""

    protocol: Literal["udp", "tcp"] = "udp"
    """`udp`: datagrams of up to 1432 bytes, which may be lost on the way. `tcp`: a connection with a line per line. For
    `unix:` they mean a datagram and a stream socket."""

    tags: Literal["dogstatsd", "librato", "influx", "signalfx", "none"] = "dogstatsd"
    """How labels are written. `none`: their values become segments of the name."""

    prefix: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[^\s:|@#,=\[\]]*$",
            max_length=200,
            extra={"is": "the beginning of a name, such as shop. with its dot"},
        ),
    ] = ""
    """What every name begins with, with the dot that ends it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_destination(self.address, "statsd:8125")

    def build(self, context: OutputContext) -> Output:
        """The output."""
        carrier: Carrier = (
            Datagrams(self.address)
            if self.protocol == "udp"
            else Stream(self.address, "the StatsD server", repeatable=False)
        )
        return Statsd(self, carrier, context)


class Statsd(Carried):
    """Remembers what was sent, so that the next time only the difference is."""

    finite = True

    def __init__(self, config: StatsdConfig, carrier: Carrier, context: OutputContext) -> None:
        super().__init__(config, carrier, context)
        self.config = config
        self._deltas = context.deltas

    def encode(self, families: Sequence[Family], now: float) -> list[bytes]:
        """Bodies of up to 5,000 lines."""
        return bodies(map(str.encode, self._lines(self._deltas.changes(families, now))), LINES)

    def render(self, families: Sequence[Family], accept: str) -> tuple[bytes, str]:  # noqa: ARG002 - it has one form
        """Every line as it would be sent the first time, sums included; for people."""
        return "".join(self._lines(families)).encode(), CONTENT_TYPE

    def _lines(self, families: Sequence[Family]) -> Iterator[str]:
        prefix = self.config.prefix
        return (prefix + line for line in statsd_lines.render(families, self.config.tags, adds_up))
