"""The parent of several workers, which looks like a single ambassador: the same admin routes, metrics and status.

One piece, because everything in it keeps the workers alike: what one is told, all are told, in one order.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from random import random
from typing import Any

import msgspec

from podpatterns.ambassador.config import AmbassadorConfig
from podpatterns.ambassador.listeners import Listener, ListenerConfig
from podpatterns.ambassador.listeners.http import HttpConfig
from podpatterns.ambassador.route import Route
from podpatterns.ambassador.runtime import Ambassador
from podpatterns.ambassador.sockets import group
from podpatterns.ambassador.upstreams import Upstream
from podpatterns.ambassador.workers.channel import Call, Configure, Drain, Level, Report
from podpatterns.ambassador.workers.events import WorkerEvents
from podpatterns.ambassador.workers.figures import Figures, total, written
from podpatterns.ambassador.workers.forker import Ended, Forked, Forker
from podpatterns.ambassador.workers.post import Post
from podpatterns.ambassador.workers.worker import key, working
from podpatterns.errors import PodpatternsError, ServiceError, StartError
from podpatterns.runtime import service
from podpatterns.runtime.backoff import Backoff
from podpatterns.runtime.service import Context, Deadline, Reply, Request, Status

MARGIN = 0.95
"""The part of the grace that workers get, so that the parent hears the end of it within its own."""

LIVED = 10.0
"""Seconds after which the death of a worker is no sign that it cannot live at all: then another one follows at once."""

AGAIN = Backoff(0.2, 5.0)
"""When a worker follows one that did not live for long."""

LOOK = 1.0
"""Seconds between two looks at the log level, which may be changed through the admin endpoint."""


RAMP = "/ambassador/ramp"

Handle = Callable[[Request], Awaitable[Reply]]


class Master(Ambassador):
    """An ambassador whose listeners and pools are never opened; what is counted in it are the sums of its workers."""

    def __init__(self, config: AmbassadorConfig, context: Context | None = None) -> None:
        super().__init__(config, context)
        self.name = "ambassador"
        self._log = WorkerEvents(self.context.telemetry, lambda: sum(bool(post.pid) for post in self._posts))
        self._posts = [Post(index, self._log) for index in range(config.workers)]
        self._groups: dict[str, list[list[socket.socket]]] = {}
        """For each address, the listening sockets of each worker."""
        self._sum = Figures()
        self._forker: Forker | None = None
        self._lost = asyncio.Event()
        """Set if the forker has gone."""
        self._over = False
        self._steering = asyncio.Lock()
        """Held while the workers are told something that all of them must know alike."""

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind every listener, and start the workers. Raises StartError."""
        self.upstreams, self.listeners = self._mirror(self.config)
        self._forker = Forker(working(self.context, self.events.via), self._heard)
        self._groups = self._bind(self.config)
        self._name_ports()
        for post in self._posts:
            try:
                await self._employ(post)
            except EOFError as error:
                raise StartError(post.error or str(error)) from None

    def _mirror(self, config: AmbassadorConfig) -> tuple[dict[str, Upstream], list[Listener[Any]]]:
        """Routes, versions and upstreams as the workers have them; ramps go on. Raises StartError."""
        old = {(route.listener, route.name): route for route in self.all_routes()}
        upstreams = {name: each.build(name, self.events, self._spawn) for name, each in config.upstreams.items()}
        listeners = []
        for each in config.listeners:
            listener = each.build(self.events)
            listener.apply(each, each.plan(upstreams, self.events))
            listeners.append(listener)
            for route in listener.routes:
                if (route.listener, route.name) in old:
                    route.inherit(old[route.listener, route.name])
        return upstreams, listeners

    def _bind(self, config: AmbassadorConfig) -> dict[str, list[list[socket.socket]]]:
        """Sockets for the addresses that have none. Raises StartError, and none has been opened."""
        opened: dict[str, list[list[socket.socket]]] = {}
        try:
            for each in config.listeners:
                if key(each) not in self._groups:
                    opened[key(each)] = group(each.listen, config.workers)
        except StartError:
            _close(opened)
            raise
        return opened

    def _name_ports(self) -> None:
        for listener in self.listeners:
            if listener.config.listen.path is None:
                listener.port = self._groups[key(listener.config)][0][0].getsockname()[1]

    async def _employ(self, post: Post) -> None:
        """Put a worker in a vacant place. Raises EOFError, or what the worker has raised."""
        assert self._forker is not None
        await post.fill(self._forker)
        orders = led(self.config, self.all_routes())
        await post.configure(orders, {name: each[post.index] for name, each in self._groups.items()})
        for route in self.all_routes():
            if route.rollout is None and route.split.weights != dict(route.config.weights):
                await post.ask(_weights(route))
        self._log.started(post.index, post.pid)

    def _heard(self, news: Forked | Ended | None) -> None:
        """From the forker; None if it has gone."""
        match news:
            case Forked(index, pid):
                self._posts[index].pid = pid
            case Ended(index, _, status):
                self._posts[index].ended(status)
            case None:
                self._lost.set()

    async def run(self) -> None:
        """Keep every place filled."""
        level = self.context.telemetry.gate.level
        async with asyncio.TaskGroup() as self._tasks:
            for post in self._posts:
                self._tasks.create_task(self._keep(post))
            self._serving.set()
            while not self._lost.is_set():
                await asyncio.sleep(LOOK)
                await self._lead()
                if level != self.context.telemetry.gate.level and not self._over:
                    level = self.context.telemetry.gate.level
                    for post in self._posts:
                        await self._tell(post, Level(level))
            raise ServiceError("the process that forks workers has gone; none that dies can be replaced")

    async def _lead(self) -> None:
        """See how the versions do that are ramped, in all workers together, and have all go by what follows."""
        async with self._steering:
            if self._over or not any(True for _ in self.rollouts()):
                return
            await self.refresh()
            available = {name: bool(state.get("available", True)) for name, state in self._sum.upstreams.items()}
            for rollout in self.rollouts():
                split = rollout.route.split
                rollout.look(asyncio.get_running_loop().time(), available)
                if rollout.route.split is not split:
                    await self._spread(rollout.route)

    async def _spread(self, route: Route) -> None:
        """Have every worker go by the weights of a route."""
        for post in self._posts:
            with suppress(EOFError):  # whoever follows is told in `_employ`
                await post.ask(_weights(route))

    async def _keep(self, post: Post) -> None:
        """See to it that there is always a worker in this place."""
        clock = asyncio.get_running_loop().time
        attempt, begun = 0, clock()
        while True:
            await post.gone.wait()
            if self._over:
                return
            pid = post.pid
            await post.clear()
            attempt = 0 if clock() - begun > LIVED else attempt + 1
            wait = AGAIN.delay(attempt, random()) if attempt else 0.0  # noqa: S311 - jitter
            self._log.died(post.index, pid, post.error or post.reason, wait)
            await asyncio.sleep(wait)
            begun = clock()
            try:
                await self._employ(post)
            except (EOFError, PodpatternsError) as error:
                self._log.not_started(post.index, post.error or str(error))
                post.kill()

    async def drain(self, deadline: Deadline) -> None:
        """Have every worker accept nothing new, and finish what it has taken. Raises ServiceError if one could not."""
        self._over = True
        drain = Drain(deadline.remaining * MARGIN, "the parent drains")
        async with asyncio.TaskGroup() as tasks:
            for post in self._posts:
                tasks.create_task(self._tell(post, drain))
        _close(self._groups)  # they have closed theirs: now nobody listens
        for post in self._posts:
            await post.end()
        self._add_up()
        for post in self._posts:
            if post.error:
                raise ServiceError(post.error)

    async def _tell(self, post: Post, message: Drain | Level) -> None:
        try:
            await post.ask(message)
        except EOFError:
            return  # whoever follows is told in `_employ`, or not employed

    async def stop(self) -> None:
        """End whoever is left."""
        self._over = True
        _close(self._groups)
        _remove_files(self.config.listeners)
        for post in self._posts:
            post.kill()
            await post.clear()
        if self._forker is not None:
            self._forker.close()

    # --- reload ---------------------------------------------------------------------------------------------------

    async def reload(self, config: AmbassadorConfig) -> None:
        """Make every worker go by another configuration, or none of them.

        Raises:
            StartError: a new listener cannot be bound, or the number of workers has changed.
        """
        if config.workers != self.config.workers:
            raise StartError("the number of workers cannot change while running; restart to change it")
        async with self._steering:
            await self._reload(config)

    async def _reload(self, config: AmbassadorConfig) -> None:
        upstreams, listeners = self._mirror(config)
        opened = self._bind(config)
        orders = led(config, (route for listener in listeners for route in listener.routes))
        done: list[Post] = []
        try:
            for post in self._posts:
                await self._reconfigure(post, orders, opened)
                done.append(post)
        except PodpatternsError:
            for post in done:
                await self._reconfigure(post, led(self.config, self.all_routes()), {})
            _close(opened)
            raise
        self.upstreams, self.listeners = upstreams, listeners
        left = {name: self._groups.pop(name) for name in self._groups.keys() - {key(each) for each in config.listeners}}
        _close(left)
        stay = {each.listen.path for each in config.listeners}
        _remove_files(each for each in self.config.listeners if each.listen.path not in stay)
        self._groups |= opened
        self.config = config
        self._name_ports()

    async def _reconfigure(self, post: Post, orders: Configure, opened: dict[str, list[list[socket.socket]]]) -> None:
        try:
            await post.configure(orders, {name: each[post.index] for name, each in opened.items()})
        except EOFError:
            return  # whoever follows gets the configuration that is in force by then

    # --- for applications and people ------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Ask every worker for its figures."""
        if not self._over:
            for post in self._posts:
                await post.report(Report())
            self._add_up()

    def _add_up(self) -> None:
        self._sum = total(post.figures for post in self._posts)
        written(self._sum, self, self.context.telemetry)

    def routes(self) -> Sequence[service.Route]:
        """Those of a single ambassador: what is read is summed up, what is changed is changed in every worker."""
        return [service.Route(each.method, each.path, self._handler(each)) for each in super().routes()]

    def _handler(self, route: service.Route) -> Handle:
        if route.method == "GET":
            return self._read(route)
        return self._steer(route) if route.path == RAMP else self._change(route)

    def _read(self, route: service.Route) -> Handle:
        async def handle(request: Request) -> Reply:
            await self.refresh()
            reply = await route.handle(request)
            if isinstance(reply.data, dict) and "upstreams" in reply.data:
                reply.data["upstreams"] = self._sum.upstreams
            return reply

        return handle

    def _change(self, route: service.Route) -> Handle:
        async def handle(request: Request) -> Reply:
            call = Call(route.method, route.path, dict(request.query), request.body)
            async with self._steering:
                for post in self._posts:
                    try:
                        reply: Reply = await post.ask(call)
                    except EOFError:
                        continue  # whoever follows is told in `_employ`
                    if reply.status >= 400:
                        return reply
                await self.refresh()
                return await route.handle(request)

        return handle

    def _steer(self, route: service.Route) -> Handle:
        """Ramps are led here; of them the workers know the weights alone."""

        async def handle(request: Request) -> Reply:
            async with self._steering:
                await self.refresh()
                before = {each: each.split for each in self.all_routes()}
                reply = await route.handle(request)
                for each, split in before.items():
                    if each.split is not split:
                        await self._spread(each)
                return reply

        return handle

    def status(self) -> Status:
        """See Ambassador."""
        status = super().status()
        return Status({**status.facts, "workers": len(self._posts), "worker deaths": self._log.deaths}, status.checks)


