"""The phases of a process, as a table: STARTING → READY → DRAINING → STOPPED."""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """Where a process is in its life. The value is what the admin endpoint and the metrics show."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


class Event(enum.Enum):
    """What moves a process from one phase to the next."""

    STARTED = "every service has started"
    DRAIN = "SIGTERM, POST /drain, or a service that failed"
    ENDED = "drained, or the grace is over"


TRANSITIONS: dict[Phase, dict[Event, Phase]] = {
    Phase.STARTING: {Event.STARTED: Phase.READY, Event.DRAIN: Phase.DRAINING},
    Phase.READY: {Event.DRAIN: Phase.DRAINING},
    # A second SIGTERM does not change the phase: it ends the process at once, see `signals`.
    Phase.DRAINING: {Event.DRAIN: Phase.DRAINING, Event.STARTED: Phase.DRAINING, Event.ENDED: Phase.STOPPED},
    Phase.STOPPED: {Event.DRAIN: Phase.STOPPED},
}


class IllegalTransition(RuntimeError):  # noqa: N818 - a bug in the supervisor, never an operator's mistake
    """An event that the table has no line for."""


def after(phase: Phase, event: Event) -> Phase:
    """The phase that follows; raises IllegalTransition for what the table does not allow."""
    try:
        return TRANSITIONS[phase][event]
    except KeyError:
        raise IllegalTransition(f"{event.name} in phase {phase.name}") from None
