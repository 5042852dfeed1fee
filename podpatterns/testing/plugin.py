"""The pytest plugin: fixtures that hand out fakes. Importing it imports nothing heavy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from podpatterns.testing.server import FakeServer

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # the plugin is loaded wherever podpatterns is installed, with pytest-asyncio or without
    async_fixture = pytest.fixture  # type: ignore[assignment]


@async_fixture
async def fake_server() -> AsyncIterator[FakeServer]:
    """A fake HTTP server on loopback: an upstream, a log store, a scrape target."""
    from podpatterns.testing.server import FakeServer

    async with FakeServer() as server:
        yield server
