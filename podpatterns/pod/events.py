"""The vocabulary between the pod's state machine and whoever carries it out: events go in, actions come out.

`run` counts a container's incarnations from 1, so that a late answer to an earlier one's probe changes nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal

ProbeKind = Literal["startup", "liveness", "readiness"]
HookKind = Literal["postStart", "preStop"]


# --- events -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Launch:
    """The volumes are there: begin."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; `Pod.due` says when one is wanted."""


@dataclass(frozen=True, slots=True)
class Started:
    """The container's process runs."""

    container: str
    run: int


@dataclass(frozen=True, slots=True)
class StartFailed:
    """It could not be started.

    With `retry` the fault is outside of the container (a volume that is missing): it is tried again whatever the
    restart policy says; otherwise it counts as an exit with code 128. `reason` is Kubernetes' word for it.
    """

    container: str
    run: int
    message: str
    retry: bool = False
    reason: str = "CreateContainerError"


@dataclass(frozen=True, slots=True)
class Exited:
    """The container's process has ended; a signal n counts as 128 + n. `message`: its termination message."""

    container: str
    run: int
    code: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class HookDone:
    """A lifecycle hook has come to its end."""

    container: str
    run: int
    hook: HookKind
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe has answered."""

    container: str
    run: int
    probe: ProbeKind
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """End the pod in order; `grace` in seconds, None for the pod's own."""

    grace: float | None = None
    reason: str = "deleted"


@dataclass(frozen=True, slots=True)
class Evict:
    """A volume has outgrown its limit: the pod fails, with what is said."""

    reason: str


@dataclass(frozen=True, slots=True)
class KillNow:
    """End the pod without any grace."""


Event = Launch | Tick | Started | StartFailed | Exited | HookDone | Probed | Delete | Evict | KillNow


# --- actions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Start the container's process; answered by Started or StartFailed, later by Exited."""

    container: str
    run: int


@dataclass(frozen=True, slots=True)
class RunHook:
    """Run a hook; answered by HookDone, unless the container ends before."""

    container: str
    run: int
    hook: HookKind


@dataclass(frozen=True, slots=True)
class RunProbe:
    """Run a probe once, within its timeout; answered by Probed, unless the container ends before."""

    container: str
    run: int
    probe: ProbeKind


@dataclass(frozen=True, slots=True)
class Terminate:
    """The container's stop signal, SIGTERM unless it has another one, to its main process."""

    container: str
    run: int


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL to everything in the container."""

    container: str
    run: int


class What(enum.Enum):
    """What a line of the timeline is about."""

    NOTE = "note"
    PHASE = "phase"
    STARTED = "started"
    COMPLETED = "completed"
    """An init container, with exit code 0."""
    READY = "ready"
    UNREADY = "not ready"
    UNHEALTHY = "unhealthy"
    HOOK_FAILED = "hook failed"
    FAILED = "failed to start"
    STOPPING = "stopping"
    KILLED = "killed"
    """SIGKILL, by the runner."""
    ENDED = "ended"
    BACK_OFF = "waits to restart"
    RESTARTED = "restarted"
    SIGNALLED = "signalled"
    """A signal was sent by hand."""
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Tell:
    """A line for the timeline; `container` None: about the pod."""

    what: What
    container: str | None = None
    detail: str = ""
    code: int | None = None


Action = Start | RunHook | RunProbe | Terminate | Kill | Tell
