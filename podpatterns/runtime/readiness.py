"""Readiness as latches: ready when every holder has let go.

Whoever must be up before traffic is welcome takes a latch with a name and releases it when it is up;
it may hold again later (an upstream that vanished). `/readyz` lists who still holds, and why.
"""

from __future__ import annotations

import asyncio


class Latch:
    """One holder's say in readiness."""

    __slots__ = ("_readiness", "name")

    def __init__(self, readiness: Readiness, name: str) -> None:
        self._readiness, self.name = readiness, name

    def hold(self, reason: str) -> None:
        """Not ready, for this reason."""
        self._readiness._set(self.name, reason)  # noqa: SLF001 - one mechanism in two classes

    def release(self) -> None:
        """Ready, as far as this holder is concerned."""
        self._readiness._set(self.name, None)  # noqa: SLF001


class Readiness:
    """Every latch of a process."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}
        self._ready = asyncio.Event()
        self._ready.set()

    def latch(self, name: str, reason: str = "starting") -> Latch:
        """A new latch, held from the start."""
        latch = Latch(self, name)
        latch.hold(reason)
        return latch

    def _set(self, name: str, reason: str | None) -> None:
        if reason is None:
            self._held.pop(name, None)
        else:
            self._held[name] = reason
        if self._held:
            self._ready.clear()
        else:
            self._ready.set()

    @property
    def ready(self) -> bool:
        """True when nobody holds."""
        return not self._held

    @property
    def held(self) -> dict[str, str]:
        """Who holds, and why."""
        return dict(self._held)

    async def wait(self) -> None:
        """Return when ready."""
        await self._ready.wait()
