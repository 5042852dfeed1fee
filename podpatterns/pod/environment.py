"""A container's variables, and `$(NAME)` in its command: what the kubelet makes of them.

The order is envFrom first to last, then env first to last; later ones win. `$(NAME)` sees what stands before it,
`$$` is a dollar sign, and what cannot be resolved stays as it is (Kubernetes: third_party/forked/golang/expansion).
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation

from podpatterns.errors import PodpatternsError
from podpatterns.pod.model import Container, FieldRef, KeyRef, PodSpec, ResourceRef

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
_INHERITED = ("HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_SUFFIXES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate(("K", "M", "G", "T", "P", "E"), 1)},
}
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)")

Sources = Mapping[tuple[str, str, str], Mapping[str, bytes]]


class Unresolved(PodpatternsError):  # noqa: N818 - named after the value
    """A value of the manifest cannot be had: a key that is gone, a quantity that is none."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace each `$(NAME)`."""

    def replacement(found: re.Match[str]) -> str:
        name = found[1]
        return "$" if name is None else variables.get(name, found[0])

    return _REFERENCE.sub(replacement, text)


def machine(search: str) -> dict[str, str]:
    """The variables that an image would bring, taken from this machine; `search` ends the PATH."""
    path = os.environ.get("PATH", os.defpath)
    found = {"PATH": path if search in path.split(":") else f"{path}:{search}"}
    found.update({name: os.environ[name] for name in _INHERITED if name in os.environ})
    return found


def resolve(pod: PodSpec, container: Container, sources: Sources, base: Mapping[str, str]) -> dict[str, str]:
    """All variables of a container. Raises Unresolved."""
    result = {**base, "HOSTNAME": pod.hostname}
    for entry in container.env_from:
        for key, held in lookup(pod, sources, entry.source, entry.name, optional=entry.optional).items():
            result[f"{entry.prefix}{key}"] = _text(held, f'{entry.source} "{entry.name}", key "{key}"')
    for variable in container.env:
        value = variable.value
        if isinstance(value, str):
            result[variable.name] = expand(value, result)
        elif isinstance(value, FieldRef):
            result[variable.name] = field(pod, value)
        elif isinstance(value, ResourceRef):
            result[variable.name] = resource(pod, container, value)
        else:
            found = lookup(pod, sources, value.source, value.name, optional=value.optional).get(value.key)
            if found is not None:
                result[variable.name] = _text(found, f'{value.source} "{value.name}", key "{value.key}"')
            elif not value.optional:
                raise _no_key(value)
    return result


def _no_key(reference: KeyRef) -> Unresolved:
    return Unresolved(f'the {reference.source} "{reference.name}" has no key "{reference.key}"')


def _text(value: bytes, what: str) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise Unresolved(f"{what} is not UTF-8 text, so it cannot be a variable; mount it as a file") from None
    if "\0" in text:
        raise Unresolved(f"{what} holds a zero byte, so it cannot be a variable; mount it as a file")
    return text


def lookup(pod: PodSpec, sources: Sources, kind: str, name: str, *, optional: bool) -> Mapping[str, bytes]:
    """The keys of a ConfigMap or Secret; empty for an optional one that is not there."""
    found = sources.get((kind, pod.namespace, name))
    if found is None:
        if optional:
            return {}
        raise Unresolved(f'there is no {kind} "{name}"')
    return found


def field(pod: PodSpec, reference: FieldRef) -> str:
    """A field of the pod, as the downward API gives it."""
    path = reference.path
    if path.endswith("']"):
        part, _, key = path.partition("['")
        entries = pod.labels if part == "metadata.labels" else pod.annotations
        return entries.get(key[:-2], "")
    values = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.uid,
        "metadata.labels": _lines(pod.labels),
        "metadata.annotations": _lines(pod.annotations),
        "spec.nodeName": pod.node or socket.gethostname(),
        "spec.serviceAccountName": pod.service_account,
    }
    if path.startswith("status.hostIP"):
        return pod.node_address
    return values.get(path, pod.address)  # status.podIP, podIPs


def _lines(entries: Mapping[str, str]) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    return "\n".join(f"{key}={quoted(entries[key])}" for key in sorted(entries))


def resource(pod: PodSpec, container: Container, reference: ResourceRef) -> str:
    """A request or limit in units of the divisor, rounded up; without a limit, what this machine has."""
    if reference.container is not None:
        named = [other for other in pod.containers if other.name == reference.container]
        if not named:
            raise Unresolved(f'resourceFieldRef: the pod has no container "{reference.container}"')
        container = named[0]
    wanted = reference.resource
    given = container.resources.get(wanted) or container.resources.get(wanted.replace("requests.", "limits."))
    amount = quantity(given) if given else _machine_has(wanted)
    divisor = quantity(reference.divisor) or Decimal(1)
    return str((amount / divisor).to_integral_value(ROUND_CEILING))


def _machine_has(wanted: str) -> Decimal:
    if wanted == "limits.cpu":
        return Decimal(os.cpu_count() or 1)
    if wanted == "limits.memory":
        return Decimal(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return Decimal(0)


def quantity(text: str) -> Decimal:
    """`100m`, `64Mi`, `1.5` as a number."""
    found = _QUANTITY.fullmatch(text)
    try:
        if found and found[2] in _SUFFIXES:
            return Decimal(found[1]) * _SUFFIXES[found[2]]
    except InvalidOperation:
        pass
    raise Unresolved(f'"{text}" is not a quantity such as 100m or 64Mi')
