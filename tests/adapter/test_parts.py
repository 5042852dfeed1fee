"""Laws of an adapter's parts: whatever comes when, what is listed is open and runs, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from podpatterns.adapter.inputs import Input
from podpatterns.adapter.parts import Kind, Parts
from podpatterns.errors import ServiceError, StartError


class World:
    """Makes parts out of their names, and knows what they do; `gates` hold up a start or a stop."""

    def __init__(self, *names: str) -> None:
        self.open: list[Input] = []
        self.running: list[Input] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.waiting = asyncio.Event()
        self.broken: set[str] = set()
        self.kind: Kind[str, Part] = Kind(self._made, names)
        self.parts = Parts(self.kind)

    def _made(self, name: str) -> Part:
        return Part(self, name)

    async def pass_gate(self, name: str) -> None:
        if name in self.gates:
            self.waiting.set()
            await self.gates[name].wait()

    def settled(self, *names: str) -> None:
        """What is listed is open and runs, and has these names."""
        assert [part.name for part in self.kind.parts] == list(names) == self.kind.configs
        assert set(self.open) == set(self.kind.parts)
        assert set(self.running) == set(self.kind.parts)

    @asynccontextmanager
    async def runs(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            life = group.create_task(self._life())
            yield
            life.cancel()
        await self.parts.close()
        assert (self.open, self.running) == ([], [])

    async def _life(self) -> None:
        async with asyncio.TaskGroup() as group:
            await self.parts.run(group)
            await asyncio.Event().wait()


class Part(Input):
    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name

    async def start(self) -> None:
        await self.world.pass_gate(f"start {self.name}")
        if self.name in self.world.broken:
            raise StartError(f"{self.name} is taken")
        self.world.open.append(self)

    async def run(self) -> None:
        self.world.running.append(self)
        try:
            await asyncio.Event().wait()
        finally:
            self.world.running.remove(self)

    async def stop(self) -> None:
        await self.world.pass_gate(f"stop {self.name}")
        if self in self.world.open:
            self.world.open.remove(self)


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_change_before_the_start_opens_nothing() -> None:
    """Only what is listed in the end is opened."""
    world = World("a", "b")
    await world.parts.exchange((world.kind, ["b", "c"]))
    assert world.open == []
    await world.parts.open()
    async with world.runs():
        await turns()
        world.settled("b", "c")


async def test_a_change_between_start_and_run() -> None:
    """What was closed does not run."""
    world = World("a", "b")
    await world.parts.open()
    await world.parts.exchange((world.kind, ["b", "c"]))
    async with world.runs():
        await turns()
        world.settled("b", "c")


async def test_a_change_while_it_starts_waits() -> None:
    """A part that is exchanged in the middle of a start would be opened again after it was closed."""
    world = World("a", "b")
    gate = world.gates["start b"] = asyncio.Event()
    opening = asyncio.create_task(world.parts.open())
    await world.waiting.wait()
    changing = asyncio.create_task(world.parts.exchange((world.kind, ["c"])))
    await turns()
    assert [part.name for part in world.open] == ["a"]
    gate.set()
    await asyncio.gather(opening, changing)
    async with world.runs():
        await turns()
        world.settled("c")


async def test_a_run_that_begins_in_the_middle_of_a_change_waits() -> None:
    """The part that is being closed would run on, closed."""
    world = World("a")
    await world.parts.open()
    gate = world.gates["stop a"] = asyncio.Event()
    changing = asyncio.create_task(world.parts.exchange((world.kind, ["c"])))
    await world.waiting.wait()
    async with world.runs():
        await turns()
        assert world.running == []
        gate.set()
        await changing
        await turns()
        world.settled("c")


async def test_two_changes_at_once_come_one_after_the_other() -> None:
    """The second one wins, whole."""
    world = World("a", "b")
    await world.parts.open()
    async with world.runs():
        await asyncio.gather(
            world.parts.exchange((world.kind, ["c", "d"])), world.parts.exchange((world.kind, ["b", "c"]))
        )
        await turns()
        world.settled("b", "c")


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_change_that_fails_or_is_cancelled_leaves_what_was(cancelled: bool) -> None:
    """What was opened for it is closed, what was closed is back."""
    world = World("a", "b")
    await world.parts.open()
    async with world.runs():
        if cancelled:
            world.gates["start d"] = asyncio.Event()
        else:
            world.broken.add("d")
        changing = asyncio.create_task(world.parts.exchange((world.kind, ["b", "c", "d"])))
        if cancelled:
            await world.waiting.wait()
            changing.cancel()
        with pytest.raises(asyncio.CancelledError if cancelled else StartError):
            await changing
        await turns()
        world.settled("a", "b")


@pytest.mark.parametrize("runs_already", [False, True])
async def test_what_cannot_be_put_back_takes_the_adapter_down(runs_already: bool) -> None:
    """It must not go on without a part that the configuration in force names."""
    world = World("a")
    await world.parts.open()

    async def change() -> None:
        async with world.runs():
            if runs_already:
                await turns()
            world.broken |= {"a", "c"}
            with pytest.raises(StartError, match="c is taken"):
                await world.parts.exchange((world.kind, ["c"]))
            await turns()

    with pytest.raises(ExceptionGroup) as failed:
        await change()
    assert failed.group_contains(ServiceError, match="a is taken", depth=2)
    await world.parts.close()


async def test_a_change_at_the_end_is_refused() -> None:
    """Whoever drains or is closed opens nothing any more."""
    world = World("a")
    await world.parts.open()
    async with world.runs():
        world.parts.end()
        with pytest.raises(StartError, match="ending"):
            await world.parts.exchange((world.kind, ["c"]))
        await turns()
        world.settled("a")
