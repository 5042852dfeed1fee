"""The parts of an adapter while it lives: opened in order, run, exchanged for others, closed in reverse.

One thing happens after the other, under one lock: what is listed is open once the adapter is, and what runs is listed.
Without that, a change that comes while the adapter starts could close a part that is set running afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, Generic, TypeVar

from podpatterns.adapter.health import Health
from podpatterns.adapter.inputs import Input
from podpatterns.adapter.logs import Log
from podpatterns.adapter.outputs import Output
from podpatterns.errors import PodpatternsError, ServiceError, StartError
from podpatterns.runtime.service import Deadline

LEAVING = 1.0
"""Seconds for an input that is exchanged to take in what has arrived; more comes while a sender does not stop."""

Part = Input | Log | Health | Output
P = TypeVar("P", bound=Part)
C = TypeVar("C")


class Kind(Generic[C, P]):
    """The parts of one kind, each beside the configuration that it was made of; `build` opens nothing."""

    def __init__(self, build: Callable[[C], P], configs: Sequence[C]) -> None:
        self.build = build
        self.configs = list(configs)
        self.parts: list[P] = list(map(build, configs))


class Parts:
    """All parts, in the order of their kinds."""

    def __init__(self, *kinds: Kind[Any, Any]) -> None:
        self._kinds = kinds
        self._lock = asyncio.Lock()
        self._open = self._ending = False
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[Part, asyncio.Task[None]] = {}
        self._lost: dict[Part, PodpatternsError] = {}
        """Parts that could not be put back after a change that failed, and why."""

    def __iter__(self) -> Iterator[Part]:
        return (part for kind in self._kinds for part in kind.parts)

    async def open(self) -> None:
        """Start every part. Raises StartError naming what is taken; `close` closes what was opened until then."""
        async with self._lock:
            self._open = True
            for part in self:
                await part.start()

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Set every part running in a group, to which those that are exchanged come later."""
        async with self._lock:
            self._group = group
            for part in self:
                self._run(part)

    async def ended(self, parts: Sequence[Part]) -> None:
        """Wait until these have ended."""
        await asyncio.wait([self._tasks[part] for part in parts])

    def end(self) -> None:
        """Nothing is exchanged from now on: the adapter drains."""
        self._ending = True

    async def close(self) -> None:
        """Stop every part, the last one first; their tasks have ended with the group."""
        self.end()
        async with self._lock:
            for part in reversed(list(self)):
                await part.stop()

    async def exchange(self, *changes: tuple[Kind[Any, Any], Sequence[Any]]) -> None:
        """Parts for other configurations, kind by kind; all of them, or none.

        Raises:
            StartError: a new part cannot start, and those that were there are back; or the adapter ends.
        """
        async with self._lock:
            if self._ending:
                raise StartError("the adapter is ending and takes up no change")
            async with AsyncExitStack() as undo:
                for kind, configs in changes:
                    before = list(kind.configs)
                    await self._exchange(kind, configs)
                    undo.push_async_callback(self._exchange, kind, before)
                undo.pop_all()

    async def _exchange(self, kind: Kind[C, P], configs: Sequence[C]) -> None:
        """Those whose configuration is the same go on untouched, the others are closed and opened."""
        spare = list(zip(kind.configs, kind.parts, strict=True))
        kept: list[P | None] = []
        for config in configs:
            match = next((pair for pair in spare if pair[0] == config), None)
            if match is not None:
                spare.remove(match)
            kept.append(match[1] if match else None)
        fresh: list[P] = []
        closed: list[tuple[C, P]] = []
        try:
            # What goes is closed first: its address may be what the new one wants.
            for pair in spare:
                closed.append(pair)
                await self._leave(pair[1])
            for place, config in enumerate(configs):
                if kept[place] is None:
                    kept[place] = part = kind.build(config)
                    fresh.append(part)
                    await self._start(part)
        except BaseException:  # also where whoever asked for the change is cancelled
            for part in fresh:
                await self._stop(part)
            for config, part in closed:
                kind.parts[kind.parts.index(part)] = again = kind.build(config)
                await self._put_back(again)
            raise
        kind.configs[:] = configs
        kind.parts[:] = [part for part in kept if part is not None]

    async def _start(self, part: Part) -> None:
        if self._open:
            await part.start()
            self._run(part)

    async def _leave(self, part: Part) -> None:
        """Stop it, after it has taken in or delivered what would be gone with it."""
        try:
            if self._open and isinstance(part, Output):
                await part.leave()
            elif self._open and isinstance(part, Input):
                await part.drain(Deadline(time.monotonic() + LEAVING, time.monotonic))
        finally:
            await self._stop(part)

    async def _stop(self, part: Part) -> None:
        if self._open:
            task = self._tasks.pop(part, None)
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
            await part.stop()

    async def _put_back(self, part: Part) -> None:
        """Start it, or take the adapter down: it must not go on without a part that it should have."""
        try:
            await self._start(part)
        except PodpatternsError as error:
            self._lost[part] = error
            self._run(part)

    def _run(self, part: Part) -> None:
        if self._group is not None:
            running = _guarded(part) if part not in self._lost else _failed(part, self._lost[part])
            self._tasks[part] = self._group.create_task(running, name=part.name)


async def _guarded(part: Part) -> None:
    await part.run()
    if isinstance(part, Log) and part.ends:
        return
    raise ServiceError(f"the adapter's {part.name} has ended, though it should run until it is stopped")


async def _failed(part: Part, error: PodpatternsError) -> None:
    raise ServiceError(f"the adapter's {part.name} was closed for a change that failed, and is not back: {error}")
