"""A whole process: admin endpoint, reload, closing summary, signals."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import msgspec
import pytest

import podpatterns
from podpatterns.errors import ConfigError, StartError
from podpatterns.runtime import config as configuration
from podpatterns.runtime.admin import refusal
from podpatterns.runtime.config import PatternConfig, ProcessConfig, RuntimeConfig
from podpatterns.runtime.process import Process, Reloader
from podpatterns.runtime.service import Check, Pattern, Reply, Route, Status
from podpatterns.runtime.telemetry import LEVELS, LevelGate, Telemetry
from podpatterns.runtime.units import Address, Duration, Url
from podpatterns.runtime.watch import Watch


class EchoConfig(PatternConfig, frozen=True, kw_only=True):
    """A pattern for these tests."""

    word: str = "hello"
    store: Url = Url("http://shop:secret@store/")

    def build(self, context):
        return Echo(self, context)


class Echo(Pattern[EchoConfig]):
    """Remembers what it was told."""

    def __init__(self, config, context=None):
        super().__init__(config, context)
        self.started = asyncio.Event()

    refuse = False

    async def start(self):
        self.started.set()

    async def reload(self, config):
        if self.refuse:
            raise StartError("port 80 is in use")

    def routes(self):
        async def word(_request):
            return Reply({"word": self.config.word})

        return [Route("GET", "/word", word, public=True)]

    def status(self):
        return Status({"words": 1}, [Check("said it", ok=True)])


class Recorder:
    """A logger that keeps what was logged."""

    def __init__(self):
        self.events = []

    def __getattr__(self, level):
        return lambda event, **fields: self.events.append((level, event, fields))

    def named(self, name):
        return [fields for _, event, fields in self.events if event == name]


@pytest.fixture
def log():
    return Recorder()


@pytest.fixture
def process(log):
    runtime = RuntimeConfig(admin=Address("127.0.0.1:0"), grace=Duration("2s"))
    return Process(ProcessConfig({"echo": EchoConfig()}, runtime), telemetry=Telemetry(log))


async def get(process, path, method="GET", **options):
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{process.admin.port}{path}", **options) as answer,
    ):
        return answer.status, await answer.text()


async def test_probes_follow_the_phases(process):
    """Live always; ready until a latch is held or a drain begins; startup succeeds once started."""
    async with process.supervisor:
        assert (await get(process, "/livez"))[0] == 200
        assert (await get(process, "/readyz"))[0] == 200
        assert (await get(process, "/startupz"))[0] == 200
        latch = process.context.readiness.latch("store", "unreachable")
        status, body = await get(process, "/readyz")
        assert status == 503
        assert msgspec.json.decode(body)["waiting"] == {"store": "unreachable"}
        latch.release()
        assert (await get(process, "/drain?reason=preStop", "POST"))[0] == 202
        status, body = await get(process, "/readyz")
        assert (status, "draining: preStop" in body) == (503, True)
        assert (await get(process, "/livez"))[0] == 200


async def test_metrics_and_routes_of_the_patterns_are_served(process):
    """One registry per process; a pattern's own routes stand beside the common ones."""
    async with process.supervisor:
        assert 'podpatterns_runtime_phase{phase="ready"} 1.0' in (await get(process, "/metrics"))[1]
        assert msgspec.json.decode((await get(process, "/word"))[1]) == {"word": "hello"}
        assert msgspec.json.decode((await get(process, "/status"))[1])["patterns"]["echo"]["facts"] == {"words": 1}


async def test_the_effective_configuration_shows_no_secret(process):
    """`/config` holds defaults too, and hides passwords."""
    async with process.supervisor:
        status, body = await get(process, "/config")
    assert status == 200
    assert "secret" not in body
    assert msgspec.json.decode(body)["runtime"]["grace"] == "2s"


