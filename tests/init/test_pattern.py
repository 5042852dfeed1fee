"""The pattern as a whole: order, deadline, failure, interruption, what is shown."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from podpatterns.errors import ConfigError
from podpatterns.init.config import InitConfig
from podpatterns.init.events import InitEvents
from podpatterns.init.runtime import Init, InitError
from podpatterns.init.steps import StepConfig
from podpatterns.init.steps.render import RenderConfig
from podpatterns.init.steps.run import RunConfig
from podpatterns.init.steps.wait import ConditionConfig, WaitConfig
from podpatterns.runtime import config as configuration
from podpatterns.runtime.components import load_all, slot_of
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.schema import component_type
from podpatterns.runtime.service import Context
from podpatterns.runtime.units import Duration


def run_step(*argv: str, **more: Any) -> RunConfig:
    return RunConfig(command=argv, **more)


async def test_all_done(tmp_path: Path) -> None:
    """Steps run in order; afterwards every check holds and the facts say how long each took."""
    out = tmp_path / "out"
    steps = tuple(run_step("sh", "-c", f"echo {word} >> {out}") for word in ("one", "two"))
    async with asyncio.timeout(10), Init(InitConfig(steps=steps)) as init:
        await init.finished()
    assert out.read_text() == "one\ntwo\n"
    status = init.status()
    assert all(check.ok for check in status.checks)
    assert list(status.facts) == ["run 1", "run 2"]


async def test_deadline_over(tmp_path: Path) -> None:
    """When the deadline is over, the error names the step, what it waits for, and the remedy."""
    wait = WaitConfig(
        name="database", until=(ConditionConfig(file=str(tmp_path / "never")),), interval=Duration("20ms")
    )
    init = Init(InitConfig(steps=(wait,), deadline=Duration("150ms")), Context())
    await init.start()
    with pytest.raises(
        InitError, match=r"init step database \(1 of 1\) was not done within 150ms.*never \(not there\).*init.deadline"
    ):
        await init.run()
    assert [check.ok for check in init.status().checks] == [False]


async def test_deadline_ends_what_hangs(tmp_path: Path) -> None:
    """A command that hangs is killed at the deadline, with everything that it has started."""
    pid = tmp_path / "pid"
    init = Init(
        InitConfig(steps=(run_step("sh", "-c", f"sleep 60 & echo $! > {pid}; wait"),), deadline=Duration("300ms")),
        Context(),
    )
    await init.start()
    with pytest.raises(InitError, match="still at work"):
        await init.run()
    assert ended(pid)


def ended(pid: Path) -> bool:
    """Whether a process that was killed ends: the signal is on its way when whoever has sent it goes on."""
    try:
        descriptor = os.pidfd_open(int(pid.read_text()))
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)


async def test_fatal_ends_at_once() -> None:
    """An exit code that is declared fatal is not tried again, and later steps do not run."""
    init = Init(InitConfig(steps=(run_step("sh", "-c", "echo bad usage >&2; exit 2"), run_step("true"))), Context())
    await init.start()
    async with asyncio.timeout(5):
        with pytest.raises(InitError, match=r"run 1 \(1 of 2\) failed: sh: exit code 2: bad usage"):
            await init.run()
    assert init.status().facts["run 2"].startswith("pending")  # type: ignore[union-attr]


async def test_retry_until_it_works(tmp_path: Path, log: Any, telemetry: Any) -> None:
    """Any other exit code is tried again, and each try is counted."""
    script = f'echo x >> {tmp_path}/tries; test "$(wc -l < {tmp_path}/tries)" -ge 3'
    init = Init(InitConfig(steps=(run_step("sh", "-c", script),)), Context(telemetry), dice=lambda: 0.01)
    await init.start()
    async with asyncio.timeout(10):
        await init.run()
    assert (tmp_path / "tries").read_text() == "x\n" * 3
    assert b'podpatterns_init_step_attempts_total{outcome="retried",step="run"} 2.0' in telemetry.exposition()
    assert [event for event, _ in log.lines].count("init.step.done") == 1


async def test_leaving_early_is_an_error(tmp_path: Path) -> None:
    """Whoever stops before the steps are done is told: an exit code of 0 would start the primary container."""
    wait = WaitConfig(until=(ConditionConfig(file=str(tmp_path / "never")),))
    with pytest.raises(InitError, match="told to stop before step wait was done"):
        async with Init(InitConfig(steps=(wait,))):
            pass


def test_names() -> None:
    """Steps without a name go by their type, numbered where there are several; names are unique."""
    steps = (
        run_step("true"),
        RenderConfig(template="a", target="b"),
        run_step("true"),
        run_step("true", name="migrate"),
    )
    assert InitConfig(steps=steps).names == ("run 1", "render", "run 3", "migrate")
    with pytest.raises(ValueError, match='two steps are called "x"'):
        InitConfig(steps=(run_step("true", name="x"), run_step("true", name="x")))


def test_bad_configuration() -> None:
    """Every problem is reported at once, with its line."""
    text = (
        "init:\n  deadline: 0s\n  steps:\n  - type: wait\n    until: []\n  - type: gti\n"
        "  - {type: git, repository: 'ext::sh', root: rel}\n"
    )
    with pytest.raises(ConfigError) as caught:
        configuration.loads([("init.yaml", text)])
    told = "\n".join(map(str, caught.value.problems))
    assert "init.yaml:5:12: init.steps[0].until: name at least one condition" in told
    assert 'unknown init step "gti"; did you mean "git"?' in told
    assert "init.steps[2].root" in told


@pytest.mark.parametrize("cls", load_all(slot_of(StepConfig)), ids=component_type)
async def test_compliance(cls: type[StepConfig], telemetry: Any) -> None:
    """Every step has a valid example, explains itself in a line, and can be built without touching anything."""
    config = decode(parse(cls.EXAMPLE)[0], StepConfig)
    assert type(config) is cls
    assert config.explain()
    assert all(isinstance(line, str) and "\n" not in line for line in config.explain())
    init = Init(InitConfig(steps=(config,)), Context(telemetry))
    assert b"podpatterns_init_step_attempts" in telemetry.exposition()
    assert len(msgspec.json.encode(init.status())) < 4096


def test_explain(tmp_path: Path) -> None:
    """`explain` says what each step would do; a sample is shown as the render step renders it, without secrets."""
    (tmp_path / "password").write_text("hunter2")
    render = RenderConfig(template="t", target="f", values={"A": "1"}, secrets={"P": str(tmp_path / "password")})  # type: ignore[dict-item]
    config = InitConfig(steps=(render, run_step("true")))
    lines = list(config.explain("a=${A} p=${P}"))
    assert lines[0].startswith("1. render: render t into f")
    assert "   | a=1 p=***" in lines
    assert lines[-1].startswith("all 2 steps within 5m")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM ends the process soon, with its children, exit code 1, and JSON of at most 4096 bytes that says why."""
    termination, pid = tmp_path / "termination", tmp_path / "pid"
    termination.touch()
    os.mkfifo(tmp_path / "started")
    script = f"echo $$ > {pid}; echo > {tmp_path / 'started'}; exec sleep 60"
    body = {"init": {"steps": [{"type": "run", "command": ["sh", "-c", script]}]}}
    (tmp_path / "init.yaml").write_bytes(msgspec.json.encode(body))
    process = subprocess.Popen(
        [sys.executable, "-m", "podpatterns", "run", str(tmp_path / "init.yaml")],
        env={**os.environ, "PODPATTERNS_TERMINATION_LOG": str(termination)},
        stderr=subprocess.PIPE,
    )
    (tmp_path / "started").read_text()  # returns when the command has started
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1, errors
    assert b"told to stop before step run was done" in errors
    assert ended(pid)
    message = termination.read_bytes()
    assert len(message) <= 4096
    checks = msgspec.json.decode(message)["patterns"]["init"]["checks"]
    assert checks[0]["ok"] is False


