"""A run of one or several pods: they start in the order of the manifest and end in the reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from podpatterns.errors import ConfigError
from podpatterns.pod import mounts, network, publishing, services
from podpatterns.pod.events import What
from podpatterns.pod.forwarding import forward
from podpatterns.pod.model import LOOPBACK, Manifest, PodSpec, Service, ServicePort
from podpatterns.pod.mounts import Isolation, Mounts
from podpatterns.pod.network import Network, PodNetwork
from podpatterns.pod.node.client import NodeError, node
from podpatterns.pod.outbound import LIMITS, Outbound
from podpatterns.pod.planning import Surroundings
from podpatterns.pod.publishing import Published
from podpatterns.pod.runner import PodRunner
from podpatterns.pod.timeline import Timeline
from podpatterns.pod.tries import Tries
from podpatterns.pod.workspace import MARK, Workspace, workspace
from podpatterns.runtime.watch import Watch

LOOK_AT_FILES = 0.25
"""Seconds between two looks at the files that ConfigMaps and Secrets come from."""


@dataclass(frozen=True, slots=True)
class Options:
    """How pods are run: the options of `podpatterns pod run` of the same names."""

    mounts: str = "auto"
    network: str = "auto"
    publish: Sequence[str] = ()
    speed: float = 1
    keep: Path | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the manifest comes from: `load()` reads `files` anew. Raises ConfigError."""

    files: Sequence[str | Path]
    load: Callable[[], Manifest]


class Session:
    """The pods of a run, running."""

    def __init__(self, surroundings: Surroundings, origin: Origin | None = None) -> None:
        self.timeline = surroundings.timeline
        self.workspace: Workspace = surroundings.workspace
        self.runners = [PodRunner(spec, surroundings) for spec in surroundings.manifest.pods]
        self.killed = False
        self.beside: list[Coroutine[Any, Any, None]] = []
        """What runs as long as the pods do."""
        self._around = surroundings
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

    async def run(self) -> None:
        """Until all pods have ended."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._one(index)) for index in range(len(self.runners))]
            beside = [tasks.create_task(each) for each in (*self.beside, self._end_in_order(), self._watch())]
            self.beside = []
            await asyncio.wait(running)
            for task in beside:
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

    # --- the network ----------------------------------------------------------------------------------------------

    def publish(self, published: Sequence[Published]) -> None:
        """Let this machine's ports lead to the pods'. Raises ConfigError."""
        pods = {runner.spec.name: runner.spec for runner in self.runners}
        for each, listening in zip(published, publishing.listen(published), strict=True):
            self.beside.append(forward(listening, self._to(pods[each.pod], each.target, inside=each.inside)))
            self._note(f"published: {each}")

    def _to(self, pod: PodSpec, port: int, *, inside: bool) -> Callable[[socket.socket], Coroutine[Any, Any, Any]]:
        reached = self._around.network

        async def dial(_near: socket.socket) -> socket.socket:
            if not inside:
                return await reached.dial(pod, port)
            try:
                return await reached.dial(pod, port, inside=True)
            except ConnectionRefusedError:
                return await reached.dial(pod, port)  # it listens on the pod's address alone

        return dial

    async def serve(self, service: Service) -> None:
        """Let a service's ports lead to its pods. Raises PodpatternsError."""
        own = self._around.network.own
        for port in service.ports:
            if service.headless or (not own and port.target == port.number):
                continue  # whoever asks for it is there already
            try:
                if own:
                    listening = await self._around.node.ask("listen", address=service.address, port=port.number)
                else:
                    listening = socket.create_server((LOOPBACK, port.number))
            except (OSError, NodeError) as error:
                raise ConfigError([
                    port.mark.problem(f"port {port.number} of service {service.name} cannot be had: {error}")
                ]) from None  # fmt: skip
            self.beside.append(forward(listening, self._to_ready(service, port)))

    def _to_ready(self, service: Service, port: ServicePort) -> Callable[[socket.socket], Coroutine[Any, Any, Any]]:
        turns = services.Turns()
        specs = services.selected(service, self.manifest.pods)

        async def dial(_near: socket.socket) -> socket.socket:
            ready = {r.spec.name: r.spec for r in self.runners if r.spec in specs and r.pod.ready}
            pod = turns.pick(ready)
            number = None if pod is None else services.target(pod, port)
            if pod is None or number is None:
                raise ConnectionRefusedError(f"no pod of service {service.name} is ready")
            return await self._around.network.dial(pod, number)

        return dial


