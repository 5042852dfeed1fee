"""A workload as rules see it: the pod template of any kind, its containers by their role, and where all of it stands.

The tree of nodes may hold anything: what has the wrong shape is as good as not there, for the rule `schema` reports it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from podpatterns.runtime.nodes import ListNode, MapNode, Mark, Node, ScalarNode

TEMPLATES: Final[Mapping[str, str]] = {
    "Pod": "",
    "Deployment": "spec.template",
    "ReplicaSet": "spec.template",
    "StatefulSet": "spec.template",
    "DaemonSet": "spec.template",
    "Job": "spec.template",
    "CronJob": "spec.jobTemplate.spec.template",
    "PodTemplate": "template",
}
"""Where each kind of workload has its pod."""


class Role(enum.Enum):
    """What a container is for; the value is the word for it."""

    INIT = "init container"
    SIDECAR = "sidecar"
    MAIN = "container"


def at(node: Node | None, path: str) -> Node | None:
    """The node below another one: `spec.template`; None if there is none."""
    for key in path.split(".") if path else ():
        node = node.entries.get(key) if isinstance(node, MapNode) else None
    return node


def mapping(node: Node | None, path: str = "") -> MapNode:
    """The mapping there; an empty one if there is none."""
    found = at(node, path)
    return found if isinstance(found, MapNode) else MapNode(Mark())


def mappings(node: Node | None, path: str) -> tuple[MapNode, ...]:
    """The mappings of the list there."""
    found = at(node, path)
    return tuple(item for item in found.items if isinstance(item, MapNode)) if isinstance(found, ListNode) else ()


def value(node: Node | None, path: str = "") -> Any:
    """The single value there; None if there is none."""
    found = at(node, path)
    return found.value if isinstance(found, ScalarNode) else None


def text(node: Node | None, path: str = "") -> str:
    """The text there; empty if there is none, or something else."""
    found = value(node, path)
    return found if isinstance(found, str) else ""


def words(node: Node | None) -> str:
    """All single values below a node, for looking through commands and arguments."""
    if isinstance(node, ScalarNode):
        return node.text
    if isinstance(node, ListNode):
        return " ".join(words(item) for item in node.items)
    return " ".join(words(child) for child in node.entries.values()) if isinstance(node, MapNode) else ""


@dataclass(frozen=True, eq=False)
class Container:
    """One container of the pod."""

    node: MapNode
    role: Role
    index: int
    """Its place among those of its list."""

    @property
    def name(self) -> str:
        """Its name."""
        return text(self.node, "name")

    @property
    def title(self) -> str:
        """For people: `sidecar logs`."""
        return f"{self.role.value} {self.name or f'number {self.index + 1}'}"

    def mark(self, key: str = "") -> Mark:
        """Where one of its fields stands, or the container itself."""
        return self.node.keys.get(key, self.node.mark)

    @property
    def probes(self) -> Iterator[str]:
        """The fields that are probes."""
        return (key for key in ("startupProbe", "livenessProbe", "readinessProbe") if key in self.node.entries)

    @property
    def ports(self) -> Iterator[tuple[int, str, MapNode]]:
        """Number, protocol and node of each port."""
        for port in mappings(self.node, "ports"):
            number = value(port, "containerPort")
            if isinstance(number, int):
                yield number, text(port, "protocol") or "TCP", port

    @property
    def mounts(self) -> tuple[MapNode, ...]:
        """Its volume mounts."""
        return mappings(self.node, "volumeMounts")

    @cached_property
    def commands(self) -> str:
        """Command, arguments and environment, as one text."""
        return " ".join(words(self.node.entries.get(key)) for key in ("command", "args", "env"))

    def security(self, key: str, pod: MapNode) -> Any:
        """A value of its security context, or of the pod's."""
        own = value(self.node, f"securityContext.{key}")
        return own if own is not None else value(pod, f"securityContext.{key}")


_SLEEP = re.compile(r"\bsleep\s+([0-9]+(?:\.[0-9]+)?)")


@dataclass(frozen=True, eq=False)
class Workload:
    """One document that holds a pod."""

    document: MapNode
    kind: str

    @cached_property
    def template(self) -> MapNode:
        """Metadata and spec of the pod."""
        return mapping(self.document, TEMPLATES[self.kind])

    @cached_property
    def spec(self) -> MapNode:
        """The pod's spec."""
        return mapping(self.template, "spec")

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """Init containers and sidecars in their order, then the main ones."""
        inits = (
            Container(node, Role.SIDECAR if text(node, "restartPolicy") == "Always" else Role.INIT, index)
            for index, node in enumerate(mappings(self.spec, "initContainers"))
        )
        mains = (Container(node, Role.MAIN, index) for index, node in enumerate(mappings(self.spec, "containers")))
        return (*inits, *mains)

    def of(self, *roles: Role) -> tuple[Container, ...]:
        """The containers with one of these roles."""
        return tuple(each for each in self.containers if each.role in roles)

    @cached_property
    def volumes(self) -> Mapping[str, MapNode]:
        """Volumes by name; of several with one name the first."""
        found: dict[str, MapNode] = {}
        for volume in mappings(self.spec, "volumes"):
            found.setdefault(text(volume, "name"), volume)
        return found

    @cached_property
    def claims(self) -> frozenset[str]:
        """Names of a StatefulSet's volume claims, which are volumes as well."""
        return frozenset(text(claim, "metadata.name") for claim in mappings(self.document, "spec.volumeClaimTemplates"))

    @property
    def grace(self) -> float:
        """Seconds between SIGTERM and SIGKILL."""
        given = value(self.spec, "terminationGracePeriodSeconds")
        return float(given) if isinstance(given, int) else 30.0

    @property
    def finite(self) -> bool:
        """True if the pod is meant to end."""
        return self.kind in ("Job", "CronJob")


def stopping_time(container: Container) -> float:
    """Seconds that a container's preStop hook takes at least, as far as can be read from it."""
    hook = at(container.node, "lifecycle.preStop")
    seconds = value(hook, "sleep.seconds")
    if isinstance(seconds, int):
        return float(seconds)
    return sum(float(each) for each in _SLEEP.findall(words(at(hook, "exec.command"))))
