"""A ramp on a route's split: reads the tallies that are kept anyway, and changes the weights. Requests pay nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from podpatterns.ambassador.ramp import Action, Move, Ramp, RampConfig, State, ramped
from podpatterns.ambassador.verdict import Counts

if TYPE_CHECKING:
    from podpatterns.ambassador.events import Tally
    from podpatterns.ambassador.route import Route


class Rollout:
    """The ramp of one route. After a reload that does not concern it, the ramp goes on."""

    def __init__(self, route: Route, config: RampConfig) -> None:
        self.route = route
        self.version = config.version_of(route.config.weights)
        self.ramp = Ramp(config)
        self.limit = config.p99
        if self.limit is not None:
            for target in route.targets.values():
                target.tally.latency.refine(self.limit)

    @property
    def labels(self) -> tuple[str, str, str]:
        """Listener, route and version."""
        return self.route.listener, self.route.name, self.version

    @property
    def weights(self) -> dict[str, int] | None:
        """The weights that follow from the ramp; None if somebody has set others."""
        percent = self.ramp.percent
        return None if percent is None else ramped(self.route.config.weights, self.version, percent)

    def look(self, now: float, available: Mapping[str, bool] | None = None) -> None:
        """See how the versions do, and act on it; called several times a second.

        `available` says which versions can be reached, where the upstreams here do not know.
        """
        targets = self.route.targets
        if available is None:
            available = {name: target.upstream.available for name, target in targets.items()}
        others = {name: target for name, target in targets.items() if name != self.version}
        move = self.ramp.look(
            now,
            counts([targets[self.version].tally], self.limit),
            counts([target.tally for target in others.values()], self.limit),
            # Where nothing can be reached, the version is not to blame.
            reachable=available.get(self.version, True) or not any(available.get(name, True) for name in others),
        )
        if move is not None:
            self._carry_out(move)

    def ask(self, action: Action) -> None:
        """Do as a person asks. Raises ValueError, which says what is possible."""
        self._carry_out(self.ramp.ask(action))

    def overruled(self) -> None:
        """Somebody has changed the weights: the ramp is over."""
        self.route.events.ramp_moved(self, self.ramp.overruled())

    def _carry_out(self, move: Move) -> None:
        weights = self.weights
        if weights is not None and weights != self.route.split.weights:
            self.route.put(weights)
        self.route.events.ramp_moved(self, move)

    def __str__(self) -> str:
        """For people: `next: step 2 of 5, 5 %`, `next: rolled back`."""
        ramp = self.ramp
        if ramp.state in {State.RAMPING, State.PAUSED}:
            paused = ", paused" if ramp.state is State.PAUSED else ""
            return f"{self.version}: step {ramp.step + 1} of {len(ramp.config.steps)}, {ramp.percent} %{paused}"
        return f"{self.version}: {ramp.state.value.replace('_', ' ')}"

    def describe(self) -> dict[str, Any]:
        """For the admin endpoint."""
        return {"version": self.version, **self.ramp.describe()}


def counts(tallies: Iterable[Tally], limit: float | None) -> Counts:
    """What has been counted so far of some versions together.

    An attempt that was made again counts as a request that failed: the client has not noticed, but at the last step
    there is no other version to help out.
    """
    total = Counts()
    for tally in tallies:
        slow = 0 if limit is None else tally.latency.above(limit)
        total += Counts(tally.answered + tally.retried, tally.failures + tally.retried, slow, tally.gone)
    return total
