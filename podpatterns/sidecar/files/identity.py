"""Which file it is: what of it the checkpoint remembers, and how it is known again.

A file is recognised by device and inode, by its first bytes and by the bytes just before the position that was
reached: inodes are used again, and a file that was truncated and filled again may be longer than before.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import msgspec

from podpatterns.formats.rotation import hashed
from podpatterns.sidecar.ledger import Account

BEFORE = 64
"""Bytes before the position that tell whether the file is still the one that was read."""


class Position(NamedTuple):
    """How far an output is, and whether the line before it has been shipped without its end."""

    offset: int
    open_line: bool


class Entry(msgspec.Struct, omit_defaults=True):
    """A follower in the checkpoint."""

    id: str
    generation: int
    path: str
    dev: int
    ino: int
    offset: int
    """Everything before it has been acknowledged."""
    size: int
    """How long the file was known to be."""
    prefix: tuple[int, str]
    """Length and hash of the first bytes."""
    before: tuple[int, str]
    """Length and hash of the bytes just before `offset`."""
    open_line: bool = False
    """The part of a line before `offset` has been shipped without its end."""
    outputs: dict[str, Position] = {}
    """Of several outputs, those that are further than `offset`."""
    dead: list[int] = []
    """Where records begin, behind `offset`, that one of them has refused."""
    account: Account = msgspec.field(default_factory=Account)

    def describes(self, descriptor: int) -> bool:
        """Whether an open file is the one, as far as it had been read."""
        if os.fstat(descriptor).st_size < self.offset:
            return False
        length, digest = self.prefix
        if hashed(os.pread(descriptor, length, 0)) != digest:
            return False
        length, digest = self.before
        return hashed(os.pread(descriptor, length, self.offset - length)) == digest


def fresh(identity: str, generation: int, path: str, dev: int, ino: int) -> Entry:
    """The entry of a file of which nothing has been read."""
    nothing = 0, hashed(b"")
    return Entry(
        id=identity,
        generation=generation,
        path=path,
        dev=dev,
        ino=ino,
        offset=0,
        size=0,
        prefix=nothing,
        before=nothing,
    )
