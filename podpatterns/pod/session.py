"""A run of one or several pods: they start in the order of the manifest and end in the reverse order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from podpatterns.errors import ConfigError
from podpatterns.pod.doors import Doors
from podpatterns.pod.events import What
from podpatterns.pod.model import Manifest
from podpatterns.pod.planning import Surroundings
from podpatterns.pod.runner import PodRunner
from podpatterns.pod.tries import Tries
from podpatterns.pod.workspace import Workspace
from podpatterns.runtime.watch import Watch

LOOK_AT_FILES = 0.25
"""Seconds between two looks at the files that ConfigMaps and Secrets come from."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the manifest comes from: `load()` reads `files` anew. Raises ConfigError."""

    files: Sequence[str | Path]
    load: Callable[[], Manifest]


class Session:
    """The pods of a run, running."""

    def __init__(
        self, runners: list[PodRunner], surroundings: Surroundings, doors: Doors, origin: Origin | None = None
    ) -> None:
        self.timeline = surroundings.timeline
        self.workspace: Workspace = surroundings.workspace
        self.runners = runners
        """Those that run now: a Job's pod may be replaced by another one."""
        self.killed = False
        self._around = surroundings
        self._doors = doors
        self._origin = origin
        self._ended = {runner.spec.name: asyncio.Event() for runner in self.runners}
        self._asked = asyncio.Event()
        self._reason = ""

    @property
    def manifest(self) -> Manifest:
        """As it is now: the ConfigMaps and Secrets in it may change."""
        return self._around.manifest

    @property
    def ending(self) -> bool:
        """Whether the pods have been asked to end."""
        return self._asked.is_set()

    def end(self, reason: str) -> None:
        """End all pods in order; asked a second time, at once."""
        if self._asked.is_set():
            self.killed = True
            for runner in self.runners:
                runner.kill()
        else:
            self._reason = reason
            self._asked.set()

    async def run(self, *beside: Coroutine[Any, Any, None]) -> None:
        """Until all pods have ended; so long, what is given goes on beside them."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._one(index)) for index in range(len(self.runners))]
            others = (self._doors.run(), self._end_in_order(), self._watch(), *beside)
            unending = [tasks.create_task(each) for each in others]
            await asyncio.wait(running)
            for task in unending:
                task.cancel()

    async def _one(self, index: int) -> None:
        spec = self.runners[index].spec
        try:
            await self.runners[index].run()
            if spec.owner == "Job":
                await self._more(index, Tries(spec))
        finally:
            self._ended[spec.name].set()

    async def _more(self, index: int, tries: Tries) -> None:
        """Run further pods of a Job until enough have succeeded or too many have failed."""
        first = self.runners[index]
        speed, spec, deadline = self._around.speed, first.spec, first.spec.active_deadline
        while not self.ending and (next_one := tries.ended(self.runners[index].pod)) is not None:
            pause, said = next_one
            self.timeline.tell(spec.name, None, What.BACK_OFF, said)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause / speed):
                    await self._asked.wait()
            if self._asked.is_set():
                break
            if deadline is not None:  # it is the Job's
                spec = replace(first.spec, active_deadline=max(0.0, deadline - first.age))
            self.runners[index] = PodRunner(spec, self._around)
            await self.runners[index].run()

    async def _end_in_order(self) -> None:
        await self._asked.wait()
        for runner in reversed(self.runners):
            runner.end(self._reason)
            await self._ended[runner.spec.name].wait()

    # --- ConfigMaps and Secrets -----------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Take up edits of the files; what is wrong in them changes nothing."""
        if self._origin is None:
            return
        watch = Watch(self._origin.files)
        while True:
            await asyncio.sleep(LOOK_AT_FILES)
            if watch.changed():
                try:
                    manifest = self._origin.load()
                except ConfigError as error:
                    self._note(f"the edit is not taken up: {error}")
                else:
                    self.update(manifest)

    def update(self, manifest: Manifest) -> None:
        """Take up the ConfigMaps and Secrets of a manifest; what else it says is for the next run."""
        if manifest.sources == self.manifest.sources:
            self._note("only ConfigMaps and Secrets are taken up while pods run; for the rest, run them anew")
            return
        self._around.manifest = replace(self.manifest, sources=manifest.sources)
        for runner in self.runners:
            runner.update(manifest.sources)

    def _note(self, text: str) -> None:
        self.timeline.tell("", None, What.NOTE, text)
