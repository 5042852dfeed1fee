"""Listeners, and the requests and streams that come in by them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from podpatterns.ambassador.events.tally import CLASSES, StreamTally, Tally
from podpatterns.runtime.telemetry import Cell, Telemetry

if TYPE_CHECKING:
    from podpatterns.ambassador.listeners import Listener


class RequestEvents:
    """What happens at listeners, to requests and to streams."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
        self.via = b"podpatterns-" + os.urandom(4).hex().encode()
        """This ambassador's name in Via; random, so that two of them in a row are not taken for a loop."""
        self.tallies: dict[tuple[str, str, str], Tally] = {}
        self.dropped = 0
        """Requests that were taken and then given up by us: neither the client nor the upstream wanted that."""
        self._requests = telemetry.counter(
            "podpatterns_ambassador_requests",
            "Requests that were answered, by the class of the status.",
            ["listener", "route", "version", "status"],
        )
        self._flags = telemetry.counter(
            "podpatterns_ambassador_response_flags",
            "Requests whose response is not what the upstream wanted to say, by the reason.",
            ["listener", "route", "version", "flag"],
        )
        self._latency = telemetry.histogram(
            "podpatterns_ambassador_request_seconds",
            "Time from the end of a request's head to the end of its response.",
            ["listener", "route", "version"],
        )
        self._refusals = telemetry.counter(
            "podpatterns_ambassador_refusals",
            "Requests that were not forwarded, by the reason.",
            ["listener", "reason"],
        )
        self._gone = telemetry.counter(
            "podpatterns_ambassador_clients_gone", "Clients that left before they had their response.", ["listener"]
        )
        self._drops = telemetry.counter(
            "podpatterns_ambassador_dropped", "Requests given up because the grace was over.", ["listener"]
        )
        self._streams = telemetry.counter(
            "podpatterns_ambassador_streams", "TCP connections that a version has taken.", ["listener", "version"]
        )
        self._streams_ended = telemetry.counter(
            "podpatterns_ambassador_streams_ended",
            "TCP connections that are over, by the reason.",
            ["listener", "reason"],
        )
        self._stream_bytes = telemetry.counter(
            "podpatterns_ambassador_stream_bytes",
            "Bytes passed on by TCP listeners: sent to the version, received from it.",
            ["listener", "version", "direction"],
        )
        self._stream_seconds = telemetry.histogram(
            "podpatterns_ambassador_stream_seconds", "How long TCP connections last.", ["listener", "version"]
        )
        self.listeners: Callable[[], Iterable[Listener[Any]]] = tuple
        telemetry.gauge(
            "podpatterns_ambassador_open_connections",
            "Connections of clients.",
            ["listener"],
            read=self._open_connections,
        )
        self._in_flight = telemetry.gauge(
            "podpatterns_ambassador_requests_in_flight",
            "Requests that are under way, of listeners that limit them.",
            ["listener"],
        )

    def tally(self, listener: str, route: str, version: str) -> Tally:
        """The series of one version in one route; the same one after a reload."""
        key = (listener, route, version)
        if key not in self.tallies:
            cells = [Cell(), *(self._requests.cell(*key, name) for name in CLASSES)]
            self.tallies[key] = Tally(
                version, cells, self._latency.series(*key), lambda flag: self._flags.cell(*key, flag)
            )
        return self.tallies[key]

    def stream_tally(self, listener: str, route: str, version: str) -> StreamTally:
        """The series of one version behind a TCP listener; the same one after a reload."""
        key = (listener, route, version)
        found = self.tallies.get(key)
        if not isinstance(found, StreamTally):
            found = self.tallies[key] = StreamTally(
                version,
                self._streams.cell(listener, version),
                self._stream_seconds.series(listener, version),
                self._stream_bytes.cell(listener, version, "sent"),
                self._stream_bytes.cell(listener, version, "received"),
            )
        return found

    def recall_flags(self) -> None:
        """Give tallies the flags that were counted elsewhere."""
        for listener, route, version, flag in self._flags.series:
            tally = self.tallies.get((listener, route, version))
            if tally is not None:
                tally.flags[flag] = self._flags.cell(listener, route, version, flag)

    def _open_connections(self) -> dict[tuple[str, ...], float]:
        found: dict[tuple[str, ...], float] = {}
        for each in self.listeners():  # one that leaves has the name of the one that takes its place
            found[each.name,] = found.get((each.name,), 0) + len(each.connections)
        return found

    def in_flight(self, listener: str) -> Cell:
        """The requests of a listener that are under way; the same cell after a reload."""
        return self._in_flight.cell(listener)

    @property
    def refusals(self) -> int:
        """Requests that were not forwarded."""
        return int(self._refusals.total)

    def listening(self, listener: str, address: str) -> None:
        """A listener accepts connections."""
        self._log.info("ambassador.listener.listening", listener=listener, address=address)

    def listener_closed(self, listener: str, connections: int) -> None:
        """A listener accepts no more; the connections that it has are finished."""
        self._log.info("ambassador.listener.closed", listener=listener, connections=connections)

    def descriptors_short(self, needed: int, had: int) -> None:
        """The system will not let us hold as many connections as the configuration allows."""
        self._log.info(
            "ambassador.descriptors.short",
            needed=needed,
            had=had,
            advice="raise the limit of open files (ulimit -n), or lower max_connections",
        )

    def refused(self, listener: str, status: int, reason: str) -> None:
        """A message was malformed, ambiguous, too large or not handled here, or the listener is full."""
        self._refusals.add(listener, reason)
        self._log.info("ambassador.request.refused", listener=listener, status=status, reason=reason)

    def client_gone(self, listener: str) -> None:
        """A client left before it had its response."""
        self._gone.add(listener)
        self._log.debug("ambassador.client.gone", listener=listener)

    def request_dropped(self, listener: str) -> None:
        """The grace was over before the response was."""
        self.dropped += 1
        self._drops.add(listener)
        self._log.error("ambassador.request.dropped", listener=listener)

    def access(self, fields: Mapping[str, Any]) -> None:
        """The access log: one line for one request. It is counted already."""
        self._log.info("ambassador.request.done", **fields)

    def stream_ended(self, listener: str, version: str, reason: str) -> None:
        """A TCP connection is over; `version` is empty if none could be reached."""
        self._streams_ended.add(listener, reason)
        self._log.debug("ambassador.stream.ended", listener=listener, version=version, reason=reason)
