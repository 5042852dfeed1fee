"""Probes, hooks and ports of a container."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podpatterns.pod.building.names import LABEL, bad_name
from podpatterns.pod.building.section import Section
from podpatterns.pod.model import Exec, Grpc, Handler, HttpGet, Port, Probe, Sleep, TcpSocket
from podpatterns.runtime.decode import suggest


class Handlers(Section):
    """Ports, and the probes and hooks that name them."""

    def ports(self, value: Mapping[str, Any], path: str) -> Iterator[Port]:
        """A container's ports."""
        names = set()
        for index, port in enumerate(value.get("ports", ())):
            here = f"{path}.ports[{index}]"
            number, name = port.get("containerPort"), port.get("name", "")
            if number is None:
                continue
            if not 1 <= number <= 65535:
                self.fail(f"{here}.containerPort", f"must be between 1 and 65535, not {number}")
                continue
            if name and (len(name) > 15 or not LABEL.fullmatch(name)):
                self.fail(f"{here}.name", bad_name(name, 15))
            if name and name in names:
                self.fail(f"{here}.name", f'"{name}" is the name of another port of this container')
            names.add(name)
            mark = self.document.mark(f"{here}.containerPort")
            yield Port(number, name, port.get("protocol", "TCP"), port.get("hostPort"), port.get("hostIP", ""), mark)

    def probe(self, value: Mapping[str, Any], path: str, field: str, ports: tuple[Port, ...]) -> Probe | None:
        """The probe of that field; None if there is none."""
        probe, here = value.get(field), f"{path}.{field}"
        if probe is None:
            return None
        handler = self.handler(probe, here, ports, ("exec", "httpGet", "tcpSocket", "grpc"))
        success = self.positive(probe, here, "successThreshold", 1)
        if success != 1 and field != "readinessProbe":
            self.fail(f"{here}.successThreshold", "must be 1 for liveness and startup")
        grace = None
        if "terminationGracePeriodSeconds" in probe:
            grace = self.positive(probe, here, "terminationGracePeriodSeconds", 1)
            if field == "readinessProbe":
                self.fail(f"{here}.terminationGracePeriodSeconds", "cannot be set for readiness, which ends nothing")
        return Probe(
            handler or TcpSocket(0),
            initial_delay=self.positive(probe, here, "initialDelaySeconds", 0, least=0),
            timeout=self.positive(probe, here, "timeoutSeconds", 1),
            period=self.positive(probe, here, "periodSeconds", 10),
            success=success,
            failure=self.positive(probe, here, "failureThreshold", 3),
            grace=grace,
        )

    def hook(
        self, lifecycle: Mapping[str, Any], path: str, field: str, ports: tuple[Port, ...], grace: float
    ) -> Handler | None:
        """The hook of that field; None if there is none. It cannot sleep for longer than the pod's grace."""
        hook, here = lifecycle.get(field), f"{path}.lifecycle.{field}"
        if hook is None:
            return None
        handler = self.handler(hook, here, ports, ("exec", "httpGet", "tcpSocket", "sleep"))
        if isinstance(handler, Sleep) and not 0 <= handler.seconds <= grace:
            bound = f"the pod's terminationGracePeriodSeconds, {grace:g}"
            self.fail(f"{here}.sleep.seconds", f"must be between 0 and {bound}, not {handler.seconds:g}")
        return handler

    def handler(
        self, value: Mapping[str, Any], path: str, ports: tuple[Port, ...], names: tuple[str, ...]
    ) -> Handler | None:
        """What a probe or hook does; `names` are the ways that it may have."""
        kind = self.one_of(value, path, names)
        if kind is None:
            return None
        inner, here = value[kind], f"{path}.{kind}"
        match kind:
            case "exec":
                if not inner.get("command"):
                    self.fail(here, 'needs the field "command"')
                return Exec(tuple(inner.get("command", ())))
            case "grpc":
                return Grpc(self._port(inner, here, ()), inner.get("service", ""))
            case "sleep":
                return Sleep(inner.get("seconds", 0))
            case "httpGet":
                headers = tuple((h.get("name", ""), h.get("value", "")) for h in inner.get("httpHeaders", ()))
                target = inner.get("path", "/")
                port = self._port(inner, here, ports)
                scheme = inner.get("scheme", "HTTP")
                return HttpGet(
                    port, target if target.startswith("/") else f"/{target}", inner.get("host"), scheme, headers
                )
        return TcpSocket(self._port(inner, here, ports), inner.get("host"))

    def _port(self, value: Mapping[str, Any], path: str, ports: tuple[Port, ...]) -> int:
        port = value.get("port", 1)
        if isinstance(port, str) and port.isascii() and port.isdigit():
            port = int(port)
        if isinstance(port, int):
            if not 1 <= port <= 65535:
                self.fail(f"{path}.port", f"must be between 1 and 65535, not {port}")
            return port
        for known in ports:
            if known.name == port:
                return known.number
        names = [known.name for known in ports if known.name]
        self.fail(f"{path}.port", f'names the port "{port}", which the container does not have{suggest(port, names)}')
        return 1
