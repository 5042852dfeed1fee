"""Series that are idle: found by looking at all of them now and then, so that samples cost nothing more."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable

from podpatterns.adapter.intake import Intake
from podpatterns.adapter.metric import Metric
from podpatterns.adapter.slots import Counter, Distribution, Slot
from podpatterns.adapter.store import Store

LOOKS = 10
"""Looks per expiry time: a series is dropped at most a tenth of the time later than it might be."""


class Expiry:
    """Drops gauges, sets and timers without samples for `after` seconds, and hides counters that did not grow.

    A metric's own `ttl` comes before `after`; without either its series stay.

    A counter's value is kept: it must never go down while the adapter runs, so it comes back as what it was.
    """

    def __init__(self, store: Store, intake: Intake, after: float | None, clock: Callable[[], float]) -> None:
        self.after = after
        self._store, self._intake, self._clock = store, intake, clock
        self._since: dict[Slot, float] = {}
        """When a series was last found with a new sample."""
        self._values: dict[Counter, float] = {}
        """The value of each counter then."""

    def sweep(self) -> Tally[str]:
        """Look at all series. Returns how many were dropped or hidden now, by kind of metric."""
        self._store.settle()
        now = self._clock()
        found: Tally[str] = Tally()
        gone: set[Slot] = set()
        for metric in list(self._store.metrics.values()):
            after = metric.ttl if metric.ttl is not None else self.after
            if after is None:
                continue
            if metric.kind == "counter":
                found[metric.kind] += self._hide(metric, now, after)
            else:
                found[metric.kind] += self._drop(metric, now, after, gone)
        if gone:
            self._intake.forget_slots(gone)
        return +found

    def _hide(self, metric: Metric, now: float, after: float) -> int:
        """Counters with the same value for too long, which were not hidden before."""
        hidden, count = self._store.hidden, 0
        for slot in metric.series.values():
            assert isinstance(slot, Counter)
            value = slot.read()
            if self._values.get(slot) != value:
                self._values[slot], self._since[slot] = value, now
                hidden.pop(slot, None)
            elif now - self._since[slot] >= after and slot not in hidden:
                hidden[slot] = value
                count += 1
        return count

    def _drop(self, metric: Metric, now: float, after: float, gone: set[Slot]) -> int:
        """Everything else without a sample for too long; its slots, one for each sample rate, join `gone`."""
        over = []
        for labels, slot in metric.series.items():
            assert not isinstance(slot, Counter)
            if slot.renewed():
                self._since[slot] = now
            elif now - self._since.setdefault(slot, now) >= after:
                over.append(labels)
                del self._since[slot]
                gone.update(slot.parts() if isinstance(slot, Distribution) else (slot,))
        self._store.remove(metric, over)
        return len(over)