@asynccontextmanager
async def session(
    manifest: Manifest, timeline: Timeline, options: Options | None = None, origin: Origin | None = None
) -> AsyncIterator[Session]:
    """Everything that pods need, ready to `run()`, and removed at the end.

    Raises:
        ConfigError: a port is taken, or `publish` is wrong.
        PodpatternsError: an option asks for what cannot be had.
    """
    options = options or Options()
    published = [
        *publishing.parse(options.publish, manifest.pods),
        *publishing.annotated(manifest.pods),
        *publishing.host_ports(manifest.pods),
    ]

    def note(text: str) -> None:
        timeline.tell("", None, What.NOTE, text)

    async with AsyncExitStack() as stack:
        place = stack.enter_context(workspace(options.keep))
        marked = {MARK: place.run}
        first = await stack.enter_async_context(node(marked))
        isolation = await mounts.choose(options.mounts, place, first)
        namespaces = isolation.mounts is Mounts.NAMESPACE
        net, why = await network.choose(options.network, first, isolated=namespaces)
        manifest = net.placed(manifest)
        other = first
        if net.own and any(pod.host_network for pod in manifest.pods):
            other = await stack.enter_async_context(node(marked))
            await mounts.choose(options.mounts, place, other)
        for notice in manifest.notices:
            note(str(notice))
        for text in _differences(isolation, net, why):
            note(text)
        around = Surroundings(manifest, place, timeline, isolation, net, first, other, speed=options.speed)
        running = Session(around, origin)
        try:
            if isinstance(net, PodNetwork):
                await net.open(manifest.pods)
                await _open_outbound(running, around, note)
            check_ports([pod for pod in manifest.pods if net.name(pod) is None])
            for service in manifest.services:
                await running.serve(service)
            if manifest.services and not namespaces:
                note("names of services are not known to containers here; their variables ($(NAME_SERVICE_HOST)) are")
            running.publish([each for each in dict.fromkeys(published) if net.own or each.port != each.target])
            yield running
        finally:
            for each in running.beside:
                each.close()  # never begun


async def _open_outbound(running: Session, around: Surroundings, note: Callable[[str], None]) -> None:
    outbound = Outbound(around.node)
    try:
        await outbound.open()
    except NodeError as error:
        note(f"pods cannot reach other networks ({error}); with --network host they can")
    else:
        around.outbound = True
        running.beside.append(outbound.run())
        note(f"each pod has a network of its own; to others, {LIMITS}")


def _differences(isolation: Isolation, net: Network, why: str) -> list[str]:
    """What is not as on a cluster, and why."""
    said = []
    if isolation.mounts is Mounts.REWRITE:
        where = "where a value, argument or word begins with one, it is replaced"
        said.append(f"volumes are not at their paths: {where} ({isolation.why[0]})")
    if not isolation.processes:
        said.append(f"containers see this machine's processes ({isolation.why[0]})")
    if not net.own:
        shared = "localhost is the same for all of them, and probes go to 127.0.0.1"
        said.append(f"all pods share this machine's network: {shared} ({why})")
    return said


def check_ports(pods: Sequence[PodSpec]) -> None:
    """What pods on this machine's network declare must be free, and each theirs alone. Raises ConfigError."""
    problems = []
    owners: dict[tuple[str, int], str] = {}
    for pod in pods:
        for container in pod.containers:
            for port in container.ports:
                who = f"port {port.number} of container {container.name}"
                first = owners.setdefault((port.protocol, port.number), pod.name)
                if first != pod.name:
                    remedy = "on this machine's network they cannot both have it; give one of them another port"
                    problems.append(port.mark.problem(f"{who} is pod {first}'s, too: {remedy}"))
                elif port.protocol == "TCP" and _taken(port.number):
                    remedy = "end that program, or give the container another port"
                    problems.append(port.mark.problem(f"{who} is taken by another program on this machine; {remedy}"))
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
