"""Values of which the API server knows a few: its published schema calls them text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from podpatterns.pod.lint.finding import Found, Replace, Rule, Severity
from podpatterns.pod.workload import Workload, at, mappings
from podpatterns.runtime.nodes import MapNode, ScalarNode

POD: Final = {
    "restartPolicy": ("Always", "OnFailure", "Never"),
    "dnsPolicy": ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
    "preemptionPolicy": ("PreemptLowerPriority", "Never"),
    "securityContext.seccompProfile.type": ("RuntimeDefault", "Localhost", "Unconfined"),
    "securityContext.fsGroupChangePolicy": ("OnRootMismatch", "Always"),
}

CONTAINER: Final = {
    "restartPolicy": ("Always", "OnFailure", "Never"),
    "imagePullPolicy": ("Always", "IfNotPresent", "Never"),
    "terminationMessagePolicy": ("File", "FallbackToLogsOnError"),
    "securityContext.seccompProfile.type": ("RuntimeDefault", "Localhost", "Unconfined"),
    **{f"{probe}.httpGet.scheme": ("HTTP", "HTTPS") for probe in ("startupProbe", "livenessProbe", "readinessProbe")},
}


def bad_choice(workload: Workload) -> Iterator[Found]:
    """Each value is one of those that there are."""
    for path, choices in POD.items():
        yield from _checked(workload.spec, path, choices)
    for each in workload.containers:
        for path, choices in CONTAINER.items():
            yield from _checked(each.node, path, choices)
        for port in mappings(each.node, "ports"):
            yield from _checked(port, "protocol", ("TCP", "UDP", "SCTP"))


def _checked(node: MapNode, path: str, choices: tuple[str, ...]) -> Iterator[Found]:
    found = at(node, path)
    if not isinstance(found, ScalarNode) or found.value is None or found.text in choices:
        return
    meant = next((choice for choice in choices if choice.lower() == found.text.lower()), None)
    yield Found(
        found.mark,
        f'{path} cannot be "{found.text}"',
        f'did you mean "{meant}"?' if meant is not None else f"use one of {', '.join(choices)}",
        Replace(found.mark, found.text, meant) if meant is not None and found.plain else None,
    )


RULES = (Rule("bad-choice", Severity.ERROR, "The API server refuses the pod; many validators do not.", bad_choice),)
