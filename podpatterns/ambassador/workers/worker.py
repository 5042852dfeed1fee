"""A worker: an ambassador at work on its share of the connections, at its parent's command."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from podpatterns.ambassador.config import AmbassadorConfig
from podpatterns.ambassador.listeners import ListenerConfig
from podpatterns.ambassador.runtime import Ambassador
from podpatterns.ambassador.sockets import undeafen
from podpatterns.ambassador.workers.channel import Call, Channel, Configure, Drain, Last, Level, Message, Report
from podpatterns.ambassador.workers.figures import taken
from podpatterns.errors import PodpatternsError
from podpatterns.runtime.service import Context, Reply, Request
from podpatterns.runtime.supervisor import Supervisor
from podpatterns.runtime.telemetry import Telemetry

_PACKET = 4096
_MOST = 64
"""Sockets for one listener: one for each address of a name, such as `localhost`."""


def key(config: ListenerConfig) -> str:
    """What a listener's sockets go by: its address, or its name where the system chooses the port."""
    return str(config.listen) if config.listen.port or config.listen.path is not None else f"port of {config.title}"


def alone(config: AmbassadorConfig) -> AmbassadorConfig:
    """The configuration of one worker."""
    return msgspec.structs.replace(config, workers=1)


class Worker:
    """Answers its parent, one message after the other."""

    def __init__(self, index: int, context: Context, via: bytes, channel: Channel, doors: socket.socket) -> None:
        # This process has a copy of the parent's gate.
        telemetry = Telemetry(context.telemetry.log.bind(worker=index), context.telemetry.gate)
        self._context = Context(telemetry, grace=context.grace)
        self._via = via
        self._channel = channel
        self._doors = doors
        self._sockets: dict[str, list[socket.socket]] = {}
        self._error = ""

    async def run(self) -> int:
        """Work until the parent says that it is enough, or has gone; 1 if something has failed."""
        try:
            first = await self._channel.receive()
        except EOFError:
            return 1
        ambassador = Ambassador(alone(self._take(first)), self._context)
        ambassador.events.via = self._via
        ambassador.bind = self._bound
        async with asyncio.TaskGroup() as tasks:
            try:
                async with Supervisor([ambassador], self._context) as supervisor:
                    asyncio.get_running_loop().add_signal_handler(
                        signal.SIGTERM, supervisor.request_drain, signal.SIGTERM.name
                    )
                    _tell_apart(ambassador, first)
                    await self._channel.send(None)
                    listening = tasks.create_task(self._listen(ambassador, supervisor))
                    await supervisor.finished()
            except (PodpatternsError, OSError) as error:
                self._error = str(error)
            if "listening" in locals():
                listening.cancel()
        try:
            await self._channel.send(Last(taken(ambassador, self._context.telemetry), self._error))
        except OSError:
            return 1  # nobody is there to hear it
        return 1 if self._error else 0

    async def _listen(self, ambassador: Ambassador, supervisor: Supervisor) -> None:
        while True:
            try:
                message: Message = await self._channel.receive()
            except EOFError:
                supervisor.request_drain("the parent has gone")
                return
            try:
                answer = await self._answer(message, ambassador, supervisor)
            except PodpatternsError as error:
                answer = error
            await self._channel.send(answer)

    async def _answer(self, message: Message, ambassador: Ambassador, supervisor: Supervisor) -> Any:
        match message:
            case Report():
                return taken(ambassador, self._context.telemetry)
            case Call():
                return await _call(ambassador, message)
            case Configure():
                config = self._take(message)
                await ambassador.reload(alone(config))
                _tell_apart(ambassador, message)
                self._drop(config)
            case Level():
                self._context.telemetry.gate.level = message.level
            case Drain():
                supervisor.context = replace(self._context, grace=message.grace)
                supervisor.request_drain(message.reason)
                for listener in ambassador.listeners:
                    await listener.close()
        return None

    # --- listening sockets ----------------------------------------------------------------------------------------

    def _take(self, message: Configure) -> AmbassadorConfig:
        for name in message.sockets:
            _, fds, _, _ = socket.recv_fds(self._doors, _PACKET, _MOST)
            for old in self._sockets.get(name, ()):
                old.close()
            self._sockets[name] = [socket.socket(fileno=fd) for fd in fds]
        return message.config

    def _drop(self, config: AmbassadorConfig) -> None:
        """The listeners have copies of their own."""
        for name in self._sockets.keys() - {key(each) for each in config.listeners}:
            for sock in self._sockets.pop(name):
                sock.close()

    def _bound(self, config: ListenerConfig) -> tuple[list[socket.socket], None]:
        copies = [sock.dup() for sock in self._sockets[key(config)]]
        for sock in copies:
            undeafen(sock)  # a worker that has drained alone has left it so
        return copies, None


def _tell_apart(ambassador: Ambassador, orders: Configure) -> None:
    """Count what is slower than a ramp's limit apart from what is not; the parent judges by it."""
    for route in ambassador.all_routes():
        limit = orders.limits.get((route.listener, route.name))
        if limit is not None:
            for target in route.targets.values():
                target.tally.latency.refine(limit)


async def _call(ambassador: Ambassador, call: Call) -> Reply:
    (route,) = [each for each in ambassador.routes() if (each.method, each.path) == (call.method, call.path)]
    return await route.handle(Request(call.query, call.body))


def working(context: Context, via: bytes) -> Callable[[int, socket.socket, socket.socket], int]:
    """What the forker is to do in each worker."""

    def work(index: int, control: socket.socket, doors: socket.socket) -> int:
        import uvloop

        async def main() -> int:
            worker = Worker(index, context, via, await Channel.of(control), doors)
            return await worker.run()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main())

    return work
