"""The adapter's outputs: where families go.

To add one: a file here, or an entry point in the group `podpatterns.adapter.outputs`.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from podpatterns.adapter.deltas import Deltas
from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.naming import NamedConfig
from podpatterns.formats.families import Family
from podpatterns.runtime.schema import ComponentConfig
from podpatterns.runtime.service import Deadline


class Source(Protocol):
    """What an output takes families from: the runtime."""

    async def collect(self, within: float) -> list[Family]:
        """Every family, transformed and checked, within so many seconds; late sources are left out and say so."""


@dataclass(frozen=True, slots=True)
class OutputContext:
    """What an output is given beside its configuration."""

    name: str
    """What it is called in metrics and events."""
    source: Source
    events: AdapterEvents
    deltas: Deltas = field(default_factory=lambda: Deltas(time.time()))
    """What was told before, for those who tell changes: it outlives a change of the output's configuration."""


class Output(ABC):
    """Started after the inputs and drained after them, so that the last samples are delivered."""

    name: str = "output"
    url: str = ""
    """Where people find what it puts out; empty if nowhere."""

    async def start(self) -> None:  # noqa: B027 - what most need not do
        """Open what is needed. Raises StartError."""

    async def run(self) -> None:
        """Work until cancelled."""
        await asyncio.Event().wait()

    async def drain(self, deadline: Deadline) -> None:  # noqa: B027 - what most need not do
        """Deliver what has not been delivered."""

    async def leave(self) -> None:  # noqa: B027 - what most need not do
        """Deliver what would be lost with it, before another one takes its place; the store goes on."""

    async def stop(self) -> None:  # noqa: B027 - what most need not do
        """Close everything."""

    @abstractmethod
    def render(self, families: Sequence[Family], accept: str) -> tuple[bytes, str]:
        """Families in the form that `accept` (an Accept header; "" for the usual one) prefers, and its type."""


class OutputConfig(ComponentConfig, NamedConfig, frozen=True, kw_only=True):
    """Base of the adapter's outputs."""

    def build(self, context: OutputContext) -> Output:
        """The output; nothing is opened before its `start`."""
        raise NotImplementedError