@pytest.mark.parametrize(
    ("peer", "host", "origin", "refused"),
    [
        ("127.0.0.1", "localhost:9801", None, None),
        ("127.8.0.1", "127.0.0.1", None, None),
        ("::1", "[::1]:9801", "http://localhost:3000", None),
        ("::ffff:127.0.0.1", "localhost", None, None),
        ("10.1.2.3", "localhost", None, "not from loopback"),
        ("::ffff:10.1.2.3", "localhost", None, "not from loopback"),
        (None, "localhost", None, "not from loopback"),
        ("127.0.0.1", "evil.example:9801", None, "the Host is not loopback"),
        ("127.0.0.1", "", None, "the Host is not loopback"),
        ("127.0.0.1", "localhost", "https://evil.example", "a cross-site request"),
        ("127.0.0.1", "localhost", "null", "a cross-site request"),
        ("127.0.0.1", "[::1", None, "the Host is not loopback"),
        ("127.0.0.1", "localhost", "http://[", "a cross-site request"),
    ],
)
def test_control_is_for_loopback_alone(peer, host, origin, refused):
    """Neither the network, nor a rebound name, nor a web page reaches what is not public."""
    assert refusal(peer, host, origin) == refused


async def test_a_cross_site_drain_is_refused_and_counted(process, log):
    """The refusal is visible: 403, a log event, a counter; and nothing was drained."""
    async with process.supervisor:
        status, _ = await get(process, "/drain", "POST", headers={"Origin": "https://evil.example"})
        assert status == 403
        assert process.context.readiness.ready
        assert 'admin_refused_total{reason="a cross-site request"} 1.0' in (await get(process, "/metrics"))[1]
    assert log.named("runtime.admin.refused") == [{"path": "/drain", "reason": "a cross-site request"}]


def test_nothing_that_changes_can_be_public():
    """The type of a route keeps it so."""
    with pytest.raises(ValueError, match="only reading can be public"):
        Route("POST", "/x", None, public=True)


async def test_the_log_level_can_be_changed_while_running(process):
    """PUT /loglevel takes one of the levels, and says which there are."""
    async with process.supervisor:
        assert (await get(process, "/loglevel", "PUT", data="debug"))[0] == 200
        status, body = await get(process, "/loglevel", "PUT", data="loud")
    assert process.context.telemetry.gate.level == "debug"
    assert (status, all(level in body for level in LEVELS)) == (400, True)


async def test_a_taken_admin_port_says_what_to_do(process, log):
    """A StartError that names the address, the reason and the remedy."""
    async with process.supervisor:
        taken = ProcessConfig({}, RuntimeConfig(admin=Address(f"127.0.0.1:{process.admin.port}")))
        second = Process(taken, telemetry=Telemetry(log))
        with pytest.raises(StartError, match=r"cannot listen on 127\.0\.0\.1:\d+: .*set runtime\.admin"):
            async with second.supervisor:
                pytest.fail("must not start")


async def test_the_closing_summary_goes_to_the_termination_log(log, tmp_path, monkeypatch):
    """Facts and checks of every pattern, at most 4096 bytes; written only where the file exists."""
    path = tmp_path / "termination-log"
    monkeypatch.setenv("PODPATTERNS_TERMINATION_LOG", str(path))
    config = ProcessConfig({"echo": EchoConfig()}, RuntimeConfig(admin="off"))
    for exists in (False, True):
        if exists:
            path.touch()
        process = Process(config, telemetry=Telemetry(log))
        process.supervisor.request_drain("test")
        await process.serve()
        assert path.exists() is exists
    assert msgspec.json.decode(path.read_bytes()) == {
        "phase": "stopped",
        "patterns": {"echo": {"facts": {"words": 1}, "checks": [{"name": "said it", "ok": True, "detail": ""}]}},
    }


