"""`podpatterns pod run` from outside: signals, exit codes, and what stays behind."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from podpatterns.pod import LocalPod, What

CLI = [sys.executable, "-m", "podpatterns", "pod", "run"]
STAY = "trap 'exit 0' TERM; echo up; sleep 100 & wait"
STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.1; done"


def document(script, *, kind="Pod", name="test", **spec):
    spec = {
        "containers": [{"name": "main", "command": ["sh", "-c", script]}],
        "terminationGracePeriodSeconds": 20,
        **spec,
    }
    versions = {"Pod": "v1", "Job": "batch/v1", "Deployment": "apps/v1"}
    head = {"apiVersion": versions[kind], "kind": kind, "metadata": {"name": name}}
    if kind == "Pod":
        return {**head, "spec": spec}
    outer = {"template": {"metadata": {"labels": {"app": "x"}}, "spec": spec}}
    return {**head, "spec": {**outer, "selector": {"matchLabels": {"app": "x"}}} if kind == "Deployment" else outer}


@pytest.fixture
def begin(tmp_path):
    """Starts the command with a manifest; returns it when the container has said that it is up."""
    (tmp_path / "tmp").mkdir()
    started = []

    def begin(script, *options):
        file = tmp_path / "pod.json"
        file.write_text(json.dumps(document(script)))
        runner = subprocess.Popen(
            [*CLI, file, *options],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        )
        started.append(runner)
        for line in runner.stdout:
            if line.rstrip().endswith("│ up"):
                return runner
        raise AssertionError("the container has not started")

    yield begin
    for runner in started:
        runner.kill()
        runner.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_pods_in_order(begin, tmp_path, number):
    """The container gets SIGTERM; exit code 0; no folder stays."""
    runner = begin(STAY)
    runner.send_signal(number)
    out, _ = runner.communicate(timeout=10)
    assert runner.returncode == 0, out
    assert f"{number.name} received" in out
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_second_signal_ends_them_at_once(begin):
    """A container that ignores SIGTERM is killed long before its grace is over; exit code 1."""
    runner = begin(STUBBORN)
    runner.send_signal(signal.SIGINT)
    for line in runner.stdout:
        if "stopping: SIGTERM" in line:
            break
    runner.send_signal(signal.SIGINT)
    out, _ = runner.communicate(timeout=10)
    assert runner.returncode == 1
    assert "killed: at once" in out


def test_a_container_that_fails_makes_exit_code_1_with_its_name(tmp_path):
    """The closing summary names the container and its exit code."""
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(document("exit 3", restartPolicy="Never")))
    done = subprocess.run([*CLI, file], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "test/main ended with exit code 3" in done.stdout
    assert "Traceback" not in done.stderr


def test_strict_refuses_a_field_without_effect(tmp_path):
    """Exit code 2, with the field, its place and what it means here."""
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(document("true", nodeSelector={"disk": "ssd"})))
    done = subprocess.run([*CLI, "--strict", file], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "nodeSelector" in done.stderr


def test_on_a_terminal_the_timeline_is_coloured():
    """With rich, or without it, a person sees the same lines."""
    example = Path(__file__).parents[2] / "examples/00-init-container/pod.yaml"
    ours, theirs = pty.openpty()
    runner = subprocess.Popen([*CLI, example, "--for", "1500ms"], stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:
            break  # the terminal is closed: EIO
        if not data:
            break
        seen += data
    os.close(ours)
    assert runner.wait(10) == 0
    assert "The app is running!" in seen.decode()
    assert "\033[32mcompleted\033[0m" in seen.decode()


async def test_a_job_completes_when_its_main_container_has_and_its_sidecar_is_ended():
    """Main done → sidecar ended → complete."""
    side = {"name": "side", "command": ["sh", "-c", STAY], "restartPolicy": "Always"}
    job = document("true", kind="Job", restartPolicy="Never", initContainers=[side])
    async with LocalPod(job) as local:
        await local.finished()
    story = local.story()
    assert story.index("main ended") < story.index("side ended")
    assert "Succeeded" in story


async def test_a_job_that_keeps_failing_gives_up_at_its_backoff_limit():
    """backoffLimit 1: one restart, then the Job has failed."""
    job = document("exit 1", kind="Job", restartPolicy="OnFailure")
    job["spec"]["backoffLimit"] = 1
    async with LocalPod(job, speed=100) as local:
        await local.finished()
    assert local.restarts("main") == 1
    assert any("BackoffLimitExceeded" in entry.detail for entry in local.timeline.entries)
    assert not all(verdict.ok for verdict in local.verdicts())


async def test_one_pod_of_a_deployment_is_run():
    """Its template is a pod."""
    async with LocalPod(document(STAY, kind="Deployment")) as local:
        await local.wait_line("main", "up")
    assert all(verdict.ok for verdict in local.verdicts())


async def test_speed_lets_the_back_off_pass_faster():
    """A restart after 10 s of back-off comes in a tenth of that."""
    async with LocalPod(document("exit 1"), speed=100) as local:
        await local.wait(What.BACK_OFF, "main")
        restarted = await local.wait(What.RESTARTED, "main", past=False)
    assert restarted.at < 5


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_pods_in_a_row_leave_no_descriptors():
    """What is opened for a pod is closed after it."""

    async def once():
        async with LocalPod(document("echo x", restartPolicy="Never")) as local:
            await local.finished()

    await once()
    before = descriptors()
    for _ in range(10):
        await once()
    assert descriptors() == before
