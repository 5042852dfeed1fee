"""The weighted choice of a version. Pure: the random number is an argument.

A weight lives with its version, so taking one out leaves the ratios of the others as they are. (Proxies that keep
weights in a list beside the versions, or draw anew from the neighbours, send the survivors of 90/5/5 95:5.)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping
from hashlib import blake2b
from itertools import accumulate
from math import log


class Split:
    """Versions with weights: integers of any sum; 0 is never picked."""

    __slots__ = ("_names", "_steps", "total", "weights")

    def __init__(self, weights: Mapping[str, int]) -> None:
        """Raises ValueError for a negative weight, or if no weight is above 0."""
        for name, weight in weights.items():
            if weight < 0:
                raise ValueError(f'the weight of "{name}" is negative')
        if not any(weights.values()):
            raise ValueError("at least one weight must be above 0")
        self.weights = dict(weights)
        self._names = [name for name, weight in weights.items() if weight]
        self._steps = list(accumulate(weight for weight in weights.values() if weight))
        self.total = self._steps[-1]

    @classmethod
    def nothing(cls) -> Split:
        """The split of a route that answers itself: it has no versions, and is never asked for one."""
        split = cls({"": 1})
        split.weights = {}
        return split

    def pick(self, u: float, available: Collection[str] | None = None) -> str | None:
        """The version for `u`, drawn evenly from [0, 1), among the available ones (None: all).

        None if no version with a weight is available.
        """
        if available is None:
            return self._names[bisect_right(self._steps, u * self.total)]
        names = [name for name in self._names if name in available]
        if not names:
            return None
        steps = list(accumulate(self.weights[name] for name in names))
        return names[bisect_right(steps, u * steps[-1])]

    def place(self, key: bytes, available: Collection[str] | None = None) -> str | None:
        """The version for a key, always the same one, among the available ones (None: all).

        Weighted rendezvous hashing: over many keys the shares are the weights, and a version whose weight changes only
        takes keys from the others or gives keys to them. None if no version with a weight is available.
        """
        names = self._names if available is None else [name for name in self._names if name in available]
        return max(names, key=lambda name: self.weights[name] / -log(_even(key, name)), default=None)

    def share(self, name: str) -> float:
        """The expected share of a version, between 0 and 1."""
        return self.weights[name] / self.total


def _even(key: bytes, name: str) -> float:
    """A number strictly between 0 and 1 that key and name decide: 52 bits and a half, which a float holds exactly."""
    digest = blake2b(key, digest_size=8, key=blake2b(name.encode(), digest_size=32).digest()).digest()
    return ((int.from_bytes(digest) >> 12) + 0.5) / 2**52
