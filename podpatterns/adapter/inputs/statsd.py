"""StatsD over UDP, TCP or a unix socket, in every dialect in use."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from podpatterns.adapter.datagrams import DATAGRAM
from podpatterns.adapter.framing import ByLine, ByLineOrLength, Lines
from podpatterns.adapter.inputs import Input, InputConfig, Wiring
from podpatterns.adapter.receiving import Connections, Datagrams
from podpatterns.runtime.units import Address, Size


class StatsdConfig(InputConfig, frozen=True, kw_only=True):
    """StatsD lines: counters, gauges, timers, histograms, distributions and sets.

    Tags may stand in any of the four styles: DogStatsD, Librato, InfluxDB, SignalFx. Events and service checks are
    counted and skipped.
    """

    EXAMPLE: ClassVar[str] = """
    type: statsd
    listen: "127.0.0.1:8125"
    """

    listen: Address = Address("127.0.0.1:8125")
    """Where lines are received: the pod's own loopback on StatsD's usual port by default. `unix:/path` is a socket as
    DogStatsD's clients use it; the file is made for everyone in the pod to write to."""

    protocol: Literal["udp", "tcp"] = "udp"
    """`udp`: datagrams, each with one or several lines. `tcp`: connections with a line per line. For `unix:` they mean
    a datagram socket (`unixgram://` of clients) and a stream socket (`unixstream://`), with lines or with packets
    behind their lengths. An input takes 1,000 connections at a time."""

    buffer: Size = Size("4MiB")
    """The kernel's receive buffer that is asked for, where datagrams wait while the adapter is busy; the kernel
    grants at most net.core.rmem_max. Datagrams beyond it are dropped by the kernel, and counted."""

    def lines(self, wiring: Wiring) -> Lines:
        """StatsD's."""
        return wiring.intake

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        if self.protocol == "tcp":
            framing = ByLine if self.listen.path is None else partial(ByLineOrLength, most=DATAGRAM)
            return Connections("statsd", self.listen, wiring.intake, wiring.events, framing)
        return Datagrams("statsd", self.listen, self.buffer, wiring.intake, wiring.events)
