"""Carries a pod's life out: actions become processes, probes and signals, and their ends become events.

One piece, though long: it is the one place where all of a pod's tasks and processes are owned.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import SSLContext
from typing import Any

from podpatterns.pod import environment, process, status
from podpatterns.pod.container_logs import ContainerLog, PodLogs
from podpatterns.pod.environment import Sources, Unresolved
from podpatterns.pod.events import (
    Action,
    Delete,
    Event,
    Evict,
    Exited,
    HookDone,
    Kill,
    KillNow,
    Launch,
    Probed,
    RunHook,
    RunProbe,
    Start,
    Started,
    StartFailed,
    Tell,
    Terminate,
    Tick,
    What,
)
from podpatterns.pod.lifecycle import Pod
from podpatterns.pod.model import LOOPBACK, Container, Handler, PodSpec, TcpSocket
from podpatterns.pod.mounts import Mounts
from podpatterns.pod.planning import Planner, Surroundings
from podpatterns.pod.probing import perform
from podpatterns.pod.process import LaunchFailed, Plan, Process, no_handler
from podpatterns.pod.volumes import PodVolumes
from podpatterns.runtime.http_get import Streams

MESSAGE_LIMIT = 4096
"""Bytes of a termination message (Kubernetes: MaxContainerTerminationMessageLength)."""
LOG_LIMIT = (80, 2048)
"""Lines and bytes of output that stand in for it with FallbackToLogsOnError."""
LOOK_AT_SIZES = 2.0
"""Seconds between two looks at how full the volumes with a sizeLimit are (the kubelet: 10)."""
OUTSIDE = frozenset({"namespace", "processes", "mount", "start"})
"""Stages of a launch at which a fault is not the container's."""


