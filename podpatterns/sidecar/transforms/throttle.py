"""A bound on how many records pass."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import msgspec

from podpatterns.runtime.schema import InvalidField
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.transforms import Transform, TransformConfig

KEYS = 10_000
"""Values of `by` that are told apart at a time; the one that was not seen for longest is forgotten."""


class ThrottleConfig(TransformConfig, frozen=True, kw_only=True):
    """Lets so many records per second pass; the others are counted as filtered, and as `throttled`.

    It protects a store from a component that has gone wild. It goes by the time at which records are read: after an
    outage a backlog is read as fast as it can be, and throttled as well.
    """

    EXAMPLE: ClassVar[str] = "{type: throttle, rate: 1000, by: logger}"

    rate: Annotated[float, msgspec.Meta(gt=0)]
    """Records per second, on the long average."""

    burst: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Records that may pass at once after a quiet time. None: ten seconds' worth, for logs come in bursts."""

    by: str | None = None
    """The field by whose value records are counted apart; records without it are counted together. None: all are."""

    def __post_init__(self) -> None:
        """Check that anything can pass."""
        if self.burst is None and self.rate * 10 < 1:
            raise InvalidField("burst", "must be given with so low a rate: ten seconds' worth is less than one record")

    def build(self) -> Throttle:
        """The transform."""
        return Throttle(self)


class Throttle(Transform):
    """A token bucket for each value: `tokens` at the time when they were counted."""

    repeatable = False

    def __init__(self, config: ThrottleConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = config.rate
        self._burst = float(config.burst if config.burst is not None else int(config.rate * 10))
        self._by = config.by
        self._clock = clock
        self._buckets: OrderedDict[Any, tuple[float, float]] = OrderedDict()

    def apply(self, batch: Batch) -> Batch:
        """The batch with as many records as may pass now."""
        if not len(batch):
            return batch
        now = self._clock()
        if self._by is None:
            passing = self._take("", len(batch), now)
            wanted = [index < passing for index in range(len(batch))]
        else:
            wanted = [bool(self._take(str(record.get(self._by)), 1, now)) for record in batch.records]
        batch.note("throttled", wanted.count(False))
        return batch.keep(wanted)

    def _take(self, key: str, count: int, now: float) -> int:
        """As many tokens as there are, up to `count`."""
        tokens, at = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + max(0.0, now - at) * self._rate)
        taken = min(count, int(tokens))
        self._buckets[key] = tokens - taken, now
        if len(self._buckets) > KEYS:
            self._buckets.popitem(last=False)
        return taken
