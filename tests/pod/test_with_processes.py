"""What the kubelet's own end-to-end tests assert, with real processes; times pass faster (`speed`)."""

import tempfile

import pytest

from podpatterns.pod import LocalPod, What
from tests.pod.documents import STAY, pod, shell, sidecar

STUBBORN = "trap '' TERM; echo up; sleep 1000"
ENDLESS = {"preStop": {"exec": {"command": ["sleep", "1000"]}}}


def phase(local):
    return next(line for line in reversed(local.story()) if line in ("Pending", "Running", "Succeeded", "Failed"))


@pytest.mark.holds("inits in sequence", "inits run once")
async def test_three_inits_in_sequence_before_main_and_not_again_when_it_restarts():
    """Each has ended before the next one starts; main's restart is its own affair."""
    inits = [shell(f"init{n}", "sleep 0.05") for n in (1, 2, 3)]
    async with LocalPod(pod(shell("main", "exit 1"), inits=inits)) as local:
        await local.wait(What.RESTARTED, "main")
    story = [line for line in local.story() if line.split()[0] in {"init1", "init2", "init3", "main"}]
    expected = [f"init{n} {what}" for n in (1, 2, 3) for what in ("started", "completed")]
    assert story[:7] == [*expected, "main started"]
    assert [local.restarts(f"init{n}") for n in (1, 2, 3)] == [0, 0, 0]


@pytest.mark.holds("failed init", "failed init before a sidecar")
async def test_an_init_that_fails_under_never():
    """Neither the sidecar after it nor main starts; the pod has failed."""
    document = pod(shell("main", STAY), inits=[shell("init", "exit 1"), sidecar("side")], restartPolicy="Never")
    async with LocalPod(document) as local:
        await local.finished()
    assert not {"main started", "side started"} & set(local.story())
    assert phase(local) == "Failed"


@pytest.mark.holds("failed init, again")
async def test_an_init_that_fails_is_tried_again_until_it_succeeds():
    """Pending until then."""
    mount = [{"name": "v", "mountPath": "/opt/nowhere"}]
    script = "echo x >> /opt/nowhere/n; [ $(wc -l < /opt/nowhere/n) -ge 3 ]"
    volumes = [{"name": "v", "emptyDir": {}}]
    document = pod(shell("main", STAY), inits=[shell("init", script, volumeMounts=mount)], volumes=volumes)
    async with LocalPod(document, speed=50) as local:
        await local.wait_ready("main")
        assert local.restarts("init") == 2
    assert local.story().index("Running") > local.story().index("init completed")


@pytest.mark.holds("init before postStart", "postStart blocks")
async def test_post_start_runs_after_init_and_before_the_next_container():
    """The hook writes what the second container finds."""
    mount = [{"name": "v", "mountPath": "/opt/nowhere"}]
    hook = {
        "postStart": {"exec": {"command": ["sh", "-c", "cat /opt/nowhere/init; sleep 0.3; touch /opt/nowhere/hook"]}}
    }
    document = pod(
        shell("first", STAY, lifecycle=hook, volumeMounts=mount),
        shell("second", "ls /opt/nowhere; " + STAY, volumeMounts=mount),
        inits=[shell("init", "touch /opt/nowhere/init", volumeMounts=mount)], volumes=[{"name": "v", "emptyDir": {}}],
    )  # fmt: skip
    async with LocalPod(document) as local:
        await local.wait_line("second", "up")
    assert local.output("second") == ["hook", "init", "up"]


@pytest.mark.holds("postStart fails")
async def test_a_post_start_that_fails_kills_its_container():
    """It is started again, and the hook with it."""
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "exit 7"]}}}
    async with LocalPod(pod(shell("main", STAY, lifecycle=hook)), speed=20) as local:
        await local.wait(What.HOOK_FAILED, "main", text="postStart: sh: exit code 7")
        await local.wait(What.ENDED, "main", text="stopped because its postStart failed")
        await local.wait(What.RESTARTED, "main")


