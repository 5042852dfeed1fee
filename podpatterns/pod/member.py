"""One container's state, its back-off and its probes' counts. Pure."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, field

from podpatterns.pod.events import ProbeKind
from podpatterns.pod.model import Container, Kind, Probe

BACK_OFF = (10.0, 300.0, 600.0)
"""Seconds: the second restart's delay, the longest one, and the age after which a container starts afresh
(kubelet: backOffPeriod, MaxContainerBackOff, and twice the latter)."""
TRY_AGAIN = 10.0
"""Seconds until what could not be created is tried again (kubelet: backOffPeriod of its pod workers)."""
CRASH_LOOP = "CrashLoopBackOff"
"""Kubernetes' reason of a container that waits to be started again."""


class Stage(enum.Enum):
    """Where a container is."""

    WAITING = "waiting"
    STARTING = "starting"
    POST_START = "in postStart"
    RUNNING = "running"
    PRE_STOP = "in preStop"
    TURN = "waiting for its turn to end"
    TERMINATING = "ending"
    ENDED = "ended"


ALIVE = frozenset({Stage.STARTING, Stage.POST_START, Stage.RUNNING, Stage.PRE_STOP, Stage.TURN, Stage.TERMINATING})
STOPPING = frozenset({Stage.PRE_STOP, Stage.TURN, Stage.TERMINATING})


@dataclass(slots=True)
class CrashBackoff:
    """Restarts at once, then after 10, 20, 40, 80, 160, 300 s; from the beginning after a run of ten minutes."""

    delay: float = 0
    _restarted: float | None = None

    def wait(self, ended: float) -> float:
        """Seconds to wait after an end at this time."""
        if self._restarted is not None and ended - self._restarted > BACK_OFF[2]:
            self.delay = 0
        return self.delay

    def restarted(self, now: float) -> None:
        """The restart happens now; the next one waits longer."""
        self.delay = min(BACK_OFF[1], self.delay * 2 or BACK_OFF[0])
        self._restarted = now


@dataclass(slots=True)
class ProbeCount:
    """A probe's answers in a row, and what they add up to."""

    probe: Probe
    passing: bool
    issued: float = 0
    passed: bool = False
    """It has passed at least once."""
    last: bool | None = None
    """The last answer; None before the first."""
    row: int = 0
    detail: str = ""
    """What the last answer said."""
    told: set[str] = field(default_factory=set)
    """What failures have been heard to say."""

    def add(self, ok: bool, detail: str = "") -> bool:
        """Count an answer; True if the result has been settled (again) by it."""
        self.row = self.row + 1 if ok == self.last else 1
        self.last, self.detail = ok, detail
        self.passed = self.passed or ok
        if self.row >= (self.probe.success if ok else self.probe.failure):
            self.passing = ok
            return True
        return False


@dataclass(frozen=True, slots=True)
class Termination:
    """How a run has ended; times in seconds on the pod's clock."""

    run: int
    code: int
    reason: str
    message: str
    started_at: float
    ended_at: float


@dataclass(slots=True, eq=False)
class Member:
    """A container of a pod and everything that is known of it."""

    spec: Container
    stage: Stage = Stage.WAITING
    reason: str = "PodInitializing"
    """Why it waits or has ended, in Kubernetes' words."""
    message: str = ""
    """While it waits: what is wrong, in words."""
    ends: deque[Termination] = field(default_factory=lambda: deque(maxlen=2))
    """How its last two runs have ended, the last one at the end."""
    run: int = 0
    restarts: int = 0
    exit_code: int | None = None
    started_at: float = 0
    ended_at: float = 0
    not_before: float = 0
    """No start before this time."""
    initialized: bool = False
    """For an init container: it was successful once; for a sidecar: it was started once. Never taken back."""
    ready: bool = False
    startup_passed: bool = False
    told_at: float = 0
    """When SIGTERM was sent to this run."""
    asked: bool = False
    """SIGTERM was sent because the pod ends."""
    overran: bool = False
    """SIGKILL was sent because the grace was over."""
    unhealthy: str | None = None
    """The probe that had this run stopped."""
    until: float = 0
    """While it is being stopped: when the grace ends."""
    ordered: bool = False
    """While it is being stopped: whether it waits for its turn."""
    backoff: CrashBackoff = field(default_factory=CrashBackoff)
    probes: dict[ProbeKind, ProbeCount] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The container's name."""
        return self.spec.name

    @property
    def kind(self) -> Kind:
        """Init, sidecar or main."""
        return self.spec.kind

    @property
    def alive(self) -> bool:
        """There is a process, or will be in a moment."""
        return self.stage in ALIVE

    def begin(self, now: float) -> None:
        """A new run: nothing of the earlier one counts any more."""
        if self.ends:  # an attempt that came to nothing is not a run
            self.restarts += 1
            self.backoff.restarted(now)
        self.run += 1
        self.stage, self.reason, self.message = Stage.STARTING, "ContainerCreating", ""
        self.exit_code = None
        self.ready = self.startup_passed = self.asked = self.overran = False
        self.unhealthy = None
        kinds: dict[ProbeKind, Probe | None] = {
            "startup": self.spec.startup,
            "liveness": self.spec.liveness,
            "readiness": self.spec.readiness,
        }
        # Until it has been asked often enough, a container counts as alive and as not ready.
        self.probes = {
            kind: ProbeCount(probe, kind == "liveness") for kind, probe in kinds.items() if probe is not None
        }
