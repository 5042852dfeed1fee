"""A Job's pods: how many have to succeed, how many may fail, and how long to wait for the next one. Pure.

The rules are the Job controller's (job_controller.go, backoff_utils.go), for pods that run one after the other.
"""

from __future__ import annotations

from podpatterns.pod.lifecycle import Pod, PodPhase
from podpatterns.pod.model import PodSpec

PAUSE = (10.0, 600.0)
"""Seconds before the pod that replaces the first failed one, doubled for each that fails in a row, and the longest."""


class Tries:
    """Counts the pods of a Job that have ended."""

    def __init__(self, spec: PodSpec) -> None:
        self._spec = spec
        self.succeeded = self.failed = 0
        self._in_a_row = 0

    def ended(self, pod: Pod) -> tuple[float, str] | None:
        """Seconds until another pod is to be run, and what is to be said; None: the Job is over."""
        spec = self._spec
        if pod.phase is PodPhase.SUCCEEDED:
            self.succeeded += 1
            self._in_a_row = 0
            if self.succeeded >= spec.completions:
                return None
            return 0.0, f"{self.succeeded} of {spec.completions} completions"
        self.failed += 1
        self._in_a_row += 1
        limit = spec.backoff_limit or 0
        # With OnFailure the containers have been restarted until the limit; a deadline is the Job's own.
        if spec.restart_policy != "Never" or self.failed > limit or (pod.failure or "").startswith("Deadline"):
            return None
        pause = min(PAUSE[1], PAUSE[0] * 2 ** (self._in_a_row - 1))
        return pause, f"another pod in {pause:g} s ({self.failed} failed, {limit} may)"
