"""A pod for a test: `async with LocalPod("pod.yaml") as pod: await pod.wait_ready("main"); pod.kill("sidecar")`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from podpatterns.errors import PodpatternsError
from podpatterns.pod import manifest as manifests
from podpatterns.pod import waiting
from podpatterns.pod.closing import Verdict, judge
from podpatterns.pod.events import What
from podpatterns.pod.member import Member
from podpatterns.pod.model import Kind, Manifest
from podpatterns.pod.opening import Options, session
from podpatterns.pod.runner import PodRunner
from podpatterns.pod.session import Origin, Session
from podpatterns.pod.timeline import Entry, Timeline
from podpatterns.runtime.decode import suggest

Fault = Literal["startup", "liveness", "readiness", "start"]


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
        network: str = "auto",
        publish: Sequence[str] = (),
        speed: float = 1,
        keep: Path | None = None,
    ) -> None:
        self._documents = documents
        self._extra = extra
        self._options = Options(mounts, network, publish, speed, keep)
        self.timeline = Timeline()
        self.patience = 60.0
        """Seconds, on a clock on the wall, after which a wait is given up."""
        self._killed: dict[int, int] = {}
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
        wanted = f"{container or 'the pod'} {what.value}" + (f' with "{text}"' if text else "")
        return await self._until(
            wanted, lambda entry: entry.what is what and _is(entry, container) and text in entry.detail, past=past
        )

    async def wait_ready(self, container: str | None = None) -> Entry:
        """Until a container is ready; None: until each pod is. One that was killed has to come back first."""
        if container is None:
            members = [m for r in self.runners for m in r.pod.members.values() if m.kind is not Kind.INIT]
        else:
            members = [self._member(container)]

        def ready(_entry: Entry | None = None) -> bool:
            return all(member.ready and member.run > self._killed.get(id(member), 0) for member in members)

        if ready():
            found = self.timeline.find(lambda entry: entry.what is What.READY and _is(entry, container))
            if found is not None:
                return found
        return await self._until(f"{container or 'every container'} ready", ready, past=False)

    async def wait_phase(self, phase: str) -> Entry:
        """Until a pod is in this phase: Pending, Running, Succeeded or Failed."""
        return await self._until(f"a pod {phase}", lambda entry: entry.what is What.PHASE and entry.detail == phase)

    async def wait_line(self, container: str, text: str, *, past: bool = True) -> Entry:
        """Until a container has written a line with `text` in it."""
        return await self._until(
            f'a line of {container} with "{text}"',
            lambda entry: entry.what is None and _is(entry, container) and text in entry.detail,
            past=past,
        )

    async def _until(self, wanted: str, condition: Callable[[Entry], bool], *, past: bool = True) -> Entry:
        assert self._running is not None
        coming = asyncio.ensure_future(self.timeline.wait(condition, past=past))
        try:
            await asyncio.wait([coming, self._running], timeout=self.patience, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                return coming.result()
        finally:
            coming.cancel()
        held_up = [
            f"  {runner.spec.name}/{said.container} {said.state}: {said.why}"
            for runner in self.runners
            for said in waiting.explain(runner.pod, runner.now)
            if said.held_up
        ]
        why = "all pods have ended without it" if self._running.done() else f"not within {self.patience:g} s"
        raise TimeoutError("\n".join([f"{wanted}: {why}", *held_up, "the timeline so far:", *self.story()]))

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
            if found:
                names = ", ".join(f"{runner.spec.name}/{name}" for runner in found)
                raise PodpatternsError(f'several pods have a container "{container}"; name one of {names}')
            known = [each for runner in self.runners for each in runner.pod.members]
            raise PodpatternsError(f'no pod has a container "{container}"{suggest(name, known)}')
        return found[0]

    def _member(self, container: str) -> Member:
        return self._runner(container).pod.members[container.rpartition("/")[2]]

    def kill(self, container: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a container's main process, as if from outside; it is restarted by its policy."""
        if not self._runner(container).signal(container.rpartition("/")[2], number):
            raise PodpatternsError(f"{container} cannot be killed: {self.why(container)}")
        if number == signal.SIGKILL:
            member = self._member(container)
            self._killed[id(member)] = member.run

    def hang(self, container: str) -> None:
        """Stop everything in a container (SIGSTOP): it answers no probe and no SIGTERM until it is resumed."""
        self.kill(container, signal.SIGSTOP)

    def resume(self, container: str) -> None:
        """Let a container that hangs go on."""
        self.kill(container, signal.SIGCONT)

    @contextmanager
    def fault(self, container: str, what: Fault, said: str = "made to fail by the test") -> Iterator[None]:
        """Inside of the block, a probe of the container fails (`startup`, `liveness`, `readiness`) or its `start` does.

        The container itself does not notice: it is what the kubelet would see if a network, an image or a volume
        were at fault.
        """
        faults, key = self._runner(container).faults, (container.rpartition("/")[2], what)
        faults[key] = said
        try:
            yield
        finally:
            del faults[key]

    def edit(self, kind: Literal["ConfigMap", "Secret"], name: str, keys: Mapping[str, str | None]) -> None:
        """Change keys of a ConfigMap or Secret, None to remove one; volumes follow, as on a cluster in one step."""
        assert self._session is not None
        manifest = self._session.manifest
        found = [key for key in manifest.sources if key[0] == kind and key[2] == name]
        if not found:
            raise PodpatternsError(f'there is no {kind} "{name}"')
        for key in found:
            changed = {**manifest.sources[key], **{each: (text or "").encode() for each, text in keys.items()}}
            kept = {each: held for each, held in changed.items() if keys.get(each, "") is not None}
            manifest = replace(manifest, sources={**manifest.sources, key: kept})
        self._session.update(manifest)

    def why(self, container: str) -> str:
        """Why a container is not ready, in the words of `podpatterns pod explain`."""
        runner = self._runner(container)
        return waiting.why(runner.pod, container.rpartition("/")[2], runner.now)

    def status(self, pod: str | None = None) -> dict[str, Any]:
        """A pod's `status` as Kubernetes writes it; None: of the only one."""
        found = [runner for runner in self.runners if pod in (None, runner.spec.name)]
        if len(found) != 1:
            raise PodpatternsError(f"name one of the pods {', '.join(runner.spec.name for runner in self.runners)}")
        status: dict[str, Any] = found[0].status()["status"]
        return status

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
        return self._member(container).restarts

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

    def assert_order(self, *events: str) -> None:
        """Each of these lines of the `story` comes after the one before it, with others in between or not.

        Raises:
            AssertionError: with the first one that does not, and the story.
        """
        story = self.story()
        place = 0
        for event in events:
            if event not in story[place:]:
                after = f' after "{events[events.index(event) - 1]}"' if place else ""
                raise AssertionError("\n".join([f'"{event}" has not come{after}; the story is:', *story]))
            place += story[place:].index(event) + 1

    def verdicts(self) -> list[Verdict]:
        """What became of each container, once all have ended."""
        return [verdict for runner in self.runners for verdict in judge(runner.pod, runner.messages, runner.at_the_end)]


def _is(entry: Entry, container: str | None) -> bool:
    return entry.container == container or (container is not None and f"{entry.pod}/{entry.container}" == container)
