"""A run of one or several pods: they start in the order of the manifest and end in the reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from podpatterns.errors import ConfigError
from podpatterns.pod.events import What
from podpatterns.pod.model import Manifest
from podpatterns.pod.mounts import Mounts, choose
from podpatterns.pod.runner import PodRunner, Surroundings
from podpatterns.pod.timeline import Timeline
from podpatterns.pod.workspace import Workspace, workspace


class Session:
    """The pods of a run, running."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.manifest = surroundings.manifest
        self.timeline = surroundings.timeline
        self.workspace: Workspace = surroundings.workspace
        self.runners = [PodRunner(spec, surroundings) for spec in surroundings.manifest.pods]
        self.killed = False
        self._ended = {runner.spec.name: asyncio.Event() for runner in self.runners}
        self._asked = asyncio.Event()
        self._reason = ""

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

    async def run(self) -> None:
        """Until all pods have ended."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._one(runner)) for runner in self.runners]
            ending = tasks.create_task(self._end_in_order())
            await asyncio.wait(running)
            ending.cancel()

    async def _one(self, runner: PodRunner) -> None:
        try:
            await runner.run()
        finally:
            self._ended[runner.spec.name].set()

    async def _end_in_order(self) -> None:
        await self._asked.wait()
        for runner in reversed(self.runners):
            runner.end(self._reason)
            await self._ended[runner.spec.name].wait()


@asynccontextmanager
async def session(
    manifest: Manifest,
    timeline: Timeline,
    *,
    mounts: str = "auto",
    speed: float = 1,
    keep: Path | None = None,
) -> AsyncIterator[Session]:
    """Everything that pods need, ready to `run()`, and removed at the end.

    Raises:
        ConfigError: a port that the manifest declares is taken.
        PodpatternsError: `keep` or `mounts` cannot be had.
    """
    check_ports(manifest)
    with workspace(keep) as place:
        how, why = await choose(mounts, place)
        for notice in manifest.notices:
            timeline.tell("", None, What.NOTE, str(notice))
        if how is Mounts.REWRITE:
            said = "volumes are not at their paths: where a value, argument or word begins with one, it is replaced"
            timeline.tell("", None, What.NOTE, f"{said} ({why})")
        timeline.tell(
            "", None, What.NOTE, "all pods share this machine's network: localhost is the same for all of them"
        )
        yield Session(Surroundings(manifest, place, timeline, how, speed))


def check_ports(manifest: Manifest) -> None:
    """Declared TCP ports must be free. Raises ConfigError."""
    problems = [
        port.mark.problem(
            f"port {port.number} of container {container.name} is taken by another program on this machine; "
            f"end that program, or give the container another port"
        )
        for spec in manifest.pods
        for container in spec.containers
        for port in container.ports
        if port.protocol == "TCP" and _taken(port.number)
    ]
    if problems:
        raise ConfigError(problems)


def _taken(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except PermissionError:
            return False  # below 1024; whether the container may have it is its own affair
        except OSError:
            return True
    return False
