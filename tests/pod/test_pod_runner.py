"""The runner with real processes: what a manifest says happens, and nothing is left behind."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from podpatterns.errors import ConfigError, PodpatternsError
from podpatterns.pod import LocalPod, What, manifest
from podpatterns.pod.container_logs import PodLogs
from podpatterns.pod.node.client import node
from podpatterns.pod.opening import session
from podpatterns.pod.process import Plan, Process
from podpatterns.pod.timeline import Timeline
from tests.pod.documents import STAY, pod, shell, source

ROOT = Path(__file__).parents[2]
CLI = [sys.executable, "-m", "podpatterns", "pod", "run"]


@pytest.mark.parametrize("mounts", ["auto", "rewrite"])
async def test_a_volume_is_at_its_path_in_every_container_that_mounts_it(mounts):
    """What an init container writes into an emptyDir, the main one reads; the machine has no such path."""
    mount = [{"name": "v", "mountPath": "/var/log/nowhere"}]
    at = [{"name": "FILE", "value": "/var/log/nowhere/f"}]
    document = pod(
        shell("main", 'cat "$FILE"', volumeMounts=mount, env=at),
        inits=[shell("first", 'echo written > "$FILE"', volumeMounts=mount, env=at)],
        volumes=[{"name": "v", "emptyDir": {}}],
        restartPolicy="Never",
    )
    async with LocalPod(document, mounts=mounts) as local:
        await local.finished()
    assert local.output("main") == ["written"]
    assert not os.path.exists("/var/log/nowhere")  # noqa: ASYNC240, PTH110
    assert all(verdict.ok for verdict in local.verdicts())


async def test_files_of_a_config_map_appear_through_data_and_are_read_only():
    """A configMap volume holds `..data`, and a container cannot write into it."""
    document = pod(
        shell(
            "main",
            "ls -a /etc/thing | grep data; cat /etc/thing/a; touch /etc/thing/b || echo refused",
            volumeMounts=[{"name": "v", "mountPath": "/etc/thing"}],
        ),
        volumes=[{"name": "v", "configMap": {"name": "c"}}],
        restartPolicy="Never",
    )
    async with LocalPod(document, source("ConfigMap", "c", a="hello\n")) as local:
        await local.finished()
    lines = local.output("main")
    assert lines[0] == "..data"
    assert {"hello", "refused"} <= set(lines)


async def test_variables_come_in_order_and_are_expanded_in_the_command():
    """envFrom, then env; `$(NAME)` sees earlier ones, `$$(` is an escape, and the unknown stays."""
    main = {
        "name": "main",
        "command": ["printf", "%s\\n", "$(C)", "$$(C)", "$(UNKNOWN)", "$(POD)"],
        "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "P_"}],
        "env": [
            {"name": "EARLY", "value": "$(LATE)"},
            {"name": "LATE", "value": "x"},
            {"name": "C", "value": "$(P_A)-$(EARLY)"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
    }
    async with LocalPod(pod(main, restartPolicy="Never"), source("ConfigMap", "c", A="1")) as local:
        await local.finished()
    assert local.output("main") == ["1-$(LATE)", "$(C)", "$(UNKNOWN)", "test"]


async def test_a_sidecar_that_is_killed_is_restarted_and_ends_after_the_main_container():
    """kill -9 of a native sidecar: restarted at once; at the end its turn comes after the main container's."""
    document = pod(shell("main", STAY), inits=[shell("side", STAY, restartPolicy="Always")])
    async with LocalPod(document) as local:
        await local.wait_ready()
        local.kill("side")
        await local.wait(What.RESTARTED, "side")
        await local.timeline.wait(lambda _: local.output("side").count("up") == 2)
    story = local.story()
    assert story.index("side started") < story.index("main started")
    assert story.index("main ended") < len(story) - 1 - story[::-1].index("side ended")
    assert local.restarts("side") == 1
    assert [verdict.faults for verdict in local.verdicts()] == [(), ()]


async def test_probes_and_hooks_run_where_the_container_is():
    """An exec probe and the hooks see the container's mounts and variables."""
    mount = [{"name": "v", "mountPath": "/opt/nowhere"}]
    main = shell(
        "main",
        "while [ ! -e /opt/nowhere/ready ]; do sleep 0.01; done; " + STAY,
        volumeMounts=mount,
        lifecycle={
            "postStart": {"exec": {"command": ["touch", "/opt/nowhere/ready"]}},
            "preStop": {"exec": {"command": ["cp", "/opt/nowhere/ready", "/opt/nowhere/$(NAME)"]}},
        },
        readinessProbe={"exec": {"command": ["test", "-e", "/opt/nowhere/ready"]}, "periodSeconds": 1},
        env=[{"name": "NAME", "value": "stopped"}],
    )
    async with LocalPod(pod(main, volumes=[{"name": "v", "emptyDir": {}}])) as local:
        await local.wait_ready("main")
        await local.wait_line("main", "up")
        folder = local.volume("v")
        await local.end()
        assert (folder / "stopped").exists()
    assert not folder.exists()


