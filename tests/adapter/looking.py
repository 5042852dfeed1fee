"""Looking at an adapter from outside: what its page says, and waiting for what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from podpatterns.adapter.runtime import Adapter
from podpatterns.formats.families import Family
from podpatterns.formats.prometheus import parse


def values(families: Iterable[Family]) -> dict[str, float]:
    """The value of every sample, by its name and labels as a page has them."""
    return {
        (family.base + suffix if suffix else family.name) + text: value
        for family in families
        for suffix, text, value in zip(
            family.suffixes or [""] * len(family.values), family.blocks, family.values, strict=True
        )
    }


async def samples(adapter: Adapter) -> dict[str, float]:
    """The same for the page."""
    return values(parse(await adapter.page()))


async def until(condition: Callable[[], bool | Awaitable[bool]], within: float = 10.0) -> None:
    """Wait for plain state, of which no event tells."""
    async with asyncio.timeout(within):
        while True:
            holds = condition()
            if await holds if isinstance(holds, Awaitable) else holds:
                return
            await asyncio.sleep(0.005)
