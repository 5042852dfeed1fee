"""How many series there may be, and how many there are: one account for all who hold some. Pure."""

from __future__ import annotations

from dataclasses import dataclass

OVERFLOW_LABEL = ("overflow", "true")
"""The label of a series that takes what has no room."""


@dataclass(slots=True)
class Budget:
    """So many series altogether, and so many of one metric; those of overflow do not count."""

    total: int
    per_metric: int
    taken: int = 0

    def allows(self, size: int = 0) -> bool:
        """Whether there is room for one more series of a metric that has `size` of them."""
        return self.taken < self.total and size < self.per_metric
