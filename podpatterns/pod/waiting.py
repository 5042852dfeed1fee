"""Why a container is not where one would like it to be, in words. Pure.

What a person asks when a pod hangs: which one is it waiting for, since when, until when, and what would help.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from podpatterns.pod.events import ProbeKind
from podpatterns.pod.lifecycle import Pod
from podpatterns.pod.member import CRASH_LOOP, Member, Stage
from podpatterns.pod.model import Kind


@dataclass(frozen=True, slots=True)
class Explanation:
    """`state` in a word or two; `why` in a sentence, empty where there is nothing to explain."""

    container: str
    kind: Kind
    state: str
    why: str = ""
    held_up: bool = False
    """It is not yet, or no longer, doing what it is there for."""
    share: float | None = None
    """How much of what it waits for has passed, from 0 to 1: of a back-off, a grace, the tries of a probe."""


def explain(pod: Pod, now: float) -> list[Explanation]:
    """One for each container, in the order in which they start. `now` is on the pod's clock."""
    return [_STAGES[member.stage](pod, member, now) for member in pod.members.values()]


def why(pod: Pod, name: str, now: float = 0) -> str:
    """The sentence for one container."""
    member = pod.members[name]
    found = _STAGES[member.stage](pod, member, now)
    return found.why or f"is {found.state}"


def _waiting(pod: Pod, member: Member, now: float) -> Explanation:
    def said(state: str, why: str, share: float | None = None) -> Explanation:
        return Explanation(member.name, member.kind, state, why, held_up=True, share=share)

    if pod.ending is not None:
        behind = next((other for other in pod.before(member) if not other.initialized), None)
        while_it = f" while it waited for {behind.name}, {_not_through(pod, behind, now)}" if behind else ""
        return said("not started", f"the end of the pod came ({pod.ending}){while_it}")
    if member.message and member.reason != CRASH_LOOP:
        return said(member.reason, f"{member.message}; looked at again {_in(member.not_before, now)}")
    if member.ends:
        share = _share(member.ends[-1].ended_at, now, member.not_before)
        return said(member.reason, f"{_ended(member)}, and is started again {_in(member.not_before, now)}", share)
    for other in pod.before(member):
        if not other.initialized:
            return said("waiting", f"waits for {other.name}, {_not_through(pod, other, now)}")
    for other in pod.members.values():
        if other.stage is Stage.POST_START:
            return said("waiting", f"waits for {other.name}, whose postStart has not returned{_since(other, now)}")
        if other.stage is Stage.STARTING:
            return said("waiting", f"waits for {other.name}, which is being started")
    return said("waiting", "is next")


def _not_through(pod: Pod, other: Member, now: float) -> str:
    """What an init container or sidecar has not done yet, to stand behind its name."""
    if other.stage is Stage.WAITING:
        if other.message and other.reason != CRASH_LOOP:
            return f"which cannot be created: {other.message}"
        if other.ends:
            again = "" if pod.ending is not None else f" and is started again {_in(other.not_before, now)}"
            return f"which {_ended(other)}{again}"
        return "which has not started"
    if other.stage is Stage.POST_START:
        return f"whose postStart has not returned{_since(other, now)}"
    if pod.ending is None and other.kind is Kind.SIDECAR and other.stage is Stage.RUNNING:
        return f"whose startup probe has not passed: {_probe(pod, other, 'startup', now)}"
    what = "completed" if other.kind is Kind.INIT else "started"
    runs = other.stage is Stage.RUNNING and pod.ending is None
    return f"which has not {what}" + (f" ({_running_for(other, now)})" if runs else "")


def _starting(_pod: Pod, member: Member, _now: float) -> Explanation:
    return Explanation(member.name, member.kind, "starting", "its process is being started", held_up=True)


def _post_start(_pod: Pod, member: Member, now: float) -> Explanation:
    why = f"its postStart has not returned{_since(member, now)}; until then nothing else of the pod is started"
    return Explanation(member.name, member.kind, "in postStart", why, held_up=True)


def _running(pod: Pod, member: Member, now: float) -> Explanation:
    if member.kind is Kind.INIT:
        why = f"{_running_for(member, now)}, and has not completed; what comes after it waits"
        return Explanation(member.name, member.kind, "running", why, held_up=True)
    if not member.startup_passed:
        why = f"its startup probe has not passed: {_probe(pod, member, 'startup', now)}"
        count = member.probes["startup"]
        share = count.row / count.probe.failure if count.last is False else 0.0
        return Explanation(member.name, member.kind, "running, not started", why, held_up=True, share=share)
    if not member.ready:
        why = f"its readiness probe has not passed: {_probe(pod, member, 'readiness', now)}"
        return Explanation(member.name, member.kind, "running, not ready", why, held_up=True)
    return Explanation(member.name, member.kind, "running and ready")


