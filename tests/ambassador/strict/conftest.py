"""Processes for tests, and the loops that they run on."""

from functools import partial

import pytest
import uvloop

from tests.ambassador.strict import processes

OWN_PROCESS = {"test_memory.py", "test_reliability.py"}
"""Where the ambassador is another process, the test's own loop changes nothing: one is enough."""


def pytest_asyncio_loop_factories(config, item):
    """None leaves it to the conftest above: every other test runs on both loops."""
    return {"uvloop": uvloop.new_event_loop} if item.path.name in OWN_PROCESS else None


@pytest.fixture
def launched(tmp_path):
    """Run the ambassador with a configuration."""
    return partial(processes.launched, tmp_path)


@pytest.fixture
async def service(tmp_path):
    """Start a service by name."""
    started = []

    async def start(name):
        made = processes.Service(name, tmp_path)
        started.append(made)
        await made.start()
        return made

    yield start
    for each in started:
        await each.close()