async def test_a_hook_with_tcp_socket_fails_as_on_a_cluster():
    """The API server takes it, and no kubelet can run it: postStart kills the container, preStop changes nothing."""
    hooks = {field: {"tcpSocket": {"port": 80}} for field in ("postStart", "preStop")}
    async with LocalPod(pod(shell("main", STAY, lifecycle=hooks)), speed=20) as local:
        await local.wait(What.HOOK_FAILED, "main", text="postStart: tcpSocket cannot be run in a hook")
        await local.wait(What.HOOK_FAILED, "main", text="preStop: tcpSocket cannot be run in a hook")
        await local.wait(What.ENDED, "main", text="stopped because its postStart failed")
        await local.wait(What.RESTARTED, "main")


async def test_a_hook_that_sleeps_holds_up_what_comes_after_it():
    """The second container's start, and SIGTERM; for as long as the pod's clock says."""
    hooks = {"postStart": {"sleep": {"seconds": 3}}, "preStop": {"sleep": {"seconds": 2}}}
    document = pod(shell("first", STAY, lifecycle=hooks), shell("second", STAY))
    async with LocalPod(document, speed=10) as local:
        await local.wait_line("second", "up")
    at = {(entry.container, entry.what): entry.at for entry in local.timeline.entries}
    assert 0.3 <= at["second", What.STARTED] - at["first", What.STARTED] < 3
    ended = min(entry.at for entry in local.timeline.entries if entry.container is None and entry.what is What.STOPPING)
    assert 0.2 <= at["first", What.STOPPING] - ended < 2
    assert local.verdicts()[0].reason == "ended as asked"


@pytest.mark.holds("interleaving", "sidecar is started", "reverse order")
async def test_inits_and_sidecars_interleave_and_end_in_reverse_order():
    """Both sidecars overlap main; main ends first, then the later sidecar."""
    probe = {"startupProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}}
    inits = [
        shell("init1", "true"), sidecar("side1", **probe), shell("init2", "true"), sidecar("side2"),
        shell("init3", "true"),
    ]  # fmt: skip
    async with LocalPod(pod(shell("main", STAY), inits=inits)) as local:
        for name in ("side1", "side2", "main"):
            await local.wait_line(name, "up")  # before its trap is set, process 1 ignores SIGTERM
    starts = [line.partition(" ")[0] for line in local.story() if line.endswith(" started")]
    ends = [line.partition(" ")[0] for line in local.story() if line.endswith(" ended")]
    assert starts == ["init1", "side1", "init2", "side2", "init3", "main"]
    assert ends == ["main", "side2", "side1"]


@pytest.mark.holds("sidecar loops")
@pytest.mark.parametrize("code", [0, 1])
async def test_a_sidecar_that_loops_is_restarted_before_and_after_main_starts(code):
    """And the pod succeeds, also under Never."""
    document = pod(
        shell("main", "sleep 0.6"), inits=[sidecar("side", f"exit {code}"), shell("init", "sleep 0.6")],
        restartPolicy="Never",
    )  # fmt: skip
    async with LocalPod(document, speed=100) as local:
        await local.finished()
    story = local.story()
    assert "side restarted" in story[: story.index("main started")]
    assert "side restarted" in story[story.index("main started") :]
    assert phase(local) == "Succeeded"


@pytest.mark.holds("sidecar startup fails")
async def test_a_sidecar_whose_startup_fails():
    """preStop runs in it, it is restarted, the pod is Pending, main never starts."""
    side = sidecar(
        "side", lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "echo stopping > /proc/$PPID/fd/1 || true"]}}},
        startupProbe={"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2},
    )  # fmt: skip
    async with LocalPod(pod(shell("main", STAY), inits=[side]), speed=10) as local:
        await local.wait(What.RESTARTED, "side")
        assert phase(local) == "Pending"
    assert "main started" not in local.story()


