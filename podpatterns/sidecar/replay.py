"""Dead letters sent once more, after whatever was wrong with them or with the store has been mended.

The file is taken away from the sidecar by a rename, so that one which is running begins another; what is refused again
ends up there. When all is done the file that was taken is removed. A replay that is interrupted finds it again and
begins it anew: some records may be delivered twice then, under the same ids.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from podpatterns.errors import PodpatternsError
from podpatterns.runtime.service import Context
from podpatterns.runtime.supervisor import Supervisor
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.sidecar.batch import MESSAGE, Batch, Source
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.durable import locked
from podpatterns.sidecar.inputs import Emit, Input, InputConfig, InputContext
from podpatterns.sidecar.ledger import Account
from podpatterns.sidecar.outputs import OutputConfig
from podpatterns.sidecar.runtime import Sidecar, named

TRANSFORM = "transform"
"""Who has refused a record that a transform failed on: it goes through the transforms again, and to every output."""
ROWS = 500
LOOK = 0.2
"""Seconds between two looks at how far it has come."""


class Letter(msgspec.Struct):
    """A line of the file."""

    by: str
    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
    source: str
    record: dict[str, Any] | str


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many records were delivered, and how many are dead letters again."""

    delivered: int
    refused: int


class LettersConfig(InputConfig, frozen=True, kw_only=True):
    """Reads dead letters instead of logs; made by `replay` alone."""

    letters: tuple[Any, ...]
    """The letters, in their order."""

    def build(self, context: InputContext) -> Letters:  # noqa: ARG002 - as inputs are built
        """The input."""
        return Letters(self.letters)


class Letters(Input):
    """Emits letters as the records that they were, under their own ids."""

    ends = True

    def __init__(self, letters: Sequence[Letter]) -> None:
        self._letters = letters
        self._account = Account()
        self._emitted = asyncio.Event()

    async def run(self, emit: Emit) -> None:
        """Emit all of them."""
        for batch in batches(self._letters):
            self._account.read += batch.read
            await emit(batch)
        self._emitted.set()

    async def drain(self) -> None:
        """Return when all have been emitted."""
        await self._emitted.wait()

    def commit(self, batch: Batch, dead: int) -> None:
        """Count."""
        self._account.settle(batch, dead)

    def accounts(self) -> Iterable[tuple[str, Account, Mapping[str, Any]]]:
        """One."""
        yield "dead letters", self._account, {}


def batches(letters: Sequence[Letter]) -> Iterator[Batch]:
    """Letters of the same source that follow each other, in batches."""
    begin = 0
    while begin < len(letters):
        key, name = letters[begin].id[:16], letters[begin].source
        end = begin
        while end < min(len(letters), begin + ROWS) and (letters[end].id[:16], letters[end].source) == (key, name):
            end += 1
        row = letters[begin:end]
        offsets = [int(letter.id[16:], 16) for letter in row]
        source = Source(name, name)
        object.__setattr__(source, "key", key)  # the half of an id that tells the source
        batch = Batch(source, None, offsets[0], offsets[-1], lines=[b""] * len(row), offsets=offsets)
        records = [letter.record if isinstance(letter.record, dict) else {MESSAGE: letter.record} for letter in row]
        yield batch.with_records(records)
        begin = end


Progress = Callable[[int, int, str], None]
"""Told how many of how many letters are done, and what is waited for; empty for nothing."""


async def replay(
    config: SidecarConfig,
    letters: Path | None = None,
    to: str | None = None,
    telemetry: Telemetry | None = None,
    progress: Progress = lambda *_: None,
) -> Replayed:
    """Send the dead letters of a sidecar to the outputs that had refused them, or all of them to one.

    Raises:
        PodpatternsError: there are none, or the file or the output's name makes no sense.
    """
    path = letters or config.dead_letters_path
    taken = path.with_name(f"{path.name}.replaying")
    found = read(take(path, taken))
    outputs = dict(named(config.outputs))
    groups: dict[str, list[Letter]] = {}
    for letter in found:
        groups.setdefault(to or letter.by, []).append(letter)
    for name in groups:
        if name not in outputs and name != TRANSFORM:
            raise PodpatternsError(f'"{name}" is no output of this sidecar; choose one with --to: {", ".join(outputs)}')
    delivered = refused = done = 0
    for name, group in groups.items():
        every = name == TRANSFORM
        account = await _send(
            config,
            group,
            path,
            config.outputs if every else [outputs[name]],
            transformed=not every,
            telemetry=telemetry or Telemetry(),
            progress=lambda settled, why, done=done: progress(done + settled, len(found), why),  # type: ignore[misc]
        )
        done += len(group)
        delivered += account.acknowledged + account.filtered
        refused += account.dead + account.refused
    taken.unlink()
    return Replayed(delivered, refused)


async def _send(
    config: SidecarConfig,
    letters: Sequence[Letter],
    path: Path,
    outputs: Sequence[OutputConfig],
    *,
    transformed: bool,
    telemetry: Telemetry,
    progress: Callable[[int, str], None],
) -> Account:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".replay-") as directory:
        again = msgspec.structs.replace(
            config,
            inputs=(LettersConfig(letters=tuple(letters)),),
            transforms=() if transformed else config.transforms,
            outputs=tuple(outputs),
            fields={} if transformed else config.fields,
            checkpoint=f"{directory}/checkpoint.json",
            dead_letters=str(path),
            done_file=None,
        )
        # A registry of its own for each, and no grace: whoever interrupts it does not want to wait.
        sidecar = Sidecar(again, Context(Telemetry(telemetry.log, telemetry.gate), grace=0.0))
        async with Supervisor([sidecar], sidecar.context) as supervisor:
            watching = asyncio.create_task(_watch(sidecar, progress))
            try:
                await supervisor.finished()  # for as long as a store takes: a person has started it
            finally:
                watching.cancel()
                await asyncio.wait([watching])
        progress(sidecar.ledger.settled, "")
        return sidecar.ledger


async def _watch(sidecar: Sidecar, progress: Callable[[int, str], None]) -> None:
    while True:
        progress(sidecar.ledger.settled, str(sidecar.status().facts.get("waiting", "")))
        await asyncio.sleep(LOOK)


def take(path: Path, taken: Path) -> Path:
    """Take the file away; one that an interrupted replay had taken comes first. Raises PodpatternsError."""
    with suppress(FileNotFoundError):
        if not taken.exists():
            with locked(path, os.O_RDWR):  # not in the middle of somebody's writing
                path.rename(taken)
    if not taken.exists():
        raise PodpatternsError(f"there are no dead letters in {path}")
    return taken


def read(path: Path) -> list[Letter]:
    """The letters of a file. Raises PodpatternsError."""
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            found.append(msgspec.json.decode(line, type=Letter))
        except (ValueError, RecursionError) as error:  # of which msgspec's errors are some
            raise PodpatternsError(f"{path}:{number}: not a dead letter: {error}; mend or remove the line") from None
    return found
