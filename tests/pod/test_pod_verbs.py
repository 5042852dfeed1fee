"""`pod status`, `explain`, `logs`, `exec` and `kill`, asked of a `pod run` in another process."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import pytest
import yaml
from click.testing import CliRunner

from podpatterns.cli import main
from tests.pod.documents import pod, shell

CLI = [sys.executable, "-m", "podpatterns", "pod"]
EXEC = {"exec": {"command": ["false"]}, "periodSeconds": 1}


SHOP = pod(
    shell("app", env=[{"name": "COLOUR", "value": "red"}], volumeMounts=[{"name": "v", "mountPath": "/data"}]),
    shell("flaky", "echo hello; echo why > /dev/termination-log; exit 3"),
    name="shop", labels={"app": "shop"}, terminationGracePeriodSeconds=3, volumes=[{"name": "v", "emptyDir": {}}],
    inits=[shell("migrate", "echo migrated > /data/f", volumeMounts=[{"name": "v", "mountPath": "/data"}])],
)  # fmt: skip
CART = pod(shell("app"), shell("slow", readinessProbe=EXEC), name="cart", labels={"app": "cart"})


class Running:
    """`pod run` in another process; its files and those who look for them are below one folder."""

    def __init__(self, folder, *documents):
        folder.mkdir(exist_ok=True)
        file = folder / "pods.yaml"
        file.write_text(yaml.safe_dump_all(documents))
        self.folder = folder
        self.seen = []
        self.process = subprocess.Popen(
            [*CLI, "run", file, "--output", "json"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(folder)},
        )  # fmt: skip

    def until(self, **wanted):
        """The first entry of the timeline that has all this."""
        for entry in self.seen:
            if wanted.items() <= entry.items():
                return entry
        for line in self.process.stdout:
            self.seen.append(json.loads(line))
            if wanted.items() <= self.seen[-1].items():
                return self.seen[-1]
        raise AssertionError("the run has ended")

    def close(self):
        if self.process.stdout.closed:
            return
        self.process.send_signal(signal.SIGINT)
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One run of two pods, for the verbs that only look."""
    # Longer than the 108 bytes that the address of a unix socket may have.
    running = Running(tmp_path_factory.mktemp("a-folder-with-a-name-that-goes-on-and-on" + "-and-on" * 10), SHOP, CART)
    running.until(what="waits to restart", container="flaky")
    running.until(what="started", container="slow")
    yield running
    running.close()


@pytest.fixture
def begin(tmp_path):
    started = []

    def begin(*documents):
        started.append(Running(tmp_path / f"run-{len(started)}", *documents))
        return started[-1]

    yield begin
    for running in started:
        running.close()


@pytest.fixture
def ask(monkeypatch):
    """`ask(running, "status", …)`: exit code, standard output and standard error."""

    def ask(running, *words):
        monkeypatch.setattr(tempfile, "tempdir", str(running.folder if running else "/nonexistent"))
        done = CliRunner().invoke(main, ["pod", *words])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr

    return ask


# --- finding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [("status",), ("explain",), ("logs",), ("kill", "app"), ("exec", "app", "--", "true")]
)
def test_without_a_running_pod_the_verbs_say_so(ask, words):
    """Exit code 1, and how to start one."""
    code, _, said = ask(None, *words)
    assert code == 1
    assert said == "podpatterns: no pod is running here; start one with: podpatterns pod run MANIFEST\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("logs",), "several pods are running; name one of shop, cart"),
        (("logs", "app"), 'several pods have a container "app"; name one of shop/app, cart/app'),
        (("logs", "nope"), 'no pod and no container is called "nope"; running: shop (migrate, '),
        (("logs", "shop/flakey"), 'the pod "shop" has no container "flakey"; did you mean "flaky"?'),
        (("logs", "shop", "-c", "slow"), 'the pod "shop" has no container "slow"'),
        (("kill", "shop"), 'the pod "shop" has several containers; name one of shop/migrate, shop/app, shop/flaky'),
        (("status", "nope"), 'no pod and no container is called "nope"'),
        (("status", "other/pod.yaml"), "no pod of other/pod.yaml is running here; start it with: podpatterns pod run"),
        (("status", "--run", "1"), "the process 1 runs no pods"),
        (("kill", "migrate"), "shop/migrate is not running: is completed"),
        (("exec", "flaky", "--", "true"), "shop/flaky is not running: ended with exit code 3 (why), and is started"),
        (("logs", "slow", "--previous"), "cart/slow has not been restarted, so there is no previous run"),
    ],
)  # fmt: skip
def test_what_is_not_there_or_not_unique_is_said_with_what_there_is(shared, ask, words, said):
    """Exit code 1, one line."""
    code, out, err = ask(shared, *words)
    assert (code, out) == (1, "")
    assert err.startswith(f"podpatterns: {said}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("exec", "flaky", "ls"), "put -- before the command"),
        (("exec", "shop"), "name the command behind --"),
        (("kill", "slow", "--signal", "FOO"), '"FOO" is no signal; use a number, or a name such as KILL'),
        (("logs", "slow", "--tail", "-1"), "-1 is not in the range"),
        (("logs", "slow", "--since", "yesterday"), "--since"),
        (("status", "-o", "table"), "'table' is not one of"),
        (("stats",), 'did you mean "status"?'),
    ],
)
def test_wrong_usage(shared, ask, words, said):
    """Exit code 2, and what would be right."""
    code, _, err = ask(shared, *words)
    assert code == 2
    assert said in err


