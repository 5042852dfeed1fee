"""Pods in tests: what `LocalPod` and the fixture `local_pod` do for a test of one's own manifest."""

import subprocess
import sys

import pytest

from podpatterns.errors import PodpatternsError
from podpatterns.pod import LocalPod, What
from tests.pod.documents import STAY, pod, shell, source

PROBE = {"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": 2}


async def test_a_container_that_was_killed_has_to_come_back_to_be_ready(local_pod):
    """`wait_ready` behind `kill` is not satisfied by the readiness of before."""
    running = await local_pod(pod(shell("app")))
    await running.wait_ready("app")
    running.kill("app")
    await running.wait_ready("app")
    assert running.restarts("app") == 1
    running.assert_order("app ready", "app ended", "app restarted", "app ready")


async def test_a_container_that_hangs_answers_no_probe_until_it_is_resumed(local_pod):
    """Everything in it stands still: the pod loses readiness, and wins it again."""
    port = ["sh", "-c", "echo ping > ping; sleep 0.3; test -e pong && rm pong"]
    volumes = [{"name": "v", "emptyDir": {}}]
    where = {"volumeMounts": [{"name": "v", "mountPath": "/opt/nowhere"}], "workingDir": "/opt/nowhere"}
    script = "trap 'exit 0' TERM; while :; do [ -e ping ] && { rm ping; touch pong; }; sleep 0.02; done"
    probe = {"exec": {"command": port}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 1}
    running = await local_pod(pod(shell("app", script, readinessProbe=probe, **where), volumes=volumes))
    await running.wait_ready("app")
    running.hang("app")
    await running.wait(What.UNREADY, "app")
    running.resume("app")
    await running.wait_ready("app")
    assert running.restarts("app") == 0


async def test_a_container_that_hangs_is_killed_by_liveness(local_pod):
    """SIGTERM does nothing to it; SIGKILL after the grace does."""
    probe = {"exec": {"command": ["sh", "-c", "kill -0 1"]}, "periodSeconds": 1, "failureThreshold": 1}
    running = await local_pod(pod(shell("app", livenessProbe=probe), terminationGracePeriodSeconds=2), speed=10)
    await running.wait_ready("app")
    running.hang("app")
    with running.fault("app", "liveness", "no answer"):
        await running.wait(What.KILLED, "app")
    await running.wait(What.RESTARTED, "app")
    running.assert_order("app unhealthy", "app stopping", "app killed", "app ended", "app restarted")


@pytest.mark.parametrize("kind", ["startup", "liveness", "readiness"])
async def test_a_fault_lets_a_probe_fail_and_leaves_no_trace(local_pod, kind):
    """What the kubelet would see; afterwards the probe is asked again."""
    running = await local_pod(pod(shell("app", **{f"{kind}Probe": PROBE})), speed=10)
    with running.fault("app", kind, "the network is gone"):
        await running.wait(What.UNHEALTHY, "app", text="the network is gone") if kind != "readiness" else None
        if kind == "readiness":
            await running.wait_line("app", "up")
            assert "has not passed" in running.why("app")
    await running.wait_ready("app")


async def test_a_fault_of_the_start_lets_the_container_wait(local_pod):
    """As if a volume or an image were missing; it is looked at again."""
    running = LocalPod(pod(shell("app")), speed=20)
    async with running:
        with running.fault("app", "start", "no such image"):
            await running.wait(What.FAILED, "app", text="no such image")
            (app,) = running.status()["containerStatuses"]
            assert app["state"]["waiting"] == {"reason": "CreateContainerError", "message": "no such image"}
        await running.wait_ready("app")
        assert running.restarts("app") == 0