@pytest.mark.parametrize("place", ["", "x" * 300, "file/below"], ids=["a folder", "no name", "below a file"])
async def test_a_summary_that_cannot_be_written_hides_no_error(log, tmp_path, monkeypatch, place):
    """What ends the process is what it has failed on, wherever the summary was to go."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("PODPATTERNS_TERMINATION_LOG", str(tmp_path / place))
    process = Process(ProcessConfig({"echo": EchoConfig()}, RuntimeConfig(admin="off")), telemetry=Telemetry(log))

    async def fail():
        raise StartError("port 80 is in use")

    process.patterns["echo"].start = fail
    with pytest.raises(StartError, match="port 80 is in use"):
        await process.serve()
    assert len(log.named("runtime.termination_log.failed")) == (place != "file/below")


async def test_the_termination_log_names_the_failure(log, tmp_path, monkeypatch):
    """Kubernetes shows why a container did not start, in the words of the error."""
    path = tmp_path / "termination-log"
    path.touch()
    monkeypatch.setenv("PODPATTERNS_TERMINATION_LOG", str(path))
    process = Process(ProcessConfig({"echo": EchoConfig()}, RuntimeConfig(admin="off")), telemetry=Telemetry(log))

    async def fail():
        raise StartError("port 80 is in use; set another")

    process.patterns["echo"].start = fail
    with pytest.raises(StartError):
        await process.serve()
    assert msgspec.json.decode(path.read_bytes())["error"] == "port 80 is in use; set another"


async def test_sigterm_drains(process):
    """The first SIGTERM makes the process end by itself, with everything drained."""
    serving = asyncio.create_task(process.serve())
    await process.patterns["echo"].started.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
    assert process.supervisor.phase.value == "stopped"


def test_what_stays_is_left_out_of_collections():
    """A process that serves does not stop to look at what it has loaded at its start, again and again."""
    code = """
import gc
from podpatterns.runtime.config import ProcessConfig, RuntimeConfig
from podpatterns.runtime.process import run
from podpatterns.runtime.supervisor import Supervisor

async def finished(supervisor):
    print(gc.get_freeze_count() > 10_000)