@pytest.mark.holds("restart policies")
@pytest.mark.parametrize(
    ("policy", "restarts", "expected"),
    [("Always", 2, "Running"), ("OnFailure", 1, "Succeeded"), ("Never", 0, "Failed")],
)
async def test_a_script_that_exits_with_1_then_with_0_then_runs(policy, restarts, expected):
    """Restarts and phase by restart policy; the emptyDir outlives the restarts."""
    mount = [{"name": "v", "mountPath": "/opt/nowhere"}]
    script = "echo x >> /opt/nowhere/n; case $(wc -l < /opt/nowhere/n) in 1) exit 1;; 2) exit 0;; esac; " + STAY
    document = pod(
        shell("main", script, volumeMounts=mount), volumes=[{"name": "v", "emptyDir": {}}], restartPolicy=policy
    )
    async with LocalPod(document, speed=50) as local:
        if policy == "Always":
            await local.wait_line("main", "up")
            assert phase(local) == "Running"
        else:
            await local.finished()
            assert phase(local) == expected
        assert local.restarts("main") == restarts


@pytest.mark.holds("preStop when a probe fails", "liveness")
@pytest.mark.parametrize("kind", ["startup", "liveness"])
async def test_pre_stop_runs_when_a_probe_has_the_container_stopped(kind):
    """It sees the container's files; then SIGTERM, then a restart."""
    mount = [{"name": "v", "mountPath": "/opt/nowhere"}]
    main = shell(
        "main", STAY, volumeMounts=mount, lifecycle={"preStop": {"exec": {"command": ["touch", "/opt/nowhere/stop"]}}}
    )
    main[f"{kind}Probe"] = {"exec": {"command": ["test", "-e", "/opt/nowhere/stop"]},
                            "periodSeconds": 1, "failureThreshold": 2}  # fmt: skip
    async with LocalPod(pod(main, volumes=[{"name": "v", "emptyDir": {}}]), speed=10) as local:
        await local.wait(What.ENDED, "main", text=f"stopped because its {kind} probe failed")
        assert (local.volume("v") / "stop").exists()
        await local.wait(What.RESTARTED, "main")
        await local.wait_ready("main")


@pytest.mark.holds("grace", "main overruns its grace")
async def test_a_main_container_that_overruns_its_grace():
    """SIGKILL, 137, pod Failed; an endless preStop does not lengthen it."""
    main = shell("main", STUBBORN, lifecycle=ENDLESS)
    async with LocalPod(pod(main, terminationGracePeriodSeconds=5, restartPolicy="Never"), speed=10) as local:
        await local.wait_line("main", "up")
        await local.end()
    told = await local.wait(What.STOPPING)
    killed = await local.wait(What.KILLED, "main")
    assert 0.7 <= killed.at - told.at < 2
    assert local.timeline.find(lambda entry: entry.code == 137)
    assert phase(local) == "Failed"


@pytest.mark.holds("endless preStops")
async def test_three_endless_pre_stops_end_together():
    """Main and both sidecars: 137, at the same time, at the grace and two seconds."""
    inits = [sidecar(name, STUBBORN, lifecycle=ENDLESS) for name in ("side1", "side2")]
    document = pod(shell("main", STUBBORN, lifecycle=ENDLESS), inits=inits, terminationGracePeriodSeconds=5)
    async with LocalPod(document, speed=10) as local:
        for name in ("side1", "side2", "main"):
            await local.wait_line(name, "up")
        await local.end()
    told = await local.wait(What.STOPPING)
    ends = [entry for entry in local.timeline.entries if entry.what is What.ENDED]
    assert [entry.code for entry in ends] == [137] * 3
    assert all(0.7 <= entry.at - told.at < 2 for entry in ends)


