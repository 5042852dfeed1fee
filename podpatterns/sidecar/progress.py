"""How far a delivery has come, kept between its tries: what the far side has taken is not sent again.

The sender hands an output the very same batches until they are delivered. An output whose far side takes some records
and not others keeps what is left here, so that a try after a partial failure is about the rest alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.outputs import Receipt

T = TypeVar("T")


class Progress(Generic[T]):
    """Items by their number, one for each record; `left` are those without a verdict, in order."""

    __slots__ = ("_batches", "_refused", "_rejected", "_why", "items", "left")

    def __init__(self, batches: Sequence[Batch], items: list[T]) -> None:
        self._batches = tuple(batches)
        self.items = items
        assert len(items) == sum(map(len, batches)), "one item for each record"
        self.left: Sequence[int] = range(len(items))
        self._rejected: dict[int, str] = {}
        self._refused, self._why = 0, ""

    def is_of(self, batches: Sequence[Batch]) -> bool:
        """Whether it is about the very same batches."""
        return len(batches) == len(self._batches) and all(
            one is other for one, other in zip(batches, self._batches, strict=True)
        )

    def chunks(self, count: int) -> Iterator[Sequence[int]]:
        """What is left, in runs of at most `count`."""
        left = self.left
        for begin in range(0, len(left), count):
            yield left if len(left) <= count else left[begin : begin + count]

    def settle(self, numbers: Sequence[int]) -> None:
        """The far side has these, or never will: nothing more is to be done about them."""
        if numbers is self.left:
            self.left = ()
            return
        done = set(numbers)
        self.left = [number for number in self.left if number not in done]

    def reject(self, reasons: Mapping[int, str]) -> None:
        """These become dead letters, each with its reason."""
        self._rejected.update(reasons)
        self.settle(tuple(reasons))

    def refuse(self, count: int, why: str) -> None:
        """So many were refused, and nobody says which."""
        self._refused += count
        self._why = why

    def receipt(self) -> Receipt:
        """The verdict over all."""
        if not self._rejected:
            return Receipt(refused=self._refused, why=self._why)
        places = [(at, index) for at, batch in enumerate(self._batches) for index in range(len(batch))]
        rejected = {places[number]: reason for number, reason in sorted(self._rejected.items())}
        return Receipt(rejected, self._refused, self._why)
