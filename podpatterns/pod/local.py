"""A pod for a test: `async with LocalPod("pod.yaml") as pod: await pod.wait_ready("main"); pod.kill("sidecar")`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from podpatterns.errors import PodpatternsError
from podpatterns.pod import manifest as manifests
from podpatterns.pod.closing import Verdict, judge
from podpatterns.pod.events import What
from podpatterns.pod.model import Manifest
from podpatterns.pod.runner import PodRunner
from podpatterns.pod.session import Options, Origin, Session, session
from podpatterns.pod.timeline import Entry, Timeline


class LocalPod:
    """Runs the pods of one or several manifests, and ends them in order when the block is left.

    A manifest is a path, or a document built in Python. A container is named by itself, or as `pod/container` where
    several pods have one of that name. `extra` holds files of which only ConfigMaps and Secrets are taken.

    Raises:
        ConfigError: the manifest is wrong, or a port that it declares is taken.
    """

    def __init__(
        self,
        *documents: str | Path | Mapping[str, Any],
        extra: Sequence[str | Path] = (),
        mounts: str = "auto",
        network: str = "host",
        publish: Sequence[str] = (),
        speed: float = 1,
        keep: Path | None = None,
    ) -> None:
        self._documents = documents
        self._extra = extra
        self._options = Options(mounts, network, publish, speed, keep)
        self.timeline = Timeline()
        self._stack = AsyncExitStack()
        self._session: Session | None = None
        self._running: asyncio.Task[None] | None = None

    # --- begin and end --------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start the pods; the block begins while they are starting."""
        self._session = await self._stack.enter_async_context(
            session(self._load(), self.timeline, self._options, self._origin())
        )
        self._running = asyncio.create_task(self._session.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.end()
        finally:
            if self._running is not None:
                self._running.cancel()
                await asyncio.wait([self._running])
            await self._stack.aclose()

    def _load(self) -> Manifest:
        files = [document for document in self._documents if isinstance(document, (str, Path))]
        built = [document for document in self._documents if isinstance(document, Mapping)]
        if files and built:
            raise PodpatternsError("give paths or documents, not both")
        return manifests.load(files, self._extra) if files else manifests.of(*built)

    def _origin(self) -> Origin | None:
        files = [document for document in self._documents if isinstance(document, (str, Path))]
        return Origin([*files, *self._extra], self._load) if files else None

    async def end(self, reason: str = "the test ends") -> None:
        """End the pods in order, within their graces."""
        assert self._session is not None
        assert self._running is not None
        if not self._session.ending:
            self._session.end(reason)
        await asyncio.shield(self._running)

    async def finished(self) -> None:
        """Until all pods have ended by themselves."""
        assert self._running is not None
        await asyncio.shield(self._running)

    # --- waiting --------------------------------------------------------------------------------------------------

    async def wait(self, what: What, container: str | None = None, *, text: str = "", past: bool = True) -> Entry:
        """The entry that says this of a container (None: of a pod) with `text` in it; earlier ones count if `past`."""
        return await self.timeline.wait(
            lambda entry: entry.what is what and _is(entry, container) and text in entry.detail, past=past
        )

    async def wait_ready(self, container: str | None = None) -> Entry:
        """Until a container is ready; None: until each pod is."""
        if container is None:
            entries = [
                await self.timeline.wait(
                    lambda entry, name=runner.spec.name: (  # type: ignore[misc]
                        entry.what is What.READY and entry.container is None and entry.pod == name
                    )
                )
                for runner in self.runners
            ]
            return entries[-1]
        member = self._runner(container).pod.members[container.rpartition("/")[2]]
        if member.ready:
            return await self.wait(What.READY, container)
        return await self.wait(What.READY, container, past=False)

    async def wait_line(self, container: str, text: str, *, past: bool = True) -> Entry:
        """Until a container has written a line with `text` in it."""
        return await self.timeline.wait(
            lambda entry: entry.what is None and _is(entry, container) and text in entry.detail, past=past
        )

    # --- looking and touching -------------------------------------------------------------------------------------

    @property
    def runners(self) -> list[PodRunner]:
        """One for each pod."""
        assert self._session is not None
        return self._session.runners

    def _runner(self, container: str) -> PodRunner:
        pod, _, name = container.rpartition("/")
        found = [r for r in self.runners if name in r.pod.members and pod in ("", r.spec.name)]
        if len(found) != 1:
            said = "several pods have" if found else "no pod has"
            raise PodpatternsError(f'{said} a container "{container}"')
        return found[0]

    def kill(self, container: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a container's main process, as if from outside; it is restarted by its policy."""
        self._runner(container).signal(container.rpartition("/")[2], number)

    def volume(self, name: str) -> Path:
        """The folder of a volume."""
        for runner in self.runners:
            if name in runner.paths:
                return runner.paths[name]
        raise PodpatternsError(f'no pod has a volume "{name}"')

    def message(self, container: str) -> str:
        """The termination message that a container has left when it ended last; empty if none."""
        return self._runner(container).messages.get(container.rpartition("/")[2], "")

    def restarts(self, container: str) -> int:
        """How often a container has been restarted."""
        return self._runner(container).pod.members[container.rpartition("/")[2]].restarts

    def output(self, container: str) -> list[str]:
        """The lines that a container has written (the last ones, if they are many)."""
        return [entry.detail for entry in self.timeline.output if _is(entry, container)]

    def story(self) -> list[str]:
        """The timeline in short: `main started`, `sidecar ended`; phases as `Running`."""
        return [
            f"{entry.container} {entry.what.value}"
            if entry.container
            else entry.detail
            if entry.what is What.PHASE
            else entry.what.value
            for entry in self.timeline.entries
            if entry.what not in (None, What.NOTE)
        ]

    def verdicts(self) -> list[Verdict]:
        """What became of each container, once all have ended."""
        return [verdict for runner in self.runners for verdict in judge(runner.pod, runner.messages, runner.at_the_end)]


def _is(entry: Entry, container: str | None) -> bool:
    return entry.container == container or (container is not None and f"{entry.pod}/{entry.container}" == container)
