"""Outputs: where log records go.

An output delivers batches, encoded as NDJSON, and says what became of them. It does not retry, queue or give up:
the sender in front of it does, the same way for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import ClassVar

import msgspec

from podpatterns.runtime.schema import ComponentConfig, component_type
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

    WHERE: ClassVar[tuple[str, ...] | None] = None
    """The fields that say where it delivers to: with others in them it is another output, which has no position yet.
    None: all fields."""

    def destination(self) -> str:
        """The type and a hash of where it delivers to: what its position is kept under in the checkpoint.

        Not its name: were the first of two outputs of a type taken out of a configuration, the other one would get its
        name, and with it its position.
        """
        names = self.__struct_fields__ if self.WHERE is None else self.WHERE
        where = {name: str(getattr(self, name)) for name in sorted(names)}
        return f"{component_type(type(self))}-{blake2b(msgspec.json.encode(where), digest_size=6).hexdigest()}"

    def build(self) -> Output:
        """The output; nothing is opened before its `start`."""
        raise NotImplementedError
