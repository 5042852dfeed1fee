"""Which step is next, and what follows from its outcome. Pure: the clock and the dice are arguments.

    plan = Plan(names, deadline=300, now=0)
    while not isinstance(action := plan.next(now), Finished | GaveUp):
        Attempt: try the step, then tell `succeeded` or `failed`; Pause: wait, then ask again

One deadline stands over all steps: a step that uses it up leaves nothing for the next, as Kubernetes' own init
containers do with the time that a rollout has.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from podpatterns.runtime.backoff import Backoff


class State(enum.Enum):
    """Where a step is. The value is what people are shown."""

    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    DONE = "done"
    SKIPPED = "done already"
    FAILED = "failed"


FINAL = frozenset({State.DONE, State.SKIPPED})


@dataclass(slots=True)
class Progress:
    """How one step is doing; times are points on the plan's clock, None where they have not come."""

    name: str
    state: State = State.PENDING
    attempts: int = 0
    started: float | None = None
    ended: float | None = None
    retry_at: float = 0.0
    note: str = ""
    """What was done, or why the last try failed."""
    remedy: str = ""

    def seconds(self, now: float) -> float:
        """How long it took, or has been taking."""
        if self.started is None:
            return 0.0
        return (now if self.ended is None else self.ended) - self.started


@dataclass(frozen=True, slots=True)
class Attempt:
    """Try step number `index` now; the try may take `remaining` seconds. `first`: it was not tried before."""

    index: int
    remaining: float
    first: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing to do for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """Every step is done."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Step number `index` has failed for good; `late` if the deadline was over, rather than the step hopeless."""

    index: int
    late: bool


@dataclass(slots=True)
class Plan:
    """The steps in their order. `deadline` in seconds from `now`, the plan's beginning."""

    names: Sequence[str]
    deadline: float
    now: float
    steps: list[Progress] = field(init=False)
    gave_up: GaveUp | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.steps = [Progress(name) for name in self.names]

    @property
    def finished(self) -> bool:
        """Whether every step is done."""
        return all(step.state in FINAL for step in self.steps)

    @property
    def current(self) -> Progress | None:
        """The step whose turn it is; None when all are done."""
        return next((step for step in self.steps if step.state not in FINAL), None)

    def next(self, now: float) -> Attempt | Pause | Finished | GaveUp:
        """What to do at this moment."""
        if self.gave_up is not None:
            return self.gave_up
        step = self.current
        if step is None:
            return Finished()
        index = self.steps.index(step)
        remaining = self.now + self.deadline - now
        if remaining <= 0:
            return self.expired(index, now)
        if step.state is State.RETRYING and step.retry_at > now:
            return Pause(min(step.retry_at - now, remaining))
        first = step.attempts == 0
        if step.started is None:
            step.started = now
        step.state = State.RUNNING
        step.attempts += 1
        return Attempt(index, remaining, first)

    def succeeded(self, index: int, now: float, did: str | None) -> None:
        """What the step is for holds; `did` says what was done, None that there was nothing to do."""
        step = self.steps[index]
        step.state, step.ended = (State.SKIPPED if did is None else State.DONE), now
        step.note, step.remedy = did or "", ""

    def failed(
        self,
        index: int,
        now: float,
        reason: str,
        remedy: str = "",
        *,
        backoff: Backoff | None,
        u: float,
        after: float = 0,
    ) -> float | None:
        """A try has failed; returns the seconds until the next, or None if there is none.

        `backoff` None: trying again cannot help. `u`: drawn evenly from [0, 1). `after`: the least seconds to wait.
        """
        step = self.steps[index]
        step.note, step.remedy = reason, remedy
        if backoff is None:
            self._give_up(index, now, late=False)
            return None
        delay = max(after, backoff.delay(step.attempts - 1, u))
        step.state, step.retry_at = State.RETRYING, now + delay
        return delay

    def expired(self, index: int, now: float) -> GaveUp:
        """The deadline is over; what the step's last try said stays, for it is the reason."""
        step = self.steps[index]
        step.note = step.note or ("it was still at work" if step.attempts else "the steps before it took all the time")
        return self._give_up(index, now, late=True)

    def _give_up(self, index: int, now: float, *, late: bool) -> GaveUp:
        self.steps[index].state, self.steps[index].ended = State.FAILED, now
        self.gave_up = GaveUp(index, late)
        return self.gave_up
