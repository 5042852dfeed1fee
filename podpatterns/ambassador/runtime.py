"""The ambassador at work."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from podpatterns.ambassador.admin import Control
from podpatterns.ambassador.config import AmbassadorConfig
from podpatterns.ambassador.events import AmbassadorEvents, StreamTally
from podpatterns.ambassador.listeners import Listener
from podpatterns.ambassador.rollout import Rollout
from podpatterns.ambassador.route import Route
from podpatterns.ambassador.upstreams import Upstream
from podpatterns.errors import StartError
from podpatterns.runtime import service
from podpatterns.runtime.service import Check, Context, Deadline, Pattern, Status

TICK = 0.1
"""Seconds between two looks at what has timed out: timeouts are that exact, and no request needs a timer."""

ENOUGH = 100
"""Picks from which on a share can be judged."""

BOUND = 4.5
"""Standard deviations that a share may be off: by chance that happens once in 150 000 runs."""


class Ambassador(Pattern[AmbassadorConfig]):
    """Listens, routes, forwards: `async with Ambassador(config) as proxy: get(proxy.url)`."""

    def __init__(self, config: AmbassadorConfig, context: Context | None = None) -> None:
        super().__init__(config, context)
        self.events = AmbassadorEvents(self.context.telemetry)
        self.events.rollouts = self.rollouts
        self.listeners: list[Listener[Any]] = []
        self.upstreams: dict[str, Upstream] = {}
        self._retired: list[Upstream] = []
        self._tasks: asyncio.TaskGroup | None = None

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind every listener; the system queues connections until `run` accepts them."""
        self.upstreams = {
            name: each.build(name, self.events, self._spawn) for name, each in self.config.upstreams.items()
        }
        for each in self.config.listeners:
            listener = each.build(self.events)
            listener.apply(each, each.plan(self.upstreams, self.events))
            listener.open()
            self.listeners.append(listener)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._tasks is not None, "connections are asked for by requests, which `run` takes"
        self._tasks.create_task(work)

    async def run(self) -> None:
        """Accept, and look for what has timed out."""
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as self._tasks:
            for listener in self.listeners:
                await listener.serve()
            try:
                while True:
                    await asyncio.sleep(TICK)
                    now = clock()
                    for listener in self.listeners:
                        listener.sweep(now)
                    for upstream in self.upstreams.values():
                        upstream.sweep(now)
                    for rollout in self.rollouts():
                        rollout.look(now)
            finally:
                # While the group still takes tasks: nothing may ask for a connection after it has ended.
                self._close()

    async def drain(self, deadline: Deadline) -> None:
        """Accept nothing new; finish what was taken."""
        async with asyncio.TaskGroup() as tasks:
            for listener in self.listeners:
                tasks.create_task(listener.drain(deadline))

    async def stop(self) -> None:
        """Close what is left; requests still under way are dropped, and counted."""
        self._close()
        await asyncio.sleep(0)  # closed transports tell their protocols in the next turn of the loop

    def _close(self) -> None:
        for listener in self.listeners:
            listener.abort()
        for upstream in (*self.upstreams.values(), *self._retired):
            upstream.abort()

    async def reload(self, config: AmbassadorConfig) -> None:
        """Put routes, weights and upstreams in force for the next request; requests under way end as they began.

        Raises:
            StartError: the listeners themselves have changed, which takes a new process.
        """
        now, new = (
            [(type(each), each.title, each.listen) for each in each.listeners] for each in (self.config, config)
        )
        if now != new:
            raise StartError(
                "listeners cannot come, go or move while running; restart to change addresses, names or types"
            )
        upstreams = {
            name: self.upstreams[name]
            if self.config.upstreams.get(name) == each
            else each.build(name, self.events, self._spawn)
            for name, each in config.upstreams.items()
        }
        plans = [each.plan(upstreams, self.events) for each in config.listeners]
        # From here on nothing can fail, and nothing awaits: no request sees half of the change.
        for listener, each, plan in zip(self.listeners, config.listeners, plans, strict=True):
            listener.apply(each, plan)
        self._retired = [upstream for upstream in self._retired if upstream.busy]
        for name, upstream in self.upstreams.items():
            if upstreams.get(name) is not upstream:
                upstream.retire()
                self._retired.append(upstream)
        self.upstreams = upstreams
        self.config = config

    # --- for applications and people ------------------------------------------------------------------------------

    def port(self, name: str | None = None) -> int:
        """The port of a listener (None: the first), also where 0 was asked for. Raises KeyError."""
        if name is None:
            return self.listeners[0].port
        return {listener.name: listener for listener in self.listeners}[name].port

    @property
    def url(self) -> str:
        """The first listener's URL, without a final slash."""
        host = self.listeners[0].config.listen.host
        host = "127.0.0.1" if host in {"", "0.0.0.0", "::"} else host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port()}"

    def rollouts(self) -> Iterator[Rollout]:
        """The ramps of the routes in force."""
        return (route.rollout for route in self.all_routes() if route.rollout is not None)

    def all_routes(self) -> Iterator[Route]:
        """The routes of every listener."""
        for listener in self.listeners:
            yield from listener.routes

    def routes(self) -> Sequence[service.Route]:
        """Admin routes, for loopback alone."""
        return Control(self).routes()

    def status(self) -> Status:
        """Requests by version with their share; shares must be within statistical bounds, and nothing dropped."""
        counts: dict[str, int] = {}
        for tally in self.events.tallies.values():
            counts[tally.version] = counts.get(tally.version, 0) + tally.requests
        total = sum(counts.values())
        streams = sum(tally.requests for tally in self.events.tallies.values() if isinstance(tally, StreamTally))
        facts: dict[str, str | int | float] = {"requests": total - streams}
        if streams:
            facts["connections"] = streams
        for version, count in counts.items():
            facts[version] = f"{count} ({100 * count / total:.1f} %)" if total else "0"
        facts["errors"] = self.events.failures
        facts["refused"] = self.events.refusals
        dropped = self.events.dropped
        checks = [
            Check("no request dropped", dropped == 0, f"{dropped} given up in the drain" if dropped else ""),
            *(check for route in self.all_routes() for check in share_checks(route)),
        ]
        return Status(facts, checks)


def share_checks(route: Route) -> Iterator[Check]:
    """Whether each version was picked as often as its weight says, since the weights were last changed.

    A binomial count k of n with probability p lies within 4.5 standard deviations of np, but for bad luck. Where a
    version could not be reached, its share went to the others, and there is nothing to judge.
    """
    n = sum(target.picks for target in route.targets.values())
    if n < ENOUGH or not route.undisturbed:
        return
    for version, target in route.targets.items():
        p = route.split.share(version)
        within = abs(target.picks - n * p) <= BOUND * math.sqrt(n * p * (1 - p))
        yield Check(f"share of {version}", within, f"{target.picks / n:.1%} of {n} picks, weight {p:.1%}")
