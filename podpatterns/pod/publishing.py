"""Ports of pods that can be reached from this machine: `--publish`, and `hostPort` of the manifest."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from podpatterns.errors import ConfigError, Problem
from podpatterns.pod.model import LOOPBACK, PodSpec
from podpatterns.runtime.listening import advice, reason
from podpatterns.runtime.nodes import Mark
from podpatterns.runtime.units import Address

_FORM = re.compile(
    r"(?:(?:(?P<host>\[[0-9a-fA-F:.]+\]|[0-9.]+):)?(?P<near>[0-9]{1,5}):)?"
    r"(?:(?P<pod>[a-z0-9][-.a-z0-9]*)/)?(?P<far>[0-9]{1,5})"
)

ANNOTATION = "podpatterns.dev/publish"


@dataclass(frozen=True, slots=True)
class Published:
    """A port of this machine and the port of a pod that it leads to.

    `inside`: the connection is made inside the pod, to its localhost, as `kubectl port-forward` does; otherwise to the
    pod's address, as a hostPort does.
    """

    host: str
    port: int
    pod: str
    target: int
    inside: bool
    mark: Mark = field(default=Mark(), compare=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port} → {self.pod}, port {self.target}"


def parse(
    texts: Sequence[str], pods: Sequence[PodSpec], where: str = "--publish", file: str | None = None
) -> list[Published]:
    """From `8080:80`, `127.0.0.1:8080:80`, `8080`, `8080:shop/80`. Raises ConfigError, with `where` they stand."""
    problems, found = [], []
    for text in texts:
        try:
            found.append(_one(text, pods))
        except ValueError as error:
            problems.append(Problem(f'{where} "{text}": {error}', file=file))
    if problems:
        raise ConfigError(problems)
    return found


def _one(text: str, pods: Sequence[PodSpec]) -> Published:
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("must be [[HOST:]PORT:][POD/]PORT, such as 8080:80 or 127.0.0.1:8080:shop/80")
    far = int(match["far"])
    near = int(match["near"] or far)
    if not (0 < far < 65536 and 0 < near < 65536):
        raise ValueError("a port is between 1 and 65535")
    host = (match["host"] or LOOPBACK).strip("[]")
    return Published(host, near, _pod(match["pod"], far, pods), far, inside=True)


def _pod(name: str | None, port: int, pods: Sequence[PodSpec]) -> str:
    names = [pod.name for pod in pods]
    if name is not None:
        if name not in names:
            raise ValueError(f'there is no pod "{name}"; there are: {", ".join(names)}')
        return name
    if len(pods) == 1:
        return names[0]
    having = [pod.name for pod in pods if any(known.number == port for c in pod.containers for known in c.ports)]
    if len(having) == 1:
        return having[0]
    said = f"the pods {', '.join(having)} have" if having else "no pod declares"
    raise ValueError(f"{said} port {port}; say which pod is meant: {(having or names)[0]}/{port}")


def annotated(pods: Iterable[PodSpec]) -> list[Published]:
    """What the manifest publishes on a laptop, in an annotation that clusters do not look at. Raises ConfigError."""
    found = []
    for pod in pods:
        texts = pod.annotations.get(ANNOTATION, "").replace(",", " ").split()
        found += parse(texts, [pod], f"pod {pod.name}: the annotation {ANNOTATION} holds", pod.file)
    return found


def host_ports(pods: Iterable[PodSpec]) -> Iterator[Published]:
    """What the manifest itself publishes."""
    for pod in pods:
        for container in pod.containers:
            for port in container.ports:
                if port.host_port and port.protocol == "TCP" and not pod.host_network:
                    host = port.host_ip or "0.0.0.0"
                    yield Published(host, port.host_port, pod.name, port.number, inside=False, mark=port.mark)


def listen(published: Sequence[Published]) -> list[socket.socket]:
    """A listening socket for each. Raises ConfigError."""
    opened: list[socket.socket] = []
    problems = []
    for each in published:
        try:
            family = socket.AF_INET6 if ":" in each.host else socket.AF_INET
            opened.append(socket.create_server((each.host, each.port), family=family))
        except OSError as error:
            why = (
                "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be had: {reason(error)}"
            )
            remedy = advice(Address(f":{each.port}"), error)
            problems.append(
                each.mark.problem(
                    f"port {each.port} of {each.host}, which is to lead to {each.target} of pod {each.pod}, {why}; "
                    f"{remedy}choose another port"
                )
            )
    if problems:
        for listening in opened:
            listening.close()
        raise ConfigError(problems)
    return opened
