"""The adapter's inputs: where metrics come from.

Two kinds exist. A *push* input is sent samples, which it adds to the store's series; a *pull* input is asked when a
page is wanted (`collect`). To add one: a file here, or an entry point in the group `podpatterns.adapter.inputs`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.framing import Lines
from podpatterns.adapter.intake import Intake
from podpatterns.adapter.log_events import LogEvents
from podpatterns.adapter.store import Store
from podpatterns.formats.families import Blocks, Family
from podpatterns.runtime.schema import ComponentConfig
from podpatterns.runtime.service import Deadline


@dataclass(frozen=True, slots=True)
class Wiring:
    """What an input is given: the store for what is pushed, StatsD's way into it, known label texts, events.

    `logs` is told of files.
    """

    store: Store
    intake: Intake
    blocks: Blocks
    events: AdapterEvents
    logs: LogEvents


class Input(ABC):  # noqa: B024 - only those that are asked have an abstract method
    """Started in the order of the configuration, drained and stopped in reverse."""

    name: str = "input"

    async def start(self) -> None:  # noqa: B027 - what most need not do
        """Open what is needed. Raises StartError."""

    async def run(self) -> None:
        """Work until cancelled."""
        await asyncio.Event().wait()

    async def drain(self, deadline: Deadline) -> None:  # noqa: B027 - what most need not do
        """Take in what has arrived already."""

    async def stop(self) -> None:  # noqa: B027 - what most need not do
        """Close everything."""

    def sizes(self) -> Iterable[tuple[str, int]]:
        """Metrics whose series it holds itself, beside the store, and how many each has."""
        return ()


class PullInput(Input):
    """Is asked for samples."""

    @abstractmethod
    async def collect(self, deadline: Deadline) -> list[Family]:
        """Everything there is, within the deadline; a failure is part of the answer (`<name>_up 0`), never raised."""


class Document(Protocol):
    """What understands something whole that an input takes: a page, a request, a pickle."""

    def take(self, body: bytes, content_type: str) -> list[Family]:
        """Take it in. Returns families that do not come out of the store. Raises ValueError where it is none."""


class InputConfig(ComponentConfig, frozen=True, kw_only=True):
    """Base of the adapter's inputs."""

    def build(self, wiring: Wiring) -> Input:
        """The input; nothing is opened before its `start`."""
        raise NotImplementedError

    def lines(self, wiring: Wiring) -> Lines | None:  # noqa: ARG002 - for those that have some
        """What understands the lines that the input takes; None where it takes no lines. `explain` asks it as well."""
        return None

    def document(self, wiring: Wiring) -> Document | None:  # noqa: ARG002 - for those that have some
        """What understands a whole page or request; None where the input takes lines. `explain` asks it."""
        return None
