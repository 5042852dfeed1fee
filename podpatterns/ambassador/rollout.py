"""A ramp on a route's split: reads the tallies that are kept anyway, and changes the weights. Requests pay nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from podpatterns.ambassador.ramp import Action, Counts, Move, Ramp, RampConfig, ramped

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents, Tally
    from podpatterns.ambassador.route import Target


class Rollout:
    """The ramp of one route. `reweigh` puts weights in force; the route calls `look` about once a second."""

    def __init__(
        self, listener: str, route: str, config: RampConfig, weights: Mapping[str, int], events: AmbassadorEvents
    ) -> None:
        self.listener, self.route = listener, route
        self.version = config.version_of(weights)
        self.ramp = Ramp(config)
        self._weights = dict(weights)
        self._events = events

    def weights(self) -> dict[str, int] | None:
        """The weights that follow from the ramp; None if somebody has set others."""
        percent = self.ramp.percent
        return None if percent is None else ramped(self._weights, self.version, percent)

    def begin(self, targets: Mapping[str, Target]) -> None:
        """Count from now on, for the versions as they are now; and show where the ramp stands."""
        limit = self.ramp.config.p99
        if limit is not None:
            for target in targets.values():
                target.tally.latency.refine(limit)
        self._events.rollouts[self.listener, self.route] = self

    def end(self) -> None:
        """The route is no longer in force."""
        if self._events.rollouts.get((self.listener, self.route)) is self:
            del self._events.rollouts[self.listener, self.route]

    def look(self, now: float, targets: Mapping[str, Target], reweigh: Callable[[Mapping[str, int]], None]) -> None:
        """See how the versions do, and act on it."""
        limit = self.ramp.config.p99
        others = [target for name, target in targets.items() if name != self.version]
        move = self.ramp.look(
            now,
            counts([targets[self.version].tally], limit),
            counts([target.tally for target in others], limit),
            # Where nothing can be reached, the version is not to blame.
            reachable=targets[self.version].upstream.available or not any(each.upstream.available for each in others),
        )
        if move is not None:
            self._carry_out(move, reweigh)

    def ask(self, action: Action, reweigh: Callable[[Mapping[str, int]], None]) -> None:
        """Do as a person asks. Raises ValueError, which says what is possible."""
        self._carry_out(self.ramp.ask(action), reweigh)

    def overruled(self) -> None:
        """Somebody has changed the weights: the ramp is over."""
        self._events.ramp_moved(self, self.ramp.overruled())

    def _carry_out(self, move: Move, reweigh: Callable[[Mapping[str, int]], None]) -> None:
        weights = self.weights()
        if weights is not None and move.kind != "held":
            reweigh(weights)
        self._events.ramp_moved(self, move)

    def describe(self, now: float) -> dict[str, Any]:
        """For the admin endpoint."""
        return {"version": self.version, **self.ramp.describe(now)}


def counts(tallies: Iterable[Tally], limit: float | None) -> Counts:
    """What has been counted so far of some versions together."""
    total = Counts()
    for tally in tallies:
        slow = 0 if limit is None else tally.latency.above(limit)
        total += Counts(tally.answered, tally.failures, slow, tally.gone)
    return total
