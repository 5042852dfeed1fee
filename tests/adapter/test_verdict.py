"""Laws of verdicts: the kubelet's thresholds, the grace of a start, and what many checks come to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.adapter.verdict import State, Verdict, overall

S, P, F = State.STARTING, State.PASSING, State.FAILING


def states(results, **thresholds):
    """The state after each result, given as `+` and `-`, one a second from second 1 on."""
    options = {"failures": 3, "successes": 1, "began": 0.0, "patient": 0.0} | thresholds
    verdict = Verdict(**options)
    found = []
    for second, result in enumerate(results, 1):
        before = verdict.state
        changed = verdict.judge(passed=result == "+", now=float(second))
        assert changed == (verdict.state is not before)
        if changed:
            assert verdict.since == second
        found.append(verdict.state)
    return found


@pytest.mark.parametrize(
    ("results", "expected", "options"),
    [
        ("+", [P], {}),
        ("---", [S, S, F], {}),
        ("+--+---", [P, P, P, P, P, P, F], {}),  # only failures in a row count
        ("---+", [S, S, F, P], {}),
        ("---+-+++", [S, S, F, F, F, F, F, P], {"successes": 3}),
        ("-", [F], {"failures": 1}),
        ("-----", [S, S, S, S, F], {"patient": 5.0}),  # nothing is blamed for starting slowly
        ("-----+", [S, S, S, S, S, P], {"patient": 60.0}),
        ("+---", [P, P, P, F], {"patient": 60.0}),  # but what has passed once can fail at once
    ],
)
def test_a_state_changes_after_so_many_results_in_a_row(results, expected, options):
    """As the kubelet counts."""
    assert states(results, **options) == expected


@given(st.text("+-", max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_no_state_without_its_results(results, failures, successes):
    """Whoever counts as failing has failed so often in a row since it passed, and the other way round."""
    for second, state in enumerate(states(results, failures=failures, successes=successes), 1):
        seen = results[:second]
        if state is P:
            assert "+" * successes in seen
            assert "-" * failures not in seen[seen.rindex("+" * successes) + successes :]
        elif state is F:
            assert "-" * failures in seen
            assert "+" * successes not in seen[seen.rindex("-" * failures) + failures :]


@pytest.mark.parametrize(
    ("critical", "others", "match", "status", "well"),
    [
        ([P, P], [], "all", "ok", True),
        ([P, F], [], "all", "failing", False),
        ([P, S], [], "all", "starting", False),
        ([F, S], [], "all", "failing", False),
        ([P, F], [], "any", "degraded", True),
        ([F, F], [], "any", "failing", False),
        ([F, S], [], "any", "starting", False),
        ([P], [F], "all", "degraded", True),
        ([P], [S], "all", "ok", True),
        ([F], [F], "all", "failing", False),
        ([], [F], "all", "degraded", True),
        ([], [P], "any", "ok", True),
    ],
)
def test_what_many_checks_come_to(critical, others, match, status, well):
    """Critical ones decide, all or any of them; the others make it degraded at most."""
    checks = [(state, True) for state in critical] + [(state, False) for state in others]
    assert overall(checks, match) == (status, well)
