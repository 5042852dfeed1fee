"""Starts services in order, watches every task, drains in reverse order under one deadline.

The supervisor is the only place that creates long-lived tasks for services. A task that should never
end and does takes the whole process down, with its error, after the others have drained.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from podpatterns.errors import PodpatternsError, ServiceError
from podpatterns.runtime.events import RuntimeEvents
from podpatterns.runtime.phases import Event, Phase, after
from podpatterns.runtime.service import Context, Deadline, Service


class Supervisor:
    """Runs services: `async with Supervisor(services, context) as supervisor: await supervisor.finished()`."""

    def __init__(
        self, services: Sequence[Service], context: Context, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.services = list(services)
        self.context = context
        self.phase = Phase.STARTING
        self.failure: BaseException | None = None
        self.events = RuntimeEvents(context.telemetry, lambda: self.phase)
        self._clock = clock
        self._tasks: dict[Service, asyncio.Task[None]] = {}
        self._started: list[Service] = []
        self._over = asyncio.Event()
        self.drained = asyncio.Event()
        """Set when every service has drained, or the time for that is over."""
        self._body: asyncio.Task[object] | None = None
        self._interrupted = False

    def _move(self, event: Event, reason: str) -> None:
        phase = after(self.phase, event)
        if phase is not self.phase:
            self.phase = phase
            self.events.phase_entered(phase, reason)

    def request_drain(self, reason: str) -> None:
        """Readiness fails from now on and `finished` returns; the drain itself is done by leaving the block."""
        self.context.readiness.latch("process", f"draining: {reason}")
        self._move(Event.DRAIN, reason)
        self._over.set()

    async def finished(self) -> None:
        """Return when a drain was requested, a service failed, or every service that ends has ended."""
        await self._over.wait()

    # --- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._body = asyncio.current_task()
        latches = {service: self.context.readiness.latch(service.name) for service in self.services}
        try:
            for service in self.services:
                self._started.append(service)
                await service.start()
                self._tasks[service] = task = asyncio.create_task(self._guard(service), name=service.name)
                task.add_done_callback(partial(self._ended, service))
                latches[service].release()
                self.events.service_started(service.name)
        except BaseException:
            self._move(Event.DRAIN, "a service could not start")
            await self._wind_down()
            raise
        self._move(Event.STARTED, "every service has started")
        return self

    async def _guard(self, service: Service) -> None:
        await service.run()
        if service.endless:
            raise ServiceError(f"{service.name} has ended, though it should run until it is stopped")

    def _ended(self, service: Service, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            # What is endless (the reloader, the admin endpoint) must not keep a process alive whose work is done.
            if all(task.done() for each, task in self._tasks.items() if not each.endless):
                self._over.set()
            return
        error = _single(error)
        self.events.service_failed(service.name, error)
        if self.failure is None:
            self.failure = error
        if self.phase is Phase.READY and self._body is not None and not self._over.is_set():
            # Whoever does not wait in `finished` is in the middle of its own work: interrupt it, as a TaskGroup would.
            self._interrupted = True
            self._body.cancel("a service failed")
        self.request_drain(f"{service.name} failed")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self.phase is not Phase.DRAINING:
            self.request_drain("the block was left" if kind is None else f"{kind.__name__} in the block")
        if self._interrupted and self._body is not None:
            self._body.uncancel()
        await self._wind_down()
        if self.failure is not None and (kind is None or self._interrupted):
            raise self.failure
        return None

    async def _wind_down(self) -> None:
        try:
            await self._drain()
        finally:
            self.drained.set()
            # Also where the drain was cancelled: nothing may go on behind the back of whoever left the block.
            await self._stop()

    async def _drain(self) -> None:
        deadline = Deadline(self._clock() + self.context.grace, self._clock)
        for service in reversed(self._started):
            task = self._tasks.get(service)
            if task is not None and not task.done():
                try:
                    async with asyncio.timeout(deadline.remaining):
                        await service.drain(deadline)
                    self.events.service_drained(service.name, deadline.remaining)
                except TimeoutError:
                    self.events.drain_cut_short(service.name, self.context.grace)
                    self.failure = self.failure or ServiceError(
                        f"{service.name} could not finish within the grace of {self.context.grace:g} s; what was not "
                        f"finished is left where it was"
                    )
                except (PodpatternsError, OSError) as error:
                    self.events.service_failed(service.name, error)
                    self.failure = self.failure or error

    async def _stop(self) -> None:
        """Only when all have drained: a service may still need one that was started before it."""
        for service in reversed(self._started):
            task = self._tasks.get(service)
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
            try:
                await service.stop()
            except (PodpatternsError, OSError) as error:  # the others have to be stopped as well
                self.events.service_failed(service.name, error)
                self.failure = self.failure or error
        self._move(Event.ENDED, "drained")


def _single(error: BaseException) -> BaseException:
    """The error itself where a TaskGroup has wrapped a single one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
