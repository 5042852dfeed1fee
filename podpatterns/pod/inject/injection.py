"""What is added to a workload: a container for each of our configurations, with all that it needs.

The primary containers stay as they are. What ours share with them they must have already: a volume at the folder that
a configuration names is found by its path, and mounted at the same path. One piece, because every operation depends on
what the ones before it have taken: names, ports, volumes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import PurePosixPath
from typing import Any, Final

from podpatterns.errors import Problem
from podpatterns.pod.inject.operations import Append, Operation, Path, Prepend, Put
from podpatterns.pod.workload import TEMPLATES, Container, Role, Workload, at, mapping, text, value
from podpatterns.runtime.config import ProcessConfig, loads
from podpatterns.runtime.nodes import MapNode
from podpatterns.runtime.uses import File, Port, uses

ASK: Final = "podpatterns.dev/inject"
"""The annotation by which a pod asks for profiles: `log-shipper`, or several with commas between."""

MARK: Final = "podpatterns.dev/injected"
"""The annotation on the template that says what was added."""

CONFIG: Final = "PODPATTERNS_CONFIG"
"""The variable that holds a container's configuration."""

OTHERS: Final[Mapping[str, str]] = {
    "sidecar.istio.io/status": "Istio",
    "linkerd.io/proxy-version": "linkerd",
    "consul.hashicorp.com/connect-inject-status": "Consul",
    "vault.hashicorp.com/agent-inject-status": "Vault",
}
"""Annotations that injectors leave behind, and whose they are."""

PROXIES: Final[Mapping[str, str]] = {"istio-proxy": "Istio", "linkerd-proxy": "linkerd", "consul-dataplane": "Consul"}
"""The same by the name of the container."""

DOWNWARD: Final[Mapping[str, str]] = {
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "NODE_NAME": "spec.nodeName",
}
"""Variables that a container of ours has when its configuration speaks of them."""

USER: Final = 65532
"""The user of our images; used unless a main container says whom its files belong to."""

STARTS: Final = 60
"""Seconds that a container of ours may take to start."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a container is added."""

    image: str = "podpatterns/{pattern}:dev"
    """The image, with `{pattern}` for the name of the first pattern that it runs."""
    classic: bool = False
    """A regular container in the place of a native sidecar, for clusters before 1.29 and for podman."""
    config_map: str | None = None
    """A ConfigMap that holds the configuration under its file's name, and reloads; None: the configuration is part
    of the container."""
    requests: Mapping[str, str] = field(default_factory=lambda: {"cpu": "10m", "memory": "64Mi"})
    limits: Mapping[str, str] = field(default_factory=lambda: {"memory": "128Mi"})
    pull: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that the configuration refers to."""


@dataclass(frozen=True, slots=True)
class Part:
    """One container to be added: a configuration, read and as text."""

    config: ProcessConfig
    source: str
    file: str
    options: Options

    @property
    def patterns(self) -> tuple[str, ...]:
        """What runs in it."""
        return tuple(self.config.patterns)

    @property
    def name(self) -> str:
        """The container's name."""
        return f"podpatterns-{'-'.join(self.patterns)}"

    @property
    def settings(self) -> str:
        """The volume of the ConfigMap with its configuration."""
        return f"{self.name}-config"

    @property
    def ends(self) -> bool:
        """True for init steps that run to completion."""
        return all(pattern.ends for pattern in self.config.patterns.values())


def part(file: str, source: str, options: Options | None = None) -> Part:
    """A configuration, read as it will be in the pod. Raises ConfigError."""
    options = options or Options()
    return Part(loads([(file, source)], {**dict.fromkeys(DOWNWARD, "x"), **options.env}), source, file, options)


