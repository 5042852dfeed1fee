"""The ambassador at work."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any

from podpatterns.ambassador.admin import Control
from podpatterns.ambassador.config import AmbassadorConfig
from podpatterns.ambassador.events import AmbassadorEvents, StreamTally
from podpatterns.ambassador.listeners import Listener, ListenerConfig
from podpatterns.ambassador.overload import descriptors
from podpatterns.ambassador.rollout import Rollout
from podpatterns.ambassador.route import Route
from podpatterns.ambassador.sockets import listening
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


Identity = tuple[type[ListenerConfig], str, str]
"""What a listener cannot change without becoming another one: its kind, its name and its address."""


def _identity(config: ListenerConfig) -> Identity:
    return type(config), config.title, str(config.listen)


def _bind(config: ListenerConfig) -> tuple[list[socket.socket], str | None]:
    return listening(config.listen), config.listen.path


class Ambassador(Pattern[AmbassadorConfig]):
    """Listens, routes, forwards: `async with Ambassador(config) as proxy: get(proxy.url)`."""

    def __init__(self, config: AmbassadorConfig, context: Context | None = None) -> None:
        super().__init__(config, context)
        self.events = AmbassadorEvents(self.context.telemetry)
        self.events.rollouts = self.rollouts
        self.events.listeners = lambda: (*self.listeners, *self._leaving)
        self.listeners: list[Listener[Any]] = []
        self.upstreams: dict[str, Upstream] = {}
        self._leaving: list[Listener[Any]] = []
        """Listeners that are no longer in the configuration, and have connections still."""
        self._retired: list[Upstream] = []
        """Upstreams that are no longer in the configuration, and have requests still."""
        self._runs: dict[Upstream, asyncio.Task[None]] = {}
        """What goes on beside requests, for each upstream that is in use."""
        self._tasks: asyncio.TaskGroup | None = None
        self._serving = asyncio.Event()
        self.bind: Callable[[ListenerConfig], tuple[list[socket.socket], str | None]] = _bind
        """Opens a listener's sockets, and says which file is ours to remove. Raises StartError."""

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind every listener; the system queues connections until `run` accepts them."""
        if self.config.workers > 1:
            raise StartError(
                "an ambassador inside an application is one process; set workers: 1, or use podpatterns run"
            )
        self.upstreams = {
            name: each.build(name, self.events, self._spawn) for name, each in self.config.upstreams.items()
        }
        for each in self.config.listeners:
            listener = each.build(self.events)
            listener.apply(each, each.plan(self.upstreams, self.events))
            listener.open(*self.bind(each))
            self.listeners.append(listener)
        self._make_room()

    def _make_room(self) -> None:
        """Raise the limit of descriptors to what the listeners may take."""
        needed, had = descriptors(sum(listener.config.max_connections for listener in self.listeners))
        if had < needed:
            self.events.descriptors_short(needed, had)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._tasks is not None, "connections are asked for by requests, which `run` takes"
        self._tasks.create_task(work)

    async def run(self) -> None:
        """Accept, and look for what has timed out."""
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as self._tasks:
            self._keep_up(self.upstreams.values())
            for listener in self.listeners:
                await listener.serve()
            self._serving.set()
            try:
                while True:
                    await asyncio.sleep(TICK)
                    now = clock()
                    for listener in (*self.listeners, *self._leaving):
                        listener.sweep(now)
                    for upstream in (*self.upstreams.values(), *self._retired):
                        upstream.sweep(now)
                    for rollout in self.rollouts():
                        rollout.look(now)
                    self._forget()
            finally:
                # While the group still takes tasks: nothing may ask for a connection after it has ended.
                self._close()

    def _keep_up(self, upstreams: Iterable[Upstream]) -> None:
        """Start what goes on beside requests."""
        assert self._tasks is not None
        for upstream in upstreams:
            self._runs[upstream] = self._tasks.create_task(upstream.run())

    def _forget(self) -> None:
        """Let go of upstreams that have left, and have nothing more to do."""
        for upstream in [each for each in self._retired if not each.busy]:
            self._retired.remove(upstream)
            self._runs.pop(upstream).cancel()

    async def drain(self, deadline: Deadline) -> None:
        """Accept nothing new; finish what was taken."""
        async with asyncio.TaskGroup() as tasks:
            for listener in (*self.listeners, *self._leaving):
                tasks.create_task(listener.drain(deadline))

    async def stop(self) -> None:
        """Close what is left; requests still under way are dropped, and counted."""
        self._close()
        await asyncio.sleep(0)  # closed transports tell their protocols in the next turn of the loop

    def _close(self) -> None:
        for task in self._runs.values():
            task.cancel()
        for listener in (*self.listeners, *self._leaving):
            listener.abort()
        for upstream in (*self.upstreams.values(), *self._retired):
            upstream.abort()

    # --- reload ---------------------------------------------------------------------------------------------------

    async def reload(self, config: AmbassadorConfig) -> None:
        """Put listeners, routes, weights and upstreams in force for the next request.

        Requests under way end as they began. A listener that has gone, or has moved to another address, accepts no
        more; its connections end in their time.

        Raises:
            StartError: a new listener cannot be bound, or the number of workers has changed; everything stays as it
                was.
        """
        if config.workers != self.config.workers:
            raise StartError("the number of workers cannot change while running; restart to change it")
        await self._serving.wait()
        upstreams = {
            name: self.upstreams[name]
            if self.config.upstreams.get(name) == each
            else each.build(name, self.events, self._spawn)
            for name, each in config.upstreams.items()
        }
        plans = [each.plan(upstreams, self.events) for each in config.listeners]
        stay = {_identity(listener.config): listener for listener in self.listeners}
        leave = [stay.pop(key) for key in stay.keys() - {_identity(each) for each in config.listeners}]
        listeners, predecessors = self._open(config, stay, leave)
        # From here on nothing can fail, and nothing awaits: no request sees half of the change.
        for listener, each, plan in zip(listeners, config.listeners, plans, strict=True):
            listener.apply(each, plan)
        for listener, predecessor in predecessors.items():
            listener.succeed(predecessor)
        for name, upstream in self.upstreams.items():
            if upstreams.get(name) is not upstream:
                upstream.retire()
                self._retired.append(upstream)
        self._keep_up(each for each in upstreams.values() if each not in self._runs)
        self._leaving += leave
        self.listeners, self.upstreams, self.config = listeners, upstreams, config
        self._make_room()
        for listener in listeners:
            if listener not in stay.values():
                await listener.serve()
        for listener in leave:
            await listener.close()  # its address is free when this returns
            self._spawn(self._see_off(listener))

    def _open(
        self, config: AmbassadorConfig, stay: Mapping[Identity, Listener[Any]], leave: Sequence[Listener[Any]]
    ) -> tuple[list[Listener[Any]], dict[Listener[Any], Listener[Any]]]:
        """The listeners of a new configuration, and which of them go on with the sockets of one that leaves."""
        listeners: list[Listener[Any]] = []
        opened: list[Listener[Any]] = []
        predecessors: dict[Listener[Any], Listener[Any]] = {}
        vacant = {
            str(listener.config.listen): listener
            for listener in leave
            if listener.config.listen.port or listener.config.listen.path is not None
        }
        try:
            for each in config.listeners:
                listener = stay.get(_identity(each))
                if listener is None:
                    listener = each.build(self.events)
                    predecessor = vacant.pop(str(each.listen), None)
                    opened.append(listener)
                    if predecessor is not None:
                        listener.share(predecessor)
                        predecessors[listener] = predecessor
                    else:
                        listener.open(*self.bind(each))
                listeners.append(listener)
        except StartError:
            for listener in opened:
                listener.abort()
            raise
        return listeners, predecessors

    async def _see_off(self, listener: Listener[Any]) -> None:
        """Let a listener that has left the configuration finish what it has taken."""
        await listener.drain()
        listener.abort()
        self._leaving.remove(listener)

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
        here = counts.pop("", 0)  # without a version: redirects, refusals, faults on purpose
        total = sum(counts.values())
        streams = sum(tally.requests for tally in self.events.tallies.values() if isinstance(tally, StreamTally))
        facts: dict[str, str | int | float] = {"requests": total - streams + here}
        if streams:
            facts["connections"] = streams
        for version, count in counts.items():
            facts[version] = f"{count} ({100 * count / total:.1f} %)" if total else "0"
        if here:
            facts["answered here"] = here
        for rollout in self.rollouts():
            facts[f"ramp on {rollout.route.name}"] = str(rollout)
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