def _pre_stop(pod: Pod, member: Member, now: float) -> Explanation:
    latest = f"at the latest {_due(pod, member, 'grace', now)}"
    why = f"its preStop has not returned; {member.spec.stop_signal} when it has, {latest}"
    return Explanation(member.name, member.kind, "in preStop", why, held_up=True, share=_of_grace(pod, member, now))


def _turn(pod: Pod, member: Member, now: float) -> Explanation:
    others = ", ".join(other.name for other in pod.outlives(member))
    why = (
        f"a sidecar ends after all main containers and all later sidecars, and {others} still run"
        f"{'s' if ',' not in others else ''}; {member.spec.stop_signal} at the latest {_due(pod, member, 'grace', now)}"
    )
    state = "waiting for its turn to end"
    return Explanation(member.name, member.kind, state, why, held_up=True, share=_of_grace(pod, member, now))


def _terminating(pod: Pod, member: Member, now: float) -> Explanation:
    cause = f" ({member.unhealthy})" if member.unhealthy else ""
    why = f"it has had {member.spec.stop_signal}{cause} and has not ended; SIGKILL {_due(pod, member, 'kill', now)}"
    share = _share(member.told_at, now, pod.when(member.name, "kill") or now)
    return Explanation(member.name, member.kind, "ending", why, held_up=True, share=share)


def _over(pod: Pod, member: Member, _now: float) -> Explanation:
    if not member.ends:
        return Explanation(member.name, member.kind, "never ran", member.message, held_up=True)
    if member.kind is Kind.INIT and member.initialized:
        return Explanation(member.name, member.kind, "completed")
    why = _ended(member)
    if pod.ending is None and member.kind is Kind.MAIN:
        why += f"; not started again: restartPolicy {pod.policy(member)}"
    return Explanation(member.name, member.kind, "ended", why, held_up=member.ends[-1].code != 0)


_STAGES: dict[Stage, Callable[[Pod, Member, float], Explanation]] = {
    Stage.WAITING: _waiting,
    Stage.STARTING: _starting,
    Stage.POST_START: _post_start,
    Stage.RUNNING: _running,
    Stage.PRE_STOP: _pre_stop,
    Stage.TURN: _turn,
    Stage.TERMINATING: _terminating,
    Stage.ENDED: _over,
}


def _ended(member: Member) -> str:
    last = member.ends[-1]
    said = _words(last.message)
    return f"ended with exit code {last.code}" + (f" ({said[:120]})" if said else "")


def _words(message: str) -> str:
    """The first line of a termination message; of one of our runtimes, which is JSON, the error in it."""
    try:
        return str(json.loads(message)["error"])
    except (ValueError, KeyError, TypeError):
        return message.strip().partition("\n")[0]


def _probe(pod: Pod, member: Member, kind: ProbeKind, now: float) -> str:
    count = member.probes.get(kind)
    if count is None or count.last is None:
        return f"it is asked for the first time {_due(pod, member, kind, now)}"
    wanted = count.probe.success if count.last else count.probe.failure
    did = "passed" if count.last else "failed"
    said = f"{count.row} of {wanted} {did}" if count.row <= wanted else f"{did} {count.row} times in a row"
    return (f"{count.detail} " if not count.last and count.detail else "") + f"({said})"


def _share(begin: float, now: float, end: float) -> float:
    return min(1.0, max(0.0, (now - begin) / (end - begin))) if end > begin else 1.0


def _of_grace(pod: Pod, member: Member, now: float) -> float:
    return _share(member.until - pod.spec.grace, now, member.until)


def _since(member: Member, now: float) -> str:
    return f" for {max(0.0, now - member.started_at):.0f} s"


def _running_for(member: Member, now: float) -> str:
    return f"it has been running{_since(member, now)}"


def _due(pod: Pod, member: Member, purpose: str, now: float) -> str:
    at = pod.when(member.name, purpose)
    return "in a moment" if at is None else _in(at, now)


def _in(at: float, now: float) -> str:
    return f"in {at - now:.0f} s" if at - now >= 1 else "in a moment"
