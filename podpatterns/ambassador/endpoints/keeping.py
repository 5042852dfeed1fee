"""For how long a connection that nobody uses is kept: shorter than the far side does, as far as we know that. Pure.

A request that is written on a connection while the far side closes it is lost; whether it was carried out, nobody
knows. So we let go first.
"""

from __future__ import annotations

import re

MARGIN = 0.8
"""The part of the far side's patience after which we let go: a request may be on its way by then."""

LEARN_FROM = 0.5
"""Seconds; a connection that is closed sooner says more about a restart than about an idle timeout."""

_TIMEOUT = re.compile(rb"\r\n(?i:keep-alive):[^\r\n]*?(?i:timeout)[ \t]*=[ \t]*\"?([0-9]{1,6})")


class Keeping:
    """`seconds` only ever becomes shorter than what is configured."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def told(self, head: bytes) -> bool:
        """A response's head may say how long: `Keep-Alive: timeout=5`. True: that was new."""
        found = _TIMEOUT.search(head)
        return found is not None and self._shorten(int(found[1]) * MARGIN)

    def closed_after(self, unused: float) -> bool:
        """The far side has closed a connection that was unused for so many seconds. True: that was new."""
        return unused > LEARN_FROM and self._shorten(unused * MARGIN)

    def _shorten(self, seconds: float) -> bool:
        if seconds >= self.seconds:
            return False
        self.seconds = seconds
        return True
