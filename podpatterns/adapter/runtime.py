"""The adapter at work: inputs feed the store or are asked, transforms change, outputs show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import chain
from typing import TypeVar

from podpatterns.adapter.checks import CheckContext
from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.expiry import LOOKS, Expiry
from podpatterns.adapter.health import Health, HealthConfig
from podpatterns.adapter.health_events import HealthEvents
from podpatterns.adapter.inputs import Input, InputConfig, PullInput, Wiring
from podpatterns.adapter.intake import Intake
from podpatterns.adapter.log_events import LogEvents
from podpatterns.adapter.logs import Log, LogContext, named
from podpatterns.adapter.mapping import Mapper
from podpatterns.adapter.outputs import Output, OutputConfig
from podpatterns.adapter.page import Page, Transform, compose
from podpatterns.adapter.store import Store
from podpatterns.errors import ServiceError, StartError
from podpatterns.formats.families import Blocks, Family
from podpatterns.runtime.schema import Config, component_type
from podpatterns.runtime.service import Check, Context, Deadline, Pattern, Reply, Request, Route, Status

COLLECT_WITHIN = 10.0
"""Seconds that sources have to answer where the scraper does not say: Prometheus' own default."""

Part = Input | Log | Health | Output
P = TypeVar("P", Input, Health, Output)
C = TypeVar("C", bound=Config)


