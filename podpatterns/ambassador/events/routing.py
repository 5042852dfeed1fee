"""Weights and ramps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from podpatterns.runtime.telemetry import Telemetry

if TYPE_CHECKING:
    from podpatterns.ambassador.ramp import Move
    from podpatterns.ambassador.rollout import Rollout


class RoutingEvents:
    """What happens to weights and ramps."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
        self._weights = telemetry.gauge(
            "podpatterns_ambassador_weight",
            "The weight of a version in a route's split.",
            ["listener", "route", "version"],
        )
        self.rollouts: Callable[[], Iterable[Rollout]] = tuple
        """The ramps in force."""
        telemetry.gauge(
            "podpatterns_ambassador_ramp_state",
            "1 for the state that a ramp is in.",
            ["listener", "route", "version", "state"],
            read=lambda: {
                (*each.labels, state.value): float(state is each.ramp.state)
                for each in self.rollouts()
                for state in type(each.ramp.state)
            },
        )
        telemetry.gauge(
            "podpatterns_ambassador_ramp_step",
            "The step that a ramp is on, or ended on, counted from 1.",
            ["listener", "route", "version"],
            read=lambda: {each.labels: each.ramp.step + 1 for each in self.rollouts()},
        )
        self._ramp_moves = telemetry.counter(
            "podpatterns_ambassador_ramp_moves",
            "What ramps have done (up, held, back, done, or what somebody asked for), by the cause.",
            ["listener", "route", "version", "move", "cause"],
        )

    def weights(self, listener: str, route: str, weights: Mapping[str, int]) -> None:
        """The weights in force."""
        for version, weight in weights.items():
            self._weights.cell(listener, route, version).value = weight

    def weights_changed(self, listener: str, route: str, weights: Mapping[str, int]) -> None:
        """Somebody has changed the weights of a split through the admin endpoint."""
        self.weights(listener, route, weights)
        self._log.info("ambassador.weights.changed", listener=listener, route=route, weights=dict(weights))

    def ramp_moved(self, rollout: Rollout, move: Move) -> None:
        """A ramp has gone up, held, gone back, or ended, or was told to."""
        ramp = rollout.ramp
        listener, route, version = rollout.labels
        self._ramp_moves.add(listener, route, version, move.kind, move.cause)
        log = self._log.warning if move.kind == "back" else self._log.info
        log(
            "ambassador.ramp.moved",
            move=move.kind,
            listener=listener,
            route=route,
            version=version,
            percent=ramp.percent,
            step=f"{ramp.step + 1}/{len(ramp.config.steps)}",
            cause=move.cause,
            reason=move.text,
        )
