"""The pytest plugin: fixtures that hand out fakes. Importing it imports nothing heavy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from podpatterns.pod import LocalPod
    from podpatterns.testing.server import FakeServer

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # the plugin is loaded wherever podpatterns is installed, with pytest-asyncio or without

    def async_fixture(function: Callable[..., Any]) -> Any:  # type: ignore[no-redef]
        """A fixture that says what it needs."""

        @pytest.fixture(name=function.__name__)
        def missing() -> None:
            pytest.fail(f"{function.__name__} needs pytest-asyncio: pip install pytest-asyncio", pytrace=False)

        return missing


@async_fixture
async def fake_server() -> AsyncIterator[FakeServer]:
    """A fake HTTP server on loopback: an upstream, a log store, a scrape target."""
    from podpatterns.testing.server import FakeServer

    async with FakeServer() as server:
        yield server


@async_fixture
async def local_pod() -> AsyncIterator[Callable[..., Awaitable[LocalPod]]]:
    """A function that starts pods, with the arguments of `LocalPod`; to be awaited.

    They are ended in order after the test; their timelines are shown if it has failed.
    """
    from podpatterns.pod import LocalPod
    from podpatterns.pod.writing import TextWriter

    async with AsyncExitStack() as stack:

        async def start(*documents: Any, **options: Any) -> LocalPod:
            pod = await stack.enter_async_context(LocalPod(*documents, **options))
            writer = TextWriter([runner.spec for runner in pod.runners])  # pytest captures it, and shows it on failure
            for entry in pod.timeline.entries:
                writer.entry(entry)
            pod.timeline.listen(writer.entry)
            return pod

        yield start
