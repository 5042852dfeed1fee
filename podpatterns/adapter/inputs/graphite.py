"""Graphite's plaintext lines, as Carbon takes them."""

from __future__ import annotations

from typing import ClassVar, Literal

from podpatterns.adapter.inputs import Input, InputConfig, Wiring
from podpatterns.adapter.intake import MAX_LINE, Intake, Sink, shown
from podpatterns.adapter.receiving import Connections, Datagrams
from podpatterns.formats import graphite
from podpatterns.formats.statsd import Line, Refused, number
from podpatterns.runtime.units import Address, Size


class GraphiteConfig(InputConfig, frozen=True, kw_only=True):
    """Graphite lines, `shop.zurich.orders 12 1700000000`, with tags or without; each series is a gauge.

    `mapping` makes labels of the segments of a name. The time of a line is not used: a value counts from when it is
    read. Pickle is not taken, because unpickling what others send can run what others send; Carbon's relays and
    Graphite's clients all speak plaintext as well.
    """

    EXAMPLE: ClassVar[str] = """
    type: graphite
    listen: "127.0.0.1:2003"
    """

    listen: Address = Address("127.0.0.1:2003")
    """Where lines are received: the pod's own loopback on Carbon's usual port by default, or `unix:/path`."""

    protocol: Literal["tcp", "udp"] = "tcp"
    """`tcp`: connections with a line per line, as most clients have it. `udp`: datagrams, each with one or several
    lines. For `unix:` they mean a stream and a datagram socket."""

    buffer: Size = Size("4MiB")
    """The kernel's receive buffer that is asked for with `udp`; datagrams beyond it are dropped by the kernel, and
    counted."""

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        lines = GraphiteLines(wiring.intake, wiring.events)
        if self.protocol == "tcp":
            return Connections("graphite", self.listen, lines, wiring.events)
        return Datagrams("graphite", self.listen, self.buffer, lines, wiring.events)


class GraphiteLines:
    """Lines to gauges; a known series costs one look-up, and its number the closer look that keeps NaN out."""

    def __init__(self, intake: Intake, sink: Sink) -> None:
        self._intake, self._sink = intake, sink

    def feed(self, data: bytes) -> None:
        """Take in whole lines."""
        count = 0
        for raw in data.split(b"\n"):
            if not raw or raw == b"\r":
                continue
            count += 1
            if len(raw) > MAX_LINE:
                self._sink.line_refused("too_long", shown(raw))
                continue
            try:
                key, value, _ = graphite.split(raw)
                self._intake.sample((b"\ngraphite\n", key), number(value), "Graphite metric", _line)
            except Refused as refused:
                self._sink.line_refused(refused.reason, refused.detail or shown(raw))
        self._sink.lines_taken(count)


def _line(key: bytes) -> Line:
    name, tags = graphite.series(key)
    return Line(name, "g", (), tags=tags)
