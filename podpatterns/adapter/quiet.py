"""Waiting until the kernel holds nothing more for us: what has arrived is read in the next turns of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from podpatterns.runtime.service import Deadline

TURNS = 10
"""Turns of the loop in which nothing comes, until nothing is expected any more. A connection that is not yet accepted
takes four until its first bytes are read."""


ARRIVED = 2.0
"""Seconds for taking in what has arrived before a drain. It is done much sooner, unless somebody goes on sending as
fast as we read: whoever comes after needs time for a last delivery."""


def soon(deadline: Deadline) -> Deadline:
    """The deadline for taking in what has arrived, within that of a drain."""
    return Deadline(min(deadline.at, deadline.clock() + ARRIVED), deadline.clock)


async def quiet(progress: Callable[[], int], deadline: Deadline) -> None:
    """Return when so many turns of the loop have brought nothing, or at the deadline."""
    before, left = progress(), TURNS
    while left and deadline.remaining:
        await asyncio.sleep(0)
        now = progress()
        left = left - 1 if now == before else TURNS
        before = now
