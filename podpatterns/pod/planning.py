"""From a container of the manifest to the process that is to be started: its words, variables, files and namespaces."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from podpatterns.pod import environment, services
from podpatterns.pod.model import Container, Manifest, PodSpec
from podpatterns.pod.mounts import Isolation, Mounts, Rewriter
from podpatterns.pod.network import GATEWAY, Network
from podpatterns.pod.node.client import Node
from podpatterns.pod.process import Plan
from podpatterns.pod.timeline import Timeline
from podpatterns.pod.volumes import PodVolumes
from podpatterns.pod.workspace import MARK, Workspace


@dataclass(slots=True)
class Surroundings:
    """What all pods of a run share. `speed` above 1 lets back-off, graces and periods pass faster."""

    manifest: Manifest
    workspace: Workspace
    timeline: Timeline
    isolation: Isolation
    network: Network
    node: Node
    host_node: Node
    """The node whose processes are on this machine's network."""
    outbound: bool = False
    """Pods with a network of their own can reach others, by way of us."""
    speed: float = 1


_PAUSE = """\
import os, signal
signal.signal(signal.SIGCHLD, lambda *_: None)
while True:
    try:
        os.wait()
    except ChildProcessError:
        signal.pause()
"""
"""Process 1 of a shared PID namespace: it reaps what is left to it."""


class Planner:
    """Plans the processes of one pod's containers."""

    def __init__(self, pod: PodSpec, around: Surroundings, volumes: PodVolumes) -> None:
        self._pod = pod
        self._around = around
        self._volumes = volumes
        self.pause: int | None = None
        """The process whose PID namespace the containers share, where they do."""

    def container(self, container: Container) -> Plan:
        """What to start. Raises Unresolved, OSError."""
        pod, around = self._pod, self._around
        base = {
            **environment.machine(str(Path(sys.executable).parent)),
            MARK: around.workspace.run,
            **services.variables(pod, around.manifest.services),
        }
        variables = environment.resolve(pod, container, around.manifest.sources, base)
        sources = self._volumes.seen_by(container, variables)
        argv = [environment.expand(word, variables) for word in container.command]
        cwd = container.working_dir or "/"
        message = around.workspace.termination_message(pod.name, container.name)
        message.write_bytes(b"")
        message.chmod(0o666)
        if around.isolation.mounts is Mounts.NAMESPACE:
            mounts = [(target, source, read_only) for target, (source, read_only) in sources.items()]
            mounts.append((container.termination_path, str(message), False))
            mounts += [
                (target, str(file), False)
                for target, file in self._etc().items()
                if not any(target == taken or target.startswith(f"{taken}/") for taken in sources)
            ]
            root = str(around.workspace.root)
            return Plan(argv, variables, cwd, mounts, root, self._processes(), around.network.name(pod))
        rewriter = Rewriter({target: source for target, (source, _) in sources.items()})
        variables = rewriter.variables(variables)
        variables["PODPATTERNS_TERMINATION_LOG"] = str(message)
        return Plan(rewriter.words(argv), variables, rewriter.text(cwd))

    def pausing(self) -> Plan | None:
        """What holds the PID namespace of a pod whose containers share one; None if they do not."""
        if not (self._pod.share_processes and self._around.isolation.processes and not self._pod.host_processes):
            return None
        words = [sys.executable, "-I", "-S", "-c", _PAUSE]
        env = {MARK: self._around.workspace.run}
        return Plan(words, env, root=str(self._around.workspace.root), processes=True)

    def _processes(self) -> bool | int:
        if not self._around.isolation.processes or self._pod.host_processes:
            return False
        return self.pause or True

    def _etc(self) -> dict[str, Path]:
        """The files about hosts and names that a kubelet writes for each pod."""
        pod, around = self._pod, self._around
        own = around.network.name(pod) is not None
        texts = {}
        if own or around.manifest.services or pod.host_aliases:
            texts["hosts"] = "\n".join(services.hosts(pod, around.manifest.services, around.manifest.pods)) + "\n"
        if own:
            texts["hostname"] = f"{pod.hostname}\n"
            if around.outbound:
                texts["resolv.conf"] = f"nameserver {GATEWAY}\noptions timeout:5\n"
        files = {}
        for name, text in texts.items():
            path = around.workspace.etc(pod.name) / name
            if not path.exists():
                path.write_text(text, "utf-8")
            files[f"/etc/{name}"] = path
        return files
