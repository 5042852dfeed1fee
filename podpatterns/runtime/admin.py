"""The admin endpoint: probes and metrics for everyone, state and control for loopback alone.

The kubelet probes the pod's address, so the endpoint listens on all interfaces. What can be reached there is
read-only. Everything else answers to loopback only, and not to a browser: a page on the web can make
a browser send requests to localhost, so the Host must name loopback and no foreign Origin may be given.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from podpatterns.runtime.events import RuntimeEvents
from podpatterns.runtime.http_server import HttpReply, HttpRequest, HttpServer
from podpatterns.runtime.listening import listening
from podpatterns.runtime.service import Deadline, Request, Route, Service
from podpatterns.runtime.units import Address


def refusal(peer: str | None, host: str, origin: str | None) -> str | None:
    """Why a request for a loopback-only route is refused; None if it is welcome. Pure."""
    if peer is None or not _loopback(peer):
        return "not from loopback"
    if not _loopback(_hostname(f"//{host}")):
        return "the Host is not loopback"
    if origin is not None and not _loopback(_hostname(origin)):
        return "a cross-site request"
    return None


def _hostname(url: str) -> str:
    """The host in a URL; empty for what is none, such as `//[`."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


class Admin(Service):
    """Serves routes over HTTP. The routes themselves know nothing of that."""

    name = "admin"

    def __init__(self, address: Address, routes: Sequence[Route], events: Callable[[], RuntimeEvents]) -> None:
        self.address = address
        self.port = address.port
        """The port that is listened on; known after `start` where the configured one is 0."""
        self._routes: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._routes.setdefault(route.path, {})[route.method] = route
        self._events = events
        self._server = HttpServer(self._answer)

    async def start(self) -> None:
        """Listen. Raises StartError when the port is taken."""
        with listening("the admin endpoint", self.address, "set runtime.admin to another address, or to off"):
            self.port = await self._server.start(self.address)
        self._events().admin_listening(f"{self.address.host}:{self.port}" if self.port else str(self.address))

    async def drain(self, deadline: Deadline) -> None:
        """Goes on answering: `/readyz` says that the process is draining until the very end."""

    async def stop(self) -> None:
        """Close the listener and its connections."""
        await self._server.close()

    async def _answer(self, request: HttpRequest) -> HttpReply:
        """A request from whomever."""
        methods = self._routes.get(request.path)
        if methods is None:
            return _json(404, {"error": f"there is no {request.path}; there are: {', '.join(sorted(self._routes))}"})
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            return _json(405, {"error": f"{request.path} takes {allowed}"}, ("Allow", allowed))
        if not route.public:
            # A unix socket has no peer address: who may open it is decided by the file system.
            peer = "127.0.0.1" if self.address.path is not None else request.peer
            reason = refusal(peer, request.fields.get("host", ""), request.fields.get("origin"))
            if reason is not None:
                self._events().admin_refused(route.path, reason)
                return _json(403, {"error": f"{route.path} is for loopback alone: {reason}"})
        try:
            reply = await route.handle(Request(request.query, request.body))
        except Exception as error:  # noqa: BLE001 - one broken page must not take the others, and the probes, with it
            self._events().admin_failed(route.path, error)
            return _json(500, {"error": f"{route.path} has failed; the log says why"})
        if isinstance(reply.data, bytes):
            return HttpReply(reply.status, reply.data, reply.content_type)
        return _json(reply.status, reply.data, content_type=reply.content_type)


def _json(status: int, data: Any, *fields: tuple[str, str], content_type: str = "application/json") -> HttpReply:
    return HttpReply(status, msgspec.json.encode(data) + b"\n", content_type, fields)