async def test_an_edit_of_a_config_map_reaches_its_volume_in_one_step(local_pod):
    """Keys are changed, added and removed; variables keep their value."""
    main = shell(
        "app", "trap 'exit 0' TERM; cd /etc/settings; while :; do cat colour new 2>/dev/null; sleep 0.05; done",
        volumeMounts=[{"name": "v", "mountPath": "/etc/settings"}],
    )  # fmt: skip
    volumes = [{"name": "v", "configMap": {"name": "settings"}}]
    running = await local_pod(pod(main, volumes=volumes), source("ConfigMap", "settings", colour="red\n", old="x"))
    await running.wait_line("app", "red")
    running.edit("ConfigMap", "settings", {"colour": "blue\n", "old": None, "new": "more\n"})
    await running.wait_line("app", "blue")
    await running.wait_line("app", "more")
    assert sorted(path.name for path in running.volume("v").iterdir() if path.name[0] != ".") == ["colour", "new"]
    with pytest.raises(PodpatternsError, match='there is no Secret "settings"'):
        running.edit("Secret", "settings", {})


@pytest.mark.holds("missing ConfigMap")
async def test_a_key_that_is_gone_keeps_a_container_from_its_restart_until_it_is_back(local_pod):
    """CreateContainerConfigError with the key's name, as on a cluster; when it is there again, the container starts."""
    value = {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}}
    running = await local_pod(pod(shell("app", env=[value])), source("ConfigMap", "settings", colour="red"), speed=20)
    await running.wait_line("app", "up")
    running.edit("ConfigMap", "settings", {"colour": None})
    running.kill("app")
    await running.wait(What.FAILED, "app", text='has no key "colour"')
    (app,) = running.status()["containerStatuses"]
    assert app["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    assert 'has no key "colour"; looked at again in' in running.why("app")
    running.edit("ConfigMap", "settings", {"colour": "blue"})
    await running.wait_ready("app")


async def test_a_wait_that_is_in_vain_says_what_the_pod_waits_for():
    """The wish, who is held up and why, and the timeline: no need to run it again to see."""
    document = pod(shell("app"), inits=[shell("slow", STAY)])
    async with LocalPod(document) as running:
        running.patience = 0.5
        with pytest.raises(TimeoutError) as caught:
            await running.wait_ready("app")
    said = str(caught.value)
    assert said.startswith("app ready: not within 0.5 s\n")
    assert "  test/app waiting: waits for slow, which has not completed (it has been running for" in said
    assert said.endswith("the timeline so far:\nPending\nslow started")


async def test_a_wait_ends_with_the_pods(local_pod):
    """What can never come is not waited for."""
    running = await local_pod(pod(shell("app", "exit 0"), restartPolicy="Never"))
    with pytest.raises(TimeoutError, match='a line of app with "up": all pods have ended without it'):
        await running.wait_line("app", "up")


async def test_an_order_that_was_not_kept_is_shown_with_the_story(local_pod):
    """The first line that is missing, and where."""
    running = await local_pod(pod(shell("app", "exit 0"), restartPolicy="Never"))
    await running.finished()
    await running.wait_phase("Succeeded")
    running.assert_order("Pending", "app started", "app ended", "Succeeded")
    with pytest.raises(AssertionError, match='"app started" has not come after "app ended"'):
        running.assert_order("app ended", "app started")


async def test_what_is_not_there_is_named(local_pod):
    """A container, a volume; one that does not run any more."""
    running = await local_pod(pod(shell("app", "exit 0"), restartPolicy="Never"))
    await running.finished()
    with pytest.raises(PodpatternsError, match='no pod has a container "ap"; did you mean "app"'):
        running.kill("ap")
    with pytest.raises(PodpatternsError, match="app cannot be killed: ended with exit code 0"):
        running.kill("app")


TESTS = """
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shop"},
       "spec": {"containers": [{"name": "app", "command": ["sleep", "100"]}], "terminationGracePeriodSeconds": 0}}


async def test_that_fails(local_pod):
    pod = await local_pod(POD, speed=20)
    await pod.wait_ready()
    assert pod.restarts("app") == 1


async def test_that_does_not(local_pod):
    pod = await local_pod(POD, speed=20)
    await pod.wait_ready()
"""


def test_the_timeline_of_a_failed_test_is_shown(tmp_path):
    """The fixture prints it; pytest captures it, and shows it with the failure alone."""
    (tmp_path / "test_shop.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", "test_shop.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("app    started") == 1
