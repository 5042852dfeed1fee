"""A pod's state as Kubernetes writes it: `v1` Pod with metadata and status, as `kubectl get pod -o yaml` shows it.

The rules are the kubelet's (kubelet_pods.go: convertStatusToAPIStatus, status/generate.go: Generate…Condition).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podpatterns.pod.environment import quantity
from podpatterns.pod.lifecycle import Pod, PodPhase
from podpatterns.pod.member import CRASH_LOOP, Member, Stage, Termination
from podpatterns.pod.model import Container, Kind, PodSpec

Clock = Callable[[float], datetime]
"""From the pod's clock to the time of day."""

_RUNNING = frozenset({Stage.POST_START, Stage.RUNNING, Stage.PRE_STOP, Stage.TURN, Stage.TERMINATING})


@dataclass(slots=True)
class Conditions:
    """Since when each condition of a pod has been what it is; `observe` after each event."""

    _since: dict[str, tuple[bool, float]] = field(default_factory=dict)

    def observe(self, pod: Pod, now: float) -> None:
        """Note what has changed."""
        for name, (value, _, _) in _conditions(pod).items():
            if self._since.get(name, (None, 0.0))[0] is not value:
                self._since[name] = (value, now)

    def report(self, pod: Pod, clock: Clock) -> list[dict[str, Any]]:
        """The list `conditions` of the status."""
        return [
            {
                "type": name,
                "status": str(value),
                "lastProbeTime": None,
                "lastTransitionTime": _time(self._since.get(name, (value, 0.0))[1], clock),
                **({"reason": reason} if reason else {}),
                **({"message": message} if message else {}),
            }
            for name, (value, reason, message) in _conditions(pod).items()
        ]


def _conditions(pod: Pod) -> dict[str, tuple[bool, str, str]]:
    """For each condition: true or false, and if false why."""
    incomplete = [member.name for member in pod.inits if not member.initialized]
    unready = [member.name for member in pod.members.values() if member.kind is not Kind.INIT and not member.ready]
    initialized = (
        not incomplete,
        "ContainersNotInitialized",
        f"containers with incomplete status: {_names(incomplete)}",
    )
    ready = (not unready, "ContainersNotReady", f"containers with unready status: {_names(unready)}")
    if pod.phase is PodPhase.SUCCEEDED:
        initialized, ready = (True, "PodCompleted", ""), (False, "PodCompleted", "")
    elif pod.phase is PodPhase.FAILED:
        ready = (False, "PodFailed", "")
    said = {
        "PodReadyToStartContainers": (True, "", ""),
        "Initialized": initialized,
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": (True, "", ""),
    }
    return {
        name: (value, "" if value and reason != "PodCompleted" else reason, "" if value else message)
        for name, (value, reason, message) in said.items()
    }


def _names(names: list[str]) -> str:
    return f"[{' '.join(names)}]"


def report(
    pod: Pod, conditions: Conditions, clock: Clock, *, started_at: float, pids: dict[str, int]
) -> dict[str, Any]:
    """The Pod document: apiVersion, kind, metadata, status. `pids`: of the containers that have a process."""
    spec = pod.spec
    initializing = not all(member.initialized for member in pod.inits)

    def statuses(members: list[Member]) -> list[dict[str, Any]]:
        return [container_status(member, clock, pids.get(member.name), initializing=initializing) for member in members]

    status: dict[str, Any] = {
        "phase": pod.phase.value,
        "conditions": conditions.report(pod, clock),
        "hostIP": pod.spec.node_address,
        "hostIPs": [{"ip": pod.spec.node_address}],
        "podIP": pod.spec.address,
        "podIPs": [{"ip": pod.spec.address}],
        "startTime": _time(started_at, clock),
        "qosClass": qos_class(spec),
    }
    if pod.failure is not None:
        reason, _, message = pod.failure.partition(": ")
        if message:
            status |= {"reason": reason, "message": message}
    if pod.inits:
        status["initContainerStatuses"] = statuses(pod.inits)
    status["containerStatuses"] = statuses(pod.mains)
    metadata: dict[str, Any] = {
        "name": spec.name,
        "namespace": spec.namespace,
        "uid": spec.uid,
        "creationTimestamp": _time(started_at, clock),
    }
    if spec.labels:
        metadata["labels"] = dict(spec.labels)
    if spec.annotations:
        metadata["annotations"] = dict(spec.annotations)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


def container_status(member: Member, clock: Clock, pid: int | None, *, initializing: bool) -> dict[str, Any]:
    """One item of containerStatuses or initContainerStatuses."""
    state, last = _states(member, clock, initializing=initializing)
    init = member.kind is Kind.INIT
    completed = init and member.initialized
    status: dict[str, Any] = {
        "name": member.name,
        "image": member.spec.image,
        "imageID": "",
        "restartCount": member.restarts,
        "ready": completed or member.ready,
        "started": member.stage in _RUNNING if init else member.stage in _RUNNING and member.startup_passed,
        "state": state,
        "lastState": last,
    }
    if pid is not None:
        status["containerID"] = f"process://{pid}"
    return status


def _states(member: Member, clock: Clock, *, initializing: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """`state` and `lastState`."""
    ends = [_terminated(end, clock) for end in member.ends]
    if member.stage in _RUNNING:
        return {"running": {"startedAt": _time(member.started_at, clock)}}, ends[-1] if ends else {}
    waits = member.stage is Stage.STARTING or (member.stage is Stage.WAITING and (member.message or not ends))
    if waits:
        reason = member.reason
        if member.stage is Stage.WAITING and not member.message:
            reason = "PodInitializing" if initializing else "ContainerCreating"
        elif reason != CRASH_LOOP and member.kind is Kind.MAIN and not member.message:
            reason = "ContainerCreating"
        waiting = {"reason": reason, **({"message": member.message} if member.message else {})}
        return {"waiting": waiting}, ends[-1] if ends else {}
    if not ends:
        return {"waiting": {"reason": member.reason}}, {}
    return ends[-1], ends[-2] if len(ends) > 1 else {}


def _terminated(end: Termination, clock: Clock) -> dict[str, Any]:
    said = {
        "exitCode": end.code,
        "reason": end.reason,
        "startedAt": _time(end.started_at, clock),
        "finishedAt": _time(end.ended_at, clock),
    }
    return {"terminated": said | ({"message": end.message} if end.message else {})}


def _time(at: float, clock: Clock) -> str:
    return clock(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def qos_class(spec: PodSpec) -> str:
    """Guaranteed, Burstable or BestEffort, by the resources of all containers (Kubernetes: qos.go)."""
    if not any(container.resources for container in spec.containers):
        return "BestEffort"
    return "Guaranteed" if all(_guaranteed(container) for container in spec.containers) else "Burstable"


def _guaranteed(container: Container) -> bool:
    for name in ("cpu", "memory"):
        limit = container.resources.get(f"limits.{name}")
        if limit is None or quantity(container.resources.get(f"requests.{name}", limit)) != quantity(limit):
            return False
    return True