def test_process_ends(tmp_path: Path) -> None:
    """A process whose steps are done ends by itself with exit code 0."""
    (tmp_path / "init.yaml").write_text("init: {steps: [{type: run, command: ['true']}]}\n")
    done = subprocess.run(
        [sys.executable, "-m", "podpatterns", "run", str(tmp_path / "init.yaml")],
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr


async def test_a_new_reason_is_news(telemetry: Any, log: Any) -> None:
    """A step that is tried often says why at once, at each doubling, and whenever there is another reason."""
    events = InitEvents(telemetry)
    for attempt, reason in enumerate(["a", "a", "a", "a", "a", "b", "b"], 1):
        events.step_retried("wait", reason, attempt, 0.1)
    said = [(level, fields["attempt"]) for level, _, fields in log.levels]
    assert said == [
        ("info", 1), ("info", 2), ("debug", 3), ("info", 4), ("debug", 5), ("info", 6), ("debug", 7)
    ]  # fmt: skip


# --- again and again -------------------------------------------------------------------------------------------------


class Turns:
    """A command that does what it finds in a file, and a way to wait for what it has done."""

    def __init__(self, folder: Path) -> None:
        self.script, self.log = folder / "script", folder / "log"

    def do(self, script: str) -> None:
        new = self.script.with_suffix(".new")
        new.write_text(script)
        new.rename(self.script)

    def step(self, **more: Any) -> RunConfig:
        return run_step("sh", "-c", f"echo turn >> {self.log}; . {self.script}", **more)


async def until(condition: Callable[[], Any]) -> None:
    """Look again until it holds: what another process does to a file is no event."""
    while not condition():  # noqa: ASYNC110 - as the docstring says
        await asyncio.sleep(0.02)


async def test_every(tmp_path: Path) -> None:
    """With `every` the steps are gone through again; a round that fails is counted, and followed by the next one."""
    turns = Turns(tmp_path)
    turns.do("true")
    errors = tmp_path / "errors" / "last"
    config = InitConfig(steps=(turns.step(),), every=Duration("1s"), error_file=str(errors))
    async with asyncio.timeout(20), Init(config) as init:
        await init.finished()
        assert init.started
        turns.do("exit 2")
        await until(errors.exists)
        said = msgspec.json.decode(errors.read_bytes())
        assert (said["step"], said["retried"]) == ("run", False)
        assert "exit code 2" in said["reason"]
        assert init.context.readiness.ready
        turns.do("true")
        await until(lambda: not errors.exists())
        facts = init.status().facts
        assert facts["failed rounds"] == 1
        assert facts["rounds"] == 2
        assert all(check.ok for check in init.status().checks)


async def test_a_hook(tmp_path: Path, repository: Any) -> None:
    """A run step whose input is a git step's marker runs once for each new commit, until it succeeds."""
    repository.commit(index="one")
    seen, marker = tmp_path / "seen", tmp_path / "marker"
    git = {"type": "git", "repository": str(repository.path), "ref": "main", "root": str(tmp_path / "root")}
    hook = {"type": "run", "command": ["sh", "-c", f"cat {marker} >> {seen}"], "stamp": str(tmp_path / "stamp")}
    body = {"every": "1s", "steps": [git | {"marker": str(marker)}, hook | {"inputs": [str(marker)]}]}
    config = configuration.loads([("init.yaml", msgspec.json.encode({"init": body}).decode())]).patterns["init"]
    assert isinstance(config, InitConfig)
    async with asyncio.timeout(30), Init(config) as init:
        await init.finished()
        commit = repository.commit(index="two")
        await until(lambda: commit in seen.read_text())
        rounds = init.events.rounds
        await until(lambda: init.events.rounds >= rounds + 2)
    assert len(seen.read_text().split()) == 2


async def test_the_first_round_must_succeed(tmp_path: Path) -> None:
    """Until then it is neither started nor ready; a hopeless step ends it as it does without `every`."""
    turns = Turns(tmp_path)
    turns.do("exit 2")
    init = Init(InitConfig(steps=(turns.step(),), every=Duration("1s")), Context())
    await init.start()
    assert not init.started
    assert not init.context.readiness.ready
    with pytest.raises(InitError, match="exit code 2"):
        await init.run()


def test_as_a_sidecar(tmp_path: Path, unused_tcp_port: int) -> None:
    """The startup probe passes when all steps are done, and not before; SIGTERM in a later round is no failure."""
    gate = tmp_path / "gate"
    (tmp_path / "init.yaml").write_text(
        f"init: {{every: 1s, steps: [{{type: wait, until: [{{file: {gate}}}]}}]}}\n"
        f"runtime: {{admin: '127.0.0.1:{unused_tcp_port}'}}\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "podpatterns", "run", str(tmp_path / "init.yaml")], stderr=subprocess.PIPE
    )

    def probe(what: str) -> int:
        command = [sys.executable, "-m", "podpatterns", "probe", what, "--admin", f"127.0.0.1:{unused_tcp_port}"]
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode

    try:
        assert process.stderr is not None
        while b"init.step.started" not in process.stderr.readline():
            assert process.poll() is None
        assert probe("live") == 0
        assert probe("startup") != 0
        assert probe("ready") != 0
        gate.touch()
        while b"init.step.skipped" not in process.stderr.readline():
            assert process.poll() is None
        assert probe("startup") == 0
        assert probe("ready") == 0
        gate.unlink()
        while b"init.step.retried" not in process.stderr.readline():
            assert process.poll() is None
        process.terminate()
        _, said = process.communicate(timeout=10)
        assert process.returncode == 0, said
    finally:
        process.kill()
        process.communicate()