async def test_a_volume_in_memory_is_gone_with_the_pod():
    """`medium: Memory` is on /dev/shm."""
    mount = [{"name": "v", "mountPath": "/opt/nowhere"}]
    document = pod(
        shell("main", "echo x > /opt/nowhere/f; " + STAY, volumeMounts=mount),
        volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}],
    )
    async with LocalPod(document) as local:
        await local.wait_line("main", "up")
        folder = local.volume("v")
        assert folder.is_relative_to("/dev/shm")
        assert (folder / "f").exists()
    assert not folder.parent.parent.exists()


async def test_a_volume_that_is_missing_is_named_and_looked_for_again(tmp_path):
    """The container waits until the hostPath is there."""
    path = tmp_path / "later"
    mount = [{"name": "v", "mountPath": "/opt/nowhere"}]
    document = pod(shell("main", STAY, volumeMounts=mount), volumes=[{"name": "v", "hostPath": {"path": str(path)}}])
    async with LocalPod(document, speed=50) as local:
        await local.wait(What.FAILED, "main", text=f"there is no {path}")
        path.mkdir()
        await local.wait_line("main", "up")


async def test_a_variable_that_no_program_could_have_is_refused_in_words():
    """Too large for execve: no traceback, and the container waits to restart."""
    document = pod(shell("main", STAY, env=[{"name": "BIG", "value": "x" * 300_000}]))
    async with LocalPod(document) as local:
        await local.wait(What.FAILED, "main", text="cannot be started: Argument list too long")


async def test_a_command_that_is_not_there_says_so():
    """No traceback: the timeline names the command, and the container waits to restart."""
    async with LocalPod(pod({"name": "main", "command": ["no-such-program"]})) as local:
        await local.wait(What.FAILED, "main", text='"no-such-program" is not on this machine')
        await local.wait(What.BACK_OFF, "main")


async def test_a_port_that_is_taken_is_refused_before_anything_starts():
    """The error names the port and the container."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {number} of container main is taken"):
            async with LocalPod(pod(shell("main", STAY, ports=[{"containerPort": number}])), network="host"):
                pass


async def test_a_container_that_ignores_sigterm_is_killed_after_its_grace():
    """Exit code 137, and the verdict says why."""
    document = pod(shell("main", "trap '' TERM; echo up; while :; do sleep 0.1; done"), terminationGracePeriodSeconds=0)
    async with LocalPod(document, speed=20) as local:
        await local.wait_line("main", "up")
    (verdict,) = local.verdicts()
    assert verdict.exit_code == 137
    assert verdict.faults == ("did not end within its grace and was killed",)


@pytest.mark.parametrize("ours", [signal.SIG_DFL, signal.SIG_IGN], ids=["default", "ignored"])
async def test_the_stop_signal_is_what_the_container_gets(ours, request):
    """lifecycle.stopSignal instead of SIGTERM; also where the run was begun by a shell's `&`, which ignores some."""
    request.addfinalizer(partial(signal.signal, signal.SIGQUIT, signal.signal(signal.SIGQUIT, ours)))
    main = shell("main", "trap 'echo quit; exit 0' QUIT; echo up; while :; do sleep 0.05; done")
    async with LocalPod(pod({**main, "lifecycle": {"stopSignal": "SIGQUIT"}})) as local:
        await local.wait_line("main", "up")
    assert local.output("main") == ["up", "quit"]


async def test_pods_end_in_the_reverse_order():
    """The next pod ends when the one after it is gone."""
    async with LocalPod(pod(shell("a", STAY), name="one"), pod(shell("b", STAY), name="two")) as local:
        await local.wait_line("a", "up")
        await local.wait_line("b", "up")
    ends = [entry.pod for entry in local.timeline.entries if entry.what is What.FINISHED]
    assert ends == ["two", "one"]


# --- the command --------------------------------------------------------------------------------------------------


