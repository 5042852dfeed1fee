"""Ports: all containers of a pod share one address."""

from __future__ import annotations

from collections.abc import Iterator

from podpatterns.pod.lint.finding import Found, Rule, Severity
from podpatterns.pod.workload import Container, Role, Workload, at, text, value
from podpatterns.runtime.nodes import ScalarNode


def port_twice(workload: Workload) -> Iterator[Found]:
    """One port, one container."""
    first: dict[tuple[int, str], tuple[Container, int | None]] = {}
    for each in workload.of(Role.SIDECAR, Role.MAIN):
        for number, protocol, node in each.ports:
            mark = node.entries["containerPort"].mark
            other, line = first.setdefault((number, protocol), (each, mark.line))
            if other is not each:
                yield Found(
                    mark,
                    f"port {number}/{protocol} of {each.title} is that of {other.title} already, in line {line}",
                    "they share one address, and the second one to listen crashes: give one of them another port",
                )


def unknown_port(workload: Workload) -> Iterator[Found]:
    """A probe or hook that goes to a port by name needs one of that name in its container."""
    for each in workload.containers:
        names = {text(node, "name") for _, _, node in each.ports}
        for place in (*each.probes, "lifecycle.postStart", "lifecycle.preStop"):
            for action in ("httpGet", "tcpSocket"):
                port = at(each.node, f"{place}.{action}.port")
                if isinstance(port, ScalarNode) and isinstance(port.value, str) and port.value not in names:
                    yield Found(
                        port.mark,
                        f'{place} of {each.title} goes to the port "{port.value}", which it does not have',
                        "name the port under ports, or give its number",
                    )


def host_port(workload: Workload) -> Iterator[Found]:
    """A port of the node can be had once."""
    if value(workload.spec, "hostNetwork") is True or workload.kind == "DaemonSet":
        return
    for each in workload.containers:
        for number, _, node in each.ports:
            if value(node, "hostPort") is not None:
                yield Found(
                    node.keys["hostPort"],
                    f"{each.title} takes port {value(node, 'hostPort')} of its node for its port {number}",
                    "a node can run one such pod only: use a Service",
                )


RULES = (
    Rule(
        "port-twice",
        Severity.ERROR,
        "The API server only warns; then one of the two containers crashes again and again.",
        port_twice,
    ),
    Rule("unknown-port", Severity.ERROR, "The probe fails for ever.", unknown_port),
    Rule("host-port", Severity.WARNING, "The second replica is never scheduled to the node.", host_port),
)
