"""A TCP connection on its way through: bytes in both directions, whatever they mean.

Each side holds the other back when it reads slowly, passes on that it has said all it wants to say, and resets the
other if it is reset itself.
"""

from __future__ import annotations

import asyncio
from random import random
from typing import TYPE_CHECKING, cast

from podpatterns.ambassador.events import StreamTally, Tally
from podpatterns.ambassador.handler import Target
from podpatterns.ambassador.route import Route
from podpatterns.ambassador.sockets import reset
from podpatterns.errors import UpstreamError
from podpatterns.runtime.telemetry import Cell

if TYPE_CHECKING:
    from podpatterns.ambassador.listeners.tcp import Tcp

LAST_WORDS = 5.0
"""Seconds in which an upstream in TLS may go on after its client has ended, without saying anything."""


class StreamRoute(Route):
    """A split by connection."""

    def _tally(self, version: str) -> Tally:
        return self.events.stream_tally(self.listener, self.name, version)

    def first(self) -> Target:
        """The version for a new connection."""
        return self._single or self.draw()

    def untried(self, tried: set[str]) -> Target | None:
        """A version that has not been tried, the ratios of those that are left being kept; None if there is none."""
        self.undisturbed = False
        left = [name for name in self.available() if name not in tried]
        name = self.split.pick(random(), left)  # noqa: S311 - a share, not a secret
        return None if name is None else self.targets[name]


class End(asyncio.Protocol):
    """One side of a stream. Until it has another side it keeps what comes first, and then reads no more."""

    __slots__ = ("_count", "_early", "_stream", "ended", "lost", "other", "transport")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._early = b""
        self._count = Cell()
        self.other: End | None = None
        self.ended = False
        """True once it has said that it will send no more."""
        self.lost = False
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected; nothing is passed on before `join`."""
        self.transport = cast("asyncio.Transport", transport)
        self._stream.opened(self)

    def join(self, other: End, count: Cell) -> None:
        """From now on bytes go to the other side, and are counted."""
        self.other, self._count = other, count

    def flush(self) -> None:
        """Pass on what has come before there was another side."""
        other = self.other
        assert other is not None
        if self.ended:
            self._pass_on(other)
            self._stream.end(other)
        elif not self.transport.is_closing():
            self.transport.resume_reading()  # before the writing, which may find the other side slow and pause it
            self._pass_on(other)

    def _pass_on(self, other: End) -> None:
        data, self._early = self._early, b""
        if data:
            self._count.value += len(data)
            other.transport.write(data)

    def data_received(self, data: bytes) -> None:
        """To the other side."""
        other = self.other
        if other is None:
            self._early += data
            self.transport.pause_reading()
            return
        self._stream.moved = True
        self._count.value += len(data)
        other.transport.write(data)

    def eof_received(self) -> bool:
        """It sends no more, and may still listen."""
        self.ended = True
        self._stream.moved = True
        other = self.other
        if other is not None:
            if not other.transport.is_closing():
                self._stream.end(other)
            if other.ended:
                self._stream.finish("closed")
        return self.transport.can_write_eof()

    def pause_writing(self) -> None:
        """It reads too slowly for what the other side sends."""
        other = self.other
        if other is not None and not other.ended and not other.transport.is_closing():
            other.transport.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        other = self.other
        if other is not None and not other.ended and not other.transport.is_closing():
            other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        self.lost = True
        self._stream.closed(self, exc)


class Stream:
    """A client, the version it was given, and how they are doing."""

    __slots__ = (
        "_ending", "_far", "_near", "_started", "_target", "_tried", "due", "listener", "moved", "over", "route",
    )  # fmt: skip

    def __init__(self, listener: Tcp, route: StreamRoute) -> None:
        self.listener = listener
        self.route = route
        self.due = float("inf")
        """When patience ends; looked at several times a second."""
        self.moved = False
        """True if something has moved since that was looked at last."""
        self.over = False
        self._ending = False
        """True once one side has ended, and the other cannot be told."""
        self._near = End(self)
        self._far: End | None = None
        self._target: Target | None = None
        self._tried: set[str] = set()
        self._started = 0.0

    @property
    def near(self) -> End:
        """The client's side, for the listener."""
        return self._near

    def opened(self, end: End) -> None:
        """A side is connected; with the client's begins the search for a version."""
        if end is not self._near:
            return
        self._started = self.listener.clock()
        if self.listener.admit(self):
            self._dial(self.route.first())
        else:
            self.finish("max_connections")

    def _dial(self, target: Target) -> None:
        self._target = target
        self._tried.add(target.upstream.name)
        target.upstream.dial(lambda: End(self), self._dialed)

    def _dialed(self, result: asyncio.Protocol | UpstreamError) -> None:
        target = self._target
        assert target is not None
        if isinstance(result, UpstreamError):
            self.listener.events.upstream_failed(target.upstream.name, result.flag, str(result))
            self._target = None
            another = None if self.over else self.route.untried(self._tried)
            if another is not None:
                self._dial(another)
            else:
                self.finish("no_upstream")
            return
        assert isinstance(result, End)
        self._far = far = result
        if self.over or far.lost:
            # One of the two has left in the meantime.
            self.finish("reset")
            if far.lost:
                self._release()
            else:
                reset(far.transport)
            return
        tally = target.tally
        assert isinstance(tally, StreamTally)
        tally.classes[0].value += 1
        self.due = self.listener.clock() + self.listener.config.idle
        far.join(self._near, tally.received)
        self._near.join(far, tally.sent)
        far.flush()
        self._near.flush()
        if far.ended and self._near.ended:
            self.finish("closed")

    def closed(self, end: End, exc: Exception | None) -> None:
        """A side is gone; a far side that was never given to us was one of several attempts."""
        if end is not self._near and end is not self._far:
            return
        self.finish("reset" if exc is not None else "closed")
        if end is self._far:
            self._release()
        if self._near.lost and (self._far is None or self._far.lost):
            self.listener.lost(self)

    def _release(self) -> None:
        target, self._target = self._target, None
        if target is not None and self._far is not None:
            target.upstream.hung_up(self._far)
            target.tally.latency.observe(self.listener.clock() - self._started)

    def finish(self, reason: str) -> None:
        """End both sides, by a reset unless everything was said or what is written already is to arrive."""
        if self.over:
            return
        self.over = True
        self.listener.events.stream_ended(
            self.listener.name, self._target.upstream.name if self._target is not None else "", reason
        )
        self.due = self.listener.clock() + self.listener.config.idle
        for end in (self._near, self._far):
            if end is not None and not end.lost:
                if reason in {"closed", "drained"}:
                    end.transport.close()
                else:
                    reset(end.transport)

    def end(self, end: End) -> None:
        """Tell a side that the other one sends no more. In TLS that cannot be said: then it may say its last words."""
        if end.transport.can_write_eof():
            end.transport.write_eof()
        else:
            self._ending = self.moved = True

    def check(self, now: float) -> None:
        """Whether it has been idle for too long."""
        if self.moved:
            self.moved = False
            self.due = now + (LAST_WORDS if self._ending else self.listener.config.idle)
        elif self.due <= now:
            if self.over:
                self.drop()
            else:
                self.finish("closed" if self._ending else "idle_timeout")

    def drop(self) -> None:
        """Let go of both sides at once; what is still being written never looks complete."""
        if not self.over:
            self.finish("dropped")
            return
        for end in (self._near, self._far):
            if end is not None and not end.lost:
                reset(end.transport)
