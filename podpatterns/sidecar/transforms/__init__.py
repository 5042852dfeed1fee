"""Transforms: what happens to records between input and output; synchronous, pure, a whole batch at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from podpatterns.runtime.schema import ComponentConfig
from podpatterns.sidecar.batch import Batch


class Transform(ABC):
    """A compiled transform."""

    repeatable: bool = True
    """Whether the same lines always give the same records. What is not repeatable is not done again for an output that
    is behind: its records stay in memory instead."""

    def reason(self, batch: Batch) -> str:  # noqa: ARG002 - for those that have one
        """Why it will do something to a batch of one record, for `explain`; empty for nothing to say."""
        return ""

    @abstractmethod
    def apply(self, batch: Batch) -> Batch:
        """The batch as it goes on. Must not block; a line on which it raises becomes a dead letter."""


class Gathered(NamedTuple):
    """What belongs together: the places of each group's records, in order of the first ones, and where it is open."""

    members: Sequence[Sequence[int]]
    open_from: int
    """The first place of which more may come; the number of records if there is none."""


class Gathering(Transform):
    """A transform that makes one record of several lines.

    It sees whole groups only if nobody tears them: inputs that can keep lines back ask what is `open` at the end.
    """

    gathers: bool = True
    """Whether this one does, as it is configured."""

    @abstractmethod
    def concerns(self, text: bytes) -> bool:
        """Whether lines as they were read may end in a group of which more is to come: a quick look."""

    def prepare(self, batch: Batch) -> Batch:
        """What has to be done first, such as parsing."""
        return batch

    @abstractmethod
    def gather(self, batch: Batch) -> Gathered | None:
        """The groups of a prepared batch; None if every record is whole and one of its own."""

    @abstractmethod
    def join(self, batch: Batch, members: Sequence[Sequence[int]]) -> Batch:
        """One record for each group."""

    def apply(self, batch: Batch) -> Batch:
        """The batch with fewer and larger records."""
        batch = self.prepare(batch)
        gathered = self.gather(batch) if self.gathers and len(batch) else None
        return batch if gathered is None else self.join(batch, gathered.members)


class TransformConfig(ComponentConfig, frozen=True, kw_only=True):
    """Base of the transforms' configurations."""

    def build(self) -> Transform:
        """The transform, compiled."""
        raise NotImplementedError
