"""What the kubelet's own end-to-end tests assert, in virtual time."""

import dataclasses
import itertools

import pytest

from podpatterns.pod.lifecycle import Pod, PodPhase
from podpatterns.pod.manifest import of
from podpatterns.pod.member import Stage
from podpatterns.pod.tries import Tries
from podpatterns.pod.waiting import why

HOOK = {"exec": {"command": ["true"]}}
EXEC = {"exec": {"command": ["true"]}, "periodSeconds": 1}
PRE_STOP = {"lifecycle": {"preStop": HOOK}}
POST_START = {"lifecycle": {"postStart": HOOK}}


# --- start --------------------------------------------------------------------------------------------------------


@pytest.mark.holds("inits in sequence")
def test_three_inits_run_strictly_in_sequence_before_the_main_container(play):
    """Each init has exited before the next one starts, and all of them before main."""
    names = ["init1", "init2", "init3"]
    pod = play([play.container(n) for n in names], script={n: [(1, 0)] for n in names}).until(10)
    assert pod.story == [x for n in names for x in (f"{n} starts", f"{n} ends 0")] + ["main starts"]
    assert pod.times["main starts"] == 3


@pytest.mark.holds("failed init")
def test_an_init_that_fails_under_never_keeps_main_from_starting(play):
    """The pod is Failed, with one attempt."""
    pod = play([play.container("init")], script={"init": [(1, 1)]}, restartPolicy="Never").until(100)
    assert pod.story == ["init starts", "init ends 1"]
    assert pod.pod.phase is PodPhase.FAILED


@pytest.mark.holds("failed init, again")
@pytest.mark.parametrize("policy", ["Always", "OnFailure"])
def test_an_init_that_fails_is_tried_again_while_the_pod_is_pending(play, policy):
    """At once, then after 10 s, 20 s."""
    pod = play([play.container("init")], script={"init": [(0, 1)] * 3 + [(0, 0)]}, restartPolicy=policy)
    assert pod.until(29).pod.phase is PodPhase.PENDING
    assert pod.until(31).pod.phase is PodPhase.RUNNING
    assert pod.starts("init") == 4
    assert pod.times["main starts"] == 30


@pytest.mark.holds("init before postStart")
def test_init_is_done_before_post_start_of_main(play):
    """The hook runs after the init's end."""
    pod = play([play.container("init")], [play.container("main", **POST_START)], script={"init": [(1, 0)]}).until(5)
    assert pod.story.index("init ends 0") < pod.story.index("main postStart")


@pytest.mark.holds("postStart blocks")
def test_the_second_container_waits_for_post_start_of_the_first(play):
    """postStart blocks the launch of the next container."""
    mains = [play.container("first", **POST_START), play.container("second")]
    pod = play((), mains, hooks={("first", "postStart"): (7, True)}).until(20)
    assert pod.times["second starts"] == 7


@pytest.mark.holds("postStart fails")
def test_post_start_that_fails_kills_the_container(play):
    """It is stopped and restarted by the policy."""
    pod = play((), [play.container("main", **POST_START)], hooks={("main", "postStart"): (0, False)}).until(5)
    assert pod.story[:4] == ["main starts", "main postStart", "main SIGTERM", "main ends 143"]
    assert pod.starts("main") == 2


@pytest.mark.holds("inits run once")
def test_inits_are_not_run_again_when_a_main_container_restarts(play):
    """A completed init stays completed."""
    pod = play([play.container("init")], script={"init": [(0, 0)], "main": [(1, 1), (1, 1)]}).until(100)
    assert pod.starts("init") == 1
    assert pod.starts("main") == 3


@pytest.mark.holds("interleaving")
def test_inits_and_sidecars_interleave_as_listed(play):
    """init1, sidecar1, init2, sidecar2, init3, main; both sidecars overlap main."""
    inits = [
        play.container("init1"), play.sidecar("side1"), play.container("init2"), play.sidecar("side2"),
        play.container("init3"),
    ]  # fmt: skip
    pod = play(inits, script={f"init{n}": [(1, 0)] for n in (1, 2, 3)}).until(10)
    assert [line.removesuffix(" starts") for line in pod.story if line.endswith("starts")] == [
        "init1", "side1", "init2", "side2", "init3", "main",
    ]  # fmt: skip
    assert all(pod.pod.members[name].stage is Stage.RUNNING for name in ("side1", "side2", "main"))


