"""Opens a run of pods: what is wrong with its options and ports is said before anything starts."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from podpatterns.errors import ConfigError, PodpatternsError
from podpatterns.pod import mounts, network, publishing
from podpatterns.pod.doors import Doors
from podpatterns.pod.events import What
from podpatterns.pod.model import Manifest, PodSpec
from podpatterns.pod.mounts import Isolation, Mounts
from podpatterns.pod.network import Network, PodNetwork
from podpatterns.pod.node.client import NodeError, node
from podpatterns.pod.outbound import LIMITS
from podpatterns.pod.planning import Surroundings
from podpatterns.pod.runner import PodRunner
from podpatterns.pod.session import Origin, Session
from podpatterns.pod.timeline import Timeline
from podpatterns.pod.workspace import MARK, workspace


@dataclass(frozen=True, slots=True)
class Options:
    """How pods are run: the options of `podpatterns pod run` of the same names."""

    mounts: str = "auto"
    network: str = "auto"
    publish: Sequence[str] = ()
    speed: float = 1
    keep: Path | None = None


@asynccontextmanager
async def session(
    manifest: Manifest, timeline: Timeline, options: Options | None = None, origin: Origin | None = None
) -> AsyncIterator[Session]:
    """Everything that pods need, ready to `run()`, and removed at the end.

    Raises:
        ConfigError: a port is taken, or `publish` is wrong.
        PodpatternsError: an option asks for what cannot be had.
    """
    if sys.platform != "linux":
        raise PodpatternsError("pods are run by what Linux alone has; use a Linux machine, virtual or not")
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
        runners = [PodRunner(spec, around) for spec in manifest.pods]
        doors = Doors(runners, around)
        stack.callback(doors.close)
        if isinstance(net, PodNetwork):
            await net.open(manifest.pods)
            note(f"each pod has a network of its own; {await _outbound(doors)}")
        check_ports([pod for pod in manifest.pods if net.name(pod) is None])
        for service in manifest.services:
            await doors.serve(service)
        if manifest.services and not namespaces:
            note("names of services are not known to containers here; their variables ($(NAME_SERVICE_HOST)) are")
        published = [each for each in dict.fromkeys(published) if net.own or each.port != each.target]
        doors.publish(published)
        for each in published:
            note(f"published: {each}")
        yield Session(runners, around, doors, origin)


async def _outbound(doors: Doors) -> str:
    """Opens the way out; what to say of it."""
    try:
        await doors.open_outbound()
    except NodeError as error:
        return f"there is no way out of it ({error}), as there is with --network host"
    return f"to others, {LIMITS}"


def _differences(isolation: Isolation, net: Network, why: str) -> list[str]:
    """What is not as on a cluster, and why."""
    said = []
    if isolation.mounts is Mounts.REWRITE:
        where = "it is replaced where an argument or a variable begins with one, and not inside of a script"
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
