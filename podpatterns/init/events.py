"""What happens while init steps run: one method per happening, which logs and counts."""

from __future__ import annotations

import time

from podpatterns.runtime.telemetry import Telemetry


class InitEvents:
    """The happenings of the init pattern. Reasons are redacted by the steps before they come here.

    After the first round of steps, only what a further one changes is news.
    """

    rounds: int = 0
    """Rounds in which every step was done."""

    failed_rounds: int = 0

    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
        self._said: dict[str, str] = {}
        """Why the last try of a step failed."""
        self._attempts = telemetry.counter(
            "podpatterns_init_step_attempts", "Tries of a step, by what became of them.", ["step", "outcome"]
        )
        self._seconds = telemetry.gauge(
            "podpatterns_init_step_seconds", "How long a step took altogether, retries included.", ["step"]
        )
        self._discarded = telemetry.counter(
            "podpatterns_init_discarded",
            "What was found broken or stale and removed, by the reason.",
            ["step", "reason"],
        )
        self._rounds = telemetry.counter(
            "podpatterns_init_rounds", "How often the steps were gone through, by what became of it.", ["outcome"]
        )
        self._last = telemetry.gauge(
            "podpatterns_init_last_success_timestamp_seconds", "When every step was done last, in Unix time."
        )

    def step_started(self, step: str, number: int, count: int) -> None:
        """A step's turn has come."""
        level = self._log.debug if self.rounds else self._log.info
        level("init.step.started", step=step, number=number, of=count)

    def step_done(self, step: str, did: str, seconds: float, attempts: int) -> None:
        """What a step is for holds."""
        self._attempts.add(step, "done")
        self._seconds.cell(step).value = seconds
        self._log.info("init.step.done", step=step, did=did, seconds=round(seconds, 3), attempts=attempts)

    def step_skipped(self, step: str, seconds: float) -> None:
        """What a step is for held already, so there was nothing to do."""
        self._attempts.add(step, "skipped")
        self._seconds.cell(step).value = seconds
        level = self._log.debug if self.rounds else self._log.info
        level("init.step.skipped", step=step, reason="done already", seconds=round(seconds, 3))

    def step_retried(self, step: str, reason: str, attempt: int, delay: float) -> None:
        """A try has failed, and the next will follow."""
        self._attempts.add(step, "retried")
        # Waiting for a dependency fails many times by nature: said at once, for each new reason, and at each doubling.
        news = attempt & (attempt - 1) == 0 or reason != self._said.get(step)
        self._said[step] = reason
        level = self._log.info if news else self._log.debug
        level("init.step.retried", step=step, reason=reason, attempt=attempt, delay_seconds=round(delay, 3))

    def step_failed(self, step: str, reason: str, remedy: str, attempts: int) -> None:
        """A step has failed for good, and the whole with it."""
        self._attempts.add(step, "failed")
        self._log.error("init.step.failed", step=step, reason=reason, remedy=remedy, attempts=attempts)

    def round_done(self) -> None:
        """Every step is done."""
        self.rounds += 1
        self._rounds.add("done")
        self._last.cell().value = time.time()

    def round_failed(self, reason: str, after: float) -> None:
        """A round after the first has failed; the next one begins after some seconds."""
        self.failed_rounds += 1
        self._rounds.add("failed")
        self._log.warning("init.round.failed", reason=reason, next_in_seconds=after)

    def error_file_failed(self, path: str, error: OSError) -> None:
        """The file that tells others of a failure could not be written or removed."""
        self._log.warning("init.error_file.failed", path=path, error=str(error))

    def interrupted(self, step: str) -> None:
        """SIGTERM came before the steps were done."""
        self._attempts.add(step, "interrupted")
        self._log.warning("init.step.interrupted", step=step)

    def discarded(self, step: str, reason: str, path: str) -> None:
        """Something broken or stale was removed; `reason` is one of a few constants."""
        self._discarded.add(step, reason)
        self._log.info("init.step.discarded", step=step, reason=reason, path=path)
