"""The runtime of the init pattern: carries out what the plan says."""

from __future__ import annotations

import asyncio
import errno
import random
import time
from collections.abc import Callable

from podpatterns.errors import PodpatternsError, StartError
from podpatterns.init.config import InitConfig
from podpatterns.init.error_file import ErrorFile
from podpatterns.init.events import InitEvents
from podpatterns.init.plan import FINAL, Attempt, GaveUp, Pause, Plan, State
from podpatterns.init.steps import Fatal, Step, StepContext, StepError, Transient
from podpatterns.runtime.service import Check, Context, Deadline, Pattern, Status
from podpatterns.runtime.units import Duration

NOTE = 160
"""Characters of a step's note in the termination message, which holds 4096 bytes for all of them."""

PASSING = frozenset(
    {errno.EAGAIN, errno.EBUSY, errno.EIO, errno.EINTR, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.ETXTBSY}
)
"""Errors of the operating system that may pass; with all others, such as EACCES and EROFS, trying again cannot help."""


class InitError(PodpatternsError):
    """The steps were not done: names the step, the reason and the remedy."""


class Init(Pattern[InitConfig]):
    """Runs the steps; `run` returns when all are done, or with `every` goes through them again and again.

    Examples:
        async with Init(InitConfig(steps=(GitConfig(...),))) as init:
            await init.finished()
    """

    def __init__(
        self,
        config: InitConfig,
        context: Context | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(config, context)
        self.endless = self.config.every is not None
        self.started = not self.endless
        self.events = InitEvents(self.context.telemetry)
        self._clock, self._dice = clock, dice
        self._steps: list[Step] = [
            step.build(StepContext(name, self.events))
            for name, step in zip(self.config.names, self.config.steps, strict=True)
        ]
        self._report = ErrorFile(self.config.error_file, self.events)
        self.plan = self._begun()
        self._done: Plan | None = None
        """The last round in which every step was done."""
        self._over = asyncio.Event()
        self._latch = self.context.readiness.latch("init steps", "not done yet") if self.endless else None

    def _begun(self) -> Plan:
        return Plan(self.config.names, self.config.deadline, self._clock())

    async def start(self) -> None:
        """Nothing has to be up before the steps; the deadline counts from here."""
        self.plan = self._begun()

    async def run(self) -> None:
        """Run the steps in order, and again as often as the configuration says.

        Raises:
            InitError: in the first round a step is hopeless, or the deadline is over.
        """
        await self._round()
        self.started = True
        self._over.set()
        if self._latch is not None:
            self._latch.release()
        while self.config.every is not None:
            await asyncio.sleep(self.config.every)
            self.plan = self._begun()
            try:
                await self._round()
            except InitError as error:
                # What has been published is still there, and good for those who read it.
                self.events.round_failed(str(error), self.config.every)

    async def _round(self) -> None:
        while True:
            match self.plan.next(self._clock()):
                case Attempt() as attempt:
                    await self._attempt(attempt)
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case GaveUp() as end:
                    raise self._failure(end)
                case _:
                    self._done = self.plan
                    self._report.clear()
                    self.events.round_done()
                    return

    async def finished(self) -> None:
        """Return when every step is done, for the first time; for applications that run the steps themselves."""
        await self._over.wait()

    async def drain(self, deadline: Deadline) -> None:  # noqa: ARG002 - nothing here takes time
        """End at once: what was not published is not missed, and the next start begins where this one was.

        Raises:
            InitError: steps are left to do, and an exit code of 0 would tell Kubernetes that they were done.
        """
        step = self.plan.current if self._done is None else None
        if step is not None:
            self.events.interrupted(step.name)
            raise InitError(f"init was told to stop before step {step.name} was done; nothing half done was published")

    async def reload(self, config: InitConfig) -> None:  # noqa: ARG002 - whatever it says
        """Steps run once."""
        raise StartError("init steps run once; a changed configuration is taken up by the next start of the container")

    def status(self) -> Status:
        """Each step's state and time, and whether it is done."""
        now = self._clock()
        plan = self._done or self.plan
        facts: dict[str, str | int | float] = {
            step.name: f"{step.state.value}, {step.seconds(now):.1f} s" for step in plan.steps
        }
        if self.endless:
            facts |= {"rounds": self.events.rounds, "failed rounds": self.events.failed_rounds}
        checks = [Check(f"step {step.name} done", step.state in FINAL, _shortened(step.note)) for step in plan.steps]
        return Status(facts, checks)

    async def _attempt(self, attempt: Attempt) -> None:
        index, name = attempt.index, self.plan.names[attempt.index]
        step, progress = self._steps[index], self.plan.steps[index]
        if attempt.first:
            self.events.step_started(name, index + 1, len(self._steps))
        limit = asyncio.timeout(attempt.remaining)
        did: str | None = None
        try:
            async with limit:
                if not await step.done():
                    did = await step.apply()
        except StepError as error:
            self._failed(index, error)
        except TimeoutError:
            if limit.expired():
                self.plan.expired(index, self._clock())
            else:
                self._failed(index, Transient("timed out"))
        except OSError as error:
            kind = Transient if error.errno in PASSING else Fatal
            place = f"{error.filename}: " if error.filename else ""
            self._failed(index, kind(f"{place}{error.strerror or error}"))
        else:
            now = self._clock()
            self.plan.succeeded(index, now, did)
            if did is None:
                self.events.step_skipped(name, progress.seconds(now))
            else:
                self.events.step_done(name, did, progress.seconds(now), progress.attempts)

    def _failed(self, index: int, error: StepError) -> None:
        backoff, after = (
            (self._steps[index].backoff, error.after or 0.0) if isinstance(error, Transient) else (None, 0.0)
        )
        delay = self.plan.failed(
            index, self._clock(), error.reason, error.remedy, backoff=backoff, u=self._dice(), after=after
        )
        if delay is not None:
            progress = self.plan.steps[index]
            self.events.step_retried(progress.name, error.reason, progress.attempts, delay)
            self._report.write(progress, retried=True)

    def _failure(self, end: GaveUp) -> InitError:
        step = self.plan.steps[end.index]
        remedy = step.remedy or ("see that it can succeed, or raise init.deadline" if end.late else "")
        self.events.step_failed(step.name, step.note, remedy, step.attempts)
        self._report.write(step, retried=False)
        place = f"init step {step.name} ({end.index + 1} of {len(self._steps)})"
        late = f" was not done within {Duration(self.config.deadline)}" if end.late else " failed"
        tries = f" ({step.attempts} tries)" if step.attempts > 1 else ""
        return InitError(f"{place}{late}{tries}: {step.note}{f'; {remedy}' if remedy else ''}")


def _shortened(note: str) -> str:
    return note if len(note) <= NOTE else f"{note[: NOTE - 1]}…"


__all__ = ["Init", "InitError", "State"]
