"""Graphite's lines, and its pickles where that is wished, as Carbon takes them."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from podpatterns.adapter.framing import ByLength, Lines, Overlong
from podpatterns.adapter.inputs import Document, Input, InputConfig, Wiring
from podpatterns.adapter.intake import MAX_LINE, Intake, Sink, shown, told
from podpatterns.adapter.receiving import Connections, Datagrams
from podpatterns.formats import graphite
from podpatterns.formats.families import Family
from podpatterns.formats.refusal import Refused, number
from podpatterns.formats.statsd import Line
from podpatterns.runtime.units import Address, Size


class GraphiteConfig(InputConfig, frozen=True, kw_only=True):
    """Graphite lines, `shop.zurich.orders 12 1700000000`, with tags or without; each series is a gauge.

    `mapping` makes labels of the segments of a name. The time of a line is not used: a value counts from when it is
    read. Pickles are taken only with `protocol: pickle`, by a reader of our own that knows lists, tuples, texts and
    numbers: Python's would run what others send.
    """

    EXAMPLE: ClassVar[str] = """
    type: graphite
    listen: "127.0.0.1:2003"
    """

    listen: Address = Address("127.0.0.1:2003")
    """Where lines are received: the pod's own loopback on Carbon's usual port by default, or `unix:/path`."""

    protocol: Literal["tcp", "udp", "pickle"] = "tcp"
    """`tcp`: connections with a line per line, as most clients have it. `udp`: datagrams, each with one or several
    lines. `pickle`: connections with pickles of up to 1MiB behind their lengths, as relays send them, usually to port
    2004. For `unix:` these are streams and datagrams."""

    buffer: Size = Size("4MiB")
    """The kernel's receive buffer that is asked for with `udp`; datagrams beyond it are dropped by the kernel, and
    counted."""

    def lines(self, wiring: Wiring) -> Lines | None:
        """Graphite's plaintext, unless there are pickles."""
        return None if self.protocol == "pickle" else GraphiteLines(wiring.intake, wiring.events)

    def document(self, wiring: Wiring) -> Document | None:
        """Pickles."""
        return GraphitePickles(wiring.intake, wiring.events) if self.protocol == "pickle" else None

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        lines = self.lines(wiring)
        if lines is None:
            pickles = GraphitePickles(wiring.intake, wiring.events)
            return Connections("graphite", self.listen, pickles, wiring.events, _BY_LENGTH)
        if self.protocol == "tcp":
            return Connections("graphite", self.listen, lines, wiring.events)
        return Datagrams("graphite", self.listen, self.buffer, lines, wiring.events)


MAX_PICKLE = 1 << 20
"""Bytes of one pickle, which is Carbon's own limit."""


_BY_LENGTH = partial(ByLength, order="big", most=MAX_PICKLE, joined=False)


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
                self._sink.line_refused(refused.reason, told(refused, raw))
        self._sink.lines_taken(count)


class GraphitePickles:
    """The entries of pickles to gauges, as if they were lines."""

    def __init__(self, intake: Intake, sink: Sink) -> None:
        self._intake, self._sink = intake, sink

    def take(self, body: bytes, content_type: str) -> list[Family]:  # noqa: ARG002 - there is one kind
        """Take in one pickle, or several behind their lengths as a connection has them."""
        if body[:1] != b"\0":  # as every length begins, and no pickle
            self.feed(body)
            return []
        try:
            _BY_LENGTH(self).feed(body)
        except Overlong as error:
            raise ValueError(str(error)) from None
        return []

    def feed(self, data: bytes) -> None:
        """Take in one pickle."""
        from podpatterns.formats import graphite_pickle  # and with it pickletools, for those alone who want it

        try:
            entries = list(graphite_pickle.read(data))
        except Refused as refused:
            self._sink.lines_taken(1)
            self._sink.line_refused(refused.reason, refused.detail)
            return
        for entry in entries:
            if isinstance(entry, Refused):
                self._sink.line_refused(entry.reason, entry.detail)
                continue
            name, value, _ = entry
            if len(name) > MAX_LINE:
                self._sink.line_refused("too_long", name[:80])
                continue
            self._intake.sample((b"\ngraphite\n", name.encode("utf-8", "replace")), value, "Graphite metric", _line)
        self._sink.lines_taken(len(entries))


def _line(key: bytes) -> Line:
    name, tags = graphite.series(key)
    return Line(name, "g", (), tags=tags)
