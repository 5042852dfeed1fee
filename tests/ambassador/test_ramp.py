"""The ramp as a pure machine: what each pair of counts leads to, and what no sequence of them can."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podpatterns.ambassador.ramp import Ramp, RampConfig, State, ramped
from podpatterns.ambassador.verdict import Counts, Verdict, judge
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration, Share

CONFIG = RampConfig(steps=(1, 10, 100), p99=Duration("500ms"))
NONE = Counts()


def walk(ramp, *looks, start=0.0):
    """Look once for the start of each step, then with the counts since; the kinds of the moves."""
    total_new, total_old, now, kinds = NONE, NONE, start, []
    for seconds, new, old in looks:
        ramp.look(now, total_new, total_old)
        now += seconds
        total_new, total_old = total_new + new, total_old + old
        move = ramp.look(now, total_new, total_old)
        kinds.append(move and (move.kind, move.cause))
    return kinds


GOOD = (60, Counts(1000, 2, 5), Counts(9000, 20, 40))


# --- one verdict ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "old", "verdict", "cause"),
    [
        (Counts(200, 2, 2), NONE, Verdict.GOOD, ""),
        (Counts(200, 3, 0), NONE, Verdict.BAD, "success"),
        (Counts(200, 0, 3), NONE, Verdict.BAD, "p99"),
        (Counts(199, 0, 0), NONE, Verdict.FEW, "min_requests"),
        (Counts(199, 3, 0), NONE, Verdict.FEW, "min_requests"),
        (Counts(0, 0, 0), Counts(9000, 9000, 0), Verdict.FEW, "min_requests"),
        (Counts(9, 9, 9), NONE, Verdict.FEW, "min_requests"),
        (Counts(9, 0, 0, 1000), NONE, Verdict.FEW, "min_requests"),
        (Counts(0, 0, 10, 10), NONE, Verdict.BAD, "p99"),
        (Counts(200, 0, 3, 100), NONE, Verdict.GOOD, ""),
        (Counts(200, 0, 4, 100), NONE, Verdict.BAD, "p99"),
        (Counts(10, 10, 0), NONE, Verdict.BAD, "success"),
        (Counts(10, 0, 10), NONE, Verdict.BAD, "p99"),
        (Counts(199, 10, 0), NONE, Verdict.FEW, "min_requests"),
        (Counts(199, 30, 0), NONE, Verdict.BAD, "success"),
        (Counts(200, 200, 0), Counts(1000, 0, 0), Verdict.BAD, "success"),
        (Counts(200, 200, 0), Counts(1000, 1000, 0), Verdict.SHARED, "success"),
        (Counts(200, 100, 0), Counts(1000, 20, 0), Verdict.BAD, "success"),
        (Counts(200, 100, 0), Counts(1000, 500, 0), Verdict.SHARED, "success"),
        (Counts(200, 100, 0), Counts(9, 9, 0), Verdict.BAD, "success"),
        (Counts(200, 0, 100), Counts(1000, 0, 500), Verdict.SHARED, "p99"),
        (Counts(200, 100, 100), Counts(1000, 500, 0), Verdict.BAD, "p99"),
        (Counts(200, 100, 100), Counts(1000, 0, 500), Verdict.BAD, "success"),
    ],
)
def test_verdicts(new, old, verdict, cause):
    """Bad beats shared beats few; limits are inclusive; what the others suffer as well is shared."""
    finding = judge(CONFIG, new, old, due=True)
    assert (finding.verdict, finding.cause) == (verdict, cause)
    assert finding.text


@pytest.mark.parametrize("success", ["50%", "90%", "95%", "99%", "99.9%", "100%"])
@pytest.mark.parametrize("requests", [200, 1000, 3000, 7000])
def test_the_limit_itself_is_good(success, requests):
    """Exactly as many failures as allowed are good, one more is bad; whatever floats make of the percentage."""
    config = RampConfig(success=Share(success))
    allowed = round((1 - config.success) * requests)
    assert abs(allowed - (1 - config.success) * requests) < 0.5
    if math.isclose(allowed, (1 - config.success) * requests, abs_tol=1e-6):
        assert judge(config, Counts(requests, allowed), NONE, due=True).verdict is Verdict.GOOD
    assert judge(config, Counts(requests, allowed + 1), NONE, due=True).verdict is Verdict.BAD


def test_without_a_limit_slowness_is_not_judged():
    """p99: none."""
    assert judge(RampConfig(), Counts(500, 0, 500), NONE, due=True).verdict is Verdict.GOOD


def test_an_early_verdict_strikes_no_good_version():
    """A version that just meets its limit, looked at after every request of 300 steps, is never sent back early."""
    dice = random.Random(7)
    for _ in range(300):
        failures = 0
        for requests in range(1, 400):
            failures += dice.random() < 0.01
            assert judge(CONFIG, Counts(requests, failures), NONE, due=False).verdict is not Verdict.BAD


@settings(deadline=None)
@given(st.integers(10, 10_000), st.floats(0.05, 1))
def test_an_early_verdict_comes_with_the_evidence(requests, rate):
    """If so many of so many are enough, so are more of them; and far more than allowed are always enough."""
    failures = math.ceil(requests * rate)
    bad = judge(CONFIG, Counts(requests, failures), NONE, due=False).verdict is Verdict.BAD
    if bad and failures < requests:
        assert judge(CONFIG, Counts(requests, failures + 1), NONE, due=False).verdict is Verdict.BAD
    if requests >= 400:
        assert bad


# --- weights ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(0, 50)).filter(lambda others: any(others.values())),
    st.integers(0, 100),
)
def test_shares_are_exact_and_the_others_keep_their_ratios(others, percent):
    """The version gets its percentage exactly; the ratios of the others are those of their weights."""
    weights = ramped({**others, "new": 0}, "new", percent)
    assert weights["new"] * 100 == percent * sum(weights.values())
    names = sorted(others)
    for one in names:
        for other in names:
            assert weights[one] * others[other] == weights[other] * others[one]


@pytest.mark.parametrize(
    ("weights", "version", "message"),
    [
        ({"stable": 90, "test": 10}, None, "the split has none; name one, with weight 0"),
        ({"stable": 90, "test": 0, "next": 0}, None, "the split has test and next"),
        ({"stable": 90, "test": 0}, "tset", 'unknown version "tset"; did you mean "test"?'),
        ({"stable": 90, "test": 10}, "test", "test has the weight 10; write 0"),
    ],
)
def test_the_version_must_be_clear(weights, version, message):
    """It is the one with weight 0, or the one that is named, and that has weight 0."""
    with pytest.raises(InvalidField, match=message):
        RampConfig(version=version).version_of(weights)


def test_the_version():
    """By its weight, or by its name."""
    assert RampConfig().version_of({"stable": 90, "test": 0}) == "test"
    assert RampConfig(version="next").version_of({"stable": 90, "test": 0, "next": 0}) == "next"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": ()}, "at least one step"),
        ({"steps": (5, 5)}, "must rise: 5 stands behind 5"),
        ({"steps": (5, 1)}, "must rise: 1 stands behind 5"),
        ({"every": Duration("0s")}, "more than 0s"),
        ({"p99": Duration("0s")}, "more than 0s"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields, message):
    """Steps that do not rise, times that are none."""
    with pytest.raises(InvalidField, match=message):
        RampConfig(**fields)


# --- the way ----------------------------------------------------------------------------------------------------------


def test_a_good_version_goes_all_the_way():
    """Each step is watched for its time, the last one too; then it is done, and stays."""
    ramp = Ramp(CONFIG)
    assert ramp.percent == 1
    assert walk(ramp, GOOD, GOOD, GOOD, GOOD) == [("up", ""), ("up", ""), ("done", ""), None]
    assert (ramp.state, ramp.percent) == (State.DONE, 100)


def test_a_step_is_not_cut_short():
    """However many good requests there are, the step lasts as long as it is to."""
    ramp = Ramp(CONFIG)
    assert walk(ramp, (59.9, Counts(10_000), NONE), (0.2, Counts(1), NONE)) == [None, ("up", "")]


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize(("bad", "cause"), [(Counts(1000, 300, 0), "success"), (Counts(1000, 0, 300), "p99")])
def test_a_regression_goes_back_to_nothing(steps, bad, cause):
    """On whichever step it shows, and before the step is over; the reason has the numbers, and nothing follows."""
    ramp = Ramp(CONFIG)
    walk(ramp, *[GOOD] * steps)
    assert walk(ramp, (5, bad, Counts(1000)), GOOD, start=1000.0) == [("back", cause), None]
    assert (ramp.state, ramp.percent) == (State.ROLLED_BACK, 0)
    assert "of 1000 requests" in ramp.reason


def test_too_few_requests_hold_and_add_up():
    """A quiet service stays on its step until its requests are enough; that it waits is said once."""
    ramp = Ramp(CONFIG)
    moves = walk(ramp, *[(60, Counts(60), Counts(600))] * 4)
    assert moves == [("held", "min_requests"), None, None, ("up", "")]
    assert "200 are needed" not in ramp.reason


def test_trouble_of_all_holds_and_measures_anew():
    """What all versions suffer sends none back; when it is over, the step starts from the beginning."""
    ramp = Ramp(CONFIG)
    trouble = (60, Counts(1000, 900), Counts(1000, 900))
    assert walk(ramp, trouble, trouble, GOOD) == [("held", "shared_success")] * 2 + [("up", "")]


@pytest.mark.parametrize(
    ("looks", "back"),
    [
        ([(0, 0, False), (59, 0, False), (60, 0, False)], True),
        ([(0, 0, False), (30, 0, True), (59, 0, True), (61, 0, False)], True),
        ([(0, 0, False), (30, 1, True), (59, 1, True), (61, 1, False)], False),
        ([(0, 0, False), (30, 0, True), (90, 0, True)], False),
        ([(0, 0, False), (30, 1, False), (61, 1, False), (90, 1, False)], True),
        ([(0, 0, False), (30, 250, True), (61, 250, False), (100, 250, False)], False),
    ],
)
def test_a_version_that_cannot_be_reached(looks, back):
    """It gets no requests that could fail; after a step's time without an answer it goes back. That it is about to be
    tried again is no answer; and while it cannot be reached it does not move up."""
    ramp = Ramp(CONFIG)
    ramp.look(0.0, NONE, NONE)
    moves = [ramp.look(now, Counts(answers), NONE, reachable=reachable) for now, answers, reachable in looks]
    assert ramp.percent == (0 if back else 1)
    if back:
        assert (moves[-1].kind, moves[-1].cause) == ("back", "unreachable")


def test_counts_of_before_do_not_count():
    """What a version did before the step, however bad, is no part of the judgement."""
    ramp = Ramp(CONFIG)
    past = Counts(1000, 1000, 1000)
    start = ramp.look(0.0, past, past)
    assert (start.kind, start.text.split(";")[0]) == ("start", "starts with 1 %, then 10, 100 %")
    assert ramp.look(60.0, past + Counts(500), past).kind == "up"


# --- people -----------------------------------------------------------------------------------------------------------


def test_pause_and_resume():
    """A paused ramp keeps its share and judges nothing; resumed, it watches its step from the beginning."""
    ramp = Ramp(CONFIG)
    walk(ramp, GOOD)
    assert ramp.ask("pause").cause == "asked"
    assert walk(ramp, (60, Counts(1000, 1000), NONE), start=100.0) == [None]
    assert (ramp.state, ramp.percent) == (State.PAUSED, 10)
    ramp.ask("resume")
    assert (ramp.seen, ramp.watched) == (NONE, 0.0)
    assert walk(ramp, (59, Counts(1000), NONE), (2, NONE, NONE), start=1000.0) == [None, ("up", "")]


@pytest.mark.parametrize(
    ("action", "state", "percent"),
    [("abort", State.ROLLED_BACK, 0), ("promote", State.DONE, 100), ("pause", State.PAUSED, 1)],
)
def test_what_a_person_asks_for(action, state, percent):
    """abort takes the version out, promote gives it the last step's share; restart begins again."""
    ramp = Ramp(CONFIG)
    ramp.ask(action)
    assert (ramp.state, ramp.percent) == (state, percent)
    ramp.ask("restart")
    assert (ramp.state, ramp.percent, ramp.step) == (State.RAMPING, 1, 0)


