"""What is counted for each version of each route; the hot path adds to it directly."""

from __future__ import annotations

from collections.abc import Callable

from podpatterns.runtime.telemetry import Cell, Distribution

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")

BROKEN = frozenset({"bad_body", "idle_timeout", "total_timeout", "truncated"})
"""Flags of responses that the upstream began and did not end: whatever their status, it has failed."""


class Tally:
    """The requests of one listener and route that one version has answered; the hot path adds to it directly."""

    __slots__ = ("_flag", "broken", "classes", "flags", "latency", "retried", "version")

    def __init__(
        self,
        version: str,
        classes: list[Cell],
        latency: Distribution,
        flag: Callable[[str], Cell] = lambda _: Cell(),
    ) -> None:
        self.version = version
        self.classes = classes
        """By the first digit of the status; index 0 for clients that left before there was one."""
        self.latency = latency
        self.flags: dict[str, Cell] = {}
        """By the response flag."""
        self.broken = 0
        """Responses with a good status that were not completed."""
        self.retried = 0
        """Attempts that failed and were made again: not requests of their own."""
        self._flag = flag

    @property
    def requests(self) -> int:
        """All of them."""
        return int(sum(cell.value for cell in self.classes))

    @property
    def answered(self) -> int:
        """Those whose client has waited for the answer."""
        return self.requests - self.gone

    @property
    def gone(self) -> int:
        """Those whose client left before there was an answer."""
        return int(self.classes[0].value)

    @property
    def failures(self) -> int:
        """Those that were answered with 500 or more, by the version or in its place, or incompletely."""
        return int(self.classes[5].value) + self.broken

    def flagged(self, flag: str, status: int) -> None:
        """The response is not what the upstream wanted to say; seldom enough for a look-up."""
        cell = self.flags.get(flag)
        if cell is None:
            cell = self.flags[flag] = self._flag(flag)
        cell.value += 1
        if flag in BROKEN and status < 500:
            self.broken += 1


class StreamTally(Tally):
    """The connections of one TCP listener that one version has taken; `latency` is how long they last."""

    __slots__ = ("received", "sent")

    def __init__(self, version: str, opened: Cell, lasted: Distribution, sent: Cell, received: Cell) -> None:
        super().__init__(version, [opened], lasted)
        self.sent = sent
        """Bytes from the client to the version."""
        self.received = received
        """Bytes from the version to the client."""
