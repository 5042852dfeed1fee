"""A page for Prometheus to scrape, as text, OpenMetrics or protocol buffers, whichever the scraper prefers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from podpatterns.adapter.outputs import Output, OutputConfig, OutputContext
from podpatterns.formats.accept import Form, negotiate
from podpatterns.formats.content_encoding import packed, takes_gzip
from podpatterns.formats.families import Family
from podpatterns.runtime.http_server import HttpReply, HttpRequest, HttpServer, url
from podpatterns.runtime.listening import listening
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.units import Address, Duration

_TIMEOUT_FIELD = "x-prometheus-scrape-timeout-seconds"
_SMALL = 1400
"""Bytes that fit into one packet: packing them saves nothing."""
_VARY = ("Vary", "Accept, Accept-Encoding")
_MARGIN = 0.9
"""Share of the scraper's patience that sources may use up; the rest is for rendering and the way back."""


class PrometheusConfig(OutputConfig, frozen=True, kw_only=True):
    """A page over HTTP for Prometheus and everything that reads its formats; compressed for scrapers that take gzip."""

    EXAMPLE: ClassVar[str] = """
    type: prometheus
    listen: ":9102"
    """

    listen: Address = Address(":9102")
    """Where the page is served: all interfaces by default, since Prometheus scrapes the pod's address; 9102 is the
    port that exporters of StatsD metrics have by custom."""

    path: Annotated[str, msgspec.Meta(pattern="^/[!-~]*$", extra={"is": "a path that begins with /"})] = "/metrics"
    """The path of the page."""

    collect_timeout: Duration = Duration("9s")
    """How long sources may take where the scraper does not send its own timeout; a late one is left out, and says so.
    Below Prometheus' default timeout of 10 s."""

    final_scrape: Duration = Duration("2s")
    """How long a drain waits for one more scrape, so that the last samples are seen. Waited only if somebody has
    scraped before; at most half of what is left of the grace. `0s`: not at all."""

    def build(self, context: OutputContext) -> Output:
        """The output."""
        return Prometheus(self, context)


class Prometheus(Output):
    """Serves the page; answers 200 whatever one family or source does."""

    def __init__(self, config: PrometheusConfig, context: OutputContext) -> None:
        self.config, self.name = config, f"prometheus page on {config.listen}"
        self._called, self._source, self._events = context.name, context.source, context.events
        self._server = HttpServer(self._answer)
        self._scraped = asyncio.Event()
        self._wanted = False

    async def start(self) -> None:
        """Listen. Raises StartError when the address is taken."""
        listen = self.config.listen
        with listening("the adapter's page", listen, "set `listen` of the prometheus output to a free address"):
            port = await self._server.start(listen)
        self.url = url(listen, port, self.config.path)
        self._events.output_listening(self.url)

    async def drain(self, deadline: Deadline) -> None:
        """Stay up for one more scrape if there was one before."""
        patience = min(self.config.final_scrape, deadline.remaining / 2)
        if not self._wanted or not patience:
            return
        self._scraped.clear()
        try:
            async with asyncio.timeout(patience):
                await self._scraped.wait()
        except TimeoutError:
            self._events.final_scrape(self._called, scraped=False)
        else:
            self._events.final_scrape(self._called, scraped=True)

    async def stop(self) -> None:
        """Close the listener and its connections; what is being answered is answered."""
        await self._server.close()

    def render(self, families: Sequence[Family], accept: str) -> tuple[bytes, str]:
        """As the scraper prefers. A family that cannot be written is left out, counted, and the rest is written."""
        form = negotiate(accept)
        try:
            body = form.render(families)
        except Exception:  # noqa: BLE001 - a page is answered whatever an operator's function made of a family
            body = form.render([family for family in families if self._writable(family, form)])
        return body, form.content_type

    def _writable(self, family: Family, form: Form) -> bool:
        try:
            form.render([family])
        except Exception as error:  # noqa: BLE001 - as above
            self._events.unwritable(family.name, f"unwritable_{type(error).__name__}", len(family.values))
            return False
        return True

    async def _answer(self, request: HttpRequest) -> HttpReply:
        if request.path != self.config.path:
            return HttpReply(404, f"the page is at {self.config.path}\n".encode(), "text/plain; charset=utf-8")
        if request.method not in ("GET", "HEAD"):
            return HttpReply(405, b"a page is only read\n", "text/plain; charset=utf-8", (("Allow", "GET, HEAD"),))
        within = _patience(request.fields.get(_TIMEOUT_FIELD, ""), self.config.collect_timeout)
        families = await self._source.collect(within)
        body, content_type = self.render(families, request.fields.get("accept", ""))
        self._events.page_served(self._called)
        self._wanted = True
        self._scraped.set()  # whoever waits for it closes the server, which lets this answer go out first
        fields: tuple[tuple[str, str], ...] = (_VARY,)
        if len(body) > _SMALL and takes_gzip(request.fields.get("accept-encoding", "")):
            body, fields = packed(body), (_VARY, ("Content-Encoding", "gzip"))
        return HttpReply(200, body, content_type, fields)


def _patience(header: str, default: float) -> float:
    """Seconds that sources have, by the scraper's own timeout where it sends one that makes sense."""
    try:
        seconds = float(header)
    except ValueError:
        return default
    return seconds * _MARGIN if 0 < seconds < 3600 else default
