"""What is being shipped, for whoever looks at the moment: `podpatterns logs tail`.

Nothing is kept while nobody looks. Who looks asks again and again for what came after what was seen; when nobody has
asked for a while, it ends by itself. What comes faster than it is fetched is passed over, and counted.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

INTEREST = 5.0
"""Seconds that somebody who has asked counts as looking."""
KEPT = 512 * 1024
"""Bytes of records that wait for the next question; an answer of the admin endpoint may have twice as many."""


class Seen(NamedTuple):
    """Records as NDJSON, the number to ask with next, and how many were passed over."""

    ndjson: bytes
    next: int
    missed: int


class Live:
    """Records by their number, from the first question on. Pure: the time is an argument."""

    def __init__(self) -> None:
        self.wanted = False
        """Whether anybody looks."""
        self._until = 0.0
        self._number = 0
        self._kept: deque[tuple[int, bytes]] = deque()
        self._size = 0

    def ask(self, after: int | None, now: float) -> Seen:
        """What came after a number; None for somebody who looks for the first time and gets the number alone."""
        self.wanted, self._until = True, now + INTEREST
        if after is None or after > self._number:  # the second: of another process, before a restart
            return Seen(b"", self._number, 0)
        found: list[bytes] = []
        first = self._number
        for number, ndjson in self._kept:
            count = ndjson.count(b"\n")
            if number + count <= after:
                continue
            first = min(first, max(number, after))
            # A batch of which a part was seen before.
            found.append(ndjson if number >= after else b"\n".join(ndjson.split(b"\n")[after - number :]))
        return Seen(b"".join(found), self._number, max(0, first - after))

    def feed(self, ndjson: bytes, now: float) -> None:
        """Take what goes out; to be called while it is `wanted`."""
        if now > self._until:
            self.wanted = False
            self._kept.clear()
            self._size = 0
            return
        count = ndjson.count(b"\n")
        if not count:
            return
        self._kept.append((self._number, ndjson))
        self._number += count
        self._size += len(ndjson)
        while self._size > KEPT:
            _, gone = self._kept.popleft()
            self._size -= len(gone)