def test_what_cannot_be_asked_for_now():
    """Says what can."""
    ramp = Ramp(CONFIG)
    with pytest.raises(ValueError, match="cannot resume a ramp that is ramping; possible now: pause, abort, promote"):
        ramp.ask("resume")
    ramp.ask("abort")
    with pytest.raises(ValueError, match="cannot pause a ramp that is rolled_back; possible now: restart"):
        ramp.ask("pause")


def test_weights_set_by_hand_end_the_ramp():
    """It has no share of its own any more, and moves no more."""
    ramp = Ramp(CONFIG)
    ramp.overruled()
    assert (ramp.state, ramp.percent) == (State.BY_HAND, None)
    assert walk(ramp, GOOD, (60, Counts(1000, 1000), NONE)) == [None, None]


COUNTS = st.integers(0, 500).flatmap(lambda n: st.builds(Counts, st.just(n), st.integers(0, n), st.integers(0, n)))


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.floats(0, 100), COUNTS, COUNTS, st.booleans()),
            st.sampled_from(["pause", "resume", "abort", "promote", "restart"]),
        ),
        max_size=40,
    )
)
def test_whatever_happens(happenings):
    """The share is one of the steps or 0; it rises only by one step, after its time and with enough requests that
    succeeded, or because a person asked; it falls only to nothing, or because a person asked."""
    ramp = Ramp(CONFIG)
    now, new, old, entered, at_entry = 0.0, NONE, NONE, 0.0, NONE
    ramp.look(now, new, old)
    for each in happenings:
        before, state = ramp.percent, ramp.state
        if isinstance(each, str):
            try:
                ramp.ask(each)
            except ValueError:
                assert (ramp.percent, ramp.state) == (before, state)
                continue
            ramp.look(now, new, old)
        else:
            seconds, more, others, reachable = each
            now, new, old = now + seconds, new + more, old + others
            move = ramp.look(now, new, old, reachable=reachable)
            if ramp.percent == before:
                assert move is None or move.kind in ("held", "done")
                if move is None or move.kind != "held":
                    continue
            elif ramp.percent:
                assert CONFIG.steps.index(ramp.percent) == CONFIG.steps.index(before) + 1
                assert now - entered >= CONFIG.every
                assert (new - at_entry).requests >= CONFIG.min_requests
                assert (new - at_entry).failures <= (new - at_entry).requests
            else:
                assert (move.kind, ramp.state) == ("back", State.ROLLED_BACK)
            ramp.look(now, new, old)
        assert ramp.percent in (0, *CONFIG.steps)
        entered, at_entry = now, new