def marked(run):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"PODPATTERNS_RUN={run}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def namespaces_of_others():
    """The network, mount and PID namespaces of every process."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            for name in ("net", "mnt", "pid"):
                with contextlib.suppress(OSError):
                    found.add((entry / "ns" / name).readlink().name)
    return found


def mounts_and_memory(run):
    """What of ours is mounted where we are, and whether a run still has volumes in memory."""
    ours = [line for line in Path("/proc/mounts").read_text().splitlines() if "podpatterns" in line]
    return ours, Path(f"/dev/shm/podpatterns-{run}").exists()


@pytest.mark.parametrize("options", [(), ("--network", "host"), ("--mounts", "rewrite")], ids=["own", "host", "paths"])
async def test_kill_9_of_the_runner_leaves_nothing(tmp_path, options):
    """No process (not even one that left its session), namespace, mount or folder outlives the runner."""
    script = 'setsid sleep 100 & echo "run $PODPATTERNS_RUN"; readlink /proc/self/ns/*; ' + STAY
    volumes = [
        {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "w", "emptyDir": {"medium": "Memory"}},
    ]
    mounts = [{"name": each["name"], "mountPath": f"/opt/{each['name']}"} for each in volumes]
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(pod(shell("main", script, volumeMounts=mounts), volumes=volumes)))
    mounted, _ = mounts_and_memory("")
    runner = await asyncio.create_subprocess_exec(
        *CLI, str(file), *options, stdout=asyncio.subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    run, inside = "", set()
    while True:
        line = (await runner.stdout.readline()).decode()
        assert line, "the runner has ended"
        said = line.partition("│ ")[2].strip()
        if said.startswith("run "):
            run = said.removeprefix("run ")
        elif said.startswith(("net:", "mnt:", "pid:")):
            inside.add(said)
        elif said == "up":
            break
    own = inside - {os.readlink(f"/proc/self/ns/{name}") for name in ("net", "mnt", "pid")}  # noqa: PTH115
    assert marked(run)
    runner.send_signal(signal.SIGKILL)
    await runner.wait()
    async with asyncio.timeout(10):
        # The guard is nobody's child, and the kernel takes its time with what a dead process has held.
        while marked(run) or list(tmp_path.glob("podpatterns-*")) or own & namespaces_of_others():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert mounts_and_memory(run) == (mounted, False)
    if not options:
        assert len(own) == 3
    await runner.stdout.read()


@pytest.mark.parametrize("output", ["text", "json"])
def test_the_smallest_example_runs(output):
    """`--for` ends it by itself with exit code 0."""
    example = ROOT / "examples/00-init-container/pod.yaml"
    done = subprocess.run(
        [*CLI, example, "--for", "2s", "--strict", "--output", output],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The app is running!" in done.stdout
    if output == "json":
        last = json.loads(done.stdout.splitlines()[-1])
        assert last["type"] == "closing"
        assert last["ok"] is True


def test_keep_keeps_the_volumes_and_spares_other_peoples_files(tmp_path):
    """The folder is emptied only if an earlier run has made it."""
    file = tmp_path / "pod.json"
    mounts = [{"name": "v", "mountPath": "/data"}]
    document = pod(shell("m", "echo kept > /data/f", volumeMounts=mounts), restartPolicy="Never")
    document["spec"]["volumes"] = [{"name": "v", "emptyDir": {}}]
    file.write_text(json.dumps(document))
    kept = tmp_path / "kept"
    for _ in range(2):
        subprocess.run([*CLI, file, "--keep", kept], check=True, timeout=30, capture_output=True)
        assert (kept / "test/v/f").read_text() == "kept\n"
        (kept / "stale").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/precious").touch()
    done = subprocess.run(
        [*CLI, file, "--keep", tmp_path / "mine"], check=False, timeout=30, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "holds files that no earlier run has made" in done.stderr
    assert (tmp_path / "mine/precious").exists()


async def test_a_folder_in_which_another_run_keeps_its_volumes_is_not_emptied(tmp_path):
    """The second run is refused and touches nothing; when the first has ended the folder may be taken."""
    document = pod(shell("m", f"echo kept > /data/f; {STAY}", volumeMounts=[{"name": "v", "mountPath": "/data"}]))
    document["spec"]["volumes"] = [{"name": "v", "emptyDir": {}}]
    async with LocalPod(document, keep=tmp_path) as first:
        await first.wait_line("m", "up")
        with pytest.raises(ConfigError, match="another run has its volumes there; end that one"):
            async with LocalPod(document, keep=tmp_path):
                pass
        assert (tmp_path / "test/v/f").read_text() == "kept\n"
    async with LocalPod(document, keep=tmp_path) as second:
        await second.wait_line("m", "up")


async def test_elsewhere_than_on_linux_pods_are_not_run(monkeypatch):
    """It is said before anything is made."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(PodpatternsError, match="use a Linux machine"):
        async with LocalPod(pod(shell("m", "true"))):
            pytest.fail("it has started")


