"""What happens to workers: one method per happening, which logs and counts."""

from __future__ import annotations

from collections.abc import Callable

from podpatterns.runtime.telemetry import Telemetry


class WorkerEvents:
    """The happenings that only a parent sees."""

    def __init__(self, telemetry: Telemetry, running: Callable[[], int]) -> None:
        self._log = telemetry.log
        telemetry.gauge(
            "podpatterns_ambassador_workers", "Workers that are running.", read=lambda: {(): float(running())}
        )
        self._deaths = telemetry.counter(
            "podpatterns_ambassador_worker_deaths",
            "Workers that have ended though nobody asked them to, by the reason.",
            ["reason"],
        )

    @property
    def deaths(self) -> int:
        """Workers that have ended though nobody asked them to."""
        return int(self._deaths.total)

    def started(self, index: int, pid: int) -> None:
        """A worker accepts connections."""
        self._log.info("ambassador.worker.started", worker=index, pid=pid)

    def died(self, index: int, pid: int, reason: str, again: float) -> None:
        """A worker has ended by itself; another one takes its place in so many seconds."""
        self._deaths.add(reason)
        self._log.error(
            "ambassador.worker.died", worker=index, pid=pid, reason=reason, again_in_seconds=round(again, 2)
        )

    def not_started(self, index: int, reason: str) -> None:
        """A worker that was to take the place of another one could not start."""
        self._log.error("ambassador.worker.not_started", worker=index, reason=reason)

    def stuck(self, index: int, pid: int, seconds: float) -> None:
        """A worker did not answer in time, and is killed: whoever it serves would wait for ever."""
        self._log.error("ambassador.worker.stuck", worker=index, pid=pid, after_seconds=seconds)
