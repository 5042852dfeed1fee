"""A transport that writes slowly, put around a client's for as long as one response lasts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podpatterns.ambassador.downstream import Downstream

TICK = 0.02
"""Seconds between two writes: short enough to look like a slow line, long enough to cost nothing."""

FULL = 64 * 1024
"""Bytes that may wait before the upstream is held back."""


class Pace:
    """So many bytes a second; what was not used in one tick is not saved for later. Pure."""

    __slots__ = ("_next", "_rate")

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._next = 0.0

    def wait(self, now: float) -> float:
        """Seconds until something may be written; 0: now."""
        return max(0.0, self._next - now)

    def take(self, wanted: int, now: float) -> int:
        """How many of `wanted` bytes may be written now; at least one, for which the next write then waits."""
        taken = min(wanted, max(1, int(self._rate * TICK)))
        self._next = max(self._next, now) + taken / self._rate
        return taken


class Throttle(asyncio.Transport):
    """Passes on what it is given at a pace; takes itself away when it was released and everything is written."""

    def __init__(self, client: Downstream, rate: int) -> None:
        super().__init__()
        self._client = client
        self._transport = client.transport
        self._loop = asyncio.get_running_loop()
        self._pace = Pace(rate)
        self._waiting = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._holding = False
        self._released = self._closing = self._ended = False

    @classmethod
    def around(cls, client: Downstream, rate: int) -> Throttle:
        """Slow a client's connection down, until `release`."""
        found = client.transport
        if isinstance(found, Throttle):  # still busy with an earlier response: the order must stay
            found.slow_down(rate)
            return found
        throttle = cls(client, rate)
        client.transport = throttle
        return throttle

    def slow_down(self, rate: int) -> None:
        """Go on at another pace."""
        self._pace = Pace(rate)
        self._released = False

    def release(self) -> None:
        """The response is over, as far as it is written."""
        self._released = True
        self._go_away()

    def _go_away(self) -> None:
        if self._released and not self._waiting and self._client.transport is self:
            self._client.transport = self._transport

    # --- writing --------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Take what is to be written."""
        self._waiting += data
        if self._timer is None:
            self._flush()
        if len(self._waiting) > FULL and not self._client.slow:
            self._holding = True
            self._client.pause_writing()

    def _flush(self) -> None:
        self._timer = None
        if self._transport.is_closing():
            self._waiting.clear()
        now = self._loop.time()
        if self._waiting and not self._pace.wait(now):
            count = self._pace.take(len(self._waiting), now)
            self._transport.write(bytes(self._waiting[:count]))
            del self._waiting[:count]
        if self._waiting:
            self._timer = self._loop.call_later(self._pace.wait(now), self._flush)
        else:
            self._finish()
        if self._holding and len(self._waiting) <= FULL // 2:
            self._holding = False
            self._client.resume_writing()

    def _finish(self) -> None:
        if not self._transport.is_closing():
            if self._closing:
                self._transport.close()
            elif self._ended:
                self._transport.write_eof()
        self._go_away()

    def write_eof(self) -> None:
        """Say no more, once everything is written."""
        self._ended = True
        if not self._waiting:
            self._transport.write_eof()

    def close(self) -> None:
        """Close, once everything is written."""
        self._closing = True
        if not self._waiting:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport.abort()

    # --- the rest is the connection's own -------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return self._closing or self._transport.is_closing()

    def can_write_eof(self) -> bool:
        """See asyncio.Transport."""
        return not self._ended and self._transport.can_write_eof()

    def pause_reading(self) -> None:
        """See asyncio.Transport."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See asyncio.Transport."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.Transport."""
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """See asyncio.Transport."""
        return len(self._waiting) + self._transport.get_write_buffer_size()
