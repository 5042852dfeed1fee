"""The ways into and out of a run's pods: published ports, services, and connections to the world."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from podpatterns.errors import ConfigError
from podpatterns.pod import publishing, services
from podpatterns.pod.forwarding import Dial, forward
from podpatterns.pod.model import LOOPBACK, PodSpec, Service, ServicePort
from podpatterns.pod.node.client import NodeError
from podpatterns.pod.outbound import Outbound
from podpatterns.pod.planning import Surroundings
from podpatterns.pod.publishing import Published
from podpatterns.pod.runner import PodRunner


class Doors:
    """Opened before the pods start, served as long as they run: `await run()`; `close()` in any case."""

    def __init__(self, runners: Sequence[PodRunner], around: Surroundings) -> None:
        self._runners = runners
        self._around = around
        self._listening: list[tuple[socket.socket, Dial]] = []
        self._outbound: Outbound | None = None

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for listening, dial in self._listening:
                tasks.create_task(forward(listening, dial))
            if self._outbound is not None:
                tasks.create_task(self._outbound.run())

    def close(self) -> None:
        """Close what is open."""
        for listening, _ in self._listening:
            listening.close()
        if self._outbound is not None:
            self._outbound.close()

    # --- in from this machine -------------------------------------------------------------------------------------

    def publish(self, published: Sequence[Published]) -> None:
        """Let this machine's ports lead to the pods'. Raises ConfigError."""
        pods = {runner.spec.name: runner.spec for runner in self._runners}
        for each, listening in zip(published, publishing.listen(published), strict=True):
            self._listening.append((listening, self._to(pods[each.pod], each.target, inside=each.inside)))

    def _to(self, pod: PodSpec, port: int, *, inside: bool) -> Dial:
        network = self._around.network

        async def dial(_near: socket.socket) -> socket.socket:
            if not inside:
                return await network.dial(pod, port)
            try:
                return await network.dial(pod, port, inside=True)
            except ConnectionRefusedError:
                return await network.dial(pod, port)  # it listens on the pod's address alone

        return dial

    # --- from pod to pod ------------------------------------------------------------------------------------------

    async def serve(self, service: Service) -> None:
        """Let a service's ports lead to its pods. Raises ConfigError."""
        own = self._around.network.own
        for port in service.ports:
            if service.headless or (not own and port.target == port.number):
                continue  # whoever asks for it is there already
            try:
                if own:
                    listening = await self._around.node.ask("listen", address=service.address, port=port.number)
                else:
                    listening = socket.create_server((LOOPBACK, port.number))
            except (OSError, NodeError) as error:
                said = f"port {port.number} of service {service.name} cannot be had: {error}"
                raise ConfigError([port.mark.problem(said)]) from None
            self._listening.append((listening, self._to_ready(service, port)))

    def _to_ready(self, service: Service, port: ServicePort) -> Dial:
        turns = services.Turns()
        names = {pod.name for pod in services.selected(service, [runner.spec for runner in self._runners])}

        async def dial(_near: socket.socket) -> socket.socket:
            pod = turns.pick({r.spec.name: r.spec for r in self._runners if r.spec.name in names and r.pod.ready})
            number = None if pod is None else services.target(pod, port)
            if pod is None or number is None:
                raise ConnectionRefusedError(f"no pod of service {service.name} is ready")
            return await self._around.network.dial(pod, number)

        return dial

    # --- out ------------------------------------------------------------------------------------------------------

    async def open_outbound(self) -> None:
        """Let pods with a network of their own reach others. Raises NodeError."""
        outbound = Outbound(self._around.node)
        await outbound.open()
        self._outbound, self._around.outbound = outbound, True