def test_keep_with_a_file_says_so(tmp_path):
    """What is no folder is refused with its name."""
    (tmp_path / "pod.json").write_text(json.dumps(pod(shell("m", "true"))))
    done = subprocess.run(
        [*CLI, "pod.json", "--keep", "pod.json"], cwd=tmp_path, check=False, timeout=30, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (2, f"--keep {tmp_path}/pod.json: is not a folder; name another one\n")


def test_metadata_sauce(tmp_path):
    """The project's first mistake: file, line, column, and what was meant; exit 2."""
    (tmp_path / "pod.yaml").write_text("apiVersion: v1\nkind: Pod\nmetadata: sauce\nspec:\n  containers: []\n")
    done = subprocess.run([*CLI, "pod.yaml"], cwd=tmp_path, check=False, timeout=30, capture_output=True, text=True)
    assert done.returncode == 2
    expected = 'pod.yaml:3:11: metadata must be a mapping; did you mean "metadata: {name: sauce}"?'
    assert done.stderr.splitlines()[0] == expected


# --- when things go wrong -----------------------------------------------------------------------------------------


async def test_a_run_that_is_cancelled_reaps_its_processes_and_keeps_its_peace():
    """Nothing is written to a log that is closed, and no zombie stays."""
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
    timeline = Timeline()
    document = pod(shell("main", "while :; do echo noise; done"), shell("other", STAY))
    async with session(manifest.of(document), timeline) as running:
        task = asyncio.create_task(running.run())
        await timeline.wait(lambda entry: entry.detail == "noise")
        await timeline.wait(lambda entry: entry.detail == "up")
        status = running.runners[0].status()["status"]["containerStatuses"]
        task.cancel()
        await asyncio.wait([task])
        assert [each["name"] for each in status] == ["main", "other"]
        for each in status:
            with pytest.raises(ProcessLookupError):
                os.kill(int(each["containerID"].removeprefix("process://")), 0)
    assert problems == []


async def test_a_log_that_cannot_be_written_is_said_once_and_loses_no_line_of_the_timeline(monkeypatch):
    """The disk is full: what the container writes is still shown, and it goes on."""
    opened = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda self, *how, **more: opened(Path("/dev/full") if self.suffix == ".log" else self, *how, **more),
    )
    script = "trap 'echo more; echo still' USR1; echo up; while :; do sleep 0.05; done"
    async with LocalPod(pod(shell("main", script), terminationGracePeriodSeconds=0)) as local:
        await local.wait_line("main", "up")
        local.kill("main", signal.SIGUSR1)
        await local.wait_line("main", "still")
    assert local.output("main") == ["up", "more", "still"]
    notes = [entry.detail for entry in local.timeline.entries if "not kept for pod logs" in entry.detail]
    assert notes == ["main: what it writes from here on is not kept for pod logs: [Errno 28] No space left on device"]


async def test_a_log_that_cannot_be_begun_lets_the_container_wait(monkeypatch):
    """The fault is not its own: it is tried again, and the others go on."""
    begin, tries = PodLogs.begin, iter([True])

    def failing(self, container, run):
        if container == "main" and next(tries, False):
            raise OSError(28, "No space left on device")
        return begin(self, container, run)

    monkeypatch.setattr(PodLogs, "begin", failing)
    async with LocalPod(pod(shell("main", STAY), shell("other", STAY)), speed=50) as local:
        await local.wait(What.FAILED, "main", text="No space left on device")
        await local.wait_line("main", "up")
        await local.wait_line("other", "up")


async def test_a_process_is_killed_also_before_it_has_a_group(monkeypatch):
    """In the moment between the fork and its own session, only its own number leads to it."""
    group, tries = os.killpg, iter([True])

    def none_yet(number, signal_):
        if next(tries, False):
            raise ProcessLookupError
        group(number, signal_)

    async with node({}) as made:
        process = await Process.start(made, Plan(["sleep", "60"], {"PATH": os.defpath}), lambda *_: None)
        monkeypatch.setattr(os, "killpg", none_yet)
        process.kill()
        async with asyncio.timeout(10):
            assert await process.ended == 128 + signal.SIGKILL
