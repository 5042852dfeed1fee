"""The loss ledger: what became of every line that was read.

For each source and for the whole, `read = acknowledged + dead-lettered + filtered + refused + gone` once everything
has been delivered, and what is known to be lost stands beside it with its reason. Accounts of sources that are no more
live on in one sum, so that the ledger of a pod is complete however often its logs rotate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from podpatterns.sidecar.batch import Batch


class Account(msgspec.Struct, omit_defaults=True):
    """Numbers of lines; bytes where a line cannot be counted, because it was never seen."""

    read: int = 0
    """Lines read."""
    acknowledged: int = 0
    """Lines that every output has taken."""
    dead: int = 0
    """Lines that an output has refused for good, or that a transform failed on; they are in the dead-letter file."""
    filtered: int = 0
    """Lines that a transform has left out on purpose."""
    refused: int = 0
    """Lines that an output has refused for good without saying which they were: known to be lost."""
    gone: int = 0
    """Lines that one output has and another one, which was behind, could not get any more: their file was truncated."""
    bytes: int = 0
    """Bytes of the lines that have been settled: acknowledged, dead, filtered, refused or gone."""
    lost: dict[str, int] = {}
    """Bytes that are known to be lost, by reason."""

    @property
    def settled(self) -> int:
        """Lines whose fate is known."""
        return self.acknowledged + self.dead + self.filtered + self.refused + self.gone

    @property
    def lost_bytes(self) -> int:
        """Bytes lost, for any reason."""
        return sum(self.lost.values())

    @property
    def balanced(self) -> bool:
        """Every line that was read is accounted for."""
        return self.read == self.settled

    def lose(self, reason: str, size: int) -> None:
        """Add to what is known to be lost."""
        self.lost = {**self.lost, reason: self.lost.get(reason, 0) + size}

    def settle(self, batch: Batch, dead: int) -> None:
        """Enter a batch whose fate is known: `dead` of its lines are dead letters."""
        self.dead += dead
        self.filtered += batch.dropped
        self.refused += batch.refused
        self.gone += batch.gone
        self.acknowledged += batch.read - batch.dropped - batch.refused - batch.gone - dead
        self.bytes += batch.end - batch.start

    def add(self, other: Account) -> None:
        """Take another account into this one."""
        for name in ("read", "acknowledged", "dead", "filtered", "refused", "gone", "bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for reason, size in other.lost.items():
            self.lose(reason, size)

    def saved(self) -> Account:
        """What a restart goes on from: lines in flight are read again, so they do not count as read."""
        return Account(
            read=self.settled,
            acknowledged=self.acknowledged,
            dead=self.dead,
            filtered=self.filtered,
            refused=self.refused,
            gone=self.gone,
            bytes=self.bytes,
            lost=self.lost,
        )


def total(accounts: Iterable[Account]) -> Account:
    """The sum of some accounts."""
    result = Account()
    for account in accounts:
        result.add(account)
    return result


def shown(account: Account) -> Mapping[str, Any]:
    """An account as the admin endpoint shows it."""
    return {
        "read": account.read,
        "acknowledged": account.acknowledged,
        "dead_lettered": account.dead,
        "filtered": account.filtered,
        "refused": account.refused,
        "gone": account.gone,
        "in_flight": account.read - account.settled,
        "settled_bytes": account.bytes,
        "lost_bytes": dict(account.lost),
    }