@pytest.mark.holds("failed init before a sidecar")
def test_a_sidecar_after_a_failing_init_never_starts(play):
    """Under Never the pod fails before it."""
    pod = play([play.container("init"), play.sidecar("side")], script={"init": [(0, 1)]}, restartPolicy="Never").until(
        50
    )
    assert pod.starts("side") == 0
    assert pod.pod.phase is PodPhase.FAILED


@pytest.mark.holds("sidecar is started")
def test_a_sidecar_holds_back_the_next_container_until_its_startup_probe_passes(play):
    """Started is not enough where there is a startupProbe."""
    probes = {("side", "startup"): lambda now: now >= 4}
    pod = play([play.sidecar("side", startupProbe={**EXEC, "failureThreshold": 9})], probes=probes).until(3)
    assert "waits for side" in why(pod.pod, "main", pod.now)
    assert pod.until(10).times["main starts"] == 4


@pytest.mark.holds("sidecar startup fails")
def test_a_sidecar_whose_startup_fails_is_stopped_and_restarted_and_main_never_starts(play):
    """preStop, SIGTERM, restart; the pod stays Pending."""
    side = play.sidecar("side", startupProbe={**EXEC, "failureThreshold": 2}, **PRE_STOP)
    pod = play([side], probes={("side", "startup"): False}).until(15)
    assert pod.story[:5] == ["side starts", "side preStop", "side SIGTERM", "side ends 143", "side starts"]
    assert pod.pod.phase is PodPhase.PENDING
    assert pod.starts("main") == 0


# --- restarts -----------------------------------------------------------------------------------------------------


@pytest.mark.holds("sidecar loops")
@pytest.mark.parametrize("code", [0, 1])
def test_a_sidecar_that_ends_is_restarted_before_and_after_main_starts_and_the_pod_succeeds(play, code):
    """Under every policy, after every exit code."""
    script = {"side": [(1, code)] * 9, "init": [(5, 0)], "main": [(60, 0)]}
    pod = play([play.sidecar("side"), play.container("init")], script=script, restartPolicy="Never").to_the_end()
    before = pod.story[: pod.story.index("main starts")]
    assert before.count("side starts") >= 2
    assert pod.starts("side") > before.count("side starts")
    assert pod.pod.phase is PodPhase.SUCCEEDED


@pytest.mark.holds("back-off")
def test_back_off_doubles_up_to_five_minutes_and_begins_anew_after_ten(play):
    """0, 10, 20, 40, 80, 160, 300, 300 s; after a run of more than ten minutes again 0."""
    pod = play(script={"main": [(0, 1)] * 8 + [(601, 1), (0, 1)]})
    starts, last = [], 0
    for second in range(2500):
        pod.until(second)
        if pod.starts("main") > last:
            starts.append(second)
            last = pod.starts("main")
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    assert gaps[:7] == [10, 20, 40, 80, 160, 300, 300]
    assert gaps[7] == 601


@pytest.mark.holds("restart policies")
@pytest.mark.parametrize(
    ("policy", "restarts", "phase"),
    [("Always", 2, PodPhase.RUNNING), ("OnFailure", 1, PodPhase.SUCCEEDED), ("Never", 0, PodPhase.FAILED)],
)
def test_a_script_that_exits_1_then_0_then_runs(play, policy, restarts, phase):
    """Restarts and phase by restart policy."""
    pod = play(script={"main": [(1, 1), (1, 0)]}, restartPolicy=policy).until(100)
    assert pod.pod.members["main"].restarts == restarts
    assert pod.pod.phase is phase


@pytest.mark.holds("container restart policy")
@pytest.mark.parametrize(
    ("pod", "own", "code", "again"),
    [
        ("Always", "Never", 1, False),
        ("Never", "Always", 0, True),
        ("Never", "OnFailure", 0, False),
        ("Never", "OnFailure", 1, True),
    ],
)
def test_a_containers_own_restart_policy_beats_the_pods(play, pod, own, code, again):
    """For a main container, as for an init container."""
    simulation = play((), [play.container("main", restartPolicy=own), play.container("other")],
                      script={"main": [(1, code)]}, restartPolicy=pod).until(5)  # fmt: skip
    assert (simulation.starts("main") == 2) is again
    init = play.container("init", restartPolicy="Never")
    simulation = play([init], script={"init": [(1, 1)]}, restartPolicy=pod).until(5)
    assert simulation.pod.phase is PodPhase.FAILED


