"""Sidecars: in which order containers start and end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from podpatterns.pod.lint.finding import Found, Remove, Rule, Severity
from podpatterns.pod.workload import Container, Role, Workload, at, stopping_time, text, value, words

HELPERS = re.compile(
    r"sidecar|ambassador|adapter|proxy|envoy|agent|exporter|shipper|fluent|filebeat|promtail|vector|collector|logger"
)
"""What containers are called that help another one and have no end of their own."""

_DRAIN = 10.0
"""Seconds that a podpatterns container is given to drain, unless its configuration says otherwise."""


def restart_policy_on_main(workload: Workload) -> Iterator[Found]:
    """`restartPolicy: Always` makes an init container a sidecar, and means nothing on a regular one."""
    for each in workload.of(Role.MAIN):
        if text(each.node, "restartPolicy") == "Always" and text(workload.spec, "restartPolicy") in {"", "Always"}:
            yield Found(
                each.mark("restartPolicy"),
                f'{each.title} has "restartPolicy: Always", which does not make it a sidecar',
                "a sidecar stands under initContainers; where the pod restarts everything anyway, remove it",
                Remove(each.mark("restartPolicy")),
            )
        elif text(each.node, "restartPolicy") == "Always":
            yield Found(
                each.mark("restartPolicy"),
                f'{each.title} has "restartPolicy: Always" among the regular containers: the pod waits for its end',
                "move it to initContainers, where it is a sidecar",
            )


def helper_in_job(workload: Workload) -> Iterator[Found]:
    """A Job is complete when all its regular containers have ended."""
    mains = workload.of(Role.MAIN)
    if not workload.finite or len(mains) < 2:
        return
    for each in mains:
        image = text(each.node, "image").rpartition("/")[2].partition(":")[0]
        if HELPERS.search(each.name) or HELPERS.search(image):
            yield Found(
                each.mark("name"),
                f"{each.title} of the {workload.kind} looks like a helper that never ends by itself",
                'make it a sidecar: move it to initContainers, with "restartPolicy: Always"',
            )


def sidecar_after_init(workload: Workload) -> Iterator[Found]:
    """What an init container needs must have started before it."""
    containers = workload.of(Role.INIT, Role.SIDECAR)
    for place, init in enumerate(containers):
        if init.role is not Role.INIT:
            continue
        for later in containers[place + 1 :]:
            port = _asked(init, later) if later.role is Role.SIDECAR else None
            if port is not None:
                yield Found(
                    init.mark("name"),
                    f"{init.title} asks localhost:{port}, which is {later.title}'s and starts after it",
                    f"move {later.name} in front of {init.name}",
                )


def _asked(init: Container, sidecar: Container) -> int | None:
    for number, _, _ in sidecar.ports:
        if re.search(rf"(?:localhost|127\.0\.0\.1|\[::1\]):{number}\b", init.commands):
            return number
    return None


_STOPPING = re.compile(r"\b(?:drain|quit|stop|shutdown|exit|kill|pkill|quitquitquit)\b")


def sidecar_stopped_early(workload: Workload) -> Iterator[Found]:
    """All preStop hooks run at the same time, and a sidecar is needed until the last container has ended."""
    for each in workload.of(Role.SIDECAR):
        hook = at(each.node, "lifecycle.preStop")
        if hook is not None and _STOPPING.search(words(hook)):
            yield Found(
                each.mark("lifecycle"),
                f"the preStop hook of {each.title} stops it while the containers that need it still run",
                "remove the hook: SIGTERM comes to a sidecar after all regular containers have ended",
            )


def short_grace(workload: Workload) -> Iterator[Found]:
    """The grace covers the hook and what comes after it."""
    for each in workload.of(Role.SIDECAR, Role.MAIN):
        takes = stopping_time(each)
        if not takes:
            continue
        needed = takes + (_DRAIN if "podpatterns" in text(each.node, "image") else 0)
        if needed >= workload.grace:
            said = "terminationGracePeriodSeconds" in workload.spec.entries
            yield Found(
                workload.spec.keys.get("terminationGracePeriodSeconds", each.mark("lifecycle")),
                f"the grace of {workload.grace:g} s{'' if said else ', the default,'} is over before {each.title} has "
                f"stopped: its preStop hook alone takes {takes:g} s",
                f"set terminationGracePeriodSeconds to more than {needed:g}, or shorten the hook",
            )


def pod_restart_policy(workload: Workload) -> Iterator[Found]:
    """What is to run for ever is always restarted; what is to end is not."""
    node = at(workload.spec, "restartPolicy")
    given = value(workload.spec, "restartPolicy")
    if node is None or given is None:
        return
    if workload.finite and given == "Always":
        yield Found(node.mark, f'a {workload.kind} cannot have "restartPolicy: Always"', "use OnFailure or Never")
    elif workload.kind not in {"Pod", "PodTemplate"} and not workload.finite and given in {"OnFailure", "Never"}:
        yield Found(node.mark, f'a {workload.kind} cannot have "restartPolicy: {given}"', "remove it, or use Always")


RULES = (
    Rule(
        "restart-policy-on-main",
        Severity.ERROR,
        "The container is none of the sidecars: it starts with the others, and is not stopped after them.",
        restart_policy_on_main,
    ),
    Rule("helper-in-job", Severity.ERROR, "The Job never completes.", helper_in_job),
    Rule("sidecar-after-init", Severity.ERROR, "The init container fails for ever.", sidecar_after_init),
    Rule(
        "sidecar-stopped-early",
        Severity.WARNING,
        "The application's last requests and lines are lost.",
        sidecar_stopped_early,
    ),
    Rule("short-grace", Severity.ERROR, "The container is killed in the middle of its work.", short_grace),
    Rule("pod-restart-policy", Severity.ERROR, "The API server refuses the workload.", pod_restart_policy),
)
