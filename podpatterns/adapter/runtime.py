"""The adapter at work: inputs feed the store or are asked, transforms change, outputs show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TypeVar

from podpatterns.adapter import report
from podpatterns.adapter.checks import CheckContext
from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.deltas import Deltas
from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.expiry import LOOKS, Expiry
from podpatterns.adapter.health import Health, HealthConfig
from podpatterns.adapter.health_events import HealthEvents
from podpatterns.adapter.inputs import Input, InputConfig, PullInput, Wiring
from podpatterns.adapter.intake import Intake
from podpatterns.adapter.log_events import LogEvents
from podpatterns.adapter.logs import Log, LogConfig, LogContext
from podpatterns.adapter.mapping import Mapper
from podpatterns.adapter.naming import named
from podpatterns.adapter.outputs import Output, OutputConfig, OutputContext
from podpatterns.adapter.page import Page, Transform, compose
from podpatterns.adapter.parts import Kind, Parts
from podpatterns.adapter.quiet import soon
from podpatterns.adapter.store import Store
from podpatterns.errors import StartError
from podpatterns.formats.families import Blocks, Family
from podpatterns.runtime.schema import component_type
from podpatterns.runtime.service import Context, Deadline, Pattern, Reply, Request, Route, Status

COLLECT_WITHIN = 10.0
"""Seconds that sources have to answer where the scraper does not say: Prometheus' own default."""

C = TypeVar("C")


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
        self._inputs = Kind(self._feeding, self.config.inputs)
        self._logs = Kind(self._normalising, list(named(self.config.logs)))
        self._health = Kind(self._checking, _given(self.config.health))
        self._told: dict[str, Deltas] = {}
        """What each output has told, by its name."""
        self._outputs = Kind(self._showing, list(named(self.config.outputs)))
        self._parts = Parts(self._inputs, self._logs, self._health, self._outputs)
        # Without anything else to do, an adapter of logs that have ended has ended.
        others = self.inputs or self.health or self.outputs
        self.endless = bool(others) or not all(each.ends for each in self.logs)

    @property
    def inputs(self) -> list[Input]:
        """Where metrics come from, in the order of the configuration."""
        return self._inputs.parts

    @property
    def logs(self) -> list[Log]:
        """The logs that are written anew."""
        return self._logs.parts

    @property
    def health(self) -> list[Health]:
        """The health endpoint, if there is one."""
        return self._health.parts

    @property
    def outputs(self) -> list[Output]:
        """Where metrics go."""
        return self._outputs.parts

    # --- for applications -----------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the page is; known after the start where the port is 0."""
        return next((output.url for output in self.outputs if output.url), "")

    def feed(self, lines: bytes) -> None:
        """Take in StatsD lines from the application itself, without a socket."""
        self._wiring.intake.feed(lines)

    async def page(self, accept: str = "", within: float = COLLECT_WITHIN) -> bytes:
        """The page of the first output as `accept`, an Accept header, prefers it; without one, as Prometheus has it."""
        families = await self.collect(within)
        if not self.outputs:
            from podpatterns.formats.accept import negotiate

            return negotiate(accept).render(families)
        return self.outputs[0].render(families, accept)[0]

    async def collect(self, within: float = COLLECT_WITHIN) -> list[Family]:
        """Every family, transformed and checked, within so many seconds."""
        pulled = await self._pull(within)
        self.events.series_counted(self.store.budget.taken)
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
        return await asyncio.gather(*(self._collected(source, deadline) for source in sources))

    async def _collected(self, source: PullInput, deadline: Deadline) -> list[Family]:
        try:
            return await source.collect(deadline)
        except Exception as error:  # noqa: BLE001 - a source of a third party may raise anything, and costs only itself
            self.events.collect_failed(source.name, f"{type(error).__name__}: {error}")
            return []

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open inputs, then outputs. Raises StartError naming what is taken."""
        self._warn()
        await self._parts.open()

    async def run(self) -> None:
        """Run every part; one that ends by itself takes the adapter down."""
        async with asyncio.TaskGroup() as group:
            await self._parts.run(group)
            expiry = group.create_task(self._expire(), name="expiry of series")
            if not self.endless:
                await self._parts.ended(self.logs)
                expiry.cancel()
                return
            await asyncio.Event().wait()

    async def _expire(self) -> None:
        expiry = Expiry(self.store, self._wiring.intake, self.config.series.expire, time.monotonic)
        while True:
            mapper = self.store.mapper
            spans = [self.config.series.expire, mapper.unmatched.ttl, *(rule.observed.ttl for rule in mapper.rules)]
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
        self._parts.end()
        for log in self.logs:
            await log.drain(deadline)
        for source in reversed(self.inputs):
            await source.drain(soon(deadline))
        await asyncio.gather(*(output.drain(deadline) for output in self.outputs))

    async def stop(self) -> None:
        """Close everything."""
        await self._parts.close()

    def _warn(self) -> None:
        for rule, reason in self.store.mapper.unreachable():
            self.events.rule_unreachable(rule.number, rule.config.match, reason)

    def _feeding(self, config: InputConfig) -> Input:
        return config.build(self._wiring)

    def _normalising(self, config: tuple[str, LogConfig]) -> Log:
        name, log = config
        return log.build(LogContext(name, self.log_events, self.events))

    def _checking(self, config: HealthConfig) -> Health:
        return Health(config, CheckContext(self.collect), self._health_events)

    def _showing(self, config: tuple[str, OutputConfig]) -> Output:
        name, output = config
        deltas = self._told.setdefault(name, Deltas(time.time()))
        return output.build(OutputContext(name, self, self.events, deltas))

    async def reload(self, config: AdapterConfig) -> None:
        """Put changed inputs, transforms and outputs in force; the store and its counters survive.

        Raises:
            StartError: a new part cannot start, or `series` has changed; everything goes on as it was.
        """
        if config.logs != self.config.logs:
            raise StartError("adapter.logs cannot change while running: lines would be repeated; restart")
        if config.series != self.config.series:
            raise StartError("adapter.series cannot change while running: counters would lose what they hold; restart")
        transforms = _transforms(config)
        await self._parts.exchange(
            (self._inputs, config.inputs),
            (self._health, _given(config.health)),
            (self._outputs, list(named(config.outputs))),
        )
        # From here on nothing waits: the new configuration is in force as a whole.
        self._told = {name: self._told[name] for name, _ in named(config.outputs)}
        old, self.config, self._transforms = self.config, config, transforms
        if (config.mapping, config.mapping_defaults) != (old.mapping, old.mapping_defaults):
            self.store.mapper = Mapper(config.mapping, config.mapping_defaults)
            self._wiring.intake.forget()
            self._warn()
        self.events.config_applied(len(transforms), len(self.outputs))

    # --- how it is doing ------------------------------------------------------------------------------------------

    def routes(self) -> Sequence[Route]:
        """`GET /adapter/series`: how many series, whose, and what was refused, dropped and left out."""
        return (Route("GET", "/adapter/series", self._series),)

    async def _series(self, request: Request) -> Reply:
        most = request.query.get("top", "20")
        if not (most.isascii() and most.isdigit() and len(most) < 6):
            return Reply({"error": "top must be a number, such as ?top=20"}, status=400)
        return Reply(report.series(self, int(most)))

    def status(self) -> Status:
        """How it is doing: lines in, series out, and whether any was lost."""
        return report.status(self)


def _given(config: C | None) -> list[C]:
    return [] if config is None else [config]


def _transforms(config: AdapterConfig) -> list[tuple[str, Transform]]:
    return [(component_type(type(each)), each.build()) for each in config.transforms]