def test_two_runs_with_a_pod_of_one_name_are_told_apart_by_process(begin, ask):
    """--run takes the process id that the error and `pod status` show."""
    first, second = begin(CART), begin(CART)
    for running in (first, second):
        running.until(what="started", container="slow")
    for folder in second.folder.glob("podpatterns-*"):  # as if both had the same TMPDIR
        (first.folder / folder.name).symlink_to(folder)
    code, _, err = ask(first, "logs", "slow")
    assert code == 1
    assert f"{first.process.pid} (cart/slow)" in err
    assert f"{second.process.pid} (cart/slow)" in err
    assert ask(first, "logs", "slow", "--run", str(second.process.pid))[0] == 0


def test_a_run_that_does_not_answer_is_named(begin, ask, monkeypatch):
    """One that is stopped, or that waits for its terminal, is not passed over as if it were not there."""
    monkeypatch.setattr("podpatterns.pod.remote.PATIENCE", 0.3)
    running = begin(CART)
    running.until(what="started", container="slow")
    running.process.send_signal(signal.SIGSTOP)
    try:
        code, _, err = ask(running, "status")
    finally:
        running.process.send_signal(signal.SIGCONT)
    assert code == 1
    assert err.startswith(f"podpatterns: the run in process {running.process.pid} does not answer")


def test_a_run_that_ends_between_two_questions_is_said_to_have(begin):
    """No traceback: it has just ended."""
    from podpatterns.pod import remote

    running = begin(CART)
    running.until(what="started", container="slow")
    (folder,) = running.folder.glob("podpatterns-*")
    target = remote.Target(remote.Run(folder, running.process.pid, ()), "cart", "slow")
    assert target.ask("explain")["pod"] == "cart"
    running.close()
    with pytest.raises(remote.Refused, match=f"the run of cart, process {running.process.pid}, has just ended"):
        target.ask("explain")


def test_a_run_that_was_killed_or_belongs_to_another_is_passed_over(shared, ask, tmp_path):
    """A folder without a socket, one with a dead socket, one with garbage behind it."""
    for name in ("podpatterns-empty", "podpatterns-dead"):
        (shared.folder / name).mkdir(exist_ok=True)
    (shared.folder / "podpatterns-dead/control.sock").touch()
    assert ask(shared, "status")[0] == 0


# --- looking ------------------------------------------------------------------------------------------------------


def test_status_shows_each_pod_with_its_containers(shared, ask):
    """Phase, readiness, restarts, and why one is not running."""
    code, out, _ = ask(shared, "status")
    assert code == 0
    assert f"process {shared.process.pid}" in out
    assert "migrate  completed" in out
    assert re.search(r"CrashLoopBackOff, \d restarts?: ended with exit code 3 \(why\), and is started again in", out)
    assert "running, not ready: its readiness probe has not passed: false: exit code 1" in out


def test_a_pod_can_be_named_by_its_manifest(shared, ask):
    """As it was started: the file, wherever one stands."""
    code, out, _ = ask(shared, "status", str(shared.folder / "pods.yaml"))
    assert (code, "shop" in out, "cart" in out) == (0, True, True)
    assert ask(shared, "logs", str(shared.folder / "pods.yaml"), "-c", "slow")[1] == "up\n"


def test_explain_names_only_what_is_held_up(shared, ask):
    """The pod that waits for nothing says that."""
    _, out, _ = ask(shared, "explain", "cart/slow")
    assert "running, not ready: its readiness probe has not passed" in out
    assert "nothing is waited for: app has completed, or is running and ready" in ask(shared, "explain", "cart/app")[1]
    said = json.loads(ask(shared, "explain", "shop", "-o", "json")[1])
    assert {each["name"]: each["held_up"] for each in said[0]["containers"]} == {
        "migrate": False, "app": False, "flaky": True,
    }  # fmt: skip