@pytest.mark.holds("container restart policy")
@pytest.mark.parametrize(("operator", "starts"), [("In", [1, 2]), ("NotIn", [2, 1])])
def test_restart_rules_are_looked_at_before_the_policy(play, operator, starts):
    """By the exit code; what no rule is about follows the container's policy."""
    rule = {"action": "Restart", "exitCodes": {"operator": operator, "values": [42, 43]}}
    mains = [play.container(name, restartPolicy="Never", restartPolicyRules=[rule]) for name in ("a", "b")]
    simulation = play((), [*mains, play.container("c")], script={"a": [(1, 1)], "b": [(1, 42)]}).until(5)
    assert [simulation.starts("a"), simulation.starts("b")] == starts


# --- probes -------------------------------------------------------------------------------------------------------


@pytest.mark.holds("startup probe first")
def test_the_startup_probe_holds_back_the_other_two(play):
    """Liveness would fail from the beginning, but is not asked before startup has passed."""
    probes = {("main", "startup"): lambda now: now >= 5, ("main", "liveness"): lambda now: now >= 5}
    main = play.container(
        "main",
        startupProbe={**EXEC, "failureThreshold": 9},
        livenessProbe={**EXEC, "failureThreshold": 1},
        readinessProbe=EXEC,
    )
    pod = play((), [main], probes=probes).until(4)
    assert not pod.pod.ready
    assert pod.until(8).pod.ready
    assert pod.starts("main") == 1


@pytest.mark.holds("preStop when a probe fails")
@pytest.mark.parametrize("kind", ["startup", "liveness"])
def test_pre_stop_is_called_when_a_probe_stops_the_container(play, kind):
    """preStop, then SIGTERM, then a restart."""
    main = play.container("main", **{f"{kind}Probe": {**EXEC, "failureThreshold": 3}}, **PRE_STOP)
    pod = play((), [main], probes={("main", kind): False}).until(2.5)
    assert pod.story == ["main starts", "main preStop", "main SIGTERM", "main ends 143", "main starts"]
    assert pod.times["main preStop"] == 2


@pytest.mark.holds("no preStop after an exit")
def test_pre_stop_is_not_called_when_the_container_ends_by_itself(play):
    """There is nothing left to run it in."""
    pod = play((), [play.container("main", **PRE_STOP)], script={"main": [(1, 0)]}, restartPolicy="Never").to_the_end()
    assert pod.story == ["main starts", "main ends 0"]


@pytest.mark.holds("readiness")
def test_readiness_is_lost_and_won_without_a_restart(play):
    """Readiness only tells."""
    probes = {("main", "readiness"): lambda now: now < 3 or now >= 8}
    pod = play((), [play.container("main", readinessProbe={**EXEC, "failureThreshold": 1})], probes=probes)
    assert [pod.until(t).pod.ready for t in (1, 4, 9)] == [True, False, True]
    assert pod.starts("main") == 1


# --- the end ------------------------------------------------------------------------------------------------------


@pytest.mark.holds("reverse order")
def test_sidecars_end_in_reverse_order_after_all_main_containers(play):
    """main first, then side3, side2, side1."""
    names = ["side1", "side2", "side3"]
    pod = play([play.sidecar(n) for n in names], ending={"main": (3, 0)}).until(5).delete().to_the_end()
    assert [line for line in pod.story if "SIGTERM" in line] == [
        f"{n} SIGTERM" for n in ("main", "side3", "side2", "side1")
    ]
    assert pod.times["side3 SIGTERM"] == 8


@pytest.mark.holds("grace")
def test_grace_is_respected_even_with_an_endless_pre_stop(play):
    """preStop counts against the one grace; then SIGTERM, and SIGKILL two seconds later."""
    pod = play(
        (), [play.container("main", **PRE_STOP)], hooks={("main", "preStop"): (None, True)}, ending={"main": (99, 0)},
        terminationGracePeriodSeconds=10,
    )  # fmt: skip
    pod.until(5).delete().to_the_end()
    assert pod.times["main SIGTERM"] == 15
    assert pod.times["main ends 137"] == 17


@pytest.mark.holds("endless preStops")
def test_three_endless_pre_stops_end_together_at_grace_and_two_seconds(play):
    """The grace is shared: main and both sidecars are killed at the same time with 137."""
    names = ["side1", "side2", "main"]
    pod = play(
        [play.sidecar(n, **PRE_STOP) for n in names[:2]], [play.container("main", **PRE_STOP)],
        hooks={(n, "preStop"): (None, True) for n in names}, ending=dict.fromkeys(names, (99, 0)),
        terminationGracePeriodSeconds=5,
    )  # fmt: skip
    pod.until(1).delete().to_the_end()
    assert {pod.times[f"{n} ends 137"] for n in names} == {8}


