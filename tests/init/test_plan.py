"""The plan: pure, so every case is a line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from podpatterns.init.plan import FINAL, Attempt, Finished, GaveUp, Pause, Plan, State
from podpatterns.runtime.backoff import Backoff

FAST = Backoff(first=1.0, cap=8.0)


def test_in_order() -> None:
    """A step begins when the one before it is done, and no sooner."""
    plan = Plan(["a", "b"], 10, 0)
    assert plan.next(0) == Attempt(0, 10, first=True)
    plan.succeeded(0, 2, "did it")
    assert plan.next(2) == Attempt(1, 8, first=True)
    plan.succeeded(1, 3, None)
    assert plan.next(3) == Finished()
    assert [step.state for step in plan.steps] == [State.DONE, State.SKIPPED]
    assert [step.seconds(99) for step in plan.steps] == [2, 1]


def test_retry() -> None:
    """A passing failure is tried again after the back-off, and counted."""
    plan = Plan(["a"], 100, 0)
    plan.next(0)
    assert plan.failed(0, 1, "no", backoff=FAST, u=0.5) == 0.5
    assert plan.next(1) == Pause(0.5)
    assert plan.next(1.5) == Attempt(0, 98.5, first=False)
    assert plan.failed(0, 2, "no", backoff=FAST, u=0.5) == 1.0
    assert plan.steps[0].attempts == 2


def test_after() -> None:
    """Whoever says when to come back is not asked before."""
    plan = Plan(["a"], 100, 0)
    plan.next(0)
    assert plan.failed(0, 0, "busy", backoff=FAST, u=0.0, after=30) == 30


def test_fatal() -> None:
    """What is hopeless ends everything at once."""
    plan = Plan(["a", "b"], 100, 0)
    plan.next(0)
    assert plan.failed(0, 1, "no such thing", "check it", backoff=None, u=0.9) is None
    assert plan.next(1) == GaveUp(0, late=False)
    assert (plan.steps[0].note, plan.steps[0].remedy) == ("no such thing", "check it")
    assert not plan.finished


def test_deadline() -> None:
    """A pause never outlasts the deadline, and then the reason of the last failure stands."""
    plan = Plan(["a"], 10, 0)
    plan.next(0)
    plan.failed(0, 9, "refused", backoff=Backoff(first=100, cap=100), u=0.99)
    assert plan.next(9) == Pause(1)
    assert plan.next(10) == GaveUp(0, late=True)
    assert plan.steps[0].note == "refused"


def test_nothing_left() -> None:
    """A step for which no time is left says that the others took it."""
    plan = Plan(["a", "b"], 10, 0)
    plan.next(0)
    plan.succeeded(0, 11, "slowly")
    assert plan.next(11) == GaveUp(1, late=True)
    assert "before it" in plan.steps[1].note


@given(st.lists(st.tuples(st.sampled_from(["ok", "skip", "retry", "fatal"]), st.floats(0, 5), st.floats(0, 0.999))))
def test_always_ends(script: list[tuple[str, float, float]]) -> None:
    """Whatever steps do, the plan ends, goes back to no finished step, and no try outlasts the deadline."""
    plan, now = Plan(["a", "b", "c"], 20, 0), 0.0
    outcomes = iter(script)
    finished: list[int] = []
    for _ in range(1000):
        action = plan.next(now)
        if isinstance(action, (Finished, GaveUp)):
            break
        if isinstance(action, Pause):
            assert action.seconds > 0
            now += action.seconds
            continue
        assert action.index not in finished
        assert 0 < action.remaining <= 20 - now + 1e-9
        what, takes, u = next(outcomes, ("ok", 0.0, 0.0))
        now += takes
        if what in ("ok", "skip"):
            plan.succeeded(action.index, now, "x" if what == "ok" else None)
            finished.append(action.index)
        else:
            plan.failed(action.index, now, "no", backoff=FAST if what == "retry" else None, u=u)
    else:
        raise AssertionError("the plan does not end")
    assert plan.finished == isinstance(action, Finished) == all(step.state in FINAL for step in plan.steps)