@dataclass(slots=True)
class Incarnation:
    """One run of a container."""

    number: int
    plan: Plan
    log: ContainerLog
    process: Process | None = None
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LIMIT[0]))
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class PodRunner:
    """Runs one pod: `await PodRunner(spec, surroundings).run()`."""

    def __init__(self, spec: PodSpec, surroundings: Surroundings) -> None:
        self.spec = spec
        self.pod = Pod(spec)
        self.messages: dict[str, str] = {}
        """The last termination message of each container that has ended."""
        self.at_the_end: dict[str, tuple[bool, bool]] = {}
        """For each container, whether it was alive and ready when the pod was told to end."""
        self.faults: dict[tuple[str, str], str] = {}
        """What a test wants to fail: (container, a probe or `start`), and what is to be said of it."""
        self.logs = PodLogs(surroundings.workspace.logs(spec.name))
        self._conditions = status.Conditions()
        self._around = surroundings
        self._began = self.now
        self._node = surroundings.host_node if spec.host_network else surroundings.node
        self._volumes = PodVolumes(spec, surroundings.workspace, surroundings.manifest.sources)
        self._planner = Planner(spec, surroundings, self._volumes)
        self._inbox: asyncio.Queue[Event] = asyncio.Queue()
        self._runs: dict[str, Incarnation] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._containers = {container.name: container for container in spec.containers}
        self._carry_out: dict[type[Action], Callable[..., None]] = {
            Start: self._on_start,
            RunHook: self._on_hook,
            RunProbe: self._on_probe,
            Terminate: self._on_terminate,
            Kill: self._on_kill,
            Tell: self._on_tell,
        }

    # --- the outside ----------------------------------------------------------------------------------------------

    @property
    def paths(self) -> dict[str, Path]:
        """The volumes' folders by name, once they are there."""
        return self._volumes.paths

    async def run(self) -> None:
        """Until every container has ended. Cancelled, it kills them all."""
        pause = None
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                await self._volumes.open(self._node if self._around.isolation.mounts is Mounts.NAMESPACE else None)
                pause = await self._pause()
                self._handle(Launch())
                sizes = tasks.create_task(self._look_at_sizes())
                while not self.pod.finished:
                    self._handle(await self._next())
                sizes.cancel()
                for run in self._runs.values():
                    self._forget(run)
        finally:
            left = [each for each in (*(run.process for run in self._runs.values()), pause) if each is not None]
            for each in left:
                each.kill()
            try:
                for each in left:
                    await each.ended
            finally:
                self.logs.close()

    def update(self, sources: Sources) -> None:
        """Take up new contents of ConfigMaps and Secrets; variables and sub-paths keep theirs until a restart."""
        try:
            for name in self._volumes.update(sources):
                self._tell(What.NOTE, f'pod {self.spec.name}: volume "{name}" has new contents')
        except Unresolved as error:
            self._tell(What.NOTE, f"pod {self.spec.name}: {error}")

    def end(self, reason: str, grace: float | None = None) -> None:
        """End the pod in order."""
        self._inbox.put_nowait(Delete(grace, reason))

    def kill(self) -> None:
        """End it at once."""
        self._inbox.put_nowait(KillNow())

    async def connect(self, host: str, port: int, *, ssl: SSLContext | None = None) -> Streams:
        """Connect to `host` (its localhost) inside of the pod. Raises OSError."""
        assert host == LOOPBACK
        made = await self._around.network.dial(self.spec, port, inside=True)
        return await asyncio.open_connection(sock=made, ssl=ssl, server_hostname=host if ssl else None)

    def signal(self, container: str, number: int = signal.SIGKILL) -> bool:
        """Send a signal to a container's main process, as if from outside; False if it does not run."""
        run = self._runs.get(container)
        if run is None or run.process is None or not self.pod.members[container].alive:
            return False
        run.process.signal(number)
        return True

    @property
    def age(self) -> float:
        """Seconds on the pod's clock since the run began."""
        return self.now - self._began

    @property
    def speed(self) -> float:
        """How many times as fast as a clock on the wall the pod's clock is."""
        return self._around.speed

    def status(self) -> dict[str, Any]:
        """The pod as Kubernetes writes it, with metadata and status."""
        pids = {
            name: run.process.pid for name, run in self._runs.items() if self.pod.members[name].alive and run.process
        }
        return status.report(self.pod, self._conditions, self._clock, started_at=self._began, pids=pids)

    def inside(self, container: str, command: Sequence[str]) -> Plan | None:
        """How to run a command where a container is: its variables, directory and mounts; None: it does not run."""
        run = self._runs.get(container)
        if run is None or run.process is None or not self.pod.members[container].alive:
            return None
        return self._joining(run, run.process.pid, command)

    # --- time and events ------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The time on the pod's clock, which runs as fast as `speed` says."""
        return time.monotonic() * self._around.speed

    def _clock(self, at: float) -> datetime:
        return datetime.now(UTC) - timedelta(seconds=(self.now - at) / self._around.speed)

    async def _next(self) -> Event:
        due = self.pod.due
        wait = None if due is None else max(0.0, (due - self.now) / self._around.speed)
        try:
            async with asyncio.timeout(wait):
                return await self._inbox.get()
        except TimeoutError:
            return Tick()

    def _handle(self, event: Event) -> None:
        if isinstance(event, (Delete, KillNow)) and self.pod.ending is None:
            self.at_the_end = {name: (m.alive, m.ready) for name, m in self.pod.members.items()}
        now = self.now
        for action in self.pod.handle(event, now):
            self._carry_out[type(action)](action)
        self._conditions.observe(self.pod, now)

    def _tell(self, what: What, detail: str, container: str | None = None) -> None:
        self._around.timeline.tell(self.spec.name, container, what, detail)

    def _spawn(self, work: Coroutine[Any, Any, None], run: Incarnation | None = None) -> None:
        assert self._tasks is not None
        task = self._tasks.create_task(work)
        if run is not None:
            run.tasks.add(task)
            task.add_done_callback(run.tasks.discard)

    def _forget(self, run: Incarnation) -> None:
        for task in run.tasks:
            task.cancel()

    # --- starting -------------------------------------------------------------------------------------------------

    async def _pause(self) -> Process | None:
        """The process that holds a shared PID namespace, running."""
        plan = self._planner.pausing()
        if plan is None:
            return None
        pause = await Process.start(self._node, plan, lambda _stream, _line: None)
        self._planner.pause = pause.pid
        return pause

    async def _look_at_sizes(self) -> None:
        if any(getattr(volume.source, "limit", None) is not None for volume in self.spec.volumes):
            while True:
                await asyncio.sleep(LOOK_AT_SIZES / self._around.speed)
                said = self._volumes.overfull()
                if said is not None:
                    self._inbox.put_nowait(Evict(said))
                    return

    def _on_start(self, action: Start) -> None:
        self._spawn(self._start(action.container, action.run))

    async def _start(self, name: str, number: int) -> None:
        container, timeline = self._containers[name], self._around.timeline
        if (name, "start") in self.faults:
            self._inbox.put_nowait(StartFailed(name, number, self.faults[name, "start"], retry=True))
            return
        try:
            plan = self._planner.container(container)
            run = self._runs[name] = Incarnation(number, plan, self.logs.begin(name, number))
        except (Unresolved, OSError) as error:
            reason = "CreateContainerConfigError" if isinstance(error, Unresolved) else "CreateContainerError"
            self._inbox.put_nowait(StartFailed(name, number, str(error), retry=True, reason=reason))
            return

        def on_line(stream: str, line: str) -> None:
            run.tail.append(line)
            timeline.line(self.spec.name, name, stream, line)
            try:
                run.log.write(stream, line)
            except OSError as error:
                run.log.close()
                self._tell(What.NOTE, f"{name}: what it writes from here on is not kept for pod logs: {error}")

        try:
            run.process = await Process.start(self._node, plan, on_line)
        except LaunchFailed as error:
            run.log.close()
            outside = error.stage in OUTSIDE
            self._inbox.put_nowait(StartFailed(name, number, str(error), retry=outside))
            return
        self._inbox.put_nowait(Started(name, number))
        code = await asyncio.shield(run.process.ended)
        self._forget(run)
        run.log.close()
        message = self.messages[name] = self._message(container, run, code)
        self._inbox.put_nowait(Exited(name, number, code, message))

    def _message(self, container: Container, run: Incarnation, code: int) -> str:
        path = self._around.workspace.termination_message(self.spec.name, container.name)
        try:
            with path.open("rb") as file:
                message = file.read(MESSAGE_LIMIT)
        except OSError:
            message = b""  # the container has removed it
        if not message and container.logs_on_error and code != 0:
            message = "\n".join(run.tail).encode()[-LOG_LIMIT[1] :]
        return message.decode("utf-8", "replace")

    # --- probes and hooks -----------------------------------------------------------------------------------------

    def _current(self, name: str, number: int) -> Incarnation | None:
        run = self._runs.get(name)
        return run if run is not None and run.number == number and run.process is not None else None

    def _on_probe(self, action: RunProbe) -> None:
        run = self._current(action.container, action.run)
        if run is not None:
            self._spawn(self._probe(action, run), run)

    async def _probe(self, action: RunProbe, run: Incarnation) -> None:
        probe = self.pod.members[action.container].probes[action.probe].probe
        fault = self.faults.get((action.container, action.probe))
        ok, detail = (False, fault) if fault else await self._perform(probe.handler, probe.timeout, run)
        self._inbox.put_nowait(Probed(action.container, action.run, action.probe, ok, detail))

    def _on_hook(self, action: RunHook) -> None:
        run = self._current(action.container, action.run)
        if run is not None:
            self._spawn(self._hook(action, run), run)

    async def _hook(self, action: RunHook, run: Incarnation) -> None:
        container = self._containers[action.container]
        handler = container.post_start if action.hook == "postStart" else container.pre_stop
        assert handler is not None
        if isinstance(handler, TcpSocket):  # the API server takes it, and no kubelet can run it
            ok, detail = False, "tcpSocket cannot be run in a hook, though Kubernetes accepts it; use exec or httpGet"
        else:
            # A hook has no timeout of its own: preStop is bounded by the grace, postStart by nothing.
            ok, detail = await self._perform(handler, 1e6, run)
        self._inbox.put_nowait(HookDone(action.container, action.run, action.hook, ok, detail))

    async def _perform(self, handler: Handler, timeout: float, run: Incarnation) -> tuple[bool, str]:  # noqa: ASYNC109
        around = self._around
        return await perform(
            handler, timeout, self._inside(run), network=around.network, pod=self.spec, speed=around.speed
        )

    def _inside(self, run: Incarnation) -> Callable[[tuple[str, ...], float], Coroutine[Any, Any, tuple[int, str]]]:
        """Runs a command where the container is: its variables, directory and mounts."""

        async def inside(command: tuple[str, ...], timeout: float) -> tuple[int, str]:  # noqa: ASYNC109
            assert run.process is not None
            argv = [environment.expand(word, run.plan.env) for word in command]
            return await process.run(self._node, self._joining(run, run.process.pid, argv), timeout)

        return inside

    def _joining(self, run: Incarnation, pid: int, command: Sequence[str]) -> Plan:
        return Plan(command, run.plan.env, run.plan.cwd, enter=pid if run.plan.root is not None else None)

    # --- ending ---------------------------------------------------------------------------------------------------

    def _on_terminate(self, action: Terminate) -> None:
        run = self._current(action.container, action.run)
        if run is None or run.process is None:
            return
        number = signal.Signals[self._containers[action.container].stop_signal]
        if run.plan.processes is True and no_handler(run.process.pid, number):
            said = f"{action.container} does not handle {number.name}, and process 1 of a container ignores it then"
            self._tell(What.NOTE, f"{said}: it is killed when its grace is over")
        run.process.signal(number)

    def _on_kill(self, action: Kill) -> None:
        run = self._current(action.container, action.run)
        if run is not None and run.process is not None:
            run.process.kill()

    def _on_tell(self, action: Tell) -> None:
        self._around.timeline.tell(self.spec.name, action.container, action.what, action.detail, action.code)
