"""The ramp: a new version gets more and more of the traffic, as long as it does well. Pure: time and counts come in.

A step is watched for `every`; then the version moves up, goes back to nothing, or, where too few requests say too
little, stays: as `verdict` judges what it has done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from math import gcd
from typing import Annotated, Any, Literal

from msgspec import Meta

from podpatterns.ambassador.verdict import Counts, Finding, Verdict, judge
from podpatterns.runtime.decode import suggest
from podpatterns.runtime.schema import Config, InvalidField
from podpatterns.runtime.units import Duration, Share


class RampConfig(Config, frozen=True, kw_only=True):
    """Gives a version a growing share of the requests, and none as soon as it does worse than it may."""

    version: str | None = None
    """The version of the split that is ramped up; it has the weight 0 there, because the ramp sets its weight. The
    others share what is left, in the ratios of their weights. None: the one version with weight 0."""

    steps: tuple[Annotated[int, Meta(ge=1, le=100)], ...] = (1, 5, 25, 50, 100)
    """The version's share in percent, step by step, rising. The first is in force from the start, the last one for
    good."""

    every: Duration = Duration("60s")
    """How long each step is watched, the last one included. Long enough for a version to show what it does under
    load."""

    min_requests: Annotated[int, Meta(ge=1)] = 200
    """Requests that a step must have had before the version moves up; until then it stays. With 200 a success of 99 %
    can be told from one of 95 %. A version that is plainly broken is seen earlier."""

    success: Share = Share("99%")
    """The share of requests that must be answered with less than 500 and completely."""

    p99: Duration | None = None
    """What 99 % of the requests must not exceed, from the end of their head to the end of the response. None: slowness
    is not judged, because no one limit fits every service."""

    def __post_init__(self) -> None:
        """Steps that rise, and times that are some."""
        if not self.steps:
            raise InvalidField("steps", "must have at least one step, such as [1, 5, 25, 50, 100]")
        for index, (low, high) in enumerate(pairwise(self.steps), 1):
            if high <= low:
                raise InvalidField(f"steps[{index}]", f"must rise: {high} stands behind {low}")
        for name in ("every", "p99"):
            if getattr(self, name) == 0:
                raise InvalidField(name, "must be more than 0s")

    def __str__(self) -> str:
        """For people, behind the version's name: `starts with 1 %, then 5, 25, 50, 100 %; …`."""
        first, *others = self.steps
        then = f", then {', '.join(map(str, others))} %" if others else ""
        slow = f" and 99% take no longer than {self.p99}" if self.p99 is not None else ""
        return (
            f"starts with {first} %{then}; each step takes {self.every} and {self.min_requests} requests; "
            f"it goes back to 0 unless {self.success} succeed{slow}"
        )

    def version_of(self, weights: Mapping[str, int]) -> str:
        """The version of a split that is ramped. Raises InvalidField where that is not clear."""
        version = self.version
        if version is None:
            idle = [name for name, weight in weights.items() if not weight]
            if len(idle) != 1:
                found = "has none" if not idle else f"has {' and '.join(idle)}"
                raise InvalidField(
                    "version", f"ramps the one version with weight 0, but the split {found}; name one, with weight 0"
                )
            version = idle[0]
        if version not in weights:
            raise InvalidField("version", f'unknown version "{version}"{suggest(version, weights)}')
        if weights[version]:
            raise InvalidField(
                "version", f"{version} has the weight {weights[version]}; write 0, because the ramp sets its weight"
            )
        return version