Supervisor.finished = finished
run(ProcessConfig({}, RuntimeConfig(admin="off", log_level="error")))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def test_large_reads_find_memory_that_is_there():
    """What is read in large pieces does not make the system map the same pages anew each time (glibc)."""
    code = """
import resource
from podpatterns.runtime.process import settle

def read(count):
    for _ in range(count):
        data = b"x" * 256_000
        rest = data[60:]
        del data, rest

settle()
read(10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
read(1000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 1000


# --- reload -----------------------------------------------------------------------------------------------------------


def publish(volume: Path, text: str, generation: int) -> None:
    """Update a ConfigMap volume as the kubelet does: a new directory, then a rename of the `..data` link."""
    data = volume / f"..{generation}"
    data.mkdir(parents=True)
    (data / "echo.yaml").write_text(text)
    link = volume / "..data_tmp"
    link.symlink_to(data.name)
    link.rename(volume / "..data")
    if not (volume / "echo.yaml").is_symlink():
        (volume / "echo.yaml").symlink_to("..data/echo.yaml")


@pytest.fixture
def reloading(tmp_path, log, monkeypatch):
    """A process with the configuration in a ConfigMap volume, and a function that publishes a new one."""
    monkeypatch.setitem(configuration.PATTERNS, "echo", f"{__name__}:EchoConfig")
    monkeypatch.setattr(configuration, "pattern_class", lambda _name: EchoConfig)
    generation = iter(range(100))

    def change(text):
        publish(tmp_path, text, next(generation))

    change("echo: {word: one}\nruntime: {admin: off}\n")
    file = tmp_path / "echo.yaml"
    process = Process(configuration.load([file]), files=[file], telemetry=Telemetry(log))
    reloader = next(each for each in process.supervisor.services if isinstance(each, Reloader))
    return process, change, reloader


async def test_a_configmap_swap_is_picked_up(reloading, log):
    """The rename of `..data` is one change, seen by path, and the new word is in force."""
    process, change, reloader = reloading
    change("echo: {word: two}\nruntime: {admin: off}\n")
    assert reloader._watch.changed()
    assert not reloader._watch.changed()
    await reloader.apply()
    assert process.patterns["echo"].config.word == "two"
    assert log.named("runtime.config.reloaded") == [{"changed": ["echo"]}]


async def test_a_bad_change_keeps_the_last_good_configuration(reloading, log):
    """Every problem is logged; the process goes on as it was, and takes the next good one."""
    process, change, reloader = reloading
    change("echo: {wrod: two}\n")
    await reloader.apply()
    assert process.patterns["echo"].config.word == "one"
    (refused,) = log.named("runtime.config.refused")
    assert 'did you mean "word"?' in refused["problems"][0]
    change("echo: {word: three}\nruntime: {admin: off}\n")
    await reloader.apply()
    assert process.patterns["echo"].config.word == "three"


async def test_a_change_that_cannot_be_applied_is_tried_again_with_the_next(reloading, log):
    """A pattern that refuses keeps its configuration, and the event names the reason."""
    process, change, reloader = reloading
    process.patterns["echo"].refuse = True
    change("echo: {word: two}\nruntime: {admin: off}\n")
    await reloader.apply()
    assert process.patterns["echo"].config.word == "one"
    assert log.named("runtime.config.not_applied")[0]["error"] == "port 80 is in use"
    assert log.named("runtime.config.reloaded") == []
    process.patterns["echo"].refuse = False
    await reloader.apply()
    assert process.patterns["echo"].config.word == "two"


async def test_what_is_not_in_force_is_not_said_to_be(reloading, log):
    """A change of `runtime` alone needs a restart, and nothing has been reloaded."""
    _process, change, reloader = reloading
    change("echo: {word: one}\nruntime: {admin: off, grace: 1s}\n")
    await reloader.apply()
    assert log.named("runtime.config.needs_restart") == [{"changed": "runtime"}]
    assert log.named("runtime.config.reloaded") == []


async def test_what_only_a_restart_can_change_is_said(reloading, log):
    """A change of `runtime` is reported, and what else changed is applied."""
    process, change, reloader = reloading
    change("echo: {word: two}\nruntime: {admin: off, grace: 1s}\n")
    await reloader.apply()
    assert log.named("runtime.config.needs_restart") == [{"changed": "runtime"}]
    assert process.patterns["echo"].config.word == "two"


async def test_the_same_meaning_is_no_change(reloading, log):
    """A file written anew with other spaces changes nothing."""
    _process, change, reloader = reloading
    change("echo:\n  word: one\nruntime: {admin: off}\n")
    await reloader.apply()
    assert log.named("runtime.config.reloaded") == []


def test_a_missing_file_is_no_change(tmp_path):
    """In the middle of a swap there is nothing to read; the change is seen when the file is back."""
    path = tmp_path / "x"
    path.write_text("1")
    watch = Watch([path])
    path.unlink()
    assert not watch.changed()
    path.write_text("22")
    assert watch.changed()


# --- the document -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f.yaml:1:1: is empty; name a pattern at the top level: sidecar, ambassador, adapter, init"),
        ("- x\n", "f.yaml:1:1: must be a mapping with a pattern as its key, not a list"),
        ("sidcar: {}\n", 'f.yaml:1:1: sidcar: unknown key "sidcar"; did you mean "sidecar"?'),
        (
            "runtime: {}\n",
            "f.yaml:1:1: no pattern to run; name one at the top level: sidecar, ambassador, adapter, init",
        ),
        ("a: 1\n---\nb: 2\n", "f.yaml:3:1: holds several documents; a configuration is one"),
        (
            "apiVersion: v1\nkind: ConfigMap\n---\napiVersion: v1\nkind: Pod\n",
            f"f.yaml:1:1: {configuration.NO_CONFIGURATION}",
        ),
    ],
)
def test_a_document_without_a_pattern_is_refused(text, expected):
    """What is at the top level decides what runs, so it must be there and known."""
    with pytest.raises(ConfigError) as caught:
        configuration.loads([("f.yaml", text)])
    assert str(caught.value) == expected


def test_what_stands_in_a_file_can_be_given_from_python(monkeypatch):
    """Text or plain values, with the environment's variables, and refused with the same words."""
    monkeypatch.setenv("STORE", "store.ndjson")
    text = 'inputs: [{type: stdin}]\noutputs: [{type: file, path: "${STORE}"}]\n'
    values = {"inputs": [{"type": "stdin"}], "outputs": [{"type": "file", "path": "${STORE}"}]}
    config = podpatterns.SidecarConfig.parse(text)
    assert config == podpatterns.SidecarConfig.parse(values)
    assert config.outputs[0].path == "store.ndjson"
    with pytest.raises(ConfigError, match=r"^2:1: inputz: unknown key"):
        podpatterns.SidecarConfig.parse("outputs: []\ninputz: []\n")
    with pytest.raises(ConfigError, match=r'^1:1: sidecar: "sidecar" is for files; give what stands below it$'):
        podpatterns.SidecarConfig.parse("sidecar: {inputs: []}")
    with pytest.raises(ConfigError, match="holds 0 documents"):
        podpatterns.SidecarConfig.parse("")


