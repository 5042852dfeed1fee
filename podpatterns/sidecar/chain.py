"""The chain: parcels on their way, in order, and each output at its own place in it.

    settled ✕ ── parcel ── parcel ── stretches ── parcel ── (being filled)
                   ↑                                ↑
              an output that is down           one that is not

Each output walks along the chain at its own pace, and a parcel is settled when the last of them has passed it. What
waits for an output that is behind need not stay in memory: a parcel can be *let go*, and leaves of each of its files a
stretch, which says from where to where. Stretches that follow each other become one, so that an output that is behind
by a gigabyte costs no more than one that is behind by a megabyte. When the output comes there, the beginning is
read again from the file, and made a parcel of its own (`split`).

Pure: reading and delivering is done by the pipeline and its senders.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from podpatterns.sidecar.batch import Batch, Source
from podpatterns.sidecar.inputs import Input


@dataclass(slots=True)
class Stretch:
    """Lines of one source that are not in memory, from byte `start` to the end of the batch that `mark` stood on."""

    origin: Input
    source: Source
    start: int
    end: int
    mark: Any
    read: int
    """Lines, as counted when they were read for the first time; of them `dropped` and `failed` in the transforms."""
    dropped: int
    failed: int
    dead: set[int]
    """Offsets of records that an output has refused."""
    taken: frozenset[str]
    """Outputs that had it before the restart."""

    def continues(self, other: Stretch) -> bool:
        """Whether it begins where the other one ends."""
        return self.start == other.end and self.source is other.source and self.taken == other.taken

    def append(self, other: Stretch) -> None:
        """Take in one that continues this one."""
        self.end, self.mark = other.end, other.mark
        self.read += other.read
        self.dropped += other.dropped
        self.failed += other.failed
        self.dead |= other.dead

    def pass_over(self, batch: Batch) -> set[int]:
        """Begin behind a batch that was read again; returns which of its records have been refused."""
        places = {at for at, offset in enumerate(batch.offsets) if offset in self.dead} if self.dead else set()
        self.start = batch.end
        self.read -= batch.read
        self.dropped -= batch.dropped
        self.failed -= batch.failed
        if self.dead:
            self.dead = {offset for offset in self.dead if offset >= batch.end}
        return places

    def hollow(self) -> Batch:
        """What stands for it when its lines are gone: nothing to deliver, and the numbers for the accounts."""
        batch = Batch(self.source, None, self.start, self.end, lines=[], mark=self.mark)
        batch.read, batch.dropped, batch.failed = self.read, self.dropped, self.failed + len(self.dead)
        batch.gone = max(0, batch.read - batch.dropped - batch.failed)
        batch.taken = self.taken
        batch.encode({})
        return batch


@dataclass(slots=True, eq=False, repr=False)
class Parcel:
    """Batches that travel together: gathered by size and time, settled when every output has had them."""

    items: list[tuple[Input, Batch]] = field(default_factory=list)
    away: list[Stretch] = field(default_factory=list)
    """What it was made of, after it was let go; `items` is empty then."""
    ends: dict[int, Stretch] = field(default_factory=dict)
    """The last stretch of each source."""
    size: int = 0
    """Bytes in memory."""
    raw: int = 0
    """Bytes of the log that it stands for."""
    records: int = 0
    waiting: int = 0
    """Outputs that still have to take it."""
    busy: int = 0
    """Outputs that are delivering it: it has to stay as it is."""
    dead: dict[int, set[int]] = field(default_factory=dict)
    """Records that at least one output has refused, by the index of their batch."""
    refused: int = 0
    """Records that an output has refused without saying which: the most of any of them."""
    next: Parcel | None = None
    """What comes behind it; None while it is being filled."""

    def __repr__(self) -> str:
        what = f"{len(self.away)} stretches" if self.away else f"{len(self.items)} batches"
        return f"<Parcel of {self.raw} bytes: {what}, {self.waiting} outputs to go>"

    def batches(self, output: str) -> list[Batch]:
        """What an output is given: nothing that it had before the restart."""
        return [batch for _, batch in self.items if output not in batch.taken]

    def let_go(self) -> int:
        """Keep nothing but where the lines are; returns how many bytes of memory that frees."""
        for at, (origin, batch) in enumerate(self.items):
            offsets = batch.offsets if at in self.dead else ()
            stretch = Stretch(
                origin=origin,
                source=batch.source,
                start=batch.start,
                end=batch.end,
                mark=batch.mark,
                read=batch.read,
                dropped=batch.dropped,
                failed=batch.failed,
                dead={offsets[index] for index in self.dead.get(at, ())},
                taken=batch.taken,
            )
            self._keep(stretch)
        freed, self.size = self.size, 0
        self.items, self.dead = [], {}
        return freed

    def absorb(self, other: Parcel) -> None:
        """Become one with the parcel behind it; both have been let go, and nobody stands between them."""
        for stretch in other.away:
            self._keep(stretch)
        self.raw += other.raw
        self.refused += other.refused
        self.next = other.next

    def split(self, items: list[tuple[Input, Batch]], dead: dict[int, set[int]], rest: list[Stretch]) -> None:
        """Be the beginning that was read again, with what is left as another parcel behind it."""
        self.items, self.dead, self.away, self.ends = items, dead, [], {}
        raw = sum(batch.end - batch.start for _, batch in items)
        self.records = sum(len(batch) for _, batch in items)
        self.size = raw + sum(len(batch.ndjson) + batch.overhead for _, batch in items)
        if rest:
            left = max(0, self.refused - self.records)
            behind = Parcel(raw=self.raw - raw, waiting=self.waiting, refused=left, next=self.next)
            for stretch in rest:
                behind._keep(stretch)
            self.raw, self.refused, self.next = raw, self.refused - left, behind

    def _keep(self, stretch: Stretch) -> None:
        last = self.ends.get(id(stretch.source))
        if last is not None and stretch.continues(last):
            last.append(stretch)
        else:
            self.away.append(stretch)
            self.ends[id(stretch.source)] = stretch


class Chain:
    """The parcels from the first that is not settled to the one that is being filled."""

    def __init__(self) -> None:
        self.first = self.last = Parcel()

    @property
    def settled(self) -> bool:
        """Nothing is on its way."""
        return self.first is self.last and not self.last.items

    def seal(self, outputs: int) -> None:
        """Begin another parcel: the last one is under way to so many outputs."""
        self.last.waiting = outputs
        self.last.next = following = Parcel()
        self.last = following

    def advance(self) -> None:
        """Forget what every output has passed."""
        while self.first.next is not None and not self.first.waiting:
            self.first = self.first.next

    def __iter__(self) -> Iterator[Parcel]:
        """Every parcel that is under way."""
        parcel = self.first
        while parcel.next is not None:
            yield parcel
            parcel = parcel.next

    def join(self) -> None:
        """Make one of parcels that were let go, lie next to each other and wait for the same outputs."""
        parcel = self.first
        while (following := parcel.next) is not None and following.next is not None:
            # As many outputs wait for both: they are the same, since each passes one after the other.
            alike = parcel.waiting == following.waiting and not parcel.busy and not following.busy
            if alike and parcel.away and following.away:
                parcel.absorb(following)
            else:
                parcel = following
