"""What a manifest says, after it has been checked: immutable, with every default filled in.

One piece, because it is one vocabulary, which is read as a whole.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from podpatterns.runtime.nodes import Mark

LOOPBACK = "127.0.0.1"
RestartPolicy = Literal["Always", "OnFailure", "Never"]


class Kind(enum.Enum):
    """The three kinds of containers."""

    INIT = "init"
    SIDECAR = "sidecar"
    """An init container with `restartPolicy: Always`."""
    MAIN = "main"


# --- what probes and hooks do -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Exec:
    """Run a command in the container; exit code 0 passes."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HttpGet:
    """Ask for a page; 200 to 399 passes. `host` None: the pod's address."""

    port: int
    path: str = "/"
    host: str | None = None
    scheme: str = "HTTP"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """Connect; `host` None: the pod's address."""

    port: int
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Grpc:
    """Ask the health service of gRPC (grpc.health.v1); SERVING passes. `service` empty: the whole server."""

    port: int
    service: str = ""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait, in a hook."""

    seconds: float


Handler = Exec | HttpGet | TcpSocket | Grpc | Sleep


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe with Kubernetes' defaults; times in seconds. `grace` None: the pod's."""

    handler: Handler
    initial_delay: float = 0
    timeout: float = 1
    period: float = 10
    success: int = 1
    failure: int = 3
    grace: float | None = None


# --- environment and files ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyRef:
    """One key of a ConfigMap or Secret."""

    source: Literal["ConfigMap", "Secret"]
    name: str
    key: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class FieldRef:
    """A field of the pod itself, such as `status.podIP` or `metadata.labels['app']`."""

    path: str


@dataclass(frozen=True, slots=True)
class ResourceRef:
    """A resource of a container: `limits.memory`, divided by `divisor`. `container` None: the one that asks."""

    resource: str
    divisor: str = "1"
    container: str | None = None


@dataclass(frozen=True, slots=True)
class EnvVar:
    """A variable: text, in which `$(NAME)` refers to earlier ones, or a reference."""

    name: str
    value: str | KeyRef | FieldRef | ResourceRef = ""


@dataclass(frozen=True, slots=True)
class EnvFrom:
    """All keys of a ConfigMap or Secret as variables."""

    source: Literal["ConfigMap", "Secret"]
    name: str
    prefix: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume at a path. `sub_path` may hold `$(NAME)` when `expand` is set (subPathExpr)."""

    volume: str
    path: str
    read_only: bool = False
    sub_path: str = ""
    expand: bool = False


@dataclass(frozen=True, slots=True)
class Port:
    """A declared port."""

    number: int
    name: str = ""
    protocol: str = "TCP"
    host_port: int | None = None
    host_ip: str = ""
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """Empty at the pod's start, gone with the pod. `limit` in bytes; None: as much as there is room for."""

    memory: bool = False
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class HostPath:
    """A path of this machine; `type` as in Kubernetes, empty for no check."""

    path: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A key of a source and the file that it becomes; `mode` None: the volume's default."""

    key: str
    path: str
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """Files from a ConfigMap or Secret; `items` None: every key under its own name."""

    source: Literal["ConfigMap", "Secret"]
    name: str
    items: tuple[Item, ...] | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Downward:
    """Files from the pod's own fields."""

    items: tuple[tuple[str, FieldRef | ResourceRef, int | None], ...]


@dataclass(frozen=True, slots=True)
class Projected:
    """Files from one or several sources in one folder; configMap, secret and downwardAPI volumes have one."""

    sources: tuple[Keys | Downward, ...]
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume and where its contents come from."""

    name: str
    source: EmptyDir | HostPath | Projected


@dataclass(frozen=True, slots=True)
class RestartRule:
    """A container that ends with one of these exit codes (`matches` False: with any other) is started again."""

    codes: frozenset[int]
    matches: bool = True

    def says(self, code: int) -> bool:
        """Whether the rule is about this exit code."""
        return (code in self.codes) is self.matches


# --- containers and pods ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Container:
    """One container. `pattern` names ours (sidecar, ambassador, adapter, init) when its image is from `containers/`."""

    name: str
    kind: Kind = Kind.MAIN
    image: str = ""
    command: tuple[str, ...] = ()
    """Command and arguments, before `$(NAME)` is expanded; the image's entrypoint is part of it."""
    working_dir: str | None = None
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    mounts: tuple[Mount, ...] = ()
    ports: tuple[Port, ...] = ()
    startup: Probe | None = None
    liveness: Probe | None = None
    readiness: Probe | None = None
    post_start: Handler | None = None
    pre_stop: Handler | None = None
    stop_signal: str = "SIGTERM"
    """What asks it to end."""
    restart_policy: RestartPolicy | None = None
    """Of the container itself; None: the pod's."""
    restart_rules: tuple[RestartRule, ...] = ()
    """Looked at before the policy."""
    termination_path: str = "/dev/termination-log"
    logs_on_error: bool = False
    resources: Mapping[str, str] = field(default_factory=dict)
    pattern: str | None = None
    admin_port: int | None = None


@dataclass(frozen=True, slots=True)
class PodSpec:
    """One pod: of a Pod document, or of the template of a Job or Deployment."""

    name: str
    mains: tuple[Container, ...]
    inits: tuple[Container, ...] = ()
    """Init containers and native sidecars, in the order of the manifest."""
    namespace: str = "default"
    uid: str = ""
    owner: str = "Pod"
    """The kind of the document."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    restart_policy: RestartPolicy = "Always"
    grace: float = 30
    active_deadline: float | None = None
    backoff_limit: int | None = None
    """For a Job: restarts, or with Never pods that fail, after which it has failed."""
    completions: int = 1
    """For a Job: pods that have to succeed, one after the other."""
    volumes: tuple[Volume, ...] = ()
    hostname: str = ""
    address: str = LOOPBACK
    """Where it is on its network; `node_address`: where this machine is on that."""
    node_address: str = LOOPBACK
    host_network: bool = False
    host_processes: bool = False
    share_processes: bool = False
    service_links: bool = True
    host_aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(address, names)."""
    service_account: str = "default"
    node: str = ""
    file: str | None = None

    @property
    def containers(self) -> tuple[Container, ...]:
        """All of them, in the order in which they start."""
        return self.inits + self.mains


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a service, and the one of a pod that it leads to: a number or a name."""

    number: int
    target: int | str
    name: str = ""
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True)
class Service:
    """A name for pods with certain labels."""

    name: str
    namespace: str = "default"
    selector: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[ServicePort, ...] = ()
    headless: bool = False
    address: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the manifest asks for and that is not done here; `places` are lines of the file."""

    what: str
    why: str
    marks: tuple[Mark, ...] = ()

    def __str__(self) -> str:
        lines = sorted({mark.line for mark in self.marks if mark.line is not None})
        where = f" (line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))})" if lines else ""
        return f"{self.what}{where}: {self.why}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything in the files: pods and services in their order, ConfigMaps and Secrets by (kind, namespace, name)."""

    pods: tuple[PodSpec, ...]
    sources: Mapping[tuple[str, str, str], Mapping[str, bytes]] = field(default_factory=dict)
    services: tuple[Service, ...] = ()
    notices: tuple[Notice, ...] = ()
