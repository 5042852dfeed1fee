"""A pod's status as Kubernetes writes it, and why its containers wait, in virtual time."""

import json
from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from podpatterns.pod.lint.schema import versions
from podpatterns.pod.manifest import of
from podpatterns.pod.status import Conditions, qos_class, report
from podpatterns.pod.waiting import explain, why

HOOK = {"exec": {"command": ["true"]}}
EXEC = {**HOOK, "periodSeconds": 1}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def clock(at):
    return NOON + timedelta(seconds=at)


@pytest.fixture(scope="module")
def validate():
    """Raises for a document that is not what the API server publishes."""
    folder = resources.files("kubernetes_validate").joinpath(f"kubernetes-json-schema/v{versions()[-1]}.0-local-strict")
    schema = json.loads(folder.joinpath("pod-v1.json").read_text())
    definitions = Resource.from_contents(json.loads(folder.joinpath("_definitions.json").read_text()))
    registry = Resource.from_contents(schema) @ (definitions @ Registry())
    return Draft202012Validator(schema, registry=registry).validate


@pytest.fixture
def status():
    """`status(simulation, until)`: the status after it has played up to there, its conditions observed on the way."""
    conditions = Conditions()

    def status(simulation, until=None):
        while until is not None and simulation.now < until:
            simulation.until(simulation.now + 1)
            conditions.observe(simulation.pod, simulation.now)
        document = report(simulation.pod, conditions, clock, started_at=0, pids={"main": 42})
        return document["status"]

    return status


@pytest.mark.holds("PodStatus")
def test_it_fits_the_published_schema_at_every_second_of_a_life(play, validate):
    """From the first init to the end, with restarts, back-off, failing probes and a missing volume on the way."""
    simulation = play(
        [play.container("init"), play.sidecar("side", startupProbe={**EXEC, "failureThreshold": 9})],
        [play.container("main", readinessProbe=EXEC, image="busybox"), play.container("other")],
        script={"init": [(2, 1), (2, 0)], "main": [(5, 1), (5, 1)], "other": [(3, 0)]},
        probes={("side", "startup"): lambda now: now > 6}, ending={"main": (5, 0)},
    )  # fmt: skip
    conditions, seen = Conditions(), set()
    for second in range(60):
        simulation.until(second)
        if second == 50:
            simulation.delete()
        conditions.observe(simulation.pod, simulation.now)
        document = report(simulation.pod, conditions, clock, started_at=0, pids={})
        validate(json.loads(json.dumps(document)))
        for each in document["status"]["initContainerStatuses"] + document["status"]["containerStatuses"]:
            (state,) = each["state"] or ("none",)
            seen.add((state, each["state"].get(state, {}).get("reason")))
    assert {
        ("waiting", "PodInitializing"), ("waiting", "CrashLoopBackOff"), ("running", None),
        ("terminated", "Completed"), ("terminated", "Error"),
    } <= seen  # fmt: skip


@pytest.mark.holds("PodStatus")
def test_conditions_say_since_when_and_why_not(play, status):
    """Initialized names the inits that are not through; Ready and ContainersReady the containers that are not ready."""
    simulation = play([play.container("init")], script={"init": [(5, 0)], "main": [(10, 1)]}, restartPolicy="Never")
    before = {each["type"]: each for each in status(simulation, 2)["conditions"]}
    assert before["Initialized"]["status"] == "False"
    assert before["Initialized"]["reason"] == "ContainersNotInitialized"
    assert before["Initialized"]["message"] == "containers with incomplete status: [init]"
    assert before["Ready"]["message"] == "containers with unready status: [main]"
    after = {each["type"]: each for each in status(simulation, 7)["conditions"]}
    assert [after[name]["status"] for name in ("Initialized", "Ready", "ContainersReady")] == ["True"] * 3
    assert after["Ready"]["lastTransitionTime"] == "2026-01-01T12:00:05Z"
    assert "reason" not in after["Ready"]
    end = {each["type"]: each for each in status(simulation, 20)["conditions"]}
    assert (end["Ready"]["status"], end["Ready"]["reason"]) == ("False", "PodFailed")


def test_a_pod_that_has_succeeded_is_completed(play, status):
    """Reason PodCompleted, with kubectl's Initialized still true."""
    found = status(play(script={"main": [(2, 0)]}, restartPolicy="Never"), 5)
    said = {each["type"]: (each["status"], each.get("reason")) for each in found["conditions"]}
    assert found["phase"] == "Succeeded"
    assert (said["Initialized"], said["Ready"]) == (("True", "PodCompleted"), ("False", "PodCompleted"))


@pytest.mark.holds("PodStatus")
def test_states_of_a_container_that_crashes(play, status):
    """Running with the last end beside it; in back-off waiting; its message is the termination message."""
    simulation = play(script={"main": [(3, 1), (3, 2)]})
    (main,) = status(simulation, 4)["containerStatuses"]
    assert main["state"] == {"running": {"startedAt": "2026-01-01T12:00:03Z"}}
    assert main["lastState"]["terminated"]["exitCode"] == 1
    assert (main["started"], main["restartCount"], main["containerID"]) == (True, 1, "process://42")
    (main,) = status(simulation, 8)["containerStatuses"]
    assert main["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert main["lastState"]["terminated"] == {
        "exitCode": 2, "reason": "Error", "startedAt": "2026-01-01T12:00:03Z", "finishedAt": "2026-01-01T12:00:06Z",
    }  # fmt: skip
    assert not main["started"]


