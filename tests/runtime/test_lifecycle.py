"""Phases, readiness, supervisor: how a process lives and ends."""

import asyncio
import itertools

import pytest

from podpatterns.errors import ServiceError, StartError
from podpatterns.runtime.backoff import Backoff
from podpatterns.runtime.phases import TRANSITIONS, Event, IllegalTransition, Phase, after
from podpatterns.runtime.readiness import Readiness
from podpatterns.runtime.service import Context, Deadline, Service
from podpatterns.runtime.supervisor import Supervisor
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.testing import run_virtually


class Story(Service):
    """Writes down what happens to it; can be told to misbehave."""

    def __init__(self, name, log, *, fail_start=False, run=None, drain_seconds=0.0):
        self.name, self.log = name, log
        self._fail_start, self._run, self._drain_seconds = fail_start, run, drain_seconds

    async def start(self):
        self.log.append(f"{self.name} start")
        if self._fail_start:
            raise StartError(f"{self.name}: port 80 is in use")

    async def run(self):
        if self._run is not None:
            return await self._run()
        try:
            await super().run()
        finally:
            self.log.append(f"{self.name} cancelled")

    async def drain(self, deadline):
        self.log.append(f"{self.name} drain")
        await asyncio.sleep(self._drain_seconds)
        self.log.append(f"{self.name} drained")

    async def stop(self):
        self.log.append(f"{self.name} stop")


def context(grace=5.0):
    return Context(Telemetry(_Silent()), grace=grace)


class _Silent:
    def __getattr__(self, _name):
        return lambda *_args, **_fields: None


def test_the_phase_table_is_complete():
    """Every pair of phase and event either has a line in the table or is refused."""
    for phase, event in itertools.product(Phase, Event):
        if event in TRANSITIONS[phase]:
            assert after(phase, event) in Phase
        else:
            with pytest.raises(IllegalTransition):
                after(phase, event)


def test_no_way_leads_back():
    """Phases only move forward."""
    order = list(Phase)
    for phase, line in TRANSITIONS.items():
        assert all(order.index(target) >= order.index(phase) for target in line.values())


async def test_ready_means_that_nobody_holds():
    """Readiness is a set of latches; each can be held again."""
    readiness = Readiness()
    one, two = readiness.latch("one"), readiness.latch("two", "connecting")
    assert readiness.held == {"one": "starting", "two": "connecting"}
    one.release()
    waiting = asyncio.ensure_future(readiness.wait())
    two.release()
    await waiting
    assert readiness.ready
    one.hold("upstream vanished")
    assert (readiness.ready, readiness.held) == (False, {"one": "upstream vanished"})


async def test_services_start_in_order_and_drain_in_reverse():
    """Start one, two; drain two, one; stop two, one only when all have drained."""
    log = []
    async with Supervisor([Story("one", log), Story("two", log)], context()) as supervisor:
        assert supervisor.phase is Phase.READY
        assert supervisor.context.readiness.ready
        supervisor.request_drain("SIGTERM")
        await supervisor.finished()
        assert not supervisor.context.readiness.ready
    assert supervisor.phase is Phase.STOPPED
    assert log == [
        "one start", "two start",
        "two drain", "two drained", "one drain", "one drained",
        "two cancelled", "two stop", "one cancelled", "one stop",
    ]  # fmt: skip


async def test_a_failed_start_stops_what_was_started():
    """The error names the reason; nothing stays open."""
    log = []
    with pytest.raises(StartError, match="port 80 is in use"):
        async with Supervisor([Story("one", log), Story("two", log, fail_start=True)], context()):
            pytest.fail("must not be entered")
    assert log[-3:] == ["two stop", "one cancelled", "one stop"]


