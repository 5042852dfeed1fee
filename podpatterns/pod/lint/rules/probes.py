"""Probes: how the kubelet knows that a container works."""

from __future__ import annotations

from collections.abc import Iterator

from podpatterns.pod.lint.finding import Found, Remove, Rule, Severity
from podpatterns.pod.workload import Role, Workload


def probe_on_init(workload: Workload) -> Iterator[Found]:
    """An init container that runs to completion has no probes."""
    for each in workload.of(Role.INIT):
        for probe in each.probes:
            yield Found(
                each.mark(probe),
                f"{each.title} has a {probe}, and runs to completion before anything could ask for it",
                'remove it, or make the container a sidecar with "restartPolicy: Always"',
                Remove(each.mark(probe)),
            )


def sidecar_without_startup_probe(workload: Workload) -> Iterator[Found]:
    """What starts after a sidecar may rely on it."""
    for each in workload.of(Role.SIDECAR):
        if "startupProbe" not in each.node.entries:
            yield Found(
                each.mark("restartPolicy"),
                f"{each.title} has no startupProbe",
                "without one the next container starts as soon as this process runs, ready or not: add one",
            )


def main_without_probes(workload: Workload) -> Iterator[Found]:
    """A container that others wait for says whether it works."""
    if workload.finite:
        return
    for each in workload.of(Role.MAIN):
        awaited = workload.kind not in {"Pod", "PodTemplate"} or any(each.ports)
        if awaited and not any(probe in each.node.entries for probe in ("livenessProbe", "readinessProbe")):
            yield Found(
                each.mark("name"),
                f"{each.title} has neither a readinessProbe nor a livenessProbe",
                "traffic and rollouts go on though it cannot answer: add a readinessProbe at least",
            )


RULES = (
    Rule("probe-on-init", Severity.ERROR, "The API server refuses the pod.", probe_on_init),
    Rule(
        "sidecar-without-startup-probe",
        Severity.WARNING,
        "The application's first requests or lines meet a sidecar that is not there yet.",
        sidecar_without_startup_probe,
    ),
    Rule(
        "main-without-probes",
        Severity.WARNING,
        "Traffic is sent to a container that cannot answer.",
        main_without_probes,
    ),
)