@pytest.mark.parametrize("wrong", [None, "sidecar.yaml", {"inputs": []}, podpatterns.RuntimeConfig()])
def test_a_pattern_says_what_it_takes(wrong):
    """At once, and how to make one; so does `run`."""
    with pytest.raises(
        TypeError, match=r"^Sidecar takes SidecarConfig, not \w+; SidecarConfig\.parse\(\.\.\.\) makes one"
    ):
        podpatterns.Sidecar(wrong)
    with pytest.raises(ConfigError, match="is not the configuration of a pattern; build one"):
        podpatterns.run(wrong)


@pytest.mark.parametrize("mark", [podpatterns.transform, podpatterns.hook])
def test_only_a_function_can_be_marked(mark):
    """A value is refused where it is given."""
    with pytest.raises(TypeError, match="is a function, not int"):
        mark(3)


STATSD = {"type": "statsd"}


@pytest.mark.parametrize(
    ("build", "place"),
    [
        (lambda: podpatterns.AdapterConfig(inputs=[STATSD], outputs=[STATSD]), "AdapterConfig: inputs[0]"),
        (lambda: podpatterns.InitConfig(steps=[{"type": "wait"}]), "InitConfig: steps[0]"),
        (
            lambda: podpatterns.AmbassadorConfig(listeners=[STATSD], upstreams={}),
            "AmbassadorConfig: listeners",
        ),
    ],
)
def test_plain_values_in_a_constructor_are_named(build, place):
    """With the two ways that there are: the classes, or `parse`."""
    with pytest.raises(TypeError, match=re.escape(place)) as caught:
        build()
    assert "read plain values with the parse() of a pattern's Config" in str(caught.value)


def test_a_field_that_is_wrong_in_python_is_named():
    """The exception of a constructor carries the field, as the problem of a file does."""
    with pytest.raises(ValueError, match="name at least one") as caught:
        podpatterns.SidecarConfig(inputs=[], outputs=[])
    assert caught.value.__notes__ == [f"the field: {caught.value.field}"]


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path):
    """Missing, a directory, not UTF-8: each says so, with the file's name."""
    (tmp_path / "latin").write_bytes(b"\xff")
    for path, words in [("missing", "No such file"), (".", "Is a directory"), ("latin", "not UTF-8")]:
        with pytest.raises(ConfigError, match=words):
            configuration.load([tmp_path / path])


def test_the_level_gate_lets_pass_what_is_severe_enough():
    """debug < info < warning < error; the level can change at any time."""
    import structlog

    gate = LevelGate("warning")
    with pytest.raises(structlog.DropEvent):
        gate(None, "info", {})
    assert gate(None, "error", {"a": 1}) == {"a": 1}
    gate.level = "debug"
    assert gate(None, "info", {"a": 1}) == {"a": 1}
