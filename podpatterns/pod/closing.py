"""Whether every container did what it should, judged after the end. Pure."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from podpatterns.pod import waiting
from podpatterns.pod.lifecycle import Pod
from podpatterns.pod.member import Member, Stage
from podpatterns.pod.model import Kind


def as_asked(member: Member) -> bool:
    """An exit code that is fine after our SIGTERM: by the container's own decision, or by the signal."""
    return member.exit_code in (0, 128 + signal.Signals[member.spec.stop_signal])


@dataclass(frozen=True, slots=True)
class Check:
    """A check that one of our runtimes has made at its end."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one container; `faults` is empty if it did what it should."""

    pod: str
    container: str
    exit_code: int | None
    restarts: int
    reason: str
    checks: tuple[Check, ...] = ()
    faults: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.faults


def judge(pod: Pod, messages: Mapping[str, str], at_the_end: Mapping[str, tuple[bool, bool]]) -> list[Verdict]:
    """A verdict for each container.

    `at_the_end`: for each container, alive and ready when the pod was told to end; empty if it ended by itself.
    """
    verdicts = []
    for member in pod.members.values():
        checks = read_checks(messages.get(member.name, "")) if member.spec.pattern else ()
        faults = [*_faults(pod, member, at_the_end.get(member.name))]
        faults += [f"check {check.name}: {check.detail or 'failed'}" for check in checks if not check.ok]
        verdicts.append(
            Verdict(
                pod.spec.name, member.name, member.exit_code, member.restarts, _reason(member), checks, tuple(faults)
            )
        )
    if pod.failure is not None and all(verdict.ok for verdict in verdicts):
        first = verdicts[0]
        verdicts[0] = Verdict(
            first.pod, first.container, first.exit_code, first.restarts, first.reason, first.checks, (pod.failure,)
        )
    return verdicts


def _reason(member: Member) -> str:
    if member.run == 0:
        return "never started"
    if member.overran:
        return "killed: over its grace"
    if member.asked and as_asked(member):
        return "ended as asked"
    return f"stopped because {member.unhealthy}" if member.unhealthy else member.reason


def _faults(pod: Pod, member: Member, then: tuple[bool, bool] | None) -> Iterator[str]:
    if member.run == 0:
        yield (
            f"was never started: {waiting.why(pod, member.name)}"
            if pod.failure is None
            else f"was never started: {pod.failure}"
        )
        return
    if member.overran:
        yield "did not end within its grace and was killed"
    elif member.asked:
        if not as_asked(member):
            yield f"ended with exit code {member.exit_code} when it was asked to end"
    elif member.stage is Stage.WAITING or (then is not None and not then[0] and member.exit_code != 0):
        times = f"{member.restarts} restart{'s' if member.restarts != 1 else ''}"
        yield f"was not running: exit code {member.exit_code}, {times} ({member.reason})"
    elif member.exit_code not in (0, None):
        yield f"ended with exit code {member.exit_code}"
    if member.kind is Kind.INIT:
        if not member.initialized and member.exit_code == 0:
            yield "had not completed"
    elif then is not None and then[0] and not then[1]:
        yield "was not ready when the end came"


def read_checks(message: str) -> tuple[Check, ...]:
    """The checks in a termination message of our runtimes; none in any other text."""
    try:
        patterns = json.loads(message)["patterns"]
        found = [check for pattern in patterns.values() for check in pattern.get("checks", ())]
        return tuple(Check(str(check["name"]), bool(check["ok"]), str(check.get("detail", ""))) for check in found)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def as_json(verdicts: list[Verdict]) -> dict[str, Any]:
    """The same for machines."""
    return {
        "ok": all(verdict.ok for verdict in verdicts),
        "containers": [
            {
                "pod": verdict.pod,
                "container": verdict.container,
                "exit_code": verdict.exit_code,
                "restarts": verdict.restarts,
                "reason": verdict.reason,
                "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in verdict.checks],
                "faults": list(verdict.faults),
            }
            for verdict in verdicts
        ],
    }
