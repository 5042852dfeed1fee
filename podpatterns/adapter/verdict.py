"""From single results to a verdict: the kubelet's thresholds for each check, and what all of them come to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple


class State(StrEnum):
    """What a check counts as."""

    STARTING = "starting"
    """It has not passed yet, and need not have."""
    PASSING = "passing"
    FAILING = "failing"


@dataclass(slots=True)
class Verdict:
    """One check over time. It starts at `began`, and until `patient` it is not blamed for never having passed."""

    failures: int
    successes: int
    began: float
    patient: float
    state: State = State.STARTING
    since: float = 0.0
    """When it came to its state, on the caller's clock."""
    _streak: int = 0
    _failing: bool = False

    def __post_init__(self) -> None:
        self.since = self.began

    def judge(self, *, passed: bool, now: float) -> bool:
        """Take in one result; True if the state is another one than before.

        As with the kubelet, only so many results of a kind in a row count.
        """
        if self._failing is passed:
            self._failing, self._streak = not passed, 0
        self._streak += 1
        if self._streak < (self.successes if passed else self.failures):
            return False
        if not passed and self.state is State.STARTING and now < self.patient:
            return False
        state = State.PASSING if passed else State.FAILING
        if state is self.state:
            return False
        self.state, self.since = state, now
        return True


class Overall(NamedTuple):
    """What all checks come to, and whether that is well."""

    status: Literal["ok", "degraded", "starting", "failing"]
    well: bool


def overall(checks: Iterable[tuple[State, bool]], match: Literal["all", "any"]) -> Overall:
    """The verdict on (state, critical) of every check.

    `all`: every critical check has to pass; `any`: one of them will do. Others can only make it `degraded`.
    """
    checks = list(checks)
    critical = [state for state, matters in checks if matters]
    if critical:
        good = State.PASSING in critical if match == "any" else set(critical) == {State.PASSING}
        if not good:
            # One that has failed decides, if all have to pass; one that has not begun may yet pass, if one will do.
            undecided = State.STARTING in critical and (match == "any" or State.FAILING not in critical)
            return Overall("starting", well=False) if undecided else Overall("failing", well=False)
    if any(state is State.FAILING for state, _ in checks):
        return Overall("degraded", well=True)
    return Overall("ok", well=True)
