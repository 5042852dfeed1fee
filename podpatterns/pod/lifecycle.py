"""A pod's life by the kubelet's rules, as a pure state machine: `Pod.handle(event, now) -> actions`.

No processes and no clock: whoever runs it brings events and the time, carries the actions out, and sends a `Tick` when
`due` has come. The rules and where they come from (kubelet: kuberuntime_manager.go, kuberuntime_container.go,
kuberuntime_termination_order.go, prober/worker.go, kubelet_pods.go):

- Start: init list in order. A plain init must have exited with 0, a sidecar only have *started* (postStart returned,
  startup probe passed) before the next one. Then the main containers in order, each as soon as the one before
  has come through its postStart. One container at a time is being started in a pod.
- Restart: main containers by the restart policy, inits unless `Never`, sidecars always; after a back-off.
- Probes: the startup probe holds back the other two. Liveness and startup stop the container; readiness only tells.
- End: every container in parallel preStop → its turn → SIGTERM → SIGKILL under one grace, of which SIGTERM gets at
  least two seconds. A sidecar's turn comes after all main containers and all later sidecars.

It is one file because it is one machine: every rule reads and sets the same stages and timers.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator

from podpatterns.pod.events import (
    Action,
    Delete,
    Event,
    Evict,
    Exited,
    HookDone,
    Kill,
    KillNow,
    Launch,
    Probed,
    ProbeKind,
    RunHook,
    RunProbe,
    Start,
    Started,
    StartFailed,
    Tell,
    Terminate,
    Tick,
    What,
)
from podpatterns.pod.member import CRASH_LOOP, STOPPING, TRY_AGAIN, Member, Stage, Termination
from podpatterns.pod.model import Kind, PodSpec, RestartPolicy

LAST_CHANCE = 2.0
"""Seconds between SIGTERM and SIGKILL that a container always gets, however much of the grace preStop has used."""

REASONS = 4
"""Different reasons that are told of one probe that goes on failing."""
EVICTED = 1.0
"""The grace of a pod that is evicted (kubelet: immediateEvictionGracePeriodSeconds)."""


class PodPhase(enum.Enum):
    """Kubernetes' phases of a pod."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class Pod:
    """The state of one pod. Times are seconds on any clock that does not go back."""

    def __init__(self, spec: PodSpec) -> None:
        self.spec = spec
        self.inits = [Member(container) for container in spec.inits]
        self.mains = [Member(container) for container in spec.mains]
        self.members = {member.name: member for member in (*self.inits, *self.mains)}
        self.ending: str | None = None
        """Why the pod is being ended; None while it is not."""
        self.failure: str | None = None
        """Why the pod has failed apart from a main container's exit code."""
        self.finished = False
        self.ready = False
        self.phase = PodPhase.PENDING
        self._launched = False
        self._at_once = False
        self._until = 0.0
        self._cursor = 0  # the init that has been started last; those before it are initialized
        self._timers: dict[tuple[str, str], float] = {}
        self._now = 0.0
        self._out: list[Action] = []
        self._on: dict[type[Event], Callable[..., None]] = {
            Launch: self._launch,
            Tick: lambda _event: None,
            Started: self._started,
            StartFailed: self._start_failed,
            Exited: self._exited,
            HookDone: self._hook_done,
            Probed: self._probed,
            Delete: self._delete,
            Evict: self._evict,
            KillNow: self._kill_now,
        }

    # --- the outside ----------------------------------------------------------------------------------------------

    @property
    def due(self) -> float | None:
        """When a Tick is wanted at the latest; None: only an event can change something."""
        return min(self._timers.values(), default=None)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event in; returns what is to be done, in order."""
        self._now = now
        self._on[type(event)](event)
        self._fire()
        self._advance()
        self._settle()
        out, self._out = self._out, []
        return out

    def when(self, name: str, purpose: str) -> float | None:
        """When something is to happen to a container (`kill`, `grace`, `restart`, a probe's name); None: it is not."""
        return self._timers.get((name, purpose))

    def before(self, member: Member) -> list[Member]:
        """The init containers and sidecars that have to be through before this container may start."""
        return self.inits[: self.inits.index(member)] if member.kind is not Kind.MAIN else self.inits

    def outlives(self, member: Member) -> list[Member]:
        """Those that still run and have to end before this container's turn to end comes."""
        if member.kind is not Kind.SIDECAR:
            return []
        later = self.inits[self.inits.index(member) + 1 :]
        return [other for other in (*self.mains, *later) if other.alive and other.kind is not Kind.INIT]

    # --- events ---------------------------------------------------------------------------------------------------

    def _launch(self, _event: Launch) -> None:
        self._launched = True
        self._tell(What.PHASE, None, self.phase.value)
        if self.spec.active_deadline is not None:
            self._timers["", "deadline"] = self._now + self.spec.active_deadline

    def _current(self, event: Started | StartFailed | Exited | HookDone | Probed) -> Member | None:
        member = self.members[event.container]
        return member if member.run == event.run and member.alive else None

    def _started(self, event: Started) -> None:
        member = self._current(event)
        if member is None:
            return
        member.started_at, member.reason = self._now, "Running"
        self._tell(What.RESTARTED if member.restarts else What.STARTED, member)
        if self._at_once:
            self._kill(member)
        elif self.ending is not None:
            self._stop(member, self._until, ordered=True)
        elif member.spec.post_start is not None:
            member.stage = Stage.POST_START
            self._out.append(RunHook(member.name, member.run, "postStart"))
        else:
            self._run(member)

    def _run(self, member: Member) -> None:
        member.stage = Stage.RUNNING
        if "startup" in member.probes:
            self._schedule(member, "startup")
        else:
            self._startup_passed(member)

    def _startup_passed(self, member: Member) -> None:
        member.startup_passed = True
        if member.kind is Kind.SIDECAR:
            member.initialized = True
        for kind in ("liveness", "readiness"):
            self._schedule(member, kind)
        self._judge_readiness(member)

    def _start_failed(self, event: StartFailed) -> None:
        member = self._current(event)
        if member is None:
            return
        self._tell(What.FAILED, member, event.message)
        if event.retry:
            self._try_again(member, event)
        else:
            self._end(member, 128, "StartError", event.message)

    def _try_again(self, member: Member, event: StartFailed) -> None:
        """What the container needs is not there: look again every ten seconds; that is no restart."""
        self._forget(member)
        member.stage, member.reason, member.message = Stage.WAITING, event.reason, event.message
        if self.ending is not None:
            member.stage = Stage.ENDED
            self._take_turns()
            return
        member.not_before = self._timers[member.name, "restart"] = self._now + TRY_AGAIN
        self._tell(What.BACK_OFF, member, f"in {TRY_AGAIN:g} s ({event.reason})")

    def _exited(self, event: Exited) -> None:
        member = self._current(event)
        if member is None:
            return
        if member.stage is Stage.STARTING:  # its start has not been heard of, and cannot be any more
            member.started_at = self._now
        reason = "Completed" if event.code == 0 else "Error"
        done = member.kind is Kind.INIT and event.code == 0 and self.ending is None
        why = ", over its grace" if member.overran else ""
        if member.unhealthy:
            why = f", stopped because {member.unhealthy}"
        self._tell(What.COMPLETED if done else What.ENDED, member, f"exit code {event.code}{why}", event.code)
        self._end(member, event.code, reason, event.message)

    def _end(self, member: Member, code: int, reason: str, message: str) -> None:
        self._forget(member)
        started = member.started_at if reason != "StartError" else self._now
        member.ends.append(Termination(member.run, code, reason, message, started, self._now))
        member.stage, member.exit_code, member.reason, member.ended_at = Stage.ENDED, code, reason, self._now
        self._unready(member)
        if self.ending is not None:
            self._take_turns()
        elif member.kind is Kind.INIT and code == 0:
            member.initialized = True
        elif member.kind is Kind.SIDECAR or self._restarts(member, code):
            self._back_off(member)
        elif member.kind is Kind.INIT:
            self._fail(f"the init container {member.name} failed with exit code {code}")
        elif not any(main.alive or main.stage is Stage.WAITING for main in self.mains):
            self._finish("every main container has ended")

    def _restarts(self, member: Member, code: int) -> bool:
        if any(rule.says(code) for rule in member.spec.restart_rules):
            return True
        policy = self.policy(member)
        if policy == "Never":
            return False
        return member.kind is Kind.INIT or policy == "Always" or code != 0 or member.unhealthy is not None

    def policy(self, member: Member) -> RestartPolicy:
        """The restart policy of a container: its own, or the pod's."""
        if member.kind is Kind.SIDECAR:
            return "Always"
        return member.spec.restart_policy or self.spec.restart_policy

    def _back_off(self, member: Member) -> None:
        limit = self.spec.backoff_limit
        if self.policy(member) == "Never":
            limit = None  # pods are counted then, and not restarts by a rule
        restarts = sum(other.restarts for other in self.members.values() if other.kind is not Kind.SIDECAR)
        if limit is not None and member.kind is not Kind.SIDECAR and restarts >= limit:
            self._fail(f"BackoffLimitExceeded: restarted {limit} times")
            return
        delay = member.backoff.wait(self._now)
        member.stage, member.not_before = Stage.WAITING, self._now + delay
        if delay:
            member.reason = CRASH_LOOP
            member.message = f"back-off {delay:g} s before it is started again"
            self._timers[member.name, "restart"] = member.not_before
            self._tell(What.BACK_OFF, member, f"in {delay:g} s ({CRASH_LOOP})")

    def _hook_done(self, event: HookDone) -> None:
        member = self._current(event)
        if member is None:
            return
        if not event.ok:
            self._tell(What.HOOK_FAILED, member, f"{event.hook}: {event.detail}")
        if event.hook == "postStart" and member.stage is Stage.POST_START:
            if event.ok:
                self._run(member)
            else:
                member.unhealthy = "its postStart failed"
                self._stop(member, self._now + self.spec.grace, ordered=False)
        elif event.hook == "preStop" and member.stage is Stage.PRE_STOP:
            self._await_turn(member)

    def _delete(self, event: Delete) -> None:
        if self.ending is None:
            self._finish(event.reason, event.grace)

    def _evict(self, event: Evict) -> None:
        if self.ending is None:
            self._fail(f"Evicted: {event.reason}", EVICTED)

    def _kill_now(self, _event: KillNow) -> None:
        self._at_once = True
        self.ending = self.ending or "killed"
        self._timers.clear()
        for member in self.members.values():
            if member.alive and member.stage is not Stage.STARTING:
                self._kill(member)

    # --- probes ---------------------------------------------------------------------------------------------------

    def _schedule(self, member: Member, kind: ProbeKind) -> None:
        count = member.probes.get(kind)
        if count is not None:
            first = member.started_at + count.probe.initial_delay
            self._timers[member.name, kind] = max(self._now, first)

    def _probe(self, member: Member, kind: ProbeKind) -> None:
        member.probes[kind].issued = self._now
        self._out.append(RunProbe(member.name, member.run, kind))

    def _probed(self, event: Probed) -> None:
        member = self._current(event)
        if member is None or (member.stage is not Stage.RUNNING and event.probe != "readiness"):
            return
        count = member.probes[event.probe]
        was = count.passing
        settled = count.add(event.ok, event.detail)
        self._timers[member.name, event.probe] = max(self._now, count.issued + count.probe.period)
        # Until it has passed once, a container is starting up, and a failure says nothing new until it counts.
        news = count.row == 1 if count.passed else count.row == count.probe.failure
        # Later it may fail for another reason; some reasons hold a time or a number, and are always another one.
        news = news or (
            count.row > count.probe.failure and event.detail not in count.told and len(count.told) < REASONS
        )
        if not event.ok and (news or (settled and was)):
            count.told.add(event.detail)
            limit = count.probe.failure
            times = f" ({count.row} of {limit})" if 1 < limit >= count.row else ""
            self._tell(What.UNHEALTHY, member, f"{event.probe} probe failed{times}: {event.detail}")
        if not settled:
            return
        if event.probe == "readiness":
            self._judge_readiness(member)
        elif not event.ok:
            member.unhealthy = f"its {event.probe} probe failed"
            grace = count.probe.grace if count.probe.grace is not None else self.spec.grace
            self._stop(member, self._now + grace, ordered=False)
        elif event.probe == "startup":
            self._timers.pop((member.name, "startup"), None)
            self._startup_passed(member)

    def _judge_readiness(self, member: Member) -> None:
        if member.kind is Kind.INIT:
            return
        count = member.probes.get("readiness")
        ready = member.startup_passed and (count is None or count.passing)
        if ready and not member.ready:
            member.ready = True
            self._tell(What.READY, member)
        elif not ready:
            self._unready(member)

    def _unready(self, member: Member) -> None:
        if member.ready:
            member.ready = False
            if member.alive:
                self._tell(What.UNREADY, member)

    # --- stopping -------------------------------------------------------------------------------------------------

    def _finish(self, reason: str, grace: float | None = None) -> None:
        """End the pod: nothing is started any more, and what runs is stopped in order."""
        self.ending = reason
        grace = self.spec.grace if grace is None else grace
        self._until = self._now + grace
        self._timers.pop(("", "deadline"), None)
        alive = [member for member in self.members.values() if member.alive]
        if alive:
            self._tell(What.STOPPING, None, f"{reason}; within {grace:g} s")
        for member in alive:
            if member.stage in STOPPING:
                member.until = min(member.until, self._until)
                if member.stage is Stage.TERMINATING:
                    member.asked = True
                    if not member.overran:  # SIGKILL is on its way already
                        self._timers[member.name, "kill"] = max(member.until, member.told_at + LAST_CHANCE)
                else:
                    self._timers[member.name, "grace"] = member.until
            elif member.stage is not Stage.STARTING:  # that one is stopped when it has been started
                self._stop(member, self._until, ordered=True)

    def _fail(self, reason: str, grace: float | None = None) -> None:
        self.failure = reason
        self._finish(reason, grace)

    def _stop(self, member: Member, until: float, *, ordered: bool) -> None:
        """From preStop to SIGKILL, as the module says; never called for a container that has ended by itself."""
        for kind in ("startup", "liveness"):
            self._timers.pop((member.name, kind), None)
        member.until, member.ordered = until, ordered
        if member.spec.pre_stop is not None and until > self._now:
            member.stage = Stage.PRE_STOP
            self._timers[member.name, "grace"] = until
            self._out.append(RunHook(member.name, member.run, "preStop"))
        else:
            self._await_turn(member)

    def _await_turn(self, member: Member) -> None:
        if member.ordered and self._now < member.until and self.outlives(member):
            member.stage = Stage.TURN
            self._timers[member.name, "grace"] = member.until
        else:
            self._terminate(member)

    def _take_turns(self) -> None:
        for member in self.members.values():
            if member.stage is Stage.TURN and not self.outlives(member):
                self._terminate(member)

    def _terminate(self, member: Member) -> None:
        member.stage = Stage.TERMINATING
        member.asked, member.told_at = self.ending is not None, self._now
        self._timers.pop((member.name, "grace"), None)
        self._timers[member.name, "kill"] = max(member.until, self._now + LAST_CHANCE)
        self._tell(What.STOPPING, member, member.unhealthy or member.spec.stop_signal)
        self._out.append(Terminate(member.name, member.run))

    def _kill(self, member: Member) -> None:
        member.stage = Stage.TERMINATING
        member.overran = not self._at_once
        self._tell(What.KILLED, member, "at once" if self._at_once else "its grace is over")
        self._out.append(Kill(member.name, member.run))

    # --- time -----------------------------------------------------------------------------------------------------

    def _fire(self) -> None:
        while True:
            due = [(at, key) for key, at in self._timers.items() if at <= self._now]
            if not due:
                return
            _, (name, purpose) = min(due, key=lambda item: item[0])  # stable: the earlier set first
            del self._timers[name, purpose]
            match purpose:
                case "deadline":
                    if self.ending is None:
                        self._fail(f"DeadlineExceeded: active for longer than {self.spec.active_deadline:g} s")
                case "startup" | "liveness" | "readiness":
                    self._probe(self.members[name], purpose)
                case "grace":
                    self._grace_over(self.members[name])
                case "kill":
                    self._kill(self.members[name])
                case _:  # "restart": `_advance` looks at `not_before`
                    pass

    def _grace_over(self, member: Member) -> None:
        if member.stage is Stage.PRE_STOP:
            self._tell(What.HOOK_FAILED, member, "preStop: not done within the grace")
            self._terminate(member)
        elif member.stage is Stage.TURN:
            self._terminate(member)

    def _forget(self, member: Member) -> None:
        for key in [key for key in self._timers if key[0] == member.name]:
            del self._timers[key]

    # --- what follows ---------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Start what is to be started next, if anything."""
        if not self._launched or self.ending is not None:
            return
        while self._cursor < len(self.inits) and self.inits[self._cursor].initialized:
            self._cursor += 1
        if any(member.stage in (Stage.STARTING, Stage.POST_START) for member in self.members.values()):
            return
        for member in self._startable():
            if member.stage is Stage.WAITING and member.not_before <= self._now:
                member.begin(self._now)
                self._out.append(Start(member.name, member.run))
                return

    def _startable(self) -> Iterator[Member]:
        for index, member in enumerate(self.inits[: self._cursor + 1]):
            # An init that has completed is never run again; a sidecar is kept running.
            if index == self._cursor or member.kind is Kind.SIDECAR:
                yield member
        if self._cursor == len(self.inits):
            yield from self.mains

    def _settle(self) -> None:
        """Readiness and phase, as they follow from the containers."""
        ready = self.ending is None and all(m.ready for m in self.members.values() if m.kind is not Kind.INIT)
        if ready != self.ready:
            self.ready = ready
            if ready or self.ending is None:
                self._tell(What.READY if ready else What.UNREADY, None)
        alive = any(member.alive for member in self.members.values())
        over = self.ending is not None and not alive and not self.finished
        phase = self._phase(over=over or self.finished)
        if phase is not self.phase:
            self.phase = phase
            self._tell(What.PHASE, None, phase.value)
        if over:
            self.finished = True
            self._timers.clear()
            self._tell(What.FINISHED, None, self.failure or self.ending or "")

    def _phase(self, *, over: bool) -> PodPhase:
        if over:
            good = self.failure is None and all(main.exit_code == 0 for main in self.mains)
            return PodPhase.SUCCEEDED if good else PodPhase.FAILED
        begun = all(main.run and (main.run > 1 or main.stage is not Stage.STARTING) for main in self.mains)
        return PodPhase.RUNNING if begun or self.phase is PodPhase.RUNNING else PodPhase.PENDING

    def _tell(self, what: What, member: Member | None, detail: str = "", code: int | None = None) -> None:
        self._out.append(Tell(what, member.name if member else None, detail, code))
