"""Standard output, for trying things out and for a node's own log collector."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import ClassVar

from podpatterns.formats import jsonlines
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.durable import write_all
from podpatterns.sidecar.outputs import ACCEPTED, Output, OutputConfig, Receipt


class StdoutConfig(OutputConfig, frozen=True, kw_only=True):
    """Writes records to standard output, one JSON object per line. Who reads them decides whether they are safe."""

    WHERE = ()
    EXAMPLE: ClassVar[str] = "{type: stdout}"

    event_id: bool = False
    """Whether each record begins with its `id`."""

    def build(self) -> Stdout:
        """The output."""
        return Stdout(self)


class Stdout(Output):
    """Writes in a thread, because a reader may be slow."""

    def __init__(self, config: StdoutConfig) -> None:
        self.config = config

    async def deliver(self, batches: Sequence[Batch]) -> Receipt:
        """Write all of it."""
        if self.config.event_id:
            data = b"".join(jsonlines.with_ids(batch.ndjson, batch.ids) for batch in batches)
        else:
            data = b"".join(batch.ndjson for batch in batches)
        await asyncio.to_thread(write_all, sys.stdout.fileno(), data)
        return ACCEPTED