async def test_a_service_that_ends_by_itself_takes_the_process_down():
    """An end that nobody asked for is an error, after the others have drained."""
    log = []

    async def ends():
        return None

    supervisor = Supervisor([Story("one", log), Story("two", log, run=ends)], context())
    with pytest.raises(ServiceError, match="two has ended"):
        async with supervisor:
            await supervisor.finished()
    assert "one drained" in log
    assert supervisor.phase is Phase.STOPPED


async def test_a_failure_interrupts_the_block():
    """Whoever embeds a runtime learns of its failure where it is, not at the end of its own work."""
    go = asyncio.Event()

    async def fails():
        await go.wait()
        raise OSError(5, "the disk is gone")

    async def embed():
        async with Supervisor([Story("one", [], run=fails)], context()):
            go.set()
            await asyncio.Event().wait()

    with pytest.raises(OSError, match="the disk is gone"):
        await embed()
    assert asyncio.current_task().cancelling() == 0


async def test_an_error_in_the_block_is_not_replaced():
    """The block's own exception comes out, after the drain."""
    log = []
    with pytest.raises(KeyError):
        async with Supervisor([Story("one", log)], context()):
            raise KeyError("mine")
    assert log[-1] == "one stop"


async def test_a_drain_that_is_cancelled_still_stops_everything():
    """Whoever leaves the block by a cancellation leaves nothing running behind."""
    log = []

    async def application():
        async with Supervisor([Story("a", log), Story("b", log, drain_seconds=60)], context(grace=90)):
            pass

    task = asyncio.create_task(application())
    while "b drain" not in log:  # noqa: ASYNC110 - the log is the event
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log[-4:] == ["b cancelled", "b stop", "a cancelled", "a stop"]


async def test_one_that_cannot_be_stopped_keeps_no_other_from_it():
    """All are stopped, the process reaches its end, and what went wrong is raised."""
    log = []
    services = [Story(name, log) for name in "abc"]

    async def fail():
        log.append("b stop")
        raise OSError(5, "Input/output error")

    services[1].stop = fail
    supervisor = Supervisor(services, context())
    with pytest.raises(OSError, match="Input/output error"):
        async with supervisor:
            pass
    assert log[-6:] == ["c cancelled", "c stop", "b cancelled", "b stop", "a cancelled", "a stop"]
    assert supervisor.phase is Phase.STOPPED


async def test_a_service_that_is_meant_to_end_ends_the_process():
    """With `endless` false, the end of `run` is success."""

    class Steps(Story):
        endless = False

    async def done():
        return None

    async with Supervisor([Steps("init", [], run=done)], context()) as supervisor:
        await supervisor.finished()
    assert supervisor.failure is None


def test_one_grace_is_shared_by_all_drains():
    """Two services that would each take 4 s get 5 s together: the second is cut short, and that is a failure."""
    log = []

    async def main():
        loop = asyncio.get_running_loop()
        services = [Story("one", log, drain_seconds=4), Story("two", log, drain_seconds=4)]
        supervisor = Supervisor(services, context(grace=5), clock=loop.time)
        with pytest.raises(ServiceError, match=r"one could not finish within the grace of 5 s"):
            async with supervisor:
                supervisor.request_drain("SIGTERM")
        return loop.time()

    assert run_virtually(main()) == 5
    assert "two drained" in log
    assert "one drained" not in log
    assert log[-1] == "one stop"


def test_a_deadline_never_goes_below_zero():
    """What is late has no time left, not less."""
    now = 10.0
    assert Deadline(12.0, lambda: now).remaining == 2
    assert Deadline(9.0, lambda: now).remaining == 0


@pytest.mark.parametrize("attempt", [0, 1, 5, 10_000])
def test_backoff_stays_between_zero_and_its_cap(attempt):
    """Full jitter: any delay from 0 to min(cap, first·2ⁿ), without overflow."""
    backoff = Backoff(first=0.2, cap=30)
    assert backoff.delay(attempt, 0.0) == 0
    assert backoff.delay(attempt, 1.0) == min(30, 0.2 * 2 ** min(attempt, 20))