class Adapter(Pattern[AdapterConfig]):
    """Takes metrics in, and shows them.

    Examples:
        async with Adapter(config) as adapter:
            print(adapter.url, await adapter.page())
    """

    def __init__(self, config: AdapterConfig, context: Context | None = None) -> None:
        super().__init__(config, context)
        self.events = AdapterEvents(self.context.telemetry)
        self.store = Store(
            self.config.series.shape,
            time.monotonic,
            self.events.overflowed,
            Mapper(self.config.mapping, self.config.mapping_defaults),
            self.events.sample_dropped,
            calendar=time.time,
        )
        self._blocks = Blocks()
        self.log_events = LogEvents(self.context.telemetry)
        self._wiring = Wiring(self.store, Intake(self.store, self.events), self._blocks, self.events, self.log_events)
        self._transforms = _transforms(self.config)
        self._health_events = HealthEvents(self.context.telemetry)
        self.inputs: list[Input] = list(map(self._feeding, self.config.inputs))
        self.logs: list[Log] = [
            each.build(LogContext(name, self.log_events, self.events)) for name, each in named(self.config.logs)
        ]
        self.health: list[Health] = list(map(self._checking, _given(self.config.health)))
        """The health endpoint, if there is one."""
        self.outputs: list[Output] = list(map(self._showing, self.config.outputs))
        # Without anything else to do, an adapter of logs that have ended has ended.
        others = self.inputs or self.health or self.outputs
        self.endless = bool(others) or not all(each.ends for each in self.logs)
        self._tasks: dict[Part, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    # --- for applications -----------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the page is; known after the start where the port is 0."""
        return next((output.url for output in self.outputs if output.url), "")

    def feed(self, lines: bytes) -> None:
        """Take in StatsD lines from the application itself, without a socket."""
        self._wiring.intake.feed(lines)

    async def page(self, accept: str = "", within: float = COLLECT_WITHIN) -> bytes:
        """The page of the first output, in the form that `accept` (an Accept header) asks for."""
        return self.outputs[0].render(await self.collect(within), accept)[0]

    async def collect(self, within: float = COLLECT_WITHIN) -> list[Family]:
        """Every family, transformed and checked, within so many seconds."""
        pulled = await self._pull(within)
        self.events.series_counted(self.store.count)
        page = self.compose(chain(self.store.families(), *pulled))
        self.events.quarantined(page.quarantined)
        if not self.config.own_metrics:
            return page.families
        # Our own come last and are exempt from transforms: a rule that drops everything must not hide that it does.
        taken = {family.name for family in page.families}
        return [*page.families, *(each for each in self.events.families() if each.values and each.name not in taken)]

    def compose(self, families: Iterable[Family]) -> Page:
        """Families through the transforms, without contradictions."""
        return compose(families, self._transforms, self._blocks)

    async def _pull(self, within: float) -> list[list[Family]]:
        sources = [each for each in self.inputs if isinstance(each, PullInput)]
        deadline = Deadline(time.monotonic() + within, time.monotonic)
        return await asyncio.gather(*(source.collect(deadline) for source in sources))

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open inputs, then outputs. Raises StartError naming what is taken."""
        self._warn()
        for part in self._parts():
            await part.start()

    async def run(self) -> None:
        """Run every part; one that ends by itself takes the adapter down."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for part in self._parts():
                self._tasks[part] = group.create_task(_guarded(part), name=part.name)
            expiry = group.create_task(self._expire(), name="expiry of series")
            if not self.endless:
                await asyncio.wait([self._tasks[each] for each in self.logs])
                expiry.cancel()
                return
            await asyncio.Event().wait()

    async def _expire(self) -> None:
        expiry = Expiry(self.store, self._wiring.intake, self.config.series.expire, time.monotonic)
        while True:
            spans = [self.config.series.expire, *(rule.config.ttl for rule in self.store.mapper.rules)]
            shortest = min((span for span in spans if span is not None), default=None)
            if shortest is None:
                await asyncio.sleep(60)  # a change of the mapping may bring one
                continue
            await asyncio.sleep(max(shortest / LOOKS, 0.01))
            found = expiry.sweep()
            if found:
                self.events.series_expired(found)

    async def drain(self, deadline: Deadline) -> None:
        """Take in what has arrived, then let it be scraped a last time."""
        for log in self.logs:
            await log.drain(deadline)
        for source in reversed(self.inputs):
            await source.drain(deadline)
        await asyncio.gather(*(output.drain(deadline) for output in self.outputs))

    async def stop(self) -> None:
        """Close everything."""
        for part in reversed(self._parts()):
            await part.stop()

    def _warn(self) -> None:
        for rule, reason in self.store.mapper.unreachable():
            self.events.rule_unreachable(rule.number, rule.config.match, reason)

    def _parts(self) -> list[Part]:
        return [*self.inputs, *self.logs, *self.health, *self.outputs]

    def _feeding(self, config: InputConfig) -> Input:
        return config.build(self._wiring)

    def _checking(self, config: HealthConfig) -> Health:
        return Health(config, CheckContext(self.collect), self._health_events)

    def _showing(self, config: OutputConfig) -> Output:
        return config.build(self, self.events)

    async def reload(self, config: AdapterConfig) -> None:
        """Put changed inputs, transforms and outputs in force; the store and its counters survive.

        Raises:
            StartError: a new part cannot start, or `series` has changed; everything goes on as it was.
        """
        if config.logs != self.config.logs:
            raise StartError("adapter.logs cannot change while running: lines would be repeated; restart")
        if config.series != self.config.series:
            raise StartError("adapter.series cannot change while running: counters would lose what they hold; restart")
        transforms, old = _transforms(config), self.config

        async with AsyncExitStack() as undo:
            # What was exchanged before something could not start is exchanged back.
            async def exchange(running: list[P], before: list[C], after: list[C], build: Callable[[C], P]) -> None:
                await self._exchange(running, before, after, build)
                undo.push_async_callback(self._exchange, running, after, before, build)

            await exchange(self.inputs, old.inputs, config.inputs, self._feeding)
            await exchange(self.health, _given(old.health), _given(config.health), self._checking)
            await exchange(self.outputs, old.outputs, config.outputs, self._showing)
            undo.pop_all()
        self._transforms = transforms
        self.config = config
        if (config.mapping, config.mapping_defaults) != (old.mapping, old.mapping_defaults):
            self.store.mapper = Mapper(config.mapping, config.mapping_defaults)
            self._wiring.intake.forget()
            self._warn()
        self.events.config_applied(len(transforms), len(self.outputs))

    async def _exchange(self, running: list[P], old: Sequence[C], new: Sequence[C], build: Callable[[C], P]) -> None:
        """Parts for `new`: those whose configuration is the same go on untouched, the others are stopped and started.

        A part that cannot start puts those that were stopped for it back, and raises StartError.
        """
        spare = list(zip(old, running, strict=True))
        kept: list[P | None] = []
        for config in new:
            match = next((pair for pair in spare if pair[0] == config), None)
            if match is not None:
                spare.remove(match)
            kept.append(match[1] if match else None)
        # What goes is closed first: its address may be what the new one wants.
        for _, part in spare:
            await self._close(part)
        fresh: list[P] = []
        try:
            for index, config in enumerate(new):
                if kept[index] is None:
                    part = build(config)
                    fresh.append(part)
                    kept[index] = part
                    await self._open(part)
        except StartError:
            for part in fresh:
                await self._close(part)
            for config, part in spare:
                running[running.index(part)] = again = build(config)
                await self._open(again)
            raise
        running[:] = [part for part in kept if part is not None]

    async def _open(self, part: Part) -> None:
        await part.start()
        if self._group is not None:
            self._tasks[part] = self._group.create_task(_guarded(part), name=part.name)

    async def _close(self, part: Part) -> None:
        task = self._tasks.pop(part, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await part.stop()

    # --- how it is doing ------------------------------------------------------------------------------------------

    def routes(self) -> Sequence[Route]:
        """`GET /adapter/series`: how many series, whose, and what was refused, dropped and left out."""
        return (Route("GET", "/adapter/series", self._series),)

    async def _series(self, request: Request) -> Reply:
        most = request.query.get("top", "20")
        if not (most.isascii() and most.isdigit() and len(most) < 6):
            return Reply({"error": "top must be a number, such as ?top=20"}, status=400)
        budget = self.config.series
        return Reply(
            {
                "series": self.store.count,
                "budget": budget.budget,
                "budget_per_metric": budget.budget_per_metric,
                "metrics": len(self.store.metrics),
                "top": [{"metric": name, "series": size} for name, size in self.store.top(int(most))],
                "expired": self.events.expired,
                "hidden_counters": len(self.store.hidden),
                "dropped_by_mapping": self.events.unwanted,
                "overflowed_samples": self.events.overflow,
                "lines": self.events.lines,
                "lines_refused": self.events.refused,
                "lines_skipped": self.events.skipped,
                "datagrams_dropped": self.events.dropped,
                "deliveries_lost": self.events.lost,
                "quarantined": [
                    {"family": item.family, "reason": item.reason, "samples": item.samples}
                    for item in self.events.withheld
                ],
            }
        )

    def status(self) -> Status:
        """How it is doing: lines in, series out, and whether any was lost."""
        refused, dropped = self.events.refused, self.events.dropped
        lines, series = self.events.lines, self.store.count
        facts: dict[str, str | int | float] = {}
        checks: list[Check] = []
        if self.inputs:
            meant = lines == 0 or bool(self.events.unwanted or self.events.expired)  # all may be gone for a reason
            facts |= {"lines": lines, "series": series, "refused": sum(refused.values())}
            checks += [
                Check("metrics present", series > 0 or meant, f"{series} series from {lines} lines"),
                Check("no line refused", not refused, _listed(refused)),
                Check("no datagram dropped", not dropped, _listed(dropped)),
            ]
        if self.outputs:
            checks.append(Check("no delivery lost", not self.events.lost, _listed(self.events.lost)))
        if self.url:
            facts["page"] = self.url
        if self.logs:
            read, written = self.log_events.passed_on
            facts["log lines"] = f"{read}, in {written} records"
        if self.logs or self.log_events.losses:
            checks.append(Check("no log line lost", not self.log_events.losses, _listed(self.log_events.losses)))
        for health in self.health:
            facts["health"] = f"{health.overall.status}, {len(health.checks)} checks at {health.url}"
        return Status(facts, checks)


def _given(config: C | None) -> list[C]:
    return [] if config is None else [config]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _transforms(config: AdapterConfig) -> list[tuple[str, Transform]]:
    return [(component_type(type(each)), each.build()) for each in config.transforms]


async def _guarded(part: Part) -> None:
    await part.run()
    if isinstance(part, Log) and part.ends:
        return
    raise ServiceError(f"the adapter's {part.name} has ended, though it should run until it is stopped")
