"""A pod in virtual time: tests bring events and look at what the state machine wants done."""

import pytest

from podpatterns.pod.events import (
    Delete,
    Exited,
    HookDone,
    Kill,
    Launch,
    Probed,
    RunHook,
    RunProbe,
    Start,
    Started,
    StartFailed,
    Tell,
    Terminate,
    Tick,
)
from podpatterns.pod.lifecycle import Pod
from podpatterns.pod.manifest import of


class Simulation:
    """Plays the container runtime: `script` says how long each run of a container lasts and how it ends.

    A container's script is a list of (seconds, exit code), one for each run; after the last one it runs until it is
    told to end, which takes `ending[name]` (seconds, exit code): at once with 143 unless given.
    """

    def __init__(self, spec, *, script=None, ending=None, hooks=None, probes=None, missing=None):
        self.pod = Pod(spec)
        self.script = {name: list(runs) for name, runs in (script or {}).items()}
        self.ending = ending or {}
        self.hooks = hooks or {}
        self.probes = probes or {}
        self.missing = missing or {}  # for each container, how often what it needs is not there
        self.now = 0.0
        self.later = []
        self.story = []
        self.times = {}

    def launch(self):
        self._do(Launch())
        return self

    def delete(self, grace=None):
        self._do(Delete(grace))
        return self

    def until(self, end):
        """Let time pass up to `end`, or to where nothing happens any more."""
        while True:
            due = [(at, index) for index, (at, _) in enumerate(self.later)]
            at, index = min(due, default=(None, None))
            tick = self.pod.due
            if at is None and tick is None:
                break
            when = min(time for time in (at, tick) if time is not None)
            if when > end:
                break
            self.now = max(self.now, when)
            if at is not None and at <= when:
                self._do(self.later.pop(index)[1])
            else:
                self._do(Tick())
        if end != float("inf"):
            self.now = max(self.now, end)
        return self

    def to_the_end(self):
        self.until(self.now + 5000)
        assert self.pod.finished
        return self

    def _note(self, text):
        self.story.append(text)
        self.times.setdefault(text, self.now)

    def _in(self, seconds, event):
        self.later.append((self.now + seconds, event))

    def _do(self, event):
        if isinstance(event, Exited):
            member = self.pod.members[event.container]
            if not member.alive or member.run != event.run:
                return
            self.later = [item for item in self.later if getattr(item[1], "container", None) != event.container]
            self._note(f"{event.container} ends {event.code}")
        for action in self.pod.handle(event, self.now):
            self._act(action)

    def _act(self, action):
        match action:
            case Start(name, run):
                if self.missing.get(name):
                    self.missing[name] -= 1
                    self._note(f"{name} cannot be created")
                    reason = "CreateContainerConfigError"
                    self._in(0, StartFailed(name, run, "there is no ConfigMap", retry=True, reason=reason))
                    return
                self._note(f"{name} starts")
                self._in(0, Started(name, run))
                runs = self.script.get(name)
                if runs:
                    seconds, code = runs.pop(0)
                    self._in(seconds, Exited(name, run, code))
            case Terminate(name, run):
                self._note(f"{name} SIGTERM")
                seconds, code = self.ending.get(name, (0, 143))
                self._in(seconds, Exited(name, run, code))
            case Kill(name, run):
                self._note(f"{name} SIGKILL")
                self._in(0, Exited(name, run, 137))
            case RunHook(name, run, hook):
                self._note(f"{name} {hook}")
                seconds, ok = self.hooks.get((name, hook), (0, True))
                if seconds is not None:
                    self._in(seconds, HookDone(name, run, hook, ok))
            case RunProbe(name, run, kind):
                answer = self.probes.get((name, kind), True)
                self._in(0, Probed(name, run, kind, answer(self.now) if callable(answer) else answer, "said so"))
            case Tell():
                pass

    def starts(self, name):
        return self.story.count(f"{name} starts")


def container(name, **more):
    return {"name": name, "command": ["true"], **more}


def sidecar(name, **more):
    return container(name, restartPolicy="Always", **more)


@pytest.fixture
def play():
    """`play(inits, mains, restartPolicy=…, script=…)`: a launched simulation of such a pod."""

    def begin(inits=(), mains=None, *, script=None, ending=None, hooks=None, probes=None, missing=None, **spec):
        document = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "test"},
            "spec": {"initContainers": list(inits), "containers": list(mains or [container("main")]), **spec},
        }
        return Simulation(
            of(document).pods[0], script=script, ending=ending, hooks=hooks, probes=probes, missing=missing
        ).launch()

    begin.container, begin.sidecar = container, sidecar
    begin.of = lambda spec, **more: Simulation(spec, **more).launch()
    return begin