def test_status_in_kubernetes_own_form(shared, ask):
    """Of one pod the Pod, of several a List; times, reasons and exit codes are where kubectl shows them."""
    document = json.loads(ask(shared, "status", "shop", "-o", "json")[1])
    assert (document["kind"], document["metadata"]["labels"]) == ("Pod", {"app": "shop"})
    status = document["status"]
    assert status["phase"] == "Running"
    (migrate,) = status["initContainerStatuses"]
    assert migrate["state"]["terminated"]["reason"] == "Completed"
    flaky = next(each for each in status["containerStatuses"] if each["name"] == "flaky")
    assert flaky["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert flaky["lastState"]["terminated"]["exitCode"] == 3
    assert flaky["lastState"]["terminated"]["message"] == "why\n"
    both = yaml.safe_load(ask(shared, "status", "-o", "yaml")[1])
    assert [item["metadata"]["name"] for item in both["items"]] == ["shop", "cart"]


def test_logs_of_a_container(shared, ask):
    """By its name, as pod/container, or as a pod and -c; without one, of the first main container, which is said."""
    assert ask(shared, "logs", "flaky")[1] == "hello\n"
    assert ask(shared, "logs", "flaky", "--previous")[1] == "hello\n"
    assert ask(shared, "logs", "cart/slow")[1] == ask(shared, "logs", "cart", "-c", "slow")[1] == "up\n"
    code, out, err = ask(shared, "logs", "shop")
    assert (code, out) == (0, "up\n")
    assert 'the log of "app"' in err
    assert ask(shared, "logs", "flaky", "--tail", "0")[1] == ""
    assert ask(shared, "logs", "slow", "--since", "1ms")[1] == ""
    assert ask(shared, "logs", "slow", "--since", "1h")[1] == "up\n"
    assert ask(shared, "logs", "slow", "--timestamps")[1].endswith("Z up\n")


def run(running, *words, **more):
    environment = {**os.environ, "TMPDIR": str(running.folder)}
    return subprocess.run([*CLI, *words], env=environment, capture_output=True, text=True, check=False, **more)


def test_exec_runs_where_the_container_is(shared):
    """Its variables and mounts, our input, the command's exit code; one that is not there is 127."""
    done = run(
        shared, "exec", "shop", "-c", "app", "--", "sh", "-c", "cat /data/f; echo $COLOUR; cat; exit 7", input="in\n"
    )
    assert (done.returncode, done.stdout) == (7, "migrated\nred\nin\n")
    done = run(shared, "exec", "shop/app", "--", "no-such-program")
    assert done.returncode == 127
    assert done.stderr == 'podpatterns: "no-such-program" is not on this machine\n'


TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def test_exec_on_a_terminal_gives_it_a_shell(shared):
    """Without a command: a shell that is the terminal's foreground job; Ctrl-C ends what runs in it, not the shell."""
    command = [sys.executable, "-c", TERMINAL, *CLI, "exec", "shop/app"]
    environment = {**os.environ, "TMPDIR": str(shared.folder), "TERM": "dumb"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as shell:
        said = b""

        def until(text):
            nonlocal said
            while text not in said:
                more = os.read(shell.stdout.fileno(), 4096)
                assert more, said
                said += more

        until(b"# " if os.getuid() == 0 else b"$ ")
        os.write(shell.stdin.fileno(), b"sh -c 'echo colour $COLOUR; exec sleep 100'\n")
        until(b"colour red")
        os.write(shell.stdin.fileno(), b"\x03")
        os.write(shell.stdin.fileno(), b"exit 5\n")
        said += shell.stdout.read()
        assert (shell.wait(10), b"tty" in said) == (5, False), said


AS_A_USER = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "sh", "-c"]


def test_whoever_has_no_rights_can_probe_and_exec_as_well(tmp_path):
    """Exec probes and `pod exec` join a container's PID namespace; afterwards others still start in their own."""
    if subprocess.run([*AS_A_USER, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives this user no user namespace")
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(pod(shell("app", readinessProbe=probe), name="user")))
    ready = f'until {" ".join(CLI)} status 2> /dev/null | grep -q "running and ready"; do sleep 0.1; done'
    script = f"""
        {" ".join(CLI)} run pod.yaml > out 2>&1 & run=$!
        {ready}
        {" ".join(CLI)} exec app -- sh -c 'cat /proc/1/cmdline | tr "\\0" " "; echo; id -u'
        {" ".join(CLI)} kill app
        until grep -q restarted out; do sleep 0.1; done
        {ready}
        kill -INT $run; wait $run; echo $?"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*AS_A_USER, script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    first, user, kill, code = done.stdout.splitlines()
    assert first.startswith("sh -c trap"), done.stderr + (tmp_path / "out").read_text()
    assert (user, kill, code) == ("1000", "SIGKILL sent to user/app", "0"), (tmp_path / "out").read_text()


# --- touching -----------------------------------------------------------------------------------------------------


def test_kill_sends_a_signal_and_the_restart_policy_does_the_rest(begin, ask):
    """The timeline says who it was; the log of the killed run is the previous one."""
    running = begin(CART)
    running.until(type="output", container="slow")
    assert ask(running, "kill", "cart/app")[1] == "SIGKILL sent to cart/app\n"
    assert running.until(what="signalled")["detail"] == "SIGKILL, by hand"
    assert running.until(what="ended", container="app")["code"] == 137
    running.until(what="restarted", container="app")
    assert ask(running, "logs", "cart/app", "-p")[1] == "up\n"


def test_follow_gives_lines_as_they_come_and_ends_with_the_container(begin, ask):
    """The first lines, then those that are written later, then the end."""
    rest = "i=6; while [ $i -le 20 ]; do echo $i; i=$((i+1)); done; exit 0"
    script = f"trap '{rest}' USR1; for i in 1 2 3 4 5; do echo $i; done; sleep 1000 & wait"
    running = begin(pod(shell("count", script), restartPolicy="Never"))
    running.until(type="output", line="5")
    environment = {**os.environ, "TMPDIR": str(running.folder)}
    command = [*CLI, "logs", "-f", "count"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as following:
        first = [following.stdout.readline() for _ in range(5)]
        assert ask(running, "kill", "count", "-s", "USR1")[0] == 0
        assert first + following.stdout.readlines() == [f"{n}\n" for n in range(1, 21)]
        assert following.wait(10) == 0


def test_a_reader_that_has_enough_ends_quietly(begin):
    """`pod logs -f | head -1`, and Ctrl-C: no traceback."""
    chatty = shell("chatty", "trap 'exit 0' TERM; while :; do echo x; sleep 0.01; done")
    running = begin(pod(chatty))
    running.until(type="output")
    environment = {**os.environ, "TMPDIR": str(running.folder)}
    follow = [*CLI, "logs", "-f", "test"]
    with subprocess.Popen(follow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as first:
        assert first.stdout.readline() == b"x\n"
        first.stdout.close()
        assert (first.wait(10), first.stderr.read()) == (0, b"")
    with subprocess.Popen(follow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as second:
        assert second.stdout.readline() == b"x\n"
        second.send_signal(signal.SIGINT)
        second.communicate(timeout=10)
        assert second.returncode == 130


def test_a_run_that_ends_lets_its_followers_go(begin):
    """They get the last line, and the end."""
    running = begin(pod(shell("main", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")))
    running.until(type="output")
    environment = {**os.environ, "TMPDIR": str(running.folder)}
    with subprocess.Popen(
        [*CLI, "logs", "-f", "test"], stdout=subprocess.PIPE, text=True, env=environment
    ) as following:
        assert following.stdout.readline() == "up\n"
        running.process.send_signal(signal.SIGINT)
        assert following.stdout.read() == "bye\n"
        assert following.wait(10) == 0


def test_who_says_nothing_or_nonsense_at_the_socket_does_no_harm(begin, ask):
    """Silence, garbage, an unknown verb: the run goes on, and answers the next one."""
    import socket

    running = begin(CART)
    running.until(type="output", container="slow")
    (path,) = running.folder.glob("podpatterns-*/control.sock")
    assert oct(path.parent.stat().st_mode)[-3:] == "700"
    here = os.getcwd()  # noqa: PTH109
    os.chdir(path.parent)
    try:
        silent = socket.socket(socket.AF_UNIX)
        silent.connect(path.name)
        for said in (b"garbage\n", b"[]\n", b'{"verb": "no"}\n', b'{"verb": "logs", "pod": "cart"}\n', b"{}"):
            with socket.socket(socket.AF_UNIX) as other:
                other.connect(path.name)
                other.sendall(said)
                other.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: other.recv(4096), b""))
                assert answer == b"" or b"different versions" in answer
    finally:
        os.chdir(here)
    began = time.monotonic()
    assert ask(running, "status")[0] == 0
    assert time.monotonic() - began < 2
    silent.close()