@pytest.mark.holds("missing ConfigMap")
def test_what_cannot_be_created_waits_with_its_reason_and_is_no_restart(play, status):
    """A missing ConfigMap: CreateContainerConfigError, looked for every ten seconds, restartCount 0."""
    simulation = play(missing={"main": 3}).until(26)
    (main,) = status(simulation)["containerStatuses"]
    assert main["state"] == {"waiting": {"reason": "CreateContainerConfigError", "message": "there is no ConfigMap"}}
    assert main["restartCount"] == 0
    assert why(simulation.pod, "main", 26) == "there is no ConfigMap; looked at again in 4 s"
    (main,) = status(simulation.until(31))["containerStatuses"]
    assert (list(main["state"]), main["restartCount"], main["lastState"]) == (["running"], 0, {})


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
    ],
)
def test_qos_class(resources, expected):
    """Guaranteed: each container has limits of cpu and memory, and requests no less."""
    containers = [{"name": f"c{n}", "command": ["x"], "resources": each} for n, each in enumerate(resources)]
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}}
    assert qos_class(of(document).pods[0]) == expected


# --- why a container waits ----------------------------------------------------------------------------------------


def reasons(simulation):
    return {said.container: said.why for said in explain(simulation.pod, simulation.now)}


def test_who_waits_for_an_init_container(play):
    """That runs, that fails, that has not started."""
    simulation = play([play.container("one"), play.container("two")], script={"one": [(2, 1), (2, 1), (5, 0)]}).until(1)
    assert reasons(simulation) == {
        "one": "it has been running for 1 s, and has not completed; what comes after it waits",
        "two": "waits for one, which has not completed (it has been running for 1 s)",
        "main": "waits for one, which has not completed (it has been running for 1 s)",
    }
    assert reasons(simulation.until(6))["main"] == (
        "waits for one, which ended with exit code 1 and is started again in 8 s"
    )


def test_who_waits_for_a_post_start(play):
    """Nothing else of the pod is started until it returns."""
    mains = [play.container("first", lifecycle={"postStart": HOOK}), play.container("second")]
    found = reasons(play((), mains, hooks={("first", "postStart"): (7, True)}).until(3))
    assert found["first"] == "its postStart has not returned for 3 s; until then nothing else of the pod is started"
    assert found["second"] == "waits for first, whose postStart has not returned for 3 s"


def test_who_waits_for_a_sidecars_startup_probe(play):
    """What the probe has said, and how often it may still."""
    side = play.sidecar("side", startupProbe={**EXEC, "failureThreshold": 30})
    found = reasons(play([side], probes={("side", "startup"): False}).until(4.5))
    assert found["side"] == "its startup probe has not passed: said so (5 of 30 failed)"
    assert found["main"] == "waits for side, whose startup probe has not passed: said so (5 of 30 failed)"
    mains = [play.container("main", readinessProbe={**EXEC, "failureThreshold": 3})]
    found = reasons(play((), mains, probes={("main", "readiness"): False}).until(9.5))
    assert found["main"] == "its readiness probe has not passed: said so (failed 10 times in a row)"


def test_who_is_in_back_off_or_not_ready(play):
    """Until when; and a probe that has not been asked yet."""
    probe = {**EXEC, "initialDelaySeconds": 20}
    mains = [play.container("crash"), play.container("late", readinessProbe=probe)]
    found = reasons(play((), mains, script={"crash": [(0, 3), (0, 3)]}).until(3))
    assert found["crash"] == "ended with exit code 3, and is started again in 7 s"
    assert found["late"] == "its readiness probe has not passed: it is asked for the first time in 17 s"


def test_who_waits_for_its_turn_at_the_end(play):
    """A sidecar while main is in preStop, later sidecars included; then SIGTERM and SIGKILL."""
    simulation = play(
        [play.sidecar("one"), play.sidecar("two")], [play.container("main", lifecycle={"preStop": HOOK})],
        hooks={("main", "preStop"): (5, True)}, ending={"main": (999, 0)},
    ).until(1).delete()  # fmt: skip
    found = reasons(simulation.until(3))
    assert found["main"] == "its preStop has not returned; SIGTERM when it has, at the latest in 28 s"
    assert found["two"] == (
        "a sidecar ends after all main containers and all later sidecars, and main still runs; "
        "SIGTERM at the latest in 28 s"
    )
    assert "main, two still run;" in found["one"]
    assert reasons(simulation.until(7))["main"] == "it has had SIGTERM and has not ended; SIGKILL in 24 s"


def test_what_has_ended_says_how(play):
    """And why it is not started again."""
    simulation = play(
        (), [play.container("main"), play.container("other")], script={"main": [(1, 4)]}, restartPolicy="Never"
    )
    assert reasons(simulation.until(3)) == {
        "main": "ended with exit code 4; not started again: restartPolicy Never", "other": "",
    }  # fmt: skip
