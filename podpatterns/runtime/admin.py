"""The admin endpoint: probes and metrics for everyone, state and control for loopback alone.

The kubelet probes the pod's address, so the endpoint listens on all interfaces. What can be reached there is
read-only. Everything else answers to loopback only, and not to a browser: a page on the web can make
a browser send requests to localhost, so the Host must name loopback and no foreign Origin may be given.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from podpatterns.errors import StartError
from podpatterns.runtime.events import RuntimeEvents
from podpatterns.runtime.service import Deadline, Request, Route, Service
from podpatterns.runtime.units import Address

if TYPE_CHECKING:
    from aiohttp import web

MAX_BODY = 1 << 20
"""Bytes in a request to the admin endpoint; weights and levels need a few dozen."""


def refusal(peer: str | None, host: str, origin: str | None) -> str | None:
    """Why a request for a loopback-only route is refused; None if it is welcome. Pure."""
    if peer is None or not _loopback(peer):
        return "not from loopback"
    if not _loopback(urlsplit(f"//{host}").hostname or ""):
        return "the Host is not loopback"
    if origin is not None and not _loopback(urlsplit(origin).hostname or ""):
        return "a cross-site request"
    return None


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
    """Serves routes over HTTP. The routes themselves know nothing of aiohttp."""

    name = "admin"

    def __init__(self, address: Address, routes: Sequence[Route], events: Callable[[], RuntimeEvents]) -> None:
        self.address = address
        self.port = address.port
        """The port that is listened on; known after `start` where the configured one is 0."""
        self._routes = routes
        self._events = events
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises StartError when the port is taken."""
        from aiohttp import web

        app = web.Application(client_max_size=MAX_BODY)
        for route in self._routes:
            app.router.add_route(route.method, route.path, self._handler(route))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site: web.BaseSite
        if self.address.path is not None:
            site = web.UnixSite(self._runner, self.address.path)
        else:
            site = web.TCPSite(self._runner, self.address.host or None, self.address.port)
        try:
            await site.start()
        except OSError as error:
            raise StartError(
                f"the admin endpoint cannot listen on {self.address}: {error.strerror or error}; "
                f"set runtime.admin to another address, or to off"
            ) from None
        if self.address.path is None:
            self.port = self._runner.addresses[0][1]
        self._events().admin_listening(f"{self.address.host}:{self.port}" if self.port else str(self.address))

    async def drain(self, deadline: Deadline) -> None:
        """Goes on answering: `/readyz` says that the process is draining until the very end."""

    async def stop(self) -> None:
        """Close the listener and its connections."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _handler(self, route: Route) -> Callable[[web.Request], Awaitable[web.Response]]:
        from aiohttp import web

        async def handle(request: web.Request) -> web.Response:
            if not route.public:
                peer = request.transport.get_extra_info("peername") if request.transport else None
                # A unix socket has no peer address: who may open it is decided by the file system.
                address = "127.0.0.1" if self.address.path is not None else (peer[0] if peer else None)
                reason = refusal(address, request.host, request.headers.get("Origin"))
                if reason is not None:
                    self._events().admin_refused(route.path, reason)
                    return web.json_response({"error": f"{route.path} is for loopback alone: {reason}"}, status=403)
            reply = await route.handle(Request(dict(request.query), await request.read()))
            body = reply.data if isinstance(reply.data, bytes) else msgspec.json.encode(reply.data) + b"\n"
            return web.Response(body=body, status=reply.status, headers={"Content-Type": reply.content_type})

        return handle
