"""The webhook at work: HTTPS, with certificate and profiles that can change while it runs."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Self

from podpatterns.errors import ConfigError, StartError
from podpatterns.pod.webhook import config, review
from podpatterns.pod.webhook.events import WebhookEvents
from podpatterns.runtime.listening import cannot_listen
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.watch import Watch

if TYPE_CHECKING:
    from aiohttp import web

MAX_BODY = 8 << 20
"""Bytes of a review: an object may have 1.5 MiB in etcd, and is sent with its old self and managed fields."""

LOOK = 1.0
"""Seconds between two looks at the files, by one `stat` each."""

GRACE = 10.0
"""Seconds for the reviews under way when the webhook ends; the API server waits for as long by default."""


class Webhook:
    """`async with Webhook(file) as webhook: await webhook.run()`."""

    def __init__(self, file: str | Path, telemetry: Telemetry | None = None) -> None:
        """Raises ConfigError."""
        self._file = file
        self._telemetry = telemetry or Telemetry()
        self.events = WebhookEvents(self._telemetry)
        self.config, self._profiles, files = config.load(file)
        self._watch = Watch(files)
        self._keys = Watch([self.config.certificate, self.config.key])
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._runner: web.AppRunner | None = None
        self.port = self.config.listen.port

    async def __aenter__(self) -> Self:
        """Listen. Raises StartError."""
        from aiohttp import web

        try:
            self._context.load_cert_chain(self.config.certificate, self.config.key)
        except (OSError, ssl.SSLError) as error:
            raise StartError(_unusable(self.config, error)) from None
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/mutate", self._mutate)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE)
        await self._runner.setup()
        listen = self.config.listen
        site = web.TCPSite(self._runner, listen.host or None, listen.port, ssl_context=self._context)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise cannot_listen("the webhook", listen, error, "set `listen` to another address") from None
        self.port = self._runner.addresses[0][1]
        self.events.listening(f"{listen.host}:{self.port}", sorted(self._profiles))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Answer what was asked, and take no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def run(self) -> None:
        """Look for changes, for ever."""
        while True:
            await asyncio.sleep(LOOK)
            self.look()

    def look(self) -> None:
        """Put changes in force; what is of no use is said, and the last good one stays."""
        if self._watch.changed():
            try:
                new, self._profiles, files = config.load(self._file)
            except ConfigError as error:
                self.events.kept("profiles", error)
            else:
                if files != self._watch.paths:
                    self._watch = Watch(files)
                self.events.reloaded("profiles")
                if (new.listen, new.certificate, new.key) != (
                    self.config.listen,
                    self.config.certificate,
                    self.config.key,
                ):
                    self.events.kept("listen", ValueError("an address or a file's name needs a restart"))
        if self._keys.changed():
            try:
                # Tried on its own: a context that took a new certificate and not its key would serve neither.
                trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                trial.load_cert_chain(self.config.certificate, self.config.key)
                self._context.load_cert_chain(self.config.certificate, self.config.key)
            except (OSError, ssl.SSLError) as error:
                self.events.kept("certificate", StartError(_unusable(self.config, error)))
            else:
                self.events.reloaded("certificate")

    # --- routes ---------------------------------------------------------------------------------------------------

    async def _mutate(self, request: web.Request) -> web.Response:
        from aiohttp import web

        try:
            question = review.read(await request.read())
        except review.Malformed as error:
            self.events.malformed(str(error))
            return web.Response(status=400, text=f"{error}\n")
        answer = review.answer(question, self._profiles)
        self.events.answered(question, answer)
        return web.Response(body=answer.encode(), content_type="application/json")

    async def _health(self, _: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(body=self._telemetry.exposition(), headers={"Content-Type": "text/plain; version=0.0.4"})


def _unusable(given: config.WebhookConfig, error: Exception) -> str:
    why = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return f"certificate {given.certificate} with key {given.key} cannot be used: {why}"
