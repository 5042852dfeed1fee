"""Names: what the API server refuses, and a schema cannot say."""

from __future__ import annotations

import re
from collections.abc import Iterator

from podpatterns.pod.lint.finding import Found, Rule, Severity
from podpatterns.pod.workload import Container, Workload, mapping, mappings, text
from podpatterns.runtime.nodes import MapNode, Mark, ScalarNode

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9](-?[a-z0-9]){0,14}")


def _better(name: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:63] or "a-name"


def metadata(workload: Workload) -> Iterator[Found]:
    """Metadata is a mapping."""
    node = workload.document.entries.get("metadata")
    if isinstance(node, ScalarNode):
        given = f'"metadata: {{name: {_better(node.text)}}}"' if node.text else '"metadata: {name: ...}"'
        yield Found(node.mark, "metadata must be a mapping", f"did you mean {given}?")


def bad_name(workload: Workload) -> Iterator[Found]:
    """Names have lower-case letters, digits and hyphens."""
    own = mapping(workload.document, "metadata")
    name = text(own, "name")
    if name and (len(name) > 253 or not _SUBDOMAIN.fullmatch(name)):
        yield _named(own, name, workload.kind)
    for what, nodes in (
        ("volume", mappings(workload.spec, "volumes")),
        *((each.role.value, (each.node,)) for each in workload.containers),
    ):
        for node in nodes:
            name = text(node, "name")
            if name and not _LABEL.fullmatch(name):
                yield _named(node, name, what)
    for each in workload.containers:
        for port in mappings(each.node, "ports"):
            name = text(port, "name")
            if name and not _PORT_NAME.fullmatch(name):
                yield Found(
                    port.entries["name"].mark,
                    f'the port name "{name}" is not allowed',
                    "use at most 15 lower-case letters, digits and single hyphens, with one letter at least",
                )


def _named(node: MapNode, name: str, what: str) -> Found:
    return Found(
        node.entries["name"].mark,
        f'the name of the {what}, "{name}", is not allowed',
        f'use lower-case letters, digits and hyphens, such as "{_better(name)}"',
    )


def duplicate_name(workload: Workload) -> Iterator[Found]:
    """Containers, volumes and ports have names of their own."""
    yield from _twice("container", [each.node for each in workload.containers])
    yield from _twice("volume", list(mappings(workload.spec, "volumes")))
    for each in workload.containers:
        yield from _twice(f"port of {each.title}", list(mappings(each.node, "ports")))


def _twice(what: str, nodes: list[MapNode]) -> Iterator[Found]:
    first: dict[str, Mark] = {}
    for node in nodes:
        name = text(node, "name")
        if not name:
            continue
        mark = node.entries["name"].mark
        before = first.setdefault(name, mark)
        if before is not mark:
            yield Found(mark, f'another {what} is called "{name}", in line {before.line}', "rename one of them")


def duplicate_env(workload: Workload) -> Iterator[Found]:
    """A variable that is set twice has the last value."""
    for each in workload.containers:
        yield from _variables(each)


def _variables(container: Container) -> Iterator[Found]:
    first: dict[str, Mark] = {}
    for node in mappings(container.node, "env"):
        name = text(node, "name")
        before = first.setdefault(name, node.mark)
        if name and before is not node.mark:
            yield Found(
                node.mark,
                f"{container.title} sets {name} a second time, after line {before.line}",
                "the last one counts: remove one of them",
            )


RULES = (
    Rule("metadata", Severity.ERROR, "The API server cannot read the object.", metadata),
    Rule("bad-name", Severity.ERROR, "The API server refuses the object; many validators do not.", bad_name),
    Rule("duplicate-name", Severity.ERROR, "The API server refuses the pod.", duplicate_name),
    Rule("duplicate-env", Severity.WARNING, "The first value is silently without effect.", duplicate_env),
)