class Injection:
    """The operations on one workload; `problems` says why it cannot be done."""

    def __init__(self, workload: Workload, parts: Sequence[Part]) -> None:
        self.kind = workload.kind
        self.version = text(workload.document, "apiVersion")
        self._workload = workload
        self._parts = parts
        self._volumes: dict[str, dict[str, Any]] = {}
        self.problems = [*self._refusals()]
        self.operations: tuple[Operation, ...] = () if self.problems else tuple(self._operations())

    @property
    def on_pod(self) -> tuple[Operation, ...]:
        """The operations on the pod itself, without the path to the template."""
        depth = len(self._prefix)
        return tuple(dataclasses.replace(operation, path=operation.path[depth:]) for operation in self.operations)

    @property
    def _prefix(self) -> Path:
        path = TEMPLATES[self._workload.kind]
        return tuple(path.split(".")) if path else ()

    def _operations(self) -> Iterator[Operation]:
        inits: list[Mapping[str, Any]] = []
        mains: list[Mapping[str, Any]] = []
        for part in sorted(self._parts, key=lambda part: part.ends):
            (mains if part.options.classic and not part.ends else inits).append(self._container(part))
        spec = (*self._prefix, "spec")
        names = ",".join(part.name for part in self._parts)
        yield Put((*self._prefix, "metadata", "annotations"), {MARK: names})
        if inits:
            yield Prepend((*spec, "initContainers"), tuple(inits))
        if mains:
            yield Append((*spec, "containers"), tuple(mains))
        if self._volumes:
            yield Prepend((*spec, "volumes"), tuple(self._volumes.values()))

    # --- what is in the way ---------------------------------------------------------------------------------------

    def _refusals(self) -> Iterator[Problem]:
        workload = self._workload
        if not workload.of(Role.MAIN):
            yield workload.document.mark.problem(f"this {workload.kind} has no containers to add to")
        annotations = mapping(workload.template, "metadata.annotations")
        if MARK in annotations.entries:
            yield annotations.keys[MARK].problem(
                f"has been injected already ({text(annotations.entries[MARK])}); run uninject on the file that inject "
                f"wrote, or start from the original"
            )
        for key, whose in OTHERS.items():
            if key in annotations.entries:
                yield annotations.keys[key].problem(f"has been injected by {whose} already; start from the original")
        for each in workload.containers:
            if each.name in PROXIES:
                yield each.mark("name").problem(
                    f"has been injected by {PROXIES[each.name]} already; start from the original"
                )
        if value(workload.spec, "hostNetwork") is True:
            yield workload.spec.keys["hostNetwork"].problem(
                "with hostNetwork the ports of our containers would be the node's; remove it"
            )
        yield from self._clashes()
        for part in self._parts:
            if part.options.classic and not part.ends and workload.finite:
                yield workload.document.entries["kind"].mark.problem(
                    f"a classic {part.name} never ends, and so the {workload.kind} would not; leave out --classic"
                )
            for use in uses(dict(part.config.patterns)):
                if isinstance(use, File) and use.shared and self._mounted(use) is None:
                    yield self._unshared(part, use)

    def _unshared(self, part: Part, use: File) -> Problem:
        first = next(iter(self._workload.of(Role.MAIN)), None)
        return Problem(
            f"needs {use.path}, where no container of the {self._workload.kind} mounts a volume; add an emptyDir (or a "
            f"secret, a configMap) to {first.name if first else 'a container'} at that path: only what is on a volume "
            f"can be seen by another container",
            use.field,
            part.file,
        )

    def _clashes(self) -> Iterator[Problem]:
        workload = self._workload
        of_name: dict[str, Part] = {}
        for part in self._parts:
            first = of_name.setdefault(part.name, part)
            if first is not part:
                made = f"makes a second container {part.name}, beside that of {first.file}"
                yield Problem(f"{made}; write both into one configuration", file=part.file)
            for each in workload.containers:
                if each.name == part.name:
                    yield each.mark("name").problem(f'the name "{part.name}" is needed for our container; rename this')
        for name, volume in workload.volumes.items():
            if any(name.startswith((part.settings, f"{part.name}-state")) for part in self._parts):
                yield volume.mark.problem(f'the volume name "{name}" is needed for ours; rename this')
        taken: dict[tuple[int, bool], str] = {}
        for each in workload.of(Role.SIDECAR, Role.MAIN):
            for number, protocol, node in each.ports:
                taken[number, protocol == "UDP"] = each.title
                for part in self._parts:
                    for port in self._ports(part):
                        if (port.number, port.udp) == (number, protocol == "UDP"):
                            yield node.mark.problem(
                                f"port {number} of {each.title} is needed by {part.name} ({part.file}: {port.field}); "
                                f"they share one address, so change one of them"
                            )
        for part in self._parts:
            for port in self._ports(part):
                other = taken.setdefault((port.number, port.udp), part.name)
                if other != part.name and other.startswith("podpatterns-"):
                    yield Problem(f"port {port.number} is that of {other} as well", port.field, part.file)

    # --- one container --------------------------------------------------------------------------------------------

    def _ports(self, part: Part) -> Iterator[Port]:
        for use in uses(dict(part.config.patterns)):
            if isinstance(use, Port):
                yield use
        admin = part.config.admin
        if admin is not None and admin.port:
            yield Port("runtime.admin", admin.port)

    def _container(self, part: Part) -> dict[str, Any]:
        options, admin = part.options, part.config.admin
        container: dict[str, Any] = {
            "name": part.name,
            "image": options.image.replace("{pattern}", part.patterns[0]),
        }
        if options.pull is not None:
            container["imagePullPolicy"] = options.pull
        if not part.ends and not options.classic:
            container["restartPolicy"] = "Always"
        container["args"] = [
            "run",
            f"/etc/podpatterns/{PurePosixPath(part.file).name}" if options.config_map else f"env:{CONFIG}",
        ]
        env = self._env(part)
        if env:
            container["env"] = env
        if not part.ends:
            container["ports"] = [
                _port(port, admin is not None and port.number == admin.port) for port in self._ports(part)
            ]
            if admin is not None and admin.port:
                container |= probes(admin.port)
        container["securityContext"] = {
            "runAsUser": self._user(),
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        container["resources"] = {"requests": dict(options.requests), "limits": dict(options.limits)}
        mounts = list(self._mounts(part))
        if mounts:
            container["volumeMounts"] = mounts
        return container

    def _env(self, part: Part) -> list[dict[str, Any]]:
        env: list[dict[str, Any]] = [
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in DOWNWARD.items()
            if name in part.source
        ]
        env += [{"name": name, "value": given} for name, given in part.options.env.items()]
        if part.options.config_map is None:
            # `$(` would be taken for a variable by the kubelet.
            env.append({"name": CONFIG, "value": part.source.replace("$(", "$$(")})
        return env

    def _user(self) -> int:
        """Whoever the application runs as may read what it writes."""
        for each in self._workload.of(Role.MAIN):
            user = each.security("runAsUser", self._workload.spec)
            if isinstance(user, int) and user > 0:
                return user
        return USER

    # --- volumes --------------------------------------------------------------------------------------------------

    def _mounted(self, use: File) -> tuple[Container, MapNode] | None:
        """The mount of a container that is there which holds a path, the deepest one."""
        found = [
            (each, mount)
            for each in sorted(self._workload.containers, key=lambda each: each.role is not Role.MAIN)
            for mount in each.mounts
            if PurePosixPath(use.path).is_relative_to(text(mount, "mountPath") or "/nowhere")
        ]
        return max(found, key=lambda pair: len(text(pair[1], "mountPath")), default=None)

    def _mounts(self, part: Part) -> Iterator[dict[str, Any]]:
        if part.options.config_map is not None:
            name = part.settings
            self._volumes[name] = {"name": name, "configMap": {"name": part.options.config_map}}
            yield {"name": name, "mountPath": "/etc/podpatterns", "readOnly": True}
        wanted: dict[str, dict[str, Any]] = {}
        for use in uses(dict(part.config.patterns)):
            if not isinstance(use, File):
                continue
            mounted = self._mounted(use)
            mount = _same(mounted[1], writes=use.writes) if mounted else {"name": "", "mountPath": use.path}
            place = mount["mountPath"]
            if place not in wanted or use.writes:
                wanted[place] = mount
        for mount in wanted.values():
            if not mount["name"]:
                # A folder that is ours alone: how far we have got outlives the container.
                mount["name"] = name = next(name for name in own(part) if name not in self._volumes)
                self._volumes[name] = {"name": name, "emptyDir": {"sizeLimit": "256Mi"}}
            yield mount


def checked(image: str) -> str:
    """The image, as it may be configured: `{pattern}` is the one thing that is replaced in it. Raises ValueError."""
    rest = image.replace("{pattern}", "")
    if "{" in rest or "}" in rest:
        raise ValueError(f'"{image}" is no image; the one thing in braces that is replaced is {{pattern}}')
    return image


def own(part: Part) -> Iterator[str]:
    """Names for the volumes of a container of ours."""
    yield f"{part.name}-state"
    for number in count(2):
        yield f"{part.name}-state-{number}"


def probes(port: int) -> dict[str, Any]:
    """How the kubelet asks one of our containers."""
    return {
        "startupProbe": {
            "httpGet": {"path": "/startupz", "port": port},
            "periodSeconds": 1,
            "failureThreshold": STARTS,
        },
        "livenessProbe": {"httpGet": {"path": "/livez", "port": port}},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": port}},
    }


def _port(port: Port, admin: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"name": "admin"} if admin else {}
    said["containerPort"] = port.number
    return said | ({"protocol": "UDP"} if port.udp else {})


def _same(mount: MapNode, *, writes: bool) -> dict[str, Any]:
    """The same volume at the same place, for another container."""
    keys = ("name", "mountPath", "subPath", "subPathExpr")
    copied = {key: text(mount, key) for key in keys if at(mount, key) is not None}
    return copied if writes else {**copied, "readOnly": True}