@pytest.mark.holds("deleted during init")
async def test_a_pod_deleted_during_init_is_gone_soon():
    """Grace 3 s: under 6 s, and main never starts."""
    document = pod(shell("main", STAY), inits=[shell("init", STUBBORN)], terminationGracePeriodSeconds=3)
    async with LocalPod(document, speed=10) as local:
        await local.wait_line("init", "up")
        await local.end()
    told, ended = await local.wait(What.STOPPING), await local.wait(What.FINISHED)
    assert ended.at - told.at < 0.6 + 0.5
    assert "main started" not in local.story()


@pytest.mark.holds("sidecar ends badly")
@pytest.mark.parametrize(
    "script", ["trap 'exit 1' TERM; while :; do sleep 0.02; done", STUBBORN], ids=["exits-1", "overruns"]
)
async def test_a_sidecar_that_ends_badly_leaves_the_pod_succeeded(script):
    """Its exit code, 1 or 137, does not count."""
    document = pod(
        shell("main", "sleep 0.2"),
        inits=[sidecar("side", script)],
        restartPolicy="Never",
        terminationGracePeriodSeconds=1,
    )
    async with LocalPod(document, speed=10) as local:
        await local.finished()
    assert phase(local) == "Succeeded"


@pytest.mark.holds("termination message")
@pytest.mark.parametrize(
    ("script", "policy", "expected"),
    [
        ("echo said > /dev/termination-log; exit 1", "File", "said\n"),
        ("echo said > /dev/termination-log", "File", "said\n"),
        ("echo logged; exit 1", "File", ""),
        ("echo logged; exit 1", "FallbackToLogsOnError", "logged"),
        ("echo logged", "FallbackToLogsOnError", ""),
        ("echo logged; echo said > /dev/termination-log; exit 1", "FallbackToLogsOnError", "said\n"),
    ],
    ids=["file-on-failure", "file-on-success", "no-file", "log-on-failure", "no-log-on-success", "file-before-log"],
)
async def test_termination_message(script, policy, expected):
    """The file's contents; with FallbackToLogsOnError the log's end, on failure only, where there is no file."""
    document = pod(shell("main", script, terminationMessagePolicy=policy), restartPolicy="Never")
    async with LocalPod(document) as local:
        await local.finished()
    assert local.message("main") == expected


@pytest.mark.holds("termination message")
async def test_termination_message_at_another_path():
    """terminationMessagePath; at most 4096 bytes."""
    script = "head -c 5000 /dev/zero | tr '\\0' x > /opt/nowhere/message"
    main = shell("main", script, terminationMessagePath="/opt/nowhere/message")
    async with LocalPod(pod(main, restartPolicy="Never")) as local:
        await local.finished()
    assert local.message("main") == "x" * 4096


@pytest.mark.holds("Job tries")
async def test_a_job_runs_pods_until_enough_have_succeeded():
    """With Never a pod that fails is replaced by another one, whose emptyDir is empty; two have to succeed."""
    mount = [{"name": "mine", "mountPath": "/opt/nowhere"}, {"name": "shared", "mountPath": "/opt/shared"}]
    script = "echo x >> /opt/shared/n; ls /opt/nowhere; touch /opt/nowhere/f; [ $(wc -l < /opt/shared/n) != 1 ]"
    template = {"spec": {
        "containers": [shell("main", script, volumeMounts=mount)], "restartPolicy": "Never",
        "volumes": [{"name": "mine", "emptyDir": {}}, {"name": "shared", "hostPath": {"path": "SHARED"}}],
    }}  # fmt: skip
    head = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}}
    with tempfile.TemporaryDirectory() as shared:
        template["spec"]["volumes"][1]["hostPath"]["path"] = shared
        async with LocalPod({**head, "spec": {"template": template, "completions": 2}}, speed=50) as local:
            await local.finished()
    assert [line for line in local.story() if line in ("Succeeded", "Failed")] == ["Failed", "Succeeded", "Succeeded"]
    assert local.output("main") == []
    assert all(verdict.ok for verdict in local.verdicts())
