"""What happens in the health adapter: one method per happening, which logs and counts."""

from __future__ import annotations

from collections.abc import Iterable

from podpatterns.adapter.verdict import State
from podpatterns.runtime.telemetry import Telemetry

_PREFIX = "podpatterns_adapter_check_"


class HealthEvents:
    """The figures stand on the adapter's own page as well, so that an alert needs no other source."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
        self._states: dict[tuple[str, ...], float] = {}
        self._times: dict[tuple[str, ...], float] = {}
        counter, gauge = telemetry.counter, telemetry.gauge
        gauge(f"{_PREFIX}up", "Whether a check counts as passing.", ["check"], lambda: self._states)
        gauge(f"{_PREFIX}duration_seconds", "How long a check took the last time.", ["check"], lambda: self._times)
        self._runs = counter(f"{_PREFIX}runs", "Checks that were made, by how they ended.", ["check", "result"])
        self._changes = counter(f"{_PREFIX}changes", "Times that a check has come to another state.", ["check", "to"])

    def listening(self, url: str, checks: int) -> None:
        """The endpoint is there."""
        self._log.info("adapter.health.listening", url=url, checks=checks)

    def checked(self, name: str, took: float, *, passed: bool, state: State) -> None:
        """A check was made; too frequent to be logged, unless it is being looked into."""
        self._runs.add(name, "passed" if passed else "failed")
        self._states[name,] = float(state is State.PASSING)
        self._times[name,] = took
        self._log.debug("adapter.check.made", check=name, passed=passed, seconds=round(took, 6))

    def changed(self, name: str, before: State, now: State, held: float, reason: str, *, critical: bool) -> None:
        """A check has come to another state, after `held` seconds in the one before."""
        self._changes.add(name, now.value)
        log = self._log.info if now is State.PASSING else self._log.warning
        more = {"reason": reason} if reason else {}
        was = {"was": before.value, "for_seconds": round(held, 3)}
        log("adapter.check.changed", check=name, status=now.value, critical=critical, **was, **more)

    def broken(self, name: str, error: Exception) -> None:
        """A check has raised what no check should."""
        self._log.error("adapter.check.broken", check=name, error=f"{type(error).__name__}: {error}")

    def forgotten(self, names: Iterable[str]) -> None:
        """Checks are gone with their configuration; their figures of now would stand still."""
        for name in names:
            self._states.pop((name,), None)
            self._times.pop((name,), None)