def ramped(weights: Mapping[str, int], version: str, percent: int) -> dict[str, int]:
    """Weights by which a version gets so many percent, and the others the rest in their own ratios."""
    total = sum(weight for name, weight in weights.items() if name != version)
    result = {
        name: percent * total if name == version else (100 - percent) * weight for name, weight in weights.items()
    }
    divisor = gcd(*result.values())
    return {name: weight // divisor for name, weight in result.items()}


class State(Enum):
    """Where a ramp stands."""

    RAMPING = "ramping"
    PAUSED = "paused"
    """Somebody has stopped it at its step."""
    DONE = "done"
    ROLLED_BACK = "rolled_back"
    BY_HAND = "by_hand"
    """Somebody has changed the weights: they count now, and the ramp has ended."""


Action = Literal["pause", "resume", "abort", "promote", "restart"]

_ACTIONS: dict[str, tuple[frozenset[State], State]] = {
    "pause": (frozenset({State.RAMPING}), State.PAUSED),
    "resume": (frozenset({State.PAUSED}), State.RAMPING),
    "abort": (frozenset({State.RAMPING, State.PAUSED}), State.ROLLED_BACK),
    "promote": (frozenset({State.RAMPING, State.PAUSED}), State.DONE),
    "restart": (frozenset({State.PAUSED, State.DONE, State.ROLLED_BACK, State.BY_HAND}), State.RAMPING),
}
"""What a person may ask for: in which states, and which one it leads to."""


@dataclass(frozen=True, slots=True)
class Move:
    """Something a ramp has done, or not done: `start`, `up`, `held`, `back`, `done`, or what a person has asked for.

    `cause` is one of a few words, for metrics; `text` has the numbers, for people.
    """

    kind: str
    cause: str
    text: str


class Ramp:
    """A ramp at work. Every method that moves it returns the move; `percent` is the share that is then in force."""

    def __init__(self, config: RampConfig) -> None:
        self.config = config
        self.state = State.RAMPING
        self.step = 0
        """Index into the steps; where it stood, once it has ended."""
        self.reason = ""
        """Why it is where it is."""
        self.seen = Counts()
        """What the version has done in this step, as of the last look."""
        self.watched = 0.0
        """For how many seconds, as of then."""
        self._started = False
        self._since: float | None = None
        self._new, self._old = Counts(), Counts()
        self._held = False
        self._lost_at: float | None = None
        self._answers = 0

    @property
    def percent(self) -> int | None:
        """The version's share; None once the weights are set by hand."""
        if self.state is State.BY_HAND:
            return None
        if self.state is State.ROLLED_BACK:
            return 0
        return self.config.steps[-1 if self.state is State.DONE else self.step]

    def look(self, now: float, new: Counts, old: Counts, *, reachable: bool = True) -> Move | None:
        """What follows from the counts so far, of the version and of the others together; None: go on as it is.

        `now` is in seconds, and never decreases; nor do the counts. To be called several times a second.
        """
        if self.state is not State.RAMPING:
            return None
        if self._since is None:
            self._since, self._new, self._old = now, new, old
            if not self._started:
                self._started = True
                return Move("start", "", str(self.config))
        self.seen, self.watched = new - self._new, now - self._since
        due = now - self._since >= self.config.every
        finding = judge(self.config, self.seen, old - self._old, due=due)
        if finding.verdict is Verdict.BAD:
            return self._end(State.ROLLED_BACK, Move("back", finding.cause, finding.text))
        if self._lost(now, reachable=reachable):
            return self._end(
                State.ROLLED_BACK, Move("back", "unreachable", f"could not be reached for {self.config.every}")
            )
        if not due or not reachable:
            return None
        if finding.verdict is Verdict.GOOD:
            return self._up(finding)
        if finding.verdict is Verdict.SHARED:
            # What was measured says nothing of the version: measure anew.
            self._forget()
            self.reason = finding.text
            return Move("held", f"shared_{finding.cause}", finding.text)
        if self._held:
            self.reason = finding.text
            return None
        self._held = True
        self.reason = finding.text
        return Move("held", finding.cause, finding.text)

    def _lost(self, now: float, *, reachable: bool) -> bool:
        """Whether it could not be reached for the time of a step.

        An address that rests is tried again now and then, and counts as reachable until that has failed: so only an
        answer shows that the version is back.
        """
        answers = self.seen.requests - self.seen.failures
        if answers > self._answers:
            self._lost_at, self._answers = None, answers
        if not reachable and self._lost_at is None:
            self._lost_at = now
        return not reachable and self._lost_at is not None and now - self._lost_at >= self.config.every

    def _up(self, finding: Finding) -> Move:
        if self.step == len(self.config.steps) - 1:
            return self._end(State.DONE, Move("done", finding.cause, finding.text))
        self.step += 1
        self._forget()
        self.reason = finding.text
        return Move("up", finding.cause, finding.text)

    def _end(self, state: State, move: Move) -> Move:
        self.state, self.reason = state, move.text
        if state is State.RAMPING:
            self._forget()
        return move

    def _forget(self) -> None:
        """The next look begins the step."""
        self._since, self._held, self._lost_at, self._answers = None, False, None, 0
        self.seen, self.watched = Counts(), 0.0

    def ask(self, action: Action) -> Move:
        """Do as a person asks. Raises ValueError, which says when one may."""
        states, state = _ACTIONS[action]
        if self.state not in states:
            possible = [name for name, (allowed, _) in _ACTIONS.items() if self.state in allowed]
            raise ValueError(f"cannot {action} a ramp that is {self.state.value}; possible now: {', '.join(possible)}")
        if action == "restart":
            self.step = 0
        return self._end(state, Move(action, "asked", "asked for through the admin endpoint"))

    def overruled(self) -> Move:
        """Somebody has changed the weights."""
        return self._end(State.BY_HAND, Move("by_hand", "asked", "the weights were changed by hand"))

    def describe(self) -> dict[str, Any]:
        """For the admin endpoint."""
        seen = self.seen
        slow, timed = seen.of("p99")
        return {
            "state": self.state.value,
            "step": self.step + 1,
            "steps": list(self.config.steps),
            "percent": self.percent,
            "reason": self.reason,
            "watched_seconds": round(self.watched, 1),
            "every_seconds": float(self.config.every),
            "requests": seen.requests,
            "min_requests": self.config.min_requests,
            "success": round(1 - seen.failures / seen.requests, 4) if seen.requests else None,
            "within_p99": round(1 - slow / timed, 4) if timed and self.config.p99 is not None else None,
            "clients_gone": seen.gone,
        }
