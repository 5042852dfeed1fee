"""Outputs: where log records go.

An output delivers batches, encoded as NDJSON, and says what became of them. It does not retry, queue or give up:
the sender in front of it does, the same way for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from podpatterns.runtime.schema import ComponentConfig
from podpatterns.sidecar.batch import Batch


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the far side has said. Every record that is not rejected has been accepted, safely."""

    rejected: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """Reasons by (index of the batch, index of the record in it): refused for good, to become dead letters."""
    refused: int = 0
    """Records that were refused for good without a word on which they were: counted, and known to be lost."""
    why: str = ""
    """The reason for `refused`; without any, a warning."""


ACCEPTED = Receipt()


class Output(ABC):
    """A running output."""

    async def start(self) -> None:  # noqa: B027 - not every output has to
        """Get ready. Raises StartError for what only a person can mend; a far side that is down is not that."""

    @abstractmethod
    async def deliver(self, batches: Sequence[Batch]) -> Receipt:
        """Deliver what the batches' `ndjson` holds; return when the far side has it safely.

        Called again with the very same batches after a failure, also after a partial one: what was delivered before
        may be delivered twice, with the same ids.

        Raises:
            Retryable: not now. An OSError or a timeout means the same.
            Rejected: never, none of it.
        """

    async def stop(self) -> None:  # noqa: B027 - as above
        """Release everything."""


class OutputConfig(ComponentConfig, frozen=True, kw_only=True):
    """Base of the outputs' configurations."""

    def build(self) -> Output:
        """The output; nothing is opened before its `start`."""
        raise NotImplementedError
