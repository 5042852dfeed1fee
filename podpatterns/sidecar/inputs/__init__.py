"""Inputs: where log lines come from.

An input emits batches and waits while it does: that is the back-pressure. It gets each batch back, in order, when
its fate is known, and keeps its own position from that: what has not come back is read again after a restart.

With several outputs one of them may be behind. An input that can read a batch again lets it be forgotten until that one
comes to it; what cannot be read again stays in memory, and when that is full the input waits.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podpatterns.runtime.schema import ComponentConfig
from podpatterns.runtime.service import Check
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.budget import CHUNK, LINES
from podpatterns.sidecar.events import SidecarEvents
from podpatterns.sidecar.ledger import Account


class Gone(Exception):  # noqa: N818 - named after what has happened to the lines
    """What is to be read again is no longer there."""


Emit = Callable[[Batch], Awaitable[None]]
"""Hands a batch on; returns when there is room for the next."""


@dataclass(frozen=True, slots=True)
class InputContext:
    """What the sidecar gives to an input."""

    name: str
    """Its name in metrics and in the checkpoint: the type, with a number from the second of a type on."""
    events: SidecarEvents
    persist: Callable[[], Awaitable[None]]
    """Returns when every input's `snapshot` of now is on disk."""
    touch: Callable[[], None]
    """Says that a snapshot would differ from the last; it is saved soon."""
    retire: Callable[[Account], None]
    """Takes the account of a source that is gone for good."""
    directory: Path = Path()
    """Where it may keep what it needs for a while: the checkpoint's directory."""
    most: Callable[[], tuple[int, int]] = lambda: (CHUNK, LINES)
    """How many bytes, and lines, to read at a time, as the memory budget says."""
    share: Callable[[], int] = lambda: sys.maxsize
    """Bytes of memory for what the input holds, as the memory budget says."""
    linger: Callable[[], float] = lambda: 0.0
    """Seconds that a line may wait for others: to look for more of them in less time is of little use."""
    outputs: tuple[str, ...] = ()
    """The keys of the outputs: each has a position of its own."""
    held: Callable[[bytes, int, int], int] = lambda _data, _begin, _end: 0
    """How many of the last lines of a piece of some bytes may belong together with lines to come, and should wait."""


class Input(ABC):
    """A running input."""

    ends: bool = False
    """Whether `run` returns when there is nothing more to come; when all inputs have ended, the sidecar does."""

    async def start(self, entries: Any) -> None:  # noqa: B027 - not every input has to
        """Get ready, from what `snapshot` gave before the restart (None: nothing). Raises StartError."""

    @abstractmethod
    async def run(self, emit: Emit) -> None:
        """Emit batches until cancelled."""

    @abstractmethod
    async def drain(self) -> None:
        """Return when everything that can be read by now has been emitted; after that nothing more is."""

    @abstractmethod
    def commit(self, batch: Batch, dead: int) -> None:
        """Settled: `dead` lines are dead letters, `batch.dropped` filtered, `batch.refused` refused, others stored."""

    def reached(self, batch: Batch, output: str, dead: Sequence[int]) -> None:  # noqa: B027 - for inputs with positions
        """One of several outputs is done with a batch; `dead` are the offsets of what any has refused so far."""

    def rereadable(self, batch: Batch) -> bool:  # noqa: ARG002 - for inputs that can
        """Whether the batch can be read once more."""
        return False

    def reread(self, start: int, mark: Any, size: int) -> list[Batch]:
        """At most about `size` bytes of what lies from `start` to the end of the batch that had this mark.

        Raises:
            Gone: it is no longer there.
        """
        raise NotImplementedError

    def snapshot(self) -> Any:
        """What a restart needs, as plain JSON; None for nothing."""
        return None

    @abstractmethod
    def accounts(self) -> Iterable[tuple[str, Account, Mapping[str, Any]]]:
        """Each source at hand: its name, its account, and what else a person wants to see."""

    def checks(self) -> Iterable[Check]:
        """What must hold after a drain."""
        return ()

    async def stop(self) -> None:  # noqa: B027 - as above
        """Release everything."""


class InputConfig(ComponentConfig, frozen=True, kw_only=True):
    """Base of the inputs' configurations."""

    def reads(self, path: str) -> bool:  # noqa: ARG002 - for those that read files
        """Whether it would read a file of this name."""
        return False

    def build(self, context: InputContext) -> Input:
        """The input; nothing is opened before its `start`."""
        raise NotImplementedError