def led(config: AmbassadorConfig, routes: Iterable[Route]) -> Configure:
    """What a worker is told: instead of ramps, the weights that are in force, and what their versions are judged by."""
    ramps = {(route.listener, route.name): route for route in routes if route.rollout is not None}
    limits = {
        place: float(route.rollout.limit) for place, route in ramps.items() if route.rollout and route.rollout.limit
    }
    listeners: list[ListenerConfig] = []
    for each in config.listeners:
        if isinstance(each, HttpConfig):
            led_routes = tuple(
                msgspec.structs.replace(route, ramp=None, split=ramps[each.title, name].split.weights)
                if (each.title, name := route.name or f"route-{index}") in ramps
                else route
                for index, route in enumerate(each.routes)
            )
            listeners.append(msgspec.structs.replace(each, routes=led_routes))
        else:
            listeners.append(each)
    return Configure(msgspec.structs.replace(config, listeners=tuple(listeners)), (), limits)


def _weights(route: Route) -> Call:
    body = {"listener": route.listener, "route": route.name, "weights": route.split.weights}
    return Call("PUT", "/ambassador/weights", {}, msgspec.json.encode(body))


def _close(groups: dict[str, list[list[socket.socket]]]) -> None:
    for sock in (sock for workers in groups.values() for socks in workers for sock in socks):
        sock.close()


def _remove_files(listeners: Iterable[ListenerConfig]) -> None:
    for each in listeners:
        if each.listen.path is not None:
            Path(each.listen.path).unlink(missing_ok=True)
