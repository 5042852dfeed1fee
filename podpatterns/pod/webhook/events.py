"""What happens in a webhook: one method per happening, which logs and counts."""

from __future__ import annotations

from podpatterns.errors import ConfigError
from podpatterns.pod.webhook.review import Answer, Question
from podpatterns.runtime.telemetry import Telemetry


class WebhookEvents:
    """The happenings of a webhook."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
        self._reviews = telemetry.counter(
            "podpatterns_webhook_reviews", "Admission reviews, by what became of them.", ["outcome"]
        )
        self._reloads = telemetry.counter(
            "podpatterns_webhook_reloads", "Changes of files, by what became of them.", ["what", "outcome"]
        )

    def listening(self, address: str, profiles: list[str]) -> None:
        """Reviews are answered from now on."""
        self._log.info("webhook.listening", address=address, profiles=profiles)

    def answered(self, question: Question, answer: Answer) -> None:
        """A review was answered."""
        self._reviews.add(answer.outcome)
        log = self._log.warning if answer.outcome == "refused" else self._log.info
        log(
            "webhook.review.answered",
            outcome=answer.outcome,
            uid=question.uid,
            namespace=question.namespace,
            message=answer.message,
        )

    def malformed(self, message: str) -> None:
        """A request was no review."""
        self._reviews.add("malformed")
        self._log.warning("webhook.review.malformed", message=message)

    def reloaded(self, what: str) -> None:
        """A change is in force."""
        self._reloads.add(what, "taken")
        self._log.info("webhook.reload.taken", what=what)

    def kept(self, what: str, error: Exception) -> None:
        """A change is of no use; the last good one stays."""
        self._reloads.add(what, "refused")
        problems = [str(problem) for problem in error.problems] if isinstance(error, ConfigError) else [str(error)]
        self._log.error("webhook.reload.refused", what=what, problems=problems)
