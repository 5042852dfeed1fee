"""What happens in the process itself: one method per happening, which logs and counts."""

from __future__ import annotations

from collections.abc import Callable

from podpatterns.errors import ConfigError, PodpatternsError
from podpatterns.runtime.phases import Phase
from podpatterns.runtime.telemetry import Telemetry


class RuntimeEvents:
    """The happenings of the supervisor, the reloader and the admin endpoint."""

    def __init__(self, telemetry: Telemetry, phase: Callable[[], Phase]) -> None:
        self._log = telemetry.log
        telemetry.gauge(
            "podpatterns_runtime_phase",
            "1 for the phase that the process is in.",
            ["phase"],
            read=lambda: {(each.value,): float(each is phase()) for each in Phase},
        )
        self._failures = telemetry.counter(
            "podpatterns_runtime_service_failures", "Services that ended by themselves or failed to drain.", ["service"]
        )
        self._reloads = telemetry.counter(
            "podpatterns_runtime_reloads", "Changes of the configuration, by what became of them.", ["outcome"]
        )
        self._refused = telemetry.counter(
            "podpatterns_runtime_admin_refused", "Admin requests that were refused, by the reason.", ["reason"]
        )

    def phase_entered(self, phase: Phase, reason: str) -> None:
        """The process has moved on."""
        self._log.info("runtime.phase.entered", phase=phase.value, reason=reason)

    def service_started(self, service: str) -> None:
        """A service is ready to serve."""
        self._log.info("runtime.service.started", service=service)

    def service_failed(self, service: str, error: BaseException) -> None:
        """A service ended by itself; a traceback only for what we did not foresee."""
        self._failures.add(service)
        foreseen = isinstance(error, (PodpatternsError, OSError))
        self._log.error(
            "runtime.service.failed", service=service, error=_named(error), exc_info=None if foreseen else error
        )

    def service_drained(self, service: str, remaining: float) -> None:
        """Everything that was taken has been finished."""
        self._log.info("runtime.service.drained", service=service, grace_left_seconds=round(remaining, 3))

    def drain_cut_short(self, service: str, grace: float) -> None:
        """The grace was over before the work was."""
        self._failures.add(service)
        self._log.error("runtime.service.drain_cut_short", service=service, grace_seconds=grace)

    def admin_listening(self, address: str) -> None:
        """The admin endpoint is there."""
        self._log.info("runtime.admin.listening", address=address)

    def admin_refused(self, path: str, reason: str) -> None:
        """Somebody asked for what is for loopback alone."""
        self._refused.add(reason)
        self._log.warning("runtime.admin.refused", path=path, reason=reason)

    def admin_failed(self, path: str, error: Exception) -> None:
        """A page of the admin endpoint could not be made; all others go on."""
        self._failures.add("admin")
        self._log.error("runtime.admin.failed", path=path, error=_named(error), exc_info=error)

    def level_changed(self, level: str) -> None:
        """The log level was changed through the admin endpoint."""
        self._log.info("runtime.log_level.changed", level=level)

    def config_reloaded(self, names: list[str]) -> None:
        """The files have changed, and the change is in force."""
        self._reloads.add("applied")
        self._log.info("runtime.config.reloaded", changed=names)

    def config_unchanged(self) -> None:
        """The files were written anew with the same meaning."""
        self._reloads.add("unchanged")
        self._log.debug("runtime.config.unchanged")

    def config_refused(self, error: ConfigError) -> None:
        """The files have changed for the worse; the last good configuration stays."""
        self._reloads.add("refused")
        self._log.error("runtime.config.refused", kept="the last good one", problems=[str(p) for p in error.problems])

    def config_not_applied(self, service: str, error: BaseException) -> None:
        """A valid change could not be put in force; the service goes on as it was."""
        self._reloads.add("not_applied")
        self._log.error("runtime.config.not_applied", service=service, error=_named(error))

    def config_needs_restart(self, what: str) -> None:
        """A valid change that only a new process can take up."""
        self._reloads.add("needs_restart")
        self._log.warning("runtime.config.needs_restart", changed=what)

    def termination_log_failed(self, path: str, error: OSError) -> None:
        """The closing summary could not be written."""
        self._log.warning("runtime.termination_log.failed", path=path, error=str(error))


def _named(error: BaseException) -> str:
    return str(error) if isinstance(error, PodpatternsError) else f"{type(error).__name__}: {error}"