@pytest.mark.holds("deleted during init")
def test_a_pod_deleted_during_init_with_grace_3_is_gone_in_under_6_seconds(play):
    """The init gets SIGTERM and SIGKILL; main never starts."""
    pod = play([play.container("init")], ending={"init": (99, 0)}).until(1).delete(3).to_the_end()
    assert pod.times["init ends 137"] - 1 < 6
    assert pod.starts("main") == 0


@pytest.mark.holds("sidecar ends badly")
@pytest.mark.parametrize("ending", [(0, 1), (999, 0)], ids=["exits-1", "overruns-its-grace"])
def test_a_sidecar_that_ends_badly_does_not_spoil_the_pod(play, ending):
    """Sidecars' exit codes never count: the pod has Succeeded."""
    pod = play(
        [play.sidecar("side")], script={"main": [(5, 0)]}, ending={"side": ending}, restartPolicy="Never"
    ).to_the_end()
    assert pod.pod.phase is PodPhase.SUCCEEDED


@pytest.mark.holds("main overruns its grace")
def test_a_main_container_that_overruns_its_grace_fails_the_pod(play):
    """137 is not 0."""
    pod = play(ending={"main": (999, 0)}, restartPolicy="Never").until(1).delete(1).to_the_end()
    assert pod.pod.phase is PodPhase.FAILED
    assert pod.pod.members["main"].overran


LIVE = {"livenessProbe": {**EXEC, "failureThreshold": 1}}


def test_a_pod_deleted_while_a_probe_stops_a_container_counts_it_as_asked(play):
    """SIGTERM had come for another reason; from the deletion on, its end is what was wanted."""
    pod = play((), [play.container("main", **LIVE)], probes={("main", "liveness"): False}, ending={"main": (5, 143)})
    pod.until(1).delete().to_the_end()
    assert pod.pod.members["main"].asked
    assert pod.story.count("main SIGTERM") == 1


@pytest.mark.parametrize(("deleted", "killed"), [(10, 13), (0, 3), (29, 30)])
def test_a_deletion_shortens_the_grace_that_a_probe_had_given(play, deleted, killed):
    """SIGKILL comes when the shared grace is over: never later than it was due, at least two seconds after SIGTERM."""
    pod = play(
        (), [play.container("main", **LIVE)], probes={("main", "liveness"): False}, ending={"main": (999, 0)},
        terminationGracePeriodSeconds=30,
    )  # fmt: skip
    pod.until(deleted).delete(3).to_the_end()
    assert pod.times["main SIGTERM"] == 0
    assert pod.times["main SIGKILL"] == killed


@pytest.mark.holds("probes at the end")
def test_readiness_is_asked_during_pre_stop_and_liveness_is_not(play):
    """While the pod ends, and while a probe has a container stopped."""
    main = play.container("main", readinessProbe=EXEC, livenessProbe=EXEC, **PRE_STOP)
    asked = {"readiness": [], "liveness": []}
    probes = {("main", kind): lambda now, times=times: times.append(now) or True for kind, times in asked.items()}
    play((), [main], probes=probes, hooks={("main", "preStop"): (8, True)}).until(5.5).delete().to_the_end()
    assert max(asked["readiness"]) > 10
    assert max(asked["liveness"]) <= 5.5


@pytest.mark.holds("no restart at the end")
def test_nothing_is_started_again_while_the_pod_ends(play):
    """Not a sidecar that ends while main is in preStop, not a main container that was in back-off."""
    pod = play(
        [play.sidecar("side")], [play.container("main", **PRE_STOP), play.container("crash")],
        script={"side": [(8, 1)], "crash": [(0, 1), (0, 1)]}, hooks={("main", "preStop"): (20, True)},
    ).until(5)  # fmt: skip
    starts = {name: pod.starts(name) for name in pod.pod.members}
    pod.delete().to_the_end()
    assert {name: pod.starts(name) for name in pod.pod.members} == starts


LATER = {**EXEC, "failureThreshold": 1, "initialDelaySeconds": 1}


@pytest.mark.holds("liveness")
@pytest.mark.parametrize(("policy", "starts"), [("Always", 2), ("OnFailure", 2), ("Never", 1)])
def test_a_container_that_liveness_has_stopped_is_started_again_unless_never(play, policy, starts):
    """Also under OnFailure, and also if it exits with 0."""
    main = play.container("main", livenessProbe=LATER)
    probes = {("main", "liveness"): lambda now: now >= 2}
    pod = play((), [main], probes=probes, ending={"main": (0, 0)}, restartPolicy=policy).until(5)
    assert pod.starts("main") == starts


@pytest.mark.holds("liveness")
def test_a_sidecar_that_liveness_has_stopped_is_started_again_alone(play):
    """Main goes on; the init before it is not run again."""
    side = play.sidecar("side", livenessProbe=LATER)
    probes = {("side", "liveness"): lambda now: now >= 2}
    pod = play([play.container("init"), side], script={"init": [(0, 0)]}, probes=probes).until(20)
    assert [pod.starts(name) for name in ("init", "side", "main")] == [1, 2, 1]


# --- jobs ---------------------------------------------------------------------------------------------------------


def job(**spec):
    containers = [{"name": "main", "command": ["true"]}]
    side = {"name": "side", "command": ["true"], "restartPolicy": "Always"}
    template = {"spec": {"containers": containers, "initContainers": [side], "restartPolicy": "OnFailure"}}
    head = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}}
    return of({**head, "spec": {"template": template, **spec}}).pods[0]


@pytest.mark.holds("Job completes")
def test_a_job_is_complete_when_its_main_containers_are_and_its_sidecars_are_ended(play):
    """A sidecar that would run for ever does not keep it, and its exit code does not count."""
    pod = play.of(job(), script={"main": [(5, 0)]}, ending={"side": (1, 1)}).to_the_end()
    assert pod.story[-3:] == ["main ends 0", "side SIGTERM", "side ends 1"]
    assert pod.pod.phase is PodPhase.SUCCEEDED


@pytest.mark.holds("Job backoffLimit")
@pytest.mark.parametrize(("limit", "starts"), [(0, 1), (1, 2), (3, 4)])
def test_a_job_fails_when_its_restarts_are_used_up(play, limit, starts):
    """backoffLimit counts restarts; sidecars' restarts do not count."""
    script = {"main": [(1, 1)] * 9, "side": [(1, 1)] * 9}
    pod = play.of(job(backoffLimit=limit), script=script).to_the_end()
    assert pod.starts("main") == starts
    assert pod.pod.failure == f"BackoffLimitExceeded: restarted {limit} times"
    assert pod.pod.phase is PodPhase.FAILED


@pytest.mark.holds("Job deadline")
def test_a_job_that_is_active_for_too_long_fails(play):
    """activeDeadlineSeconds, back-off included; main first, then the sidecar, within the grace."""
    pod = play.of(job(activeDeadlineSeconds=20)).to_the_end()
    assert pod.times["main SIGTERM"] == 20
    assert pod.pod.failure == "DeadlineExceeded: active for longer than 20 s"
    assert pod.pod.phase is PodPhase.FAILED


def ended(phase, failure=None):
    pod = Pod(job())
    pod.phase, pod.failure = phase, failure
    return pod


GOOD, BAD = ended(PodPhase.SUCCEEDED), ended(PodPhase.FAILED)


@pytest.mark.holds("Job tries")
@pytest.mark.parametrize(
    ("spec", "pods", "pauses"),
    [
        ({"backoffLimit": 0}, [BAD], [None]),
        ({"backoffLimit": 3}, [BAD, BAD, BAD, BAD], [10, 20, 40, None]),
        ({}, [BAD] * 7, [10, 20, 40, 80, 160, 320, None]),
        ({"backoffLimit": 20}, [BAD] * 8, [10, 20, 40, 80, 160, 320, 600, 600]),
        ({"backoffLimit": 3}, [BAD, GOOD], [10, None]),
        ({"completions": 3}, [GOOD, GOOD, GOOD], [0, 0, None]),
        ({"completions": 2, "backoffLimit": 2}, [BAD, GOOD, BAD, GOOD], [10, 0, 10, None]),
        ({"backoffLimit": 3}, [ended(PodPhase.FAILED, "DeadlineExceeded: active for longer than 5 s")], [None]),
    ],
)
def test_a_job_replaces_pods_that_have_failed(spec, pods, pauses):
    """After 10 s, doubled while they fail in a row; until completions have succeeded or more than the limit failed."""
    tries = Tries(dataclasses.replace(job(**spec), restart_policy="Never"))
    said = [tries.ended(pod) for pod in pods]
    assert [None if each is None else each[0] for each in said] == pauses


@pytest.mark.holds("Job tries")
def test_with_on_failure_containers_are_restarted_and_pods_are_not_replaced():
    """The restarts have used the limit up already."""
    assert Tries(job()).ended(BAD) is None
